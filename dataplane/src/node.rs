//! The node as the link thread sees it: where everything lives, which orders are unanswered, and the
//! way of an order to its shard and of a report back. No sockets and no clock.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;

use dataplane_api::command::Snapshot;
use dataplane_api::event::ResyncNeeded;
use dataplane_api::ids::{OrderId, ShardIndex};
use dataplane_api::reply::{Done, Refusal};
use dataplane_api::snapshot::{End, Part, ShardEnd};
use dataplane_api::{Command, Event, Reply};

use crate::advertise::Advertised;
use crate::mesh::{ConnectionId, LinkEnd, ORDERS_IN_FLIGHT_MAX, Report, ShardHealth, Ticket};
use crate::placement::Placement;
use crate::route::{Effect, Route, refused, route};

/// What the node has to say to a control plane.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// The answer to an order.
    Reply(Ticket, Reply),
    /// A part of the answer to `Snapshot`.
    Part(Ticket, Part),
    /// An event, for whoever is connected.
    Event(ShardIndex, u64, Event),
}

/// The link thread's state.
#[derive(Debug)]
pub struct Node {
    mesh: LinkEnd,
    placement: Placement,
    shards: Vec<ShardRow>,
    in_flight: HashMap<(ShardIndex, Ticket), Effect>,
    snapshot: Option<Progress>,
    advertised: Advertised,
    draining: bool,
    censuses: u64,
    /// Whose ring is looked at next.
    turn: ShardIndex,
    /// Outputs that were made ahead of being asked for.
    ready: VecDeque<Output>,
}

#[derive(Debug)]
struct ShardRow {
    udp_port: u16,
    /// Orders it has not answered.
    in_flight: usize,
    /// Counter of its last event that arrived here.
    counter: u64,
    /// Newest lost state event that a `ResyncNeeded` has covered.
    lost_up_to: u64,
    ended: bool,
}

/// A snapshot on its way.
#[derive(Debug)]
struct Progress {
    ticket: Ticket,
    shards_left: usize,
}

impl Node {
    /// A node whose shards listen on `udp_ports`.
    #[must_use]
    pub fn new(mesh: LinkEnd, udp_ports: &[u16], advertised: Advertised) -> Node {
        let row = |&udp_port: &u16| ShardRow {
            udp_port,
            in_flight: 0,
            counter: 0,
            lost_up_to: 0,
            ended: false,
        };
        Node {
            placement: Placement::new(mesh.shards()),
            shards: udp_ports.iter().map(row).collect(),
            mesh,
            in_flight: HashMap::new(),
            snapshot: None,
            advertised,
            draining: false,
            censuses: 0,
            turn: ShardIndex(0),
            ready: VecDeque::new(),
        }
    }

    /// Takes an order. `None`: the answer comes from [`Node::poll_output`].
    pub fn on_order(&mut self, ticket: Ticket, command: Command) -> Option<Reply> {
        match route(&command, &mut self.placement, self.draining) {
            Route::Answer(reply) => Some(reply),
            Route::All => self.begin_snapshot(ticket, &command),
            Route::To(shard, effect) => self.send(shard, ticket, command, effect).err(),
        }
    }

