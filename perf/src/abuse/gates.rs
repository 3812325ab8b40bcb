//! What of a row is held against which bound.

use std::time::{Duration, Instant};

use super::outcome::{Outcome, attack_rate, join_p99, joined};
use super::row::Also;
use super::window::Window;
use crate::report::{Gate, Good};
use crate::stats::rounded;

/// Share of its processor the load generator may use: above it, it measures itself.
const LOADER_SHARE_MAX: f64 = 0.85;

/// How much longer than planned publishers may take before the load was not what the report says.
const LATE_MAX: f64 = 1.05;

/// Share of the rate an attack must have reached to be that attack.
const RATE_MIN: f64 = 0.95;

/// Lines an attack may add to the log each second.
const LOG_LINES_MAX: f64 = 10.0;

/// Keyframe requests to one layer (contracts.md 40).
const REQUEST_PAUSE: Duration = Duration::from_millis(500);

/// The pause as the publisher sees it: requests may come closer together than they left by as much as the
/// loader's thread was late to read the first.
const REQUEST_PAUSE_SEEN: Duration = Duration::from_millis(480);

impl Outcome {
    /// What is promised of the row.
    pub(crate) fn gates(&self) -> Vec<Gate> {
        let row = self.row;
        let mut gates = Vec::new();
        let mut judge = |what: &str, good, must, lead, value, unit| {
            let id = format!("{}/{what}", row.id);
            let gate = Gate::judge(&id, good, must, lead, value, unit);
            // A row has a few gates that say something when they pass.
            let tells = matches!(unit, "ratio" | "ms" | "s") && what != "late";
            gates.push(if tells { gate } else { gate.quietly() });
        };
        if let Some(must) = row.must.p99 {
            judge("p99", Good::Below, must, 1.0, self.p99_ratio(), "ratio");
        }
        let sum = |count: fn(&Window) -> u64| self.attacks().map(count).sum::<u64>() as f64;
        if row.must.lossless {
            judge("lost", Good::Below, 0.0, 0.0, sum(Window::lost), "packets");
        }
        let wrong = sum(|w| w.counts.foreign + w.counts.forged + w.counts.duplicate);
        judge("wrong", Good::Below, 0.0, 0.0, wrong, "packets");
        if row.kind.is_foreign() {
            let replies = sum(|window| window.sprayed.map_or(0, |sprayed| sprayed.replies));
            judge("replies", Good::Below, 0.0, 0.0, replies, "bytes");
        }
        if let Some(must) = row.must.kept {
            let allowance = f64::from(must) * self.kept_of().div_ceil(1_000_000) as f64;
            judge(
                "kept",
                Good::Below,
                allowance,
                0.0,
                self.kept() as f64,
                "bytes",
            );
        }
        // Where a hundred join each second, the log is about them.
        if row.also != Also::TimedJoins {
            let log = self.in_attacks(Window::log_rate) - self.in_calm(Window::log_rate);
            let log = rounded(log.max(0.0), 2);
            judge("log", Good::Below, LOG_LINES_MAX, 0.0, log, "lines/s");
        }
        judge(
            "panics",
            Good::Below,
            0.0,
            0.0,
            sum(|w| w.vitals.panics),
            "lines",
        );
        match row.also {
            Also::Nothing => {}
            Also::Joins => {
                let (joined, asked) = joined(self.joining.iter());
                judge("joins", Good::Above, 0.999, 1.0, joined / asked, "fraction");
            }
            Also::TimedJoins => {
                let (joined, asked) = joined(self.attacks());
                judge("joins", Good::Above, 1.0, 1.0, joined / asked, "fraction");
                let ratio = join_p99(self.attacks()) / join_p99(self.calm());
                judge("join-p99", Good::Below, 1.25, 1.0, ratio, "ratio");
            }
            Also::Keyframes => self.judge_keyframes(&mut judge),
            Also::Egress { must } => {
                let heard = |window: &Window| window.heard.unwrap_or(0) as f64;
                let ratio = self.over(|round| round.ratio(heard));
                if let Some(must) = must {
                    judge("egress", Good::Below, must, 1.0, ratio, "ratio");
                }
            }
            Also::Recovery => {
                let recovered =
                    self.over(|round| round.after.latency_us(0.99) / round.before.latency_us(0.99));
                judge("recovery", Good::Below, 1.05, 1.0, recovered, "ratio");
            }
        }
        let rate = self.in_attacks(attack_rate) / f64::from(self.rate);
        judge("rate", Good::Above, RATE_MIN, 1.0, rate, "fraction");
        let share = self.in_attacks(Window::loader_share);
        judge("loader", Good::Below, LOADER_SHARE_MAX, 0.5, share, "cpu");
        let late = self.in_attacks(Window::late);
        judge("late", Good::Below, LATE_MAX, 1.0, late, "ratio");
        gates
    }

    fn judge_keyframes(&self, judge: &mut impl FnMut(&str, Good, f64, f64, f64, &'static str)) {
        let requests = self.rounds.iter().flat_map(|round| &round.attack.requests);
        let shortest = requests.filter_map(|times| shortest_pause(times)).min();
        let pause = shortest.unwrap_or(REQUEST_PAUSE).as_secs_f64() * 1e3;
        let must = REQUEST_PAUSE_SEEN.as_secs_f64() * 1e3;
        judge("pause", Good::Above, must, 500.0, pause, "ms");
        let pictures = self.attacks().flat_map(|window| &window.joins);
        // Whoever saw none waited for ever.
        let slowest = pictures
            .map(|join| {
                join.keyframe
                    .map_or(f64::INFINITY, |after| after.as_secs_f64())
            })
            .fold(0.0, f64::max);
        let slowest = if slowest.is_finite() { slowest } else { 1e9 };
        judge("picture", Good::Below, 1.2, 0.5, slowest, "s");
    }
}

/// The shortest time between two of them.
fn shortest_pause(times: &[Instant]) -> Option<Duration> {
    times.windows(2).map(|pair| pair[1] - pair[0]).min()
}

#[cfg(test)]
mod tests {
    use super::super::outcome::Round;
    use super::super::row;
    use super::super::spray::Sprayed;
    use super::super::vitals::{Drops, Vitals};
    use super::super::window::Join;
    use super::*;
    use crate::cpu::CpuTime;
    use crate::load::tally::Tally;

