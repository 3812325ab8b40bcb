//! One shard's thread: pinned, owning one edge and one [`Shard`], turning until the process ends.
//!
//! ```text
//! wait            until a datagram, mail, or the shard's next deadline; no longer
//! failures        runs of the last turn that did not leave
//! datagrams       at most what the edge received in one go
//! mail            orders, handshake outputs, handovers: each within a budget a turn
//! tick, flush     timers; seal and queue what is due
//! submit          one system call; receive buffers go back
//! outputs         events, handshake inputs, handovers to their rings; counters once a second
//! ```

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};

use dataplane_api::command::Close;
use dataplane_api::event::ShardStats;
use dataplane_api::ids::ShardIndex;
use dataplane_api::reply::{Inspected, Refusal};
use dataplane_api::snapshot::Part;
use dataplane_api::{Command, Event, Reply};
use dataplane_engine::packet::Datagram;
use dataplane_engine::shard::{Shard, ShardConfig};
use dataplane_engine::time::Micros;
use dataplane_engine::transport::handshake::HandshakeInput;
use dataplane_net::{
    AnyEdge, Clock, Edge, EdgeConfig, EdgeError, EdgeKind, ShardSockets, Waker, affinity,
};

use crate::mesh::{Report, ShardEnd, Ticket};
use crate::route::refused;
use crate::stats::{RingDrops, Sample, Slot, Turns};

/// Orders carried out in one turn. An admit costs microseconds, so a join storm of hundreds must not
/// hold up the media of those who are here.
const ORDERS_PER_TURN: usize = 32;

/// Handshake outputs taken in one turn; each may set up ciphers.
const HANDSHAKES_PER_TURN: usize = 64;

/// Handed-over checks taken in one turn.
const HANDOVERS_PER_TURN: usize = 64;

/// Interval of counters.
const SAMPLE_INTERVAL_US: u64 = 1_000_000;

/// How soon a start or close that found the handshake worker's ring full is tried again.
const HELD_BACK_RETRY_US: u64 = 2_000;

/// How long a stopping shard lingers for the `close_notify` of its sessions to come back from the
/// handshake worker and leave.
const FAREWELL_US: u64 = 200_000;

/// Everything a shard's thread starts with.
#[derive(Debug)]
pub struct ShardSetup {
    /// The engine's configuration.
    pub config: ShardConfig,
    /// The processor to pin to, if any.
    pub cpu: Option<usize>,
    /// Which edge to open.
    pub edge: EdgeKind,
    /// The bound sockets.
    pub sockets: ShardSockets,
    /// The waker that the mesh holds clones of.
    pub waker: Waker,
    /// The shard's side of the mesh.
    pub mesh: ShardEnd,
    /// Where its counters go.
    pub slot: Arc<Slot>,
}

/// What a shard's thread says once: it serves, or its edge could not be opened.
pub type Started = (ShardIndex, Result<(), EdgeError>);

/// Starts a shard's thread. It says on `started` whether it serves. A panic ends only this shard.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn(setup: ShardSetup, started: Sender<Started>) -> io::Result<JoinHandle<()>> {
    let index = setup.config.index;
    thread::Builder::new()
        .name(format!("shard-{index}"))
        .spawn(
            move || match catch_unwind(AssertUnwindSafe(|| run(setup, started))) {
                Ok(Ok(())) => tracing::debug!(shard = %index, "shard ended"),
                Ok(Err(error)) => tracing::error!(
                    alarm = true,
                    shard = %index,
                    %error,
                    "the shard's edge failed: its sessions are lost, the other shards go on"
                ),
                Err(_) => tracing::error!(
                    alarm = true,
                    shard = %index,
                    "the shard panicked: its sessions are lost, the other shards go on"
                ),
            },
        )
}

