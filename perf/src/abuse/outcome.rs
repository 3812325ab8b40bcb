//! What a row has shown over its rounds.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::row::{Also, Row};
use super::vitals::Drops;
use super::window::{Join, Window};
use crate::stats::{median, rounded};

/// Windows of one row.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) row: &'static Row,
    /// Packets a second that were asked for.
    pub(crate) rate: u32,
    /// Each attack with the calm windows before and after it.
    pub(crate) rounds: Vec<Round>,
    /// Windows of attack beside the rounds, in which viewers join.
    pub(crate) joining: Vec<Window>,
    /// Packets of the attack, the discarded round included.
    pub(crate) packets: u64,
    /// What the node has dropped from the row's beginning to its end.
    pub(crate) drops: Drops,
}

/// Calm, attack, calm.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) before: Window,
    pub(crate) attack: Window,
    pub(crate) after: Window,
}

impl Round {
    /// What `figure` is under attack over what it is without.
    pub(super) fn ratio(&self, figure: impl Fn(&Window) -> f64) -> f64 {
        let calm = f64::midpoint(figure(&self.before), figure(&self.after));
        figure(&self.attack) / calm
    }

    /// CPU nanoseconds of the node for each packet of the attack.
    fn packet_ns(&self) -> f64 {
        let Some(sprayed) = self.attack.sprayed else {
            return f64::NAN;
        };
        let calm = f64::midpoint(self.before.node_share(), self.after.node_share());
        1e9 * (self.attack.node_share() - calm) / sprayed.rate()
    }
}

impl Outcome {
    pub(super) fn attacks(&self) -> impl Iterator<Item = &Window> {
        let rounds = self.rounds.iter().map(|round| &round.attack);
        rounds.chain(&self.joining)
    }

    pub(super) fn calm(&self) -> impl Iterator<Item = &Window> {
        let last = self.rounds.last().map(|round| &round.after);
        self.rounds.iter().map(|round| &round.before).chain(last)
    }

