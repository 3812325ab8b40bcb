//! What one round of `forward` found, the figures made of it, and what is promised about them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cpu::CpuTime;
use crate::floor::sink::Freed;
use crate::floor::{Cost, Pair};
use crate::load::tally::Counts;
use crate::report::{Gate, Good};
use crate::srtp::Profile;
use crate::stats::{median, rounded};

/// Computes one figure; `None` where the round cannot tell.
pub(crate) type Figure = fn(&Round) -> Option<f64>;

/// What one round found.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) floors: Pair,
    /// `floor-gso` at the frame rate of the window.
    pub(crate) paced: Cost,
    pub(crate) published: u64,
    pub(crate) viewers: usize,
    /// How many of them counted.
    pub(crate) watched: usize,
    /// What the driver freed for the others; `None` when there are none.
    pub(crate) sunk: Option<Freed>,
    pub(crate) counts: Counts,
    /// The node's, `None` for a node that is not ours.
    pub(crate) node_cpu: Option<CpuTime>,
    pub(crate) loader_share: f64,
    pub(crate) window: Duration,
}

/// One figure of a round, by its name in reports.
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) digits: i32,
    pub(crate) of: Figure,
}

pub(crate) const METRICS: &[Metric] = &[
    Metric {
        name: "node_ns",
        digits: 1,
        of: Round::node_ns,
    },
    Metric {
        name: "floor_gso_ns",
        digits: 1,
        of: |round| Some(round.floors.gso.per_packet_ns()),
    },
    Metric {
        name: "floor_gso_paced_ns",
        digits: 1,
        of: |round| Some(round.paced.per_packet_ns()),
    },
    Metric {
        name: "floor_tokio_ns",
        digits: 1,
        of: |round| Some(round.floors.tokio.per_packet_ns()),
    },
    Metric {
        name: "node_over_gso",
        digits: 3,
        of: Round::node_over_gso,
    },
    Metric {
        name: "node_over_gso_paced",
        digits: 3,
        of: Round::node_over_paced,
    },
    Metric {
        name: "tokio_over_node",
        digits: 3,
        of: Round::tokio_over_node,
    },
    Metric {
        name: "packets_a_message",
        digits: 2,
        of: Round::packets_a_message,
    },
    Metric {
        name: "node_cpu_share",
        digits: 3,
        of: Round::node_share,
    },
    Metric {
        name: "node_waited_share",
        digits: 3,
        of: Round::node_waited,
    },
    Metric {
        name: "loader_cpu_share",
        digits: 3,
        of: |round| Some(round.loader_share),
    },
    Metric {
        name: "delivered_fraction",
        digits: 6,
        of: |round| Some(round.delivered_fraction()),
    },
    Metric {
        name: "foreign",
        digits: 0,
        of: |round| Some(round.counts.foreign as f64),
    },
    Metric {
        name: "duplicate",
        digits: 0,
        of: |round| Some(round.counts.duplicate as f64),
    },
    Metric {
        name: "forged",
        digits: 0,
        of: |round| Some(round.counts.forged as f64),
    },
    Metric {
        name: "reordered",
        digits: 0,
        of: |round| Some(round.counts.reordered as f64),
    },
    Metric {
        name: "latency_us_p50",
        digits: 1,
        of: |round| Some(round.latency_us(0.5)),
    },
    Metric {
        name: "latency_us_p99",
        digits: 1,
        of: |round| Some(round.latency_us(0.99)),
    },
    Metric {
        name: "latency_us_p999",
        digits: 1,
        of: |round| Some(round.latency_us(0.999)),
    },
];

impl Round {
    /// CPU nanoseconds of the node per packet delivered.
    fn node_ns(&self) -> Option<f64> {
        Some(self.node_cpu?.run.as_secs_f64() * 1e9 / self.delivered())
    }

    /// Packets that should have been delivered.
    fn expected(&self) -> f64 {
        (self.published * self.viewers as u64) as f64
    }

    /// Packets that were: counted by the viewers that are watched; for the others, the bytes the driver
    /// freed, in packets as long as those that were counted.
    fn delivered(&self) -> f64 {
        if self.counts.delivered == 0 {
            return 0.0;
        }
        let counted = self.counts.delivered as f64;
        let sunk = self.sunk.map_or(0.0, |freed| {
            let length = self.counts.bytes as f64 / counted;
            freed.payload_bytes() as f64 / length
        });
        let to_sink = (self.published * (self.viewers - self.watched) as u64) as f64;
        counted + sunk.min(to_sink)
    }