fn run(setup: ShardSetup, started: Sender<Started>) -> Result<(), EdgeError> {
    let ShardSetup {
        config,
        cpu,
        edge,
        sockets,
        waker,
        mesh,
        slot,
    } = setup;
    let index = config.index;
    if let Some(cpu) = cpu
        && let Err(error) = affinity::pin_current_thread(cpu)
    {
        tracing::warn!(shard = %index, cpu, %error, "cannot pin the shard: choose --cpus that this process may use");
    }
    let edge = match AnyEdge::open(edge, sockets, waker, EdgeConfig::default()) {
        Ok(edge) => edge,
        Err(error) => {
            // The receiver says it; without one nobody waits for this shard.
            let _ = started.send((index, Err(error)));
            return Ok(());
        }
    };
    let now = Clock::now();
    let runner = Runner {
        shard: Shard::new(config),
        mesh,
        slot,
        event_counter: 0,
        held_back: VecDeque::new(),
        turns: Turns::default(),
        rings: RingDrops::default(),
        sample_at: now.plus_us(SAMPLE_INTERVAL_US),
        now,
        farewell_until: None,
    };
    let _ = started.send((index, Ok(())));
    // Whoever counts the shards that serve waits for the last sender.
    drop(started);
    match edge {
        AnyEdge::Uring(edge) => runner.run(edge),
        AnyEdge::Mmsg(edge) => runner.run(edge),
    }
}

struct Runner {
    shard: Shard,
    mesh: ShardEnd,
    slot: Arc<Slot>,
    /// Counter of the last event.
    event_counter: u64,
    /// Starts and closes that found the ring to the handshake worker full. While any waits, records are
    /// dropped: DTLS repeats records, nobody repeats a start.
    held_back: VecDeque<HandshakeInput>,
    turns: Turns,
    rings: RingDrops,
    sample_at: Micros,
    /// The time of the last turn.
    now: Micros,
    /// Set once the process ends.
    farewell_until: Option<Micros>,
}

impl Runner {
    fn run<E: Edge>(mut self, mut edge: E) -> Result<(), EdgeError> {
        loop {
            let turn = edge.wait(Some(self.deadline()))?;
            let now = turn.now;
            self.now = now;
            while let Some(failed) = edge.next_failure() {
                self.shard.on_send_failed(now, failed);
            }
            while let Some(datagram) = edge.next_datagram() {
                self.shard.on_datagram(now, datagram);
            }
            self.take_mail(now);
            self.shard.on_tick(now);
            self.shard.flush(now, &mut edge);
            edge.submit()?;
            edge.end_turn();
            self.pass_on();
            if now >= self.sample_at {
                self.sample(now, &edge);
            }
            if self.has_ended(now) {
                return Ok(());
            }
            self.turns.record(Clock::now().since(now));
        }
    }

    /// When the next turn must begin even if nothing arrives.
    fn deadline(&self) -> Micros {
        if self.mesh.has_mail() {
            return Micros::ZERO;
        }
        let held_back = (!self.held_back.is_empty()).then(|| self.now.plus_us(HELD_BACK_RETRY_US));
        [self.shard.next_deadline(), held_back, self.farewell_until]
            .into_iter()
            .flatten()
            .fold(self.sample_at, Micros::min)
    }

    fn take_mail(&mut self, now: Micros) {
        for _ in 0..HANDSHAKES_PER_TURN {
            let Some(output) = self.mesh.handshake() else {
                break;
            };
            self.shard.on_handshake(now, output);
        }
        for _ in 0..HANDOVERS_PER_TURN {
            let Some(mut handover) = self.mesh.handover() else {
                break;
            };
            let datagram = Datagram {
                path: handover.path,
                bytes: &mut handover.bytes,
                arrival: handover.arrival,
            };
            self.shard.on_datagram(now, datagram);
        }
        for _ in 0..ORDERS_PER_TURN {
            let Some((ticket, command)) = self.mesh.order() else {
                break;
            };
            self.carry_out(now, ticket, command);
        }
    }