    pub(super) fn over(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(figure)).unwrap_or(f64::NAN)
    }

    pub(super) fn in_attacks(&self, figure: impl Fn(&Window) -> f64) -> f64 {
        self.over(|round| figure(&round.attack))
    }

    pub(super) fn in_calm(&self, figure: impl Fn(&Window) -> f64) -> f64 {
        median(self.calm().map(figure)).unwrap_or(f64::NAN)
    }

    /// Bytes the node's memory has grown by from the first to the last window of the row; never less than
    /// none.
    pub(super) fn kept(&self) -> u64 {
        let first = self.rounds.first().map_or(0, |round| round.before.before);
        let last = self.rounds.last();
        last.map_or(0, |round| round.after.vitals.anonymous)
            .saturating_sub(first)
    }

    /// Packets of the attack that [`Outcome::kept`] is about.
    pub(super) fn kept_of(&self) -> u64 {
        let sprayed = self.rounds.iter().filter_map(|round| round.attack.sprayed);
        sprayed.map(|sprayed| sprayed.packets).sum()
    }

    /// Packets dropped for each packet of the attack.
    fn refused(&self) -> f64 {
        self.drops.total() as f64 / self.packets as f64
    }

    pub(super) fn p99_ratio(&self) -> f64 {
        self.over(|round| round.ratio(|window| window.latency_us(0.99)))
    }

    /// The figures of the row, by name.
    pub(crate) fn figures(&self) -> Map<String, Value> {
        let p99 = |window: &Window| window.latency_us(0.99);
        let p50 = |window: &Window| window.latency_us(0.5);
        let kept = self.kept() as f64;
        let lost =
            |windows: &mut dyn Iterator<Item = &Window>| -> u64 { windows.map(Window::lost).sum() };
        let numbers = [
            ("attack_pps", self.in_attacks(attack_rate), 0),
            ("attack_packets", self.packets as f64, 0),
            ("attack_refused", self.refused(), 3),
            (
                "overflowed",
                self.in_attacks(|w| w.vitals.overflowed as f64),
                0,
            ),
            ("calm_us_p50", self.in_calm(p50), 1),
            ("attack_us_p50", self.in_attacks(p50), 1),
            ("calm_us_p99", self.in_calm(p99), 1),
            ("attack_us_p99", self.in_attacks(p99), 1),
            ("p99_ratio", self.p99_ratio(), 3),
            ("calm_node_cpu", self.in_calm(Window::node_share), 4),
            ("attack_node_cpu", self.in_attacks(Window::node_share), 4),
            (
                "node_cpu_ratio",
                self.over(|round| round.ratio(Window::node_share)),
                3,
            ),
            ("attack_packet_ns", self.over(Round::packet_ns), 1),
            ("calm_node_waited", self.in_calm(Window::node_waited), 4),
            (
                "attack_node_waited",
                self.in_attacks(Window::node_waited),
                4,
            ),
            ("loader_cpu", self.in_attacks(Window::loader_share), 3),
            ("calm_lost", lost(&mut self.calm()) as f64, 0),
            ("attack_lost", lost(&mut self.attacks()) as f64, 0),
            ("kept_bytes", kept, 0),
            (
                "kept_bytes_a_packet",
                kept / self.kept_of().max(1) as f64,
                3,
            ),
        ];
        let mut figures: Map<_, _> = numbers
            .into_iter()
            .map(|(name, value, digits)| (name.to_owned(), json!(rounded(value, digits))))
            .collect();
        figures.insert("dropped".to_owned(), self.drops.figures());
        let mut put = |name: &str, value: f64, digits: i32| {
            figures.insert(name.to_owned(), json!(rounded(value, digits)));
        };
        if self.attacks().any(|window| window.heard.is_some()) {
            let mbps = |window: &Window| {
                8e-6 * window.heard.unwrap_or(0) as f64 / window.took.as_secs_f64()
            };
            put("calm_attacker_heard_mbps", self.in_calm(mbps), 3);
            put("attacker_heard_mbps", self.in_attacks(mbps), 3);
        }
        match self.row.also {
            Also::Keyframes => put("requests_per_s", self.in_attacks(Window::request_rate), 2),
            Also::TimedJoins => {
                put("calm_join_ms_p99", 1e3 * join_p99(self.calm()), 2);
                put("attack_join_ms_p99", 1e3 * join_p99(self.attacks()), 2);
                put("attack_joins", joined(self.attacks()).1, 0);
            }
            Also::Joins => put("attack_joins", joined(self.attacks()).1, 0),
            Also::Nothing | Also::Egress { .. } | Also::Recovery => {}
        }
        let failed = self.attacks().chain(self.calm()).flat_map(|w| &w.joins);
        let why = failed.filter_map(|join| join.took.as_ref().err()).next();
        if let Some(why) = why {
            figures.insert("first_failed_join".to_owned(), json!(why));
        }
        figures
    }

    /// Time the node stood in line for a processor in calm windows, as a share of them.
    pub(crate) fn calm_waited(&self) -> f64 {
        self.in_calm(Window::node_waited)
    }

    /// The row as a line of the table.
    pub(crate) fn line(&self) -> String {
        let figures = self.figures();
        let number = |name: &str| {
            figures
                .get(name)
                .and_then(Value::as_f64)
                .unwrap_or(f64::NAN)
        };
        format!(
            "{:<12}{:>8.0}{:>9.0}{:>9.0}{:>7.2}{:>8.1}{:>8.1}{:>8.0}{:>7.0}{:>10.0}{:>9.2}{:>9.1}  {}",
            self.row.id,
            number("attack_pps"),
            number("calm_us_p99"),
            number("attack_us_p99"),
            number("p99_ratio"),
            100.0 * number("calm_node_cpu"),
            100.0 * number("attack_node_cpu"),
            number("attack_packet_ns"),
            number("attack_lost"),
            number("kept_bytes"),
            number("kept_bytes_a_packet"),
            100.0 * number("attack_refused"),
            self.drops.main_reason().unwrap_or("-"),
        )
    }

    /// The table's first line.
    pub(crate) fn heading() -> String {
        format!(
            "{:<12}{:>8}{:>9}{:>9}{:>7}{:>8}{:>8}{:>8}{:>7}{:>10}{:>9}{:>9}  {}",
            "row",
            "pkt/s",
            "p99 us",
            "attack",
            "ratio",
            "cpu %",
            "attack",
            "ns/pkt",
            "lost",
            "kept B",
            "B/pkt",
            "drop %",
            "mostly as"
        )
    }
}

pub(super) fn attack_rate(window: &Window) -> f64 {
    window.sprayed.map_or(f64::NAN, |sprayed| sprayed.rate())
}

/// How many joined, of how many who tried.
pub(super) fn joined<'a>(windows: impl Iterator<Item = &'a Window>) -> (f64, f64) {
    let joins: Vec<&Join> = windows.flat_map(|window| &window.joins).collect();
    let joined = joins.iter().filter(|join| join.took.is_ok()).count();
    (joined as f64, joins.len() as f64)
}

/// 99 of 100 who joined took at most as long, seconds.
pub(super) fn join_p99<'a>(windows: impl Iterator<Item = &'a Window>) -> f64 {
    let joins = windows.flat_map(|window| &window.joins);
    let mut took: Vec<Duration> = joins.filter_map(|join| join.took.clone().ok()).collect();
    took.sort_unstable();
    let place = (took.len() * 99).div_ceil(100).saturating_sub(1);
    took.get(place).map_or(f64::NAN, Duration::as_secs_f64)
}
