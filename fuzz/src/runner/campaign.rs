//! One target, executed again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::panics::{Panicked, catch};
use super::{Finding, Mutator, Report, Target, entries, minimise};
use crate::behaviour::{self, Note, hash};

/// Inputs held besides the seeds; the oldest of them give way.
const KEPT_MAX: usize = 2_048;

/// Different sites that are reported before the run ends: more of them are one defect.
const FINDINGS_MAX: usize = 8;

/// How often the clock and the caller are asked, in executions.
const BATCH: u64 = 64;

/// How long to go on after the committed inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// This many mutated inputs: the same ones for the same seed, corpus and build.
    Executions(u64),
    /// This long.
    Time(Duration),
}

/// A run of one target.
#[derive(Debug)]
pub struct Campaign {
    target: Target,
    seed: u64,
    corpus: Vec<Vec<u8>>,
    seeds: usize,
    /// Everything seen, with the shortest input that showed it.
    seen: BTreeMap<Note, Vec<u8>>,
    found: BTreeSet<String>,
    report: Report,
}

impl Campaign {
    /// A run that has not begun. `seed` decides the mutations.
    #[must_use]
    pub fn new(target: Target, seed: u64) -> Campaign {
        Campaign {
            seed: seed ^ hash(target.name.as_bytes()),
            corpus: Vec::new(),
            seeds: 0,
            seen: BTreeMap::new(),
            found: BTreeSet::new(),
            report: Report {
                target: target.name,
                seeds: 0,
                kept: 0,
                behaviours: 0,
                executions: 0,
                contained: 0,
                slowest: Duration::ZERO,
                took: Duration::ZERO,
                findings: Vec::new(),
                cover: Vec::new(),
            },
            target,
        }
    }

    /// Replays what is committed, then mutates it. `progress` is called now and then with the executions
    /// so far.
    #[must_use]
    pub fn run(mut self, effort: Effort, mut progress: impl FnMut(u64)) -> Report {
        let begin = Instant::now();
        for entry in entries(&self.target) {
            self.execute(&entry.octets, || entry.origin.clone());
            self.corpus.push(entry.octets);
        }
        self.seeds = self.corpus.len();
        let mut mutator = Mutator::new(
            self.seed,
            self.target.shape,
            self.target.length_max,
            self.target.words,
        );
        let mut done = 0;
        while self.report.findings.len() < FINDINGS_MAX {
            let enough = match effort {
                Effort::Executions(executions) => done >= executions,
                Effort::Time(time) => done % BATCH == 0 && begin.elapsed() >= time,
            };
            if enough {
                break;
            }
            let input = mutator.next(&self.corpus);
            done += 1;
            if self.execute(&input, || format!("execution {done}")) {
                self.hold(input);
            }
            if done % BATCH == 0 {
                progress(self.report.executions);
            }
        }
        self.report.seeds = self.seeds;
        self.report.kept = self.corpus.len() - self.seeds;
        self.report.behaviours = self.seen.len();
        self.report.took = begin.elapsed();
        self.report.cover = cover(&self.seen);
        self.report
    }

    /// Executes one input; whether it showed something new.
    fn execute(&mut self, input: &[u8], origin: impl FnOnce() -> String) -> bool {
        behaviour::begin();
        let begin = Instant::now();
        let (panicked, contained) = once(&self.target, input);
        self.report.slowest = self.report.slowest.max(begin.elapsed());
        self.report.executions += 1;
        self.report.contained += contained;
        let notes = behaviour::notes();
        if let Some(panicked) = panicked {
            self.report_finding(input, &panicked, origin());
            return false;
        }
        let mut new = false;
        for note in notes {
            let shortest = self.seen.entry(note).or_insert_with(|| {
                new = true;
                input.to_vec()
            });
            if input.len() < shortest.len() {
                *shortest = input.to_vec();
            }
        }
        new
    }

    fn hold(&mut self, input: Vec<u8>) {
        if self.corpus.len() - self.seeds >= KEPT_MAX {
            self.corpus.remove(self.seeds);
        }
        self.corpus.push(input);
    }

    fn report_finding(&mut self, input: &[u8], panicked: &Panicked, origin: String) {
        if !self.found.insert(panicked.site.clone()) {
            return;
        }
        let target = self.target;
        let least = minimise(input, |candidate| {
            once(&target, candidate)
                .0
                .is_some_and(|other| other.site == panicked.site)
        });
        self.report.findings.push(Finding {
            target: target.name,
            site: panicked.site.clone(),
            message: panicked.message.clone(),
            origin,
            input: least,
        });
    }
}

/// One execution with the oracles that are the runner's: no panic, and memory.
fn once(target: &Target, input: &[u8]) -> (Option<Panicked>, u64) {
    let Some(limit) = target.allocation_max else {
        return catch(|| (target.run)(input));
    };
    let mut outcome = (None, 0);
    let measured = allocation_counter::measure(|| outcome = catch(|| (target.run)(input)));
    if outcome.0.is_none() && measured.bytes_max > limit {
        outcome.0 = Some(Panicked {
            site: "memory".to_owned(),
            message: format!("held {} octets, {limit} are allowed", measured.bytes_max),
        });
    }
    outcome
}

/// The inputs that show everything: each note has its shortest one.
fn cover(seen: &BTreeMap<Note, Vec<u8>>) -> Vec<Vec<u8>> {
    let inputs: BTreeSet<&Vec<u8>> = seen.values().collect();
    inputs.into_iter().cloned().collect()
}
