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
use dataplane_engine::transport::handshake::{
    HandshakeCounters, HandshakeInput, HandshakeOutput, Handshakes, Identity,
};
use dataplane_net::Clock;

use crate::mesh::HandshakeEnd;

/// Inputs taken before the outputs are handed over: a flight should not wait for a hundred others.
const INPUTS_PER_TURN: usize = 32;

/// Outputs that may wait for one shard that is behind. Beyond, flights are dropped: DTLS repeats them.
const BACKLOG_MAX: usize = 4_096;

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
}

struct Association {
    shard: ShardIndex,
    keyed: bool,
}

impl Worker {
    fn run(mut self) {
        while let Some(inputs) = self.wait() {
            // A panic in the machine must not end joining for every class of the node.
            let turn = catch_unwind(AssertUnwindSafe(|| self.turn(inputs)));
            if turn.is_err() {
                self.start_over();
            }
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
            let session = input.session();
            let closes = matches!(input, HandshakeInput::Close { .. });
            if matches!(input, HandshakeInput::Start { .. }) {
                self.associations.entry(session).or_insert(Association {
                    shard,
                    keyed: false,
                });
            }
            self.machine.on_input(now, input);
            self.drain();
            if closes {
                self.associations.remove(&session);
            }
        }
        self.machine.on_timeout(now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            let session = output.session();
            let Some(association) = self.associations.get_mut(&session) else {
                continue;
            };
            let shard = association.shard;
            match output {
                HandshakeOutput::Keyed { .. } => association.keyed = true,
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
    /// try again; sessions that have their keys need the machine no more.
    fn start_over(&mut self) {
        self.slot.panics.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            alarm = true,
            associations = self.associations.len(),
            "the handshake machine panicked and starts over: handshakes under way fail"
        );
        self.machine = Handshakes::new(self.identity.clone(), self.base);
        let unfinished: Vec<(SessionId, ShardIndex)> = self
            .associations
            .drain()
            .filter(|(_, association)| !association.keyed)
            .map(|(session, association)| (session, association.shard))
            .collect();
        for (session, shard) in unfinished {
            let reason = CloseReason::HandshakeFailed;
            self.deliver(shard, HandshakeOutput::Failed { session, reason });
        }
    }
}

#[cfg(test)]
mod tests {
    use dataplane_api::command::{Fingerprint, FingerprintHash};
    use dataplane_engine::transport::handshake::{HALF_OPEN_MAX, Role};
    use dataplane_net::Waker;

    use super::*;
    use crate::mesh::{ShardEnd, mesh};

    fn worker(shards: usize) -> (Worker, Vec<ShardEnd>) {
        let wakers = (0..shards).map(|_| Waker::new().unwrap()).collect();
        let (_link, shards, mesh) = mesh(wakers);
        let identity = Identity::generate().unwrap();
        let base = Clock::instant_of_zero();
        let worker = Worker {
            machine: Handshakes::new(identity.clone(), base),
            identity,
            base,
            mesh,
            slot: Arc::default(),
            associations: HashMap::new(),
            backlog: BTreeMap::new(),
        };
        (worker, shards)
    }

    /// We speak first, so that the start alone has an output.
    fn start(shard: u16, session: u64) -> (ShardIndex, HandshakeInput) {
        let input = HandshakeInput::Start {
            session: SessionId(session),
            role: Role::Client,
            fingerprint: Fingerprint {
                hash: FingerprintHash::Sha256,
                digest: vec![0; 32],
            },
        };
        (ShardIndex(shard), input)
    }

    fn outputs(shard: &ShardEnd) -> Vec<HandshakeOutput> {
        std::iter::from_fn(|| shard.handshake()).collect()
    }

    #[test]
    fn a_flight_goes_to_the_shard_of_its_session() {
        let (mut worker, shards) = worker(2);
        worker.turn(vec![start(1, 7), start(0, 8)]);
        for (shard, session) in [(0, 8), (1, 7)] {
            let outputs = outputs(&shards[shard]);
            assert!(
                matches!(&outputs[..], [HandshakeOutput::Flight { datagrams, .. }] if !datagrams.is_empty()),
                "{outputs:?}"
            );
            assert_eq!(outputs[0].session(), SessionId(session));
        }
    }

    /// Security.md D5.
    #[test]
    fn a_start_beyond_the_limit_fails_at_once_and_leaves_nothing() {
        let (mut worker, shards) = worker(2);
        let start_server = |session| {
            let (shard, mut input) = start(u16::from(session % 2 == 1), session);
            if let HandshakeInput::Start { role, .. } = &mut input {
                *role = Role::Server;
            }
            (shard, input)
        };
        let most = u64::try_from(HALF_OPEN_MAX).unwrap();
        worker.turn((0..most).map(start_server).collect());
        assert!(shards.iter().all(|shard| outputs(shard).is_empty()));
        worker.turn(vec![start_server(most + 1)]);
        let refused = outputs(&shards[1]);
        assert!(
            matches!(refused[..], [HandshakeOutput::Failed { session, .. }] if session.0 == most + 1),
            "{refused:?}"
        );
        assert_eq!(worker.associations.len(), HALF_OPEN_MAX);
        assert_eq!(worker.machine.counters().starts_refused, 1);
    }

    #[test]
    fn a_closed_session_is_forgotten() {
        let (mut worker, shards) = worker(1);
        let close = HandshakeInput::Close {
            session: SessionId(7),
        };
        worker.turn(vec![start(0, 7), (ShardIndex(0), close)]);
        assert_eq!(
            outputs(&shards[0]).len(),
            1,
            "the flight; nothing is said to who was not keyed"
        );
        assert!(worker.associations.is_empty() && worker.machine.is_empty());
    }

    #[test]
    fn a_shard_that_is_behind_gets_everything_later_and_in_order() {
        let (mut worker, shards) = worker(1);
        let sessions = 3_000;
        for session in 0..sessions {
            let reason = CloseReason::HandshakeFailed;
            let output = HandshakeOutput::Failed {
                session: SessionId(session),
                reason,
            };
            worker.deliver(ShardIndex(0), output);
        }
        assert!(worker.is_behind(), "the ring is shorter than that");
        let mut arrived = outputs(&shards[0]);
        worker.deliver_backlog();
        arrived.extend(outputs(&shards[0]));
        let order: Vec<u64> = arrived.iter().map(|output| output.session().0).collect();
        assert!(order.iter().copied().eq(0..sessions), "{order:?}");
    }

    #[test]
    fn nothing_waits_for_a_shard_that_has_ended() {
        let (mut worker, mut shards) = worker(2);
        let failed = |session| HandshakeOutput::Failed {
            session: SessionId(session),
            reason: CloseReason::HandshakeFailed,
        };
        for session in 0..3_000 {
            worker.deliver(ShardIndex(0), failed(session));
        }
        assert!(worker.is_behind());
        drop(shards.remove(0));
        worker.deliver_backlog();
        assert!(!worker.is_behind(), "the worker would wake for ever");
        worker.deliver(ShardIndex(1), failed(1));
        assert_eq!(outputs(&shards[0]).len(), 1, "the other shard goes on");
    }

    #[test]
    fn flights_beyond_the_backlog_are_dropped_and_results_are_not() {
        let (mut worker, shards) = worker(1);
        let flight = || HandshakeOutput::Flight {
            session: SessionId(1),
            datagrams: Vec::new(),
        };
        for _ in 0..BACKLOG_MAX * 2 {
            worker.deliver(ShardIndex(0), flight());
        }
        assert!(worker.slot.flights_dropped() > 0);
        assert_eq!(worker.backlog[&ShardIndex(0)].len(), BACKLOG_MAX);
        worker.deliver(
            ShardIndex(0),
            HandshakeOutput::PeerClosed {
                session: SessionId(1),
            },
        );
        let mut last = None;
        for _ in 0..10 {
            last = outputs(&shards[0]).pop().or(last);
            worker.deliver_backlog();
        }
        assert!(
            matches!(last, Some(HandshakeOutput::PeerClosed { .. })),
            "{last:?}"
        );
    }

    #[test]
    fn after_a_panic_handshakes_under_way_fail_and_new_ones_start() {
        let (mut worker, shards) = worker(1);
        worker.turn(vec![start(0, 7), start(0, 8)]);
        worker.associations.get_mut(&SessionId(8)).unwrap().keyed = true;
        outputs(&shards[0]);
        worker.start_over();
        let failed = outputs(&shards[0]);
        assert!(
            matches!(
                failed[..],
                [HandshakeOutput::Failed {
                    session: SessionId(7),
                    ..
                }]
            ),
            "the keyed session needs the machine no more: {failed:?}"
        );
        assert_eq!(worker.slot.panics(), 1);
        worker.turn(vec![start(0, 9)]);
        assert_eq!(outputs(&shards[0]).len(), 1);
    }
}
