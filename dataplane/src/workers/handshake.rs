//! The DTLS handshake worker: a thread that drives the engine's machine for all shards.
//!
//! A handshake costs about 100 us of public-key work, which a shard would charge to every viewer behind
//! it. The worker owns no decision: records in, flights and keys out, in the order the machine gives
//! them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::RecvTimeoutError;
use dataplane_api::event::CloseReason;
use dataplane_api::ids::{SessionId, ShardIndex};
use dataplane_engine::time::Micros;
use dataplane_engine::transport::handshake::{
    HandshakeCounters, HandshakeInput, HandshakeOutput, Handshakes, Identity,
};
use dataplane_net::Clock;

use crate::mesh::HandshakeEnd;

/// Inputs taken before the outputs are handed over: a flight should not wait for a hundred others.
const INPUTS_PER_TURN: usize = 32;

/// Outputs that may wait for one shard that is behind. Beyond, flights are dropped: DTLS repeats them.
const BACKLOG_MAX: usize = 4_096;

/// Content type of an alert (RFC 5246 section 6.2.1).
const ALERT: u8 = 21;

/// How soon a shard that was behind is tried again.
const BACKLOG_RETRY: Duration = Duration::from_millis(2);

/// The worker's totals, for the ops port.
#[derive(Debug, Default)]
pub struct HandshakeSlot {
    machine: Mutex<HandshakeCounters>,
    flights_dropped: AtomicU64,
    panics: AtomicU64,
}

impl HandshakeSlot {
    /// The machine's totals.
    #[must_use]
    pub fn machine(&self) -> HandshakeCounters {
        *self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Flights dropped because a shard was behind.
    #[must_use]
    pub fn flights_dropped(&self) -> u64 {
        self.flights_dropped.load(Ordering::Relaxed)
    }

    /// Times the machine panicked and was made anew.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }
}

/// Starts the worker. It ends when the last shard has. `base` is the instant of `Micros::ZERO`.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn(
    identity: Identity,
    base: Instant,
    mesh: HandshakeEnd,
    slot: Arc<HandshakeSlot>,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name("handshake".to_owned())
        .spawn(move || {
            let machine = Handshakes::new(identity.clone(), base);
            Worker {
                identity,
                base,
                machine,
                mesh,
                slot,
                associations: HashMap::new(),
                backlog: BTreeMap::new(),
                #[cfg(test)]
                panics_at: None,
            }
            .run();
        })
}

struct Worker {
    identity: Identity,
    base: Instant,
    machine: Handshakes,
    mesh: HandshakeEnd,
    slot: Arc<HandshakeSlot>,
    associations: HashMap<SessionId, Association>,
    /// What waits for shards whose ring is full.
    backlog: BTreeMap<ShardIndex, VecDeque<HandshakeOutput>>,
    /// The session whose next input panics.
    #[cfg(test)]
    panics_at: Option<SessionId>,
}

struct Association {
    shard: ShardIndex,
    progress: Progress,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Handshaking,
    Keyed,
    /// Keyed by a machine that is no more.
    Lost,
}

impl Worker {
    fn run(mut self) {
        while let Some(inputs) = self.wait() {
            self.turn(inputs);
            self.deliver_backlog();
            *self
                .slot
                .machine
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = self.machine.counters();
        }
    }