    fn window(p99_us: u64, cpu_ms: u64, sprayed: Option<u64>) -> Window {
        let mut counts = Tally::new([]).counts().clone();
        counts.delivered = 100;
        counts.latency.record_n(p99_us * 1000, 100).unwrap();
        let second = Duration::from_secs(1);
        Window {
            counts,
            expected: 100,
            planned: 1.0,
            took: second,
            cpu: CpuTime {
                run: Duration::from_millis(cpu_ms),
                wait: Duration::ZERO,
            },
            loader: Duration::from_millis(300),
            vitals: Vitals {
                anonymous: 5 << 20,
                ..Vitals::default()
            },
            before: 5 << 20,
            sprayed: sprayed.map(|packets| Sprayed {
                packets,
                refused: 0,
                took: second,
                replies: 0,
            }),
            requests: Vec::new(),
            joins: Vec::new(),
            heard: None,
        }
    }

    fn outcome(id: &str, attacks: &[u64]) -> Outcome {
        let row = row::parse(id).unwrap();
        let rounds = attacks.iter().map(|&p99_us| Round {
            before: window(90, 100, None),
            attack: window(p99_us, 120, Some(u64::from(row.rate))),
            after: window(110, 100, None),
        });
        Outcome {
            row,
            rate: row.rate,
            rounds: rounds.collect(),
            joining: Vec::new(),
            packets: 1,
            drops: Drops::default(),
        }
    }

    fn gate(outcome: &Outcome, what: &str) -> Gate {
        let id = format!("{}/{what}", outcome.row.id);
        let gates = outcome.gates();
        gates.into_iter().find(|gate| gate.id == id).unwrap()
    }

    #[test]
    fn an_attack_is_compared_with_the_calm_around_it_and_the_median_decides() {
        let outcome = outcome("r9", &[120, 900, 121, 119, 122]);
        let p99 = gate(&outcome, "p99");
        assert!((p99.value - 1.21).abs() < 0.01, "{}", p99.value);
        assert!(p99.pass);
        assert!(!gate(&self::outcome("r9", &[126, 127, 128]), "p99").pass);
        let figures = outcome.figures();
        assert_eq!(figures["node_cpu_ratio"], 1.2);
        assert_eq!(figures["attack_packet_ns"], 1000.0, "20 ms for 20,000");
    }

    #[test]
    fn one_lost_packet_one_reply_or_memory_that_stays_is_a_miss() {
        let mut outcome = outcome("garbage-5k", &[100; 3]);
        outcome.joining.push(Window {
            joins: vec![Join {
                took: Ok(Duration::from_millis(9)),
                keyframe: None,
            }],
            ..window(100, 120, Some(5_000))
        });
        assert!(outcome.gates().iter().all(|gate| gate.pass));
        outcome.rounds[1].attack.counts.delivered -= 1;
        outcome.rounds[2].attack.sprayed.as_mut().unwrap().replies = 20;
        outcome.rounds[2].after.vitals.anonymous += (1 << 20) + 4096;
        outcome.joining[0].joins[0].took = Err("no".to_owned());
        let missed: Vec<_> = outcome
            .gates()
            .into_iter()
            .filter(|gate| !gate.pass)
            .map(|gate| gate.id.replace("garbage-5k/", ""))
            .collect();
        assert_eq!(missed, ["lost", "replies", "kept", "joins"]);
    }

    #[test]
    fn a_generator_that_did_not_keep_up_is_told() {
        let mut outcome = outcome("t10", &[100; 3]);
        for round in &mut outcome.rounds {
            round.attack.sprayed.as_mut().unwrap().packets /= 2;
            round.attack.loader = Duration::from_millis(900);
        }
        assert!(!gate(&outcome, "rate").pass);
        assert!(!gate(&outcome, "loader").pass);
    }

    #[test]
    fn keyframes_are_asked_for_twice_a_second_at_most_and_everybody_sees_one() {
        let mut outcome = outcome("r6", &[100; 2]);
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        for round in &mut outcome.rounds {
            round.attack.requests = vec![vec![at(0), at(501)], vec![at(100)]];
            round.attack.joins = vec![Join {
                took: Ok(Duration::ZERO),
                keyframe: Some(Duration::from_millis(400)),
            }];
        }
        assert!(gate(&outcome, "pause").pass);
        assert!(gate(&outcome, "picture").pass);
        outcome.rounds[0].attack.requests[0].push(at(600));
        outcome.rounds[1].attack.joins[0].keyframe = None;
        assert!(!gate(&outcome, "pause").pass);
        assert!(!gate(&outcome, "picture").pass);
    }

    #[test]
    fn recovery_compares_calm_with_calm() {
        let mut outcome = outcome("saturation", &[5000; 3]);
        assert!(!gate(&outcome, "recovery").pass, "110 over 90");
        for round in &mut outcome.rounds {
            round.after = window(91, 100, None);
        }
        assert!(gate(&outcome, "recovery").pass);
        outcome.rounds[0].attack.counts.delivered = 3;
        assert!(
            outcome.gates().iter().all(|gate| gate.pass),
            "saturation may lose"
        );
    }
}
