//! What one kill, take-over or fault did.

use serde_json::{Map, Value, json};

use super::Chapter;
use super::churn::Churned;
use super::hall::Seen;
use crate::stats::rounded;

/// One window in which something happened.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) chapter: Chapter,
    pub(crate) number: usize,
    /// Seconds since the chapter began.
    pub(crate) at_s: f64,
    pub(crate) seen: Seen,
    /// How long things took, milliseconds, and what else was measured.
    pub(crate) figures: Map<String, Value>,
    pub(crate) churned: Churned,
    /// What should not have been.
    pub(crate) faults: Vec<String>,
}

impl Round {
    pub(crate) fn new(chapter: Chapter, number: usize, at_s: f64) -> Round {
        Round {
            chapter,
            number,
            at_s,
            seen: Seen::default(),
            figures: Map::new(),
            churned: Churned::default(),
            faults: Vec::new(),
        }
    }

    /// Notes a figure.
    pub(crate) fn figure(&mut self, name: &str, value: f64) {
        self.figures
            .insert(name.to_owned(), json!(rounded(value, 3)));
    }

    /// A figure of before.
    pub(crate) fn of(&self, name: &str) -> Option<f64> {
        self.figures.get(name)?.as_f64()
    }

    /// Notes what went wrong, and goes on.
    pub(crate) fn tell(&mut self, what: &str, outcome: anyhow::Result<()>) {
        if let Err(error) = outcome {
            self.faults.push(format!("{what}: {error:#}"));
        }
    }

    /// As it stands in the report; a gap in the calm may be this long.
    pub(crate) fn value(&self, calm_gap_ms: f64) -> Value {
        let mut value = json!({
            "chapter": self.chapter.word(),
            "round": self.number,
            "at_s": rounded(self.at_s, 3),
            "expected": self.seen.expected,
            "lost": self.seen.lost,
            "duplicate": self.seen.duplicate,
            "foreign": self.seen.foreign,
            "forged": self.seen.forged,
            "gap_ms": rounded(self.seen.gap_ms, 3),
            "added_ms": rounded((self.seen.gap_ms - calm_gap_ms).max(0.0), 3),
            "held_ms": rounded(self.seen.held_ms, 3),
            "waited_ms": rounded(self.seen.waited_ms, 3),
            "faults": self.faults,
        });
        if self.churned != Churned::default() {
            value["joined"] = json!(self.churned.joined);
            value["refused"] = json!(self.churned.refused);
            value["left"] = json!(self.churned.left);
            value["vanished"] = json!(self.churned.vanished);
        }
        for (name, figure) in &self.figures {
            value[name] = figure.clone();
        }
        value
    }
}

/// The rounds of a chapter, and the calm between them.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) chapter: Chapter,
    pub(crate) rounds: Vec<Round>,
    pub(crate) calm: Vec<Seen>,
    /// Seconds until nothing remained after everybody had left; `None` when something did.
    pub(crate) empty_s: Option<f64>,
    /// What went wrong outside of rounds.
    pub(crate) faults: Vec<String>,
}

impl Told {
    pub(crate) fn new(chapter: Chapter) -> Told {
        Told {
            chapter,
            rounds: Vec::new(),
            calm: Vec::new(),
            empty_s: None,
            faults: Vec::new(),
        }
    }

    /// The longest gap while nothing happened, milliseconds.
    pub(crate) fn calm_gap_ms(&self) -> f64 {
        worst(self.calm.iter().map(|seen| seen.gap_ms))
    }

    /// By how much a gap was longer than any in the calm, at most.
    pub(crate) fn added_gap_ms(&self) -> f64 {
        let longest = worst(self.rounds.iter().map(|round| round.seen.gap_ms));
        (longest - self.calm_gap_ms()).max(0.0)
    }

    /// The same of what publishers did not leave themselves.
    pub(crate) fn added_held_ms(&self) -> f64 {
        let longest = worst(self.rounds.iter().map(|round| round.seen.held_ms));
        (longest - worst(self.calm.iter().map(|seen| seen.held_ms))).max(0.0)
    }

    /// Packets that did not come, in rounds and in the calm.
    pub(crate) fn lost(&self) -> u64 {
        let rounds = self.rounds.iter().map(|round| round.seen.lost);
        rounds.chain(self.calm.iter().map(|seen| seen.lost)).sum()
    }

    /// Packets that should have come, in rounds and in the calm.
    pub(crate) fn packets(&self) -> u64 {
        let rounds = self.rounds.iter().map(|round| round.seen.expected);
        rounds
            .chain(self.calm.iter().map(|seen| seen.expected))
            .sum()
    }

    /// Packets that came and should not have.
    pub(crate) fn wrong(&self) -> u64 {
        let rounds = self.rounds.iter().map(|round| round.seen);
        rounds
            .chain(self.calm.iter().copied())
            .map(|seen| seen.duplicate + seen.foreign + seen.forged)
            .sum()
    }

    /// Everything that should not have been.
    pub(crate) fn faults(&self) -> impl Iterator<Item = &String> {
        let rounds = self.rounds.iter().flat_map(|round| &round.faults);
        rounds.chain(&self.faults)
    }

    /// A figure of every round that has it.
    pub(crate) fn all(&self, name: &str) -> Vec<f64> {
        let rounds = self.rounds.iter();
        rounds.filter_map(|round| round.of(name)).collect()
    }
}

/// The largest; 0 of nothing.
pub(crate) fn worst(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_counts_as_far_as_it_is_longer_than_the_calm_and_a_loss_wherever_it_is() {
        let seen = |gap_ms, lost| Seen {
            gap_ms,
            held_ms: gap_ms / 2.0,
            lost,
            ..Seen::default()
        };
        let mut told = Told::new(Chapter::Kill);
        told.calm = vec![seen(34.0, 0), seen(40.0, 1)];
        for (number, gap) in [35.0, 70.0].into_iter().enumerate() {
            let mut round = Round::new(Chapter::Kill, number, 0.0);
            round.seen = seen(gap, 2);
            round.figure("ready_ms", gap);
            told.rounds.push(round);
        }
        assert_eq!(told.lost(), 5);
        assert!((told.added_gap_ms() - 30.0).abs() < 1e-9);
        assert!((told.added_held_ms() - 15.0).abs() < 1e-9);
        assert_eq!(told.all("ready_ms"), [35.0, 70.0]);
        assert!(told.all("never").is_empty());
        told.rounds[1].tell("it", Err(anyhow::anyhow!("broke")));
        assert_eq!(told.faults().collect::<Vec<_>>(), ["it: broke"]);
        let value = told.rounds[1].value(told.calm_gap_ms());
        assert_eq!(value["ready_ms"], 70.0);
        assert_eq!(value["faults"][0], "it: broke");
    }
}
