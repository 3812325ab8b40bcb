//! What one window of the standing load has shown.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::spray::Sprayed;
use super::vitals::Vitals;
use crate::cpu::CpuTime;
use crate::load::guest::Guest;
use crate::load::tally::Counts;
use crate::stats::rounded;

/// One window.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// What all viewers of the standing load counted.
    pub(crate) counts: Counts,
    /// Packets they should have got.
    pub(crate) expected: u64,
    /// Seconds the publishers were to take.
    pub(crate) planned: f64,
    pub(crate) took: Duration,
    /// Of the node's data plane.
    pub(crate) cpu: CpuTime,
    /// CPU time of this program.
    pub(crate) loader: Duration,
    /// What changed in the node, and its memory afterwards.
    pub(crate) vitals: Vitals,
    /// Its memory before.
    pub(crate) before: u64,
    /// `None` in a calm window.
    pub(crate) sprayed: Option<Sprayed>,
    /// When each publisher was asked for a keyframe.
    pub(crate) requests: Vec<Vec<Instant>>,
    pub(crate) joins: Vec<Join>,
    /// Bytes that came to the attacker, where that is measured.
    pub(crate) heard: Option<u64>,
}

/// How somebody's joining went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Join {
    /// From the offer to the keys, or why not.
    pub(crate) took: Result<Duration, String>,
    /// From the keys to the first keyframe.
    pub(crate) keyframe: Option<Duration>,
}

impl Join {
    pub(crate) fn new(guest: &anyhow::Result<Guest>) -> Join {
        match guest {
            Ok(guest) => Join {
                took: Ok(guest.took),
                keyframe: guest.heard.keyframe(),
            },
            Err(error) => Join {
                took: Err(format!("{error:#}")),
                keyframe: None,
            },
        }
    }
}

impl Window {
    /// One-way latency, microseconds.
    pub(crate) fn latency_us(&self, quantile: f64) -> f64 {
        self.counts.latency.value_at_quantile(quantile) as f64 / 1e3
    }

    /// Packets of the standing load that did not come.
    pub(crate) fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.counts.delivered)
    }

    /// Share of one processor the node used.
    pub(crate) fn node_share(&self) -> f64 {
        self.cpu.run.as_secs_f64() / self.took.as_secs_f64()
    }

    /// Time the node's threads stood in line for a processor, as a share of the window.
    pub(crate) fn node_waited(&self) -> f64 {
        self.cpu.wait.as_secs_f64() / self.took.as_secs_f64()
    }

    /// Share of one processor this program used.
    pub(crate) fn loader_share(&self) -> f64 {
        self.loader.as_secs_f64() / self.took.as_secs_f64()
    }

    /// Of the time planned for its frames, what the publishers took.
    pub(crate) fn late(&self) -> f64 {
        self.took.as_secs_f64() / self.planned.max(0.001)
    }

    /// Lines a second in the node's log; an attack runs a little longer than its window.
    pub(crate) fn log_rate(&self) -> f64 {
        let attack = self.sprayed.map_or(self.took, |sprayed| sprayed.took);
        self.vitals.log_lines as f64 / attack.as_secs_f64()
    }

    /// Keyframe requests a second of the publisher that got most.
    pub(crate) fn request_rate(&self) -> f64 {
        let most = self.requests.iter().map(Vec::len).max().unwrap_or(0);
        most as f64 / self.took.as_secs_f64()
    }

    /// As it stands in the report.
    pub(crate) fn figures(&self) -> Map<String, Value> {
        let mut figures = Map::new();
        let mut put = |name: &str, value: Value| {
            figures.insert(name.to_owned(), value);
        };
        put("expected", json!(self.expected));
        put("delivered", json!(self.counts.delivered));
        put("latency_us_p50", json!(rounded(self.latency_us(0.5), 1)));
        put("latency_us_p99", json!(rounded(self.latency_us(0.99), 1)));
        put("node_cpu_share", json!(rounded(self.node_share(), 4)));
        put("node_waited_share", json!(rounded(self.node_waited(), 4)));
        put("loader_cpu_share", json!(rounded(self.loader_share(), 4)));
        put("anonymous_bytes", json!(self.vitals.anonymous));
        put("overflowed", json!(self.vitals.overflowed));
        put("log_lines", json!(self.vitals.log_lines));
        if let Some(sprayed) = self.sprayed {
            put("attack_packets", json!(sprayed.packets));
            put("attack_pps", json!(rounded(sprayed.rate(), 0)));
            put("attack_refused", json!(sprayed.refused));
            put("reply_bytes", json!(sprayed.replies));
        }
        if let Some(heard) = self.heard {
            put("attacker_heard_bytes", json!(heard));
        }
        if !self.joins.is_empty() {
            put("joins", json!(self.joins.len()));
            let failed = self.joins.iter().filter(|join| join.took.is_err()).count();
            put("joins_failed", json!(failed));
        }
        figures
    }
}