    fn carry_out(&mut self, now: Micros, ticket: Ticket, command: Command) {
        let report = match command {
            Command::Snapshot(_) => {
                // The counter names the last event that the parts contain, so none may be waiting.
                self.report_events();
                Report::Parts(ticket, self.shard.snapshot(), self.event_counter)
            }
            Command::Inspect(what) => {
                let reply = match self.shard.inspect(what) {
                    Some(json) => Reply::Inspected(Inspected { json }),
                    None => refused(Refusal::Unknown, format!("nothing here is {what:?}")),
                };
                Report::Reply(ticket, reply)
            }
            Command::Admit(_)
            | Command::Close(_)
            | Command::Publish(_)
            | Command::Unpublish(_)
            | Command::Subscribe(_)
            | Command::Unsubscribe(_)
            | Command::SetPolicy(_)
            | Command::RestartIce(_)
            | Command::Accept(_)
            | Command::Drain(_)
            | Command::Ping(_) => Report::Reply(ticket, self.shard.on_command(now, command)),
        };
        self.mesh.report(report);
        self.mesh.ring();
    }

    /// Moves the shard's outputs to their rings.
    fn pass_on(&mut self) {
        self.report_events();
        while let Some(handover) = self.shard.poll_handover() {
            if !self.mesh.hand_over(handover) {
                self.rings.handovers += 1;
            }
        }
        while let Some(input) = self.held_back.pop_front() {
            if let Err(input) = self.mesh.to_handshake(input) {
                self.held_back.push_front(input);
                break;
            }
        }
        while let Some(input) = self.shard.poll_handshake() {
            let refused = if self.held_back.is_empty() {
                self.mesh.to_handshake(input).err()
            } else {
                Some(input)
            };
            match refused {
                None => {}
                Some(HandshakeInput::Record { .. }) => self.rings.records += 1,
                Some(input) => self.held_back.push_back(input),
            }
        }
    }

    fn report_events(&mut self) {
        let before = self.event_counter;
        while let Some(event) = self.shard.poll_event() {
            self.event_counter += 1;
            self.mesh.report(Report::Event(self.event_counter, event));
        }
        if self.event_counter != before {
            self.mesh.ring();
        }
    }

    /// Copies the counters out, for the control plane and for the ops port.
    fn sample<E: Edge>(&mut self, now: Micros, edge: &E) {
        self.sample_at = now.plus_us(SAMPLE_INTERVAL_US);
        let engine = self.shard.counters();
        let population = self.shard.population();
        let stats = ShardStats {
            sessions: saturated(population.sessions),
            tracks: saturated(population.tracks),
            subscriptions: saturated(population.subscriptions),
            packets_in: engine.received_packets,
            packets_out: engine.sent_packets,
            bytes_in: engine.received_bytes,
            bytes_out: engine.sent_bytes,
            dropped: engine.dropped_in.total() + engine.dropped_out.total(),
        };
        self.slot.publish(Sample {
            engine: engine.clone(),
            edge: *edge.counters(),
            kernel_drops: edge.kernel_drops(),
            unsegmented: edge
                .unsegmented_addresses()
                .iter()
                .map(ToString::to_string)
                .collect(),
            turns: self.turns.clone(),
            rings: self.rings,
            population,
        });
        self.event_counter += 1;
        self.mesh
            .report(Report::Event(self.event_counter, Event::ShardStats(stats)));
        self.mesh.ring();
    }

    /// Once the process ends, every session is closed and its peers are told, within
    /// [`FAREWELL_US`].
    fn has_ended(&mut self, now: Micros) -> bool {
        if let Some(until) = self.farewell_until {
            return now >= until;
        }
        if !self.mesh.must_stop() {
            return false;
        }
        let mut told = false;
        for part in self.shard.snapshot() {
            if let Part::Session(part) = part {
                told |= part.connected;
                let close = Command::Close(Close {
                    session: part.session,
                });
                self.shard.on_command(now, close);
            }
        }
        self.pass_on();
        self.farewell_until = Some(now.plus_us(FAREWELL_US));
        !told
    }
}

fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