    fn node_over_gso(&self) -> Option<f64> {
        Some(self.node_ns()? / self.floors.gso.per_packet_ns())
    }

    fn node_over_paced(&self) -> Option<f64> {
        Some(self.node_ns()? / self.paced.per_packet_ns())
    }

    /// Packets of one message to one viewer, as the driver saw them: more than the burst where the node
    /// sent several frames at once, fewer where it split one.
    fn packets_a_message(&self) -> Option<f64> {
        let sunk = self.sunk.filter(|sunk| sunk.messages > 0)?;
        let length = self.counts.bytes as f64 / self.counts.delivered as f64;
        Some(sunk.payload_bytes() as f64 / length / sunk.messages as f64)
    }

    fn tokio_over_node(&self) -> Option<f64> {
        Some(self.floors.tokio.per_packet_ns() / self.node_ns()?)
    }

    /// Share of one processor the node used.
    fn node_share(&self) -> Option<f64> {
        Some(self.node_cpu?.run.as_secs_f64() / self.window.as_secs_f64())
    }

    /// Time the node's threads stood in line for a processor, as a share of the window: above a few
    /// percent something else ran there, and costs and latencies are not the node's.
    fn node_waited(&self) -> Option<f64> {
        Some(self.node_cpu?.wait.as_secs_f64() / self.window.as_secs_f64())
    }

    fn delivered_fraction(&self) -> f64 {
        self.delivered() / self.expected()
    }

    fn latency_us(&self, quantile: f64) -> f64 {
        self.counts.latency.value_at_quantile(quantile) as f64 / 1e3
    }

    /// The round as it stands in the report.
    pub(crate) fn row(&self, number: u16) -> Value {
        let mut row = serde_json::Map::new();
        row.insert("round".to_owned(), json!(number));
        row.insert("discarded".to_owned(), json!(number == 0));
        row.insert("published".to_owned(), json!(self.published));
        row.insert("expected".to_owned(), json!(self.expected()));
        row.insert("delivered".to_owned(), json!(rounded(self.delivered(), 0)));
        row.insert("counted".to_owned(), json!(self.counts.delivered));
        for metric in METRICS {
            if let Some(value) = (metric.of)(self) {
                row.insert(metric.name.to_owned(), json!(rounded(value, metric.digits)));
            }
        }
        Value::Object(row)
    }
}