    /// Waits for an input or the next timer. `None` when every shard has ended.
    fn wait(&self) -> Option<Vec<(ShardIndex, HandshakeInput)>> {
        let inputs = self.mesh.inputs();
        let timer = self
            .machine
            .next_deadline()
            .map(|at| Duration::from_micros(at.since(Clock::now())));
        let retry = self.is_behind().then_some(BACKLOG_RETRY);
        let first = match timer.into_iter().chain(retry).min() {
            Some(timeout) => inputs.recv_timeout(timeout),
            None => inputs.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match first {
            Ok(first) => {
                let rest = inputs.try_iter().take(INPUTS_PER_TURN - 1);
                Some(std::iter::once(first).chain(rest).collect())
            }
            Err(RecvTimeoutError::Timeout) => Some(Vec::new()),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    fn turn(&mut self, inputs: Vec<(ShardIndex, HandshakeInput)>) {
        let now = Clock::now();
        for (shard, input) in inputs {
            self.guard(|worker| worker.take(now, shard, input));
        }
        self.guard(|worker| {
            worker.machine.on_timeout(now);
            worker.drain();
        });
    }

    /// A panic in the machine must not end joining for every class of the node, nor lose the inputs behind the one
    /// that caused it: a session whose start is lost would wait for ever.
    fn guard(&mut self, step: impl FnOnce(&mut Worker)) {
        if catch_unwind(AssertUnwindSafe(|| step(self))).is_err() {
            self.start_over();
        }
    }

    fn take(&mut self, now: Micros, shard: ShardIndex, input: HandshakeInput) {
        let session = input.session();
        let closes = matches!(input, HandshakeInput::Close { .. });
        if matches!(input, HandshakeInput::Start { .. }) {
            self.associations.entry(session).or_insert(Association {
                shard,
                progress: Progress::Handshaking,
            });
        }
        #[cfg(test)]
        assert_ne!(self.panics_at.take_if(|at| *at == session), Some(session));
        if let HandshakeInput::Record { bytes, .. } = &input
            && self.repeats_to_a_lost_machine(session, bytes)
        {
            self.associations.remove(&session);
            let reason = CloseReason::HandshakeFailed;
            self.deliver(shard, HandshakeOutput::Failed { session, reason });
            return;
        }
        self.machine.on_input(now, input);
        self.drain();
        if closes {
            self.associations.remove(&session);
        }
    }

    /// Whether a client still speaks of a handshake whose machine is gone. A shard lets anything but alerts through
    /// only until the peer is heard under the keys, so this one misses our last flight, which nobody has any more.
    fn repeats_to_a_lost_machine(&self, session: SessionId, bytes: &[u8]) -> bool {
        let association = self.associations.get(&session);
        association.is_some_and(|association| association.progress == Progress::Lost)
            && bytes.first() != Some(&ALERT)
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            let session = output.session();
            let Some(association) = self.associations.get_mut(&session) else {
                continue;
            };
            let shard = association.shard;
            match output {
                HandshakeOutput::Keyed { .. } => association.progress = Progress::Keyed,
                HandshakeOutput::Failed { .. } | HandshakeOutput::PeerClosed { .. } => {
                    self.associations.remove(&session);
                }
                HandshakeOutput::Flight { .. } => {}
            }
            self.deliver(shard, output);
        }
    }

    /// In order: nothing overtakes what waits for the same shard.
    fn deliver(&mut self, shard: ShardIndex, output: HandshakeOutput) {
        let waiting = self.backlog.entry(shard).or_default();
        let refused = if waiting.is_empty() {
            self.mesh.output(shard, output)
        } else {
            Err(output)
        };
        let Err(output) = refused else {
            return;
        };
        if waiting.len() >= BACKLOG_MAX && matches!(output, HandshakeOutput::Flight { .. }) {
            self.slot.flights_dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            waiting.push_back(output);
        }
    }

    fn deliver_backlog(&mut self) {
        for (&shard, waiting) in &mut self.backlog {
            while let Some(output) = waiting.pop_front() {
                if let Err(output) = self.mesh.output(shard, output) {
                    waiting.push_front(output);
                    break;
                }
            }
        }
    }

    fn is_behind(&self) -> bool {
        self.backlog.values().any(|waiting| !waiting.is_empty())
    }

    /// After a panic nothing of the machine is trusted: handshakes under way fail, so that their clients
    /// try again. Sessions that have their keys need the machine no more, except for a client that lost our last
    /// flight, which fails when it is heard of.
    fn start_over(&mut self) {
        self.slot.panics.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            alarm = true,
            associations = self.associations.len(),
            "the handshake machine panicked and starts over: handshakes under way fail"
        );
        self.machine = Handshakes::new(self.identity.clone(), self.base);
        let mut unfinished = Vec::new();
        self.associations.retain(|&session, association| {
            let has_keys = association.progress != Progress::Handshaking;
            if has_keys {
                association.progress = Progress::Lost;
            } else {
                unfinished.push((session, association.shard));
            }
            has_keys
        });
        for (session, shard) in unfinished {
            let reason = CloseReason::HandshakeFailed;
            self.deliver(shard, HandshakeOutput::Failed { session, reason });
        }
    }
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