    /// The next thing to say. Call until `None` whenever the mesh's bell rang.
    pub fn poll_output(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.ready.pop_front() {
                return Some(output);
            }
            match self.next_report() {
                Some((shard, report)) => self.on_report(shard, report),
                // Looking at the rings may have found a loss or an end, which is something to say.
                None if self.ready.is_empty() => return None,
                None => {}
            }
        }
    }

    /// From now on no session is admitted. True when that is news.
    pub fn drain(&mut self) -> bool {
        !std::mem::replace(&mut self.draining, true)
    }

    /// Orders that a shard has not answered.
    pub fn unanswered(&self) -> impl Iterator<Item = (ShardIndex, usize)> + '_ {
        (0..=u16::MAX)
            .map(ShardIndex)
            .zip(self.shards.iter().map(|row| row.in_flight))
    }

    /// Whether sessions are refused because the node drains.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Clients are told these addresses from now on.
    pub fn set_advertised(&mut self, advertised: Advertised) {
        self.advertised = advertised;
    }

    /// The living shards and their UDP ports.
    pub fn shards(&self) -> impl Iterator<Item = (ShardIndex, u16)> + '_ {
        self.placement
            .alive()
            .map(|shard| (shard, self.shards[usize::from(shard.0)].udp_port))
    }

    /// Where sessions live.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// The candidates of a shard, best first.
    #[must_use]
    pub fn candidates(&self, shard: ShardIndex) -> Vec<SocketAddr> {
        self.shards
            .get(usize::from(shard.0))
            .map(|row| self.advertised.on_port(row.udp_port))
            .unwrap_or_default()
    }

    /// A control plane is gone: the snapshot it asked for ends, its other orders are carried out and
    /// their answers go nowhere.
    pub fn on_disconnected(&mut self, connection: ConnectionId) {
        if self
            .snapshot
            .as_ref()
            .is_some_and(|progress| progress.ticket.connection == connection)
        {
            self.snapshot = None;
        }
    }

    fn send(
        &mut self,
        shard: ShardIndex,
        ticket: Ticket,
        command: Command,
        effect: Effect,
    ) -> Result<(), Reply> {
        let Some(row) = self.shards.get_mut(usize::from(shard.0)) else {
            return Err(refused(Refusal::Unknown, format!("no shard {shard}")));
        };
        let sent = row.in_flight < ORDERS_IN_FLIGHT_MAX
            && !row.ended
            && self.mesh.order(shard, ticket, command);
        if !sent {
            self.undo(effect);
            return Err(refused(
                Refusal::Overloaded,
                format!("shard {shard} has {ORDERS_IN_FLIGHT_MAX} orders to answer"),
            ));
        }
        row.in_flight += 1;
        self.in_flight.insert((shard, ticket), effect);
        Ok(())
    }

    /// Every shard is asked; the parts come as the shards answer, then `End`.
    fn begin_snapshot(&mut self, ticket: Ticket, command: &Command) -> Option<Reply> {
        if self.snapshot.is_some() {
            return Some(refused(
                Refusal::Overloaded,
                "a snapshot is already on its way".to_owned(),
            ));
        }
        let alive: Vec<ShardIndex> = self.placement.alive().collect();
        let mut shards_left = 0;
        for shard in alive {
            if let Err(reply) = self.send(shard, ticket, command.clone(), Effect::Snapshot) {
                // The parts of the shards that were asked before find no snapshot and are dropped.
                return Some(reply);
            }
            shards_left += 1;
        }
        self.snapshot = Some(Progress {
            ticket,
            shards_left,
        });
        self.finish_snapshot();
        None
    }

    /// Takes the shards in turn, so that a loud one does not silence the others.
    fn next_report(&mut self) -> Option<(ShardIndex, Report)> {
        for _ in 0..self.shards.len() {
            let shard = self.turn;
            self.turn =
                ShardIndex((shard.0 + 1) % u16::try_from(self.shards.len()).unwrap_or(u16::MAX));
            // Read before the ring is, so that whatever a shard reported before it ended is heard.
            let ended = self.mesh.health(shard).is_some_and(ShardHealth::has_ended);
            if let Some(report) = self.mesh.report(shard) {
                return Some((shard, report));
            }
            self.notice_losses(shard);
            if ended {
                self.on_ended(shard);
            }
        }
        None
    }

    fn on_report(&mut self, shard: ShardIndex, report: Report) {
        match report {
            Report::Reply(ticket, reply) => {
                let effect = self.answered(shard, ticket);
                self.apply(effect, &reply);
                let reply = self.with_candidates(shard, reply);
                self.ready.push_back(Output::Reply(ticket, reply));
            }
            Report::Parts(ticket, parts, counter) => match self.answered(shard, ticket) {
                Effect::Census => self.on_census(shard, &parts),
                Effect::Snapshot => self.on_parts(shard, ticket, parts, counter),
                Effect::None
                | Effect::Admit(_)
                | Effect::Close(_)
                | Effect::Publish(_)
                | Effect::Unpublish(_) => {}
            },
            Report::Event(counter, event) => {
                if let Some(row) = self.shards.get_mut(usize::from(shard.0)) {
                    row.counter = counter;
                }
                if let Event::SessionClosed(closed) = &event {
                    self.placement.on_closed(closed.session);
                }
                self.ready.push_back(Output::Event(shard, counter, event));
            }
        }
    }

    fn on_parts(&mut self, shard: ShardIndex, ticket: Ticket, parts: Vec<Part>, counter: u64) {
        let Some(progress) = self
            .snapshot
            .as_mut()
            .filter(|progress| progress.ticket == ticket)
        else {
            return;
        };
        progress.shards_left -= 1;
        self.ready
            .extend(parts.into_iter().map(|part| Output::Part(ticket, part)));
        self.ready.push_back(Output::Part(
            ticket,
            Part::ShardEnd(ShardEnd { shard, counter }),
        ));
        self.finish_snapshot();
    }

    fn finish_snapshot(&mut self) {
        if let Some(progress) = self.snapshot.take_if(|progress| progress.shards_left == 0) {
            self.ready
                .push_back(Output::Part(progress.ticket, Part::End(End {})));
        }
    }

    /// State events of a shard found its ring full: the control plane is told to ask for a snapshot, and
    /// the tables here ask the shard what it holds.
    fn notice_losses(&mut self, shard: ShardIndex) {
        let lost_up_to = self.mesh.health(shard).map_or(0, ShardHealth::lost_up_to);
        let covered = self
            .shards
            .get(usize::from(shard.0))
            .map_or(0, |row| row.lost_up_to);
        if lost_up_to == covered {
            return;
        }
        self.censuses += 1;
        let ticket = Ticket {
            connection: ConnectionId::NODE,
            order: OrderId(self.censuses),
        };
        let census = Command::Snapshot(Snapshot {});
        // A shard with too many orders in flight is asked when it has answered one.
        if self.send(shard, ticket, census, Effect::Census).is_ok() {
            self.shards[usize::from(shard.0)].lost_up_to = lost_up_to;
            self.ready.push_back(resync(shard, lost_up_to));
        }
    }

    fn on_census(&mut self, shard: ShardIndex, parts: &[Part]) {
        let mut sessions = HashSet::new();
        let mut tracks = Vec::new();
        for part in parts {
            match part {
                Part::Session(part) => drop(sessions.insert(part.session)),
                Part::Track(part) => tracks.push((part.track, part.session)),
                Part::ShardEnd(_) | Part::End(_) => {}
            }
        }
        self.placement.on_census(shard, &sessions, &tracks);
    }

    /// A shard's thread is gone and its ring is empty: what it held is gone, its orders are answered.
    fn on_ended(&mut self, shard: ShardIndex) {
        let Some(row) = self
            .shards
            .get_mut(usize::from(shard.0))
            .filter(|row| !row.ended)
        else {
            return;
        };
        row.ended = true;
        row.in_flight = 0;
        let counter = row.counter.max(row.lost_up_to) + 1;
        self.placement.on_dead(shard);
        let orphans: Vec<(ShardIndex, Ticket)> = self
            .in_flight
            .keys()
            .filter(|(other, _)| *other == shard)
            .copied()
            .collect();
        for key in orphans {
            let effect = self.in_flight.remove(&key).unwrap_or(Effect::None);
            let (_, ticket) = key;
            match effect {
                Effect::Census => {}
                Effect::Snapshot => self.on_parts(shard, ticket, Vec::new(), counter),
                // What lived on the shard is closed now, whatever the reason.
                Effect::Close(_) | Effect::Unpublish(_) => {
                    self.ready
                        .push_back(Output::Reply(ticket, Reply::Done(Done {})));
                }
                Effect::None | Effect::Admit(_) | Effect::Publish(_) => {
                    let reply = refused(Refusal::Unknown, format!("shard {shard} has failed"));
                    self.ready.push_back(Output::Reply(ticket, reply));
                }
            }
        }
        self.ready.push_back(resync(shard, counter));
    }

    fn answered(&mut self, shard: ShardIndex, ticket: Ticket) -> Effect {
        if let Some(row) = self.shards.get_mut(usize::from(shard.0)) {
            row.in_flight = row.in_flight.saturating_sub(1);
        }
        self.in_flight
            .remove(&(shard, ticket))
            .unwrap_or(Effect::None)
    }

    fn apply(&mut self, effect: Effect, reply: &Reply) {
        let is_refused = matches!(reply, Reply::Refused(_) | Reply::Unsupported(_));
        match effect {
            Effect::Admit(session) if !is_refused => self.placement.on_admitted(session),
            Effect::Close(session) if !is_refused => self.placement.on_closed(session),
            Effect::Unpublish(track) if !is_refused => self.placement.on_unpublished(track),
            Effect::Admit(_) | Effect::Publish(_) if is_refused => self.undo(effect),
            Effect::None
            | Effect::Admit(_)
            | Effect::Close(_)
            | Effect::Publish(_)
            | Effect::Unpublish(_)
            | Effect::Snapshot
            | Effect::Census => {}
        }
    }

    /// The order was not carried out: what was noted ahead of its answer is taken back.
    fn undo(&mut self, effect: Effect) {
        match effect {
            Effect::Admit(session) => self.placement.on_refused(session),
            Effect::Publish(track) => self.placement.on_unpublished(track),
            Effect::None
            | Effect::Close(_)
            | Effect::Unpublish(_)
            | Effect::Snapshot
            | Effect::Census => {}
        }
    }

    /// Names are resolved again each minute, so the candidates are put in when the answer leaves.
    fn with_candidates(&self, shard: ShardIndex, mut reply: Reply) -> Reply {
        if let Reply::Admitted(admitted) = &mut reply {
            admitted.candidates = self.candidates(shard);
        }
        reply
    }
}

fn resync(shard: ShardIndex, counter: u64) -> Output {
    Output::Event(shard, counter, Event::ResyncNeeded(ResyncNeeded {}))
}

#[cfg(test)]
mod tests;