/// The promises for a burst size. CPU targets are stated for AES-128-GCM and for three sizes, and are held
/// against medians. Delivery is promised always, and counted over all rounds: one packet delivered to
/// the wrong person in one round is one too many.
pub(crate) fn gates(burst: u16, profile: Profile, kept: &[Round]) -> Vec<Gate> {
    let over = |figure: Figure| median(kept.iter().filter_map(figure));
    let mut gates = Vec::new();
    if profile == Profile::Gcm128 {
        let cost = match burst {
            12 => Some(("A1", 1.25, 1.15)),
            5 => Some(("A2", 1.27, 1.15)),
            1 => Some(("A3", 1.12, 1.05)),
            _ => None,
        };
        if let (Some((id, must, lead)), Some(value)) = (cost, over(Round::node_over_gso)) {
            gates.push(Gate::judge(id, Good::Below, must, lead, value, "ratio"));
        }
        if let (12, Some(value)) = (burst, over(Round::tokio_over_node)) {
            gates.push(Gate::judge("A4", Good::Above, 5.5, 6.2, value, "ratio"));
        }
    }
    let total = |count: fn(&Round) -> f64| kept.iter().map(count).sum::<f64>();
    let delivered = total(Round::delivered) / total(Round::expected);
    gates.push(Gate::judge(
        "delivered",
        Good::Above,
        0.999,
        1.0,
        delivered,
        "fraction",
    ));
    for (id, count) in [
        ("foreign", total(|round| round.counts.foreign as f64)),
        ("duplicate", total(|round| round.counts.duplicate as f64)),
        ("forged", total(|round| round.counts.forged as f64)),
    ] {
        gates.push(Gate::judge(id, Good::Below, 0.0, 0.0, count, "packets"));
    }
    gates
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floor::Cost;
    use crate::load::tally::Tally;

    /// 10 bursts of 12 to 100 viewers, 8 of them watched; the node took `node_ns` a packet.
    /// `lost` of the packets of one watched viewer are missing.
    fn round(node_ns: u64, lost: u64, foreign: u64) -> Round {
        let floor = |ns: u64| Cost {
            packets: 1000,
            refused: 0,
            messages: 1000,
            cpu: Duration::from_nanos(ns * 1000),
        };
        let mut counts = Tally::new([]).counts().clone();
        counts.delivered = 120 * 8 - lost;
        counts.bytes = 1216 * counts.delivered;
        counts.foreign = foreign;
        Round {
            floors: Pair {
                gso: floor(400),
                tokio: floor(2560),
            },
            paced: floor(440),
            published: 120,
            viewers: 100,
            watched: 8,
            sunk: Some(Freed {
                messages: 10 * 92,
                bytes: (120 * 1216 + 10 * 42) * 92,
            }),
            counts,
            node_cpu: Some(CpuTime {
                run: Duration::from_nanos(node_ns * 120 * 100),
                wait: Duration::ZERO,
            }),
            loader_share: 0.1,
            window: Duration::from_secs(1),
        }
    }

    fn verdicts(burst: u16, kept: &[Round]) -> Vec<(String, f64, bool)> {
        gates(burst, Profile::Gcm128, kept)
            .into_iter()
            .map(|gate| (gate.id, gate.value, gate.pass))
            .collect()
    }

    #[test]
    fn cost_is_per_packet_of_every_viewer_and_a_ratio_within_its_round() {
        let round = round(480, 0, 0);
        assert_eq!(round.node_ns(), Some(480.0));
        assert_eq!(round.node_over_gso(), Some(1.2));
        assert_eq!(round.packets_a_message(), Some(12.0));
        let row = round.row(0);
        assert_eq!(row["expected"], 12_000.0);
        assert_eq!(row["counted"], 960);
        assert_eq!(row["discarded"], true);
        assert_eq!(row["delivered_fraction"], 1.0);
    }

    #[test]
    fn medians_decide_cost_so_one_bad_round_does_not() {
        let kept = [round(480, 0, 0), round(4800, 0, 0), round(400, 0, 0)];
        let verdicts = verdicts(12, &kept);
        assert_eq!(verdicts[0], ("A1".to_owned(), 1.2, true));
        assert_eq!(verdicts[1], ("A4".to_owned(), 5.33333, false));
    }

    #[test]
    fn one_foreign_packet_in_one_round_or_one_lost_in_a_thousand_is_too_many() {
        let kept = [round(480, 0, 0), round(480, 40, 1), round(480, 0, 0)];
        let verdicts = verdicts(7, &kept);
        assert_eq!(verdicts[0].0, "delivered");
        assert!(!verdicts[0].2, "{}", verdicts[0].1);
        assert_eq!(verdicts[1], ("foreign".to_owned(), 1.0, false));
        assert_eq!(verdicts[2], ("duplicate".to_owned(), 0.0, true));
    }

    #[test]
    fn packets_that_never_reach_the_driver_are_not_delivered() {
        let mut starved = round(480, 0, 0);
        starved.sunk = Some(Freed {
            messages: 0,
            bytes: 0,
        });
        assert!((starved.delivered_fraction() - 0.08).abs() < 1e-9);
        starved = round(480, 960, 0);
        assert_eq!(
            starved.delivered_fraction(),
            0.0,
            "nobody saw what was freed"
        );
        let mut loopback = round(480, 0, 0);
        loopback.sunk = None;
        loopback.viewers = 8;
        assert!((loopback.delivered_fraction() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn cost_is_promised_for_one_profile_and_three_bursts() {
        let kept = [round(480, 0, 0)];
        let cost = |burst, profile| {
            gates(burst, profile, &kept)
                .iter()
                .filter(|gate| gate.id.starts_with('A'))
                .count()
        };
        assert_eq!(
            [1, 5, 12, 48].map(|burst| cost(burst, Profile::Gcm128)),
            [1, 1, 2, 0]
        );
        assert_eq!(cost(12, Profile::Cm), 0);
    }
}
