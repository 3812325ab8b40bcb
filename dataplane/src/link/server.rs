//! The link thread's loop: connections, orders, what the shards report, and the end of the process.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane_api::event::{Draining, Hello, ShardInfo};
use dataplane_api::ids::ShardIndex;
use dataplane_api::reply::Unsupported;
use dataplane_api::wire::Frame;
use dataplane_api::{Command, Event, Reply};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_seqpacket::UnixSeqpacket;

use super::connection::{Connection, Incoming};
use super::listener::LinkListener;
use super::outgoing::Queued;
use crate::advertise::Advertised;
use crate::debug::{self, Asked, LinkState, Question, Subject};
use crate::journal;
use crate::lifetime::{Lifetime, Phase};
use crate::mesh::{ConnectionId, Ticket};
use crate::node::{Node, Output};
use crate::status::Status;

/// How long a connection stays before it counts as a control plane without having given an order: one
/// that only asks whether somebody listens is gone at once.
const CLAIM_DELAY: Duration = Duration::from_millis(50);

/// Connections at once: the control plane, the one that replaces it, and a few that only look.
const CONNECTIONS_MAX: usize = 8;

/// Orders that wait for the loop; the connections stop reading beyond.
const INBOX_MAX: usize = 256;

/// Reports of the shards taken in one go, so that orders are not starved by events.
const OUTPUTS_PER_TURN: usize = 512;

/// How long control planes have to read their last frames when the process ends: with the shards' end, a
/// stop stays below 2 s.
const FAREWELL: Duration = Duration::from_millis(300);

/// Pause after a failed accept: without descriptors it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the server is told from outside the link.
#[derive(Debug)]
pub struct Surroundings {
    /// Later phases, from signals.
    pub requests: mpsc::Receiver<Phase>,
    /// The addresses clients are told, as names change.
    pub advertised: watch::Receiver<Advertised>,
    /// What the ops port shows.
    pub status: Arc<Status>,
    /// What the ops port asks.
    pub questions: mpsc::Receiver<Question>,
}

/// The link server.
#[derive(Debug)]
pub struct Server {
    listener: LinkListener,
    node: Node,
    /// Without the shards, which depend on the addresses of the moment.
    hello: Hello,
    lifetime: Lifetime,
    surroundings: Surroundings,
    bell: Arc<Notify>,
    inbox: mpsc::Receiver<Incoming>,
    to_inbox: mpsc::Sender<Incoming>,
    connections: BTreeMap<ConnectionId, Connection>,
    /// The newest connection that gave an order or stayed.
    current: Option<ConnectionId>,
    /// The last one that was `current`, which may be gone: no older one has a say.
    newest: Option<ConnectionId>,
    /// The newest connection that has done neither yet, and when it has stayed.
    candidate: Option<(ConnectionId, Instant)>,
    next_connection: u64,
    /// Questions of the ops port that a shard has not answered yet.
    asked: Asked,
}

/// What woke the loop.
enum Wake {
    Accepted(std::io::Result<UnixSeqpacket>),
    Incoming(Incoming),
    Reports,
    Request(Phase),
    Advertised,
    Question(Question),
    Deadline,
}

impl Server {
    /// A server for `node`, not running yet. `bell` is the mesh's; `hello` says everything but the
    /// shards.
    #[must_use]
    pub fn new(
        listener: LinkListener,
        node: Node,
        bell: Arc<Notify>,
        hello: Hello,
        lifetime: Lifetime,
        surroundings: Surroundings,
    ) -> Server {
        let (to_inbox, inbox) = mpsc::channel(INBOX_MAX);
        Server {
            listener,
            node,
            hello,
            lifetime,
            surroundings,
            bell,
            inbox,
            to_inbox,
            connections: BTreeMap::new(),
            current: None,
            newest: None,
            candidate: None,
            // Zero is the node itself, see ConnectionId::NODE.
            next_connection: 1,
            asked: Asked::default(),
        }
    }

    /// Serves until the process is to stop, for whatever reason; the socket's file is gone afterwards.
    pub async fn run(mut self) {
        loop {
            let sessions = self.node.placement().sessions();
            self.lifetime.on_tick(Instant::now(), sessions);
            self.show_phase();
            if self.lifetime.phase() == Phase::Stopping
                || self.node.placement().alive().count() == 0
            {
                return self.farewell().await;
            }
            match self.wait().await {
                Wake::Accepted(Ok(socket)) => self.on_accepted(socket),
                Wake::Accepted(Err(error)) => {
                    tracing::error!(%error, "the link cannot accept: raise the limit of open files");
                    sleep(ACCEPT_PAUSE).await;
                }
                Wake::Incoming(incoming) => self.on_incoming(incoming),
                Wake::Reports => self.on_reports(),
                Wake::Request(phase) => self.lifetime.on_request(Instant::now(), phase),
                Wake::Advertised => {
                    let advertised = self.surroundings.advertised.borrow_and_update().clone();
                    self.node.set_advertised(advertised);
                }
                Wake::Question(question) => self.on_question(question),
                Wake::Deadline => self.on_deadline(Instant::now()),
            }
        }
    }

    /// Lets every control plane read what waits for it, and closes the connections.
    async fn farewell(&mut self) {
        for connection in self.connections.values() {
            connection.close();
        }
        let all_closed = async {
            while !self.connections.is_empty() {
                if let Some(Incoming::Closed(connection)) = self.inbox.recv().await {
                    self.connections.remove(&connection);
                }
            }
        };
        if timeout(FAREWELL, all_closed).await.is_err() {
            tracing::debug!("a control plane did not read its last frames");
        }
    }

    async fn wait(&mut self) -> Wake {
        let claim = self.candidate.map(|(_, at)| at);
        let deadline = self.lifetime.next_deadline().into_iter().chain(claim).min();
        let timer = async {
            match deadline {
                Some(at) => sleep_until(at.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            Some(phase) = self.surroundings.requests.recv() => Wake::Request(phase),
            () = self.bell.notified() => Wake::Reports,
            Some(incoming) = self.inbox.recv() => Wake::Incoming(incoming),
            accepted = self.listener.accept() => Wake::Accepted(accepted),
            Ok(()) = self.surroundings.advertised.changed() => Wake::Advertised,
            Some(question) = self.surroundings.questions.recv() => Wake::Question(question),
            () = timer => Wake::Deadline,
        }
    }

    fn on_accepted(&mut self, socket: UnixSeqpacket) {
        if self.connections.len() >= CONNECTIONS_MAX {
            self.evict_oldest_candidate();
        }
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let connection = Connection::start(id, socket, self.to_inbox.clone());
        connection.push(Frame::Hello(Box::new(self.hello(id))));
        self.connections.insert(id, connection);
        self.candidate = Some((id, Instant::now() + CLAIM_DELAY));
    }

    fn on_deadline(&mut self, now: Instant) {
        if let Some((connection, _)) = self.candidate.filter(|&(_, at)| at <= now) {
            self.take_over(connection);
        }
    }

    fn evict_oldest_candidate(&mut self) {
        let oldest = self
            .connections
            .keys()
            .find(|&&id| Some(id) != self.current)
            .copied();
        if let Some(connection) = oldest.and_then(|id| self.connections.remove(&id)) {
            tracing::warn!("too many link connections: the oldest without an order is closed");
            connection.close();
        }
    }

    fn on_incoming(&mut self, incoming: Incoming) {
        match incoming {
            // A superseded control plane gives no orders any more, not even those it had under way, and not even
            // when its successor is gone by now.
            Incoming::Order(connection, ..) | Incoming::Unknown(connection, ..)
                if self.newest > Some(connection) => {}
            Incoming::Order(connection, order, command) => {
                self.take_over(connection);
                self.on_order(Ticket { connection, order }, *command);
            }
            Incoming::Unknown(connection, order, kind) => {
                self.take_over(connection);
                self.answer(
                    Ticket { connection, order },
                    Reply::Unsupported(Unsupported { kind }),
                );
            }
            Incoming::Closed(connection) => self.on_closed(connection),
        }
    }

    fn on_order(&mut self, ticket: Ticket, command: Command) {
        if let Command::Drain(_) = command {
            self.lifetime.on_request(Instant::now(), Phase::Draining);
            self.show_phase();
        }
        if let Some(reply) = self.node.on_order(ticket, command) {
            self.answer(ticket, reply);
        }
        // A snapshot of a node without living shards is complete without any report.
        self.on_reports();
    }

    fn answer(&mut self, ticket: Ticket, reply: Reply) {
        if let Some(connection) = self.connections.get(&ticket.connection) {
            connection.push(Frame::Reply(ticket.order, reply));
        }
    }

    /// A connection newer than the control plane becomes it. All older ones are told and closed, also one that
    /// was about to give its first order; what was ordered before is carried out.
    fn take_over(&mut self, connection: ConnectionId) {
        if self.current == Some(connection) {
            return;
        }
        self.candidate
            .take_if(|(candidate, _)| *candidate <= connection);
        self.newest = Some(connection);
        if let Some(older) = self.current.replace(connection) {
            tracing::warn!("a newer control plane took the link over");
            self.node.on_disconnected(older);
        } else {
            tracing::info!("the control plane has the link");
        }
        for (_, older) in self.connections.range(..connection) {
            older.supersede();
        }
        self.lifetime.on_linked();
        self.surroundings.status.set_link_up(true);
    }

    fn on_closed(&mut self, connection: ConnectionId) {
        self.connections.remove(&connection);
        self.candidate
            .take_if(|(candidate, _)| *candidate == connection);
        self.node.on_disconnected(connection);
        if self.current == Some(connection) {
            self.current = None;
            self.lifetime.on_orphaned(Instant::now());
            self.surroundings.status.set_link_up(false);
            tracing::warn!("the control plane left the link: media goes on without it");
        }
    }

    fn on_reports(&mut self) {
        for _ in 0..OUTPUTS_PER_TURN {
            let Some(output) = self.node.poll_output() else {
                return;
            };
            self.dispatch(output);
        }
        self.bell.notify_one();
    }

    fn dispatch(&mut self, output: Output) {
        match output {
            Output::Reply(ticket, reply) if ticket.connection == ConnectionId::OPS => {
                self.asked.on_reply(ticket.order, reply);
            }
            Output::Reply(ticket, reply) => self.answer(ticket, reply),
            Output::Part(ticket, part) => {
                if let Some(connection) = self.connections.get(&ticket.connection) {
                    connection.push(Frame::Part(ticket.order, part));
                }
            }
            Output::Event(shard, counter, event) => {
                journal::on_event(shard, &event);
                for connection in self.connections.values() {
                    match connection.push_event(shard, counter, event.clone()) {
                        Queued::Resync => {
                            tracing::warn!(%shard, "state events were lost: the control plane resyncs");
                            self.surroundings.status.count_resync();
                        }
                        Queued::Coalesced => self.surroundings.status.count_coalesced(),
                        Queued::Waits | Queued::Covered => {}
                    }
                }
            }
        }
    }

    fn on_question(&mut self, question: Question) {
        match question.about {
            Subject::Sessions => question.answer(debug::sessions(self.node.placement())),
            Subject::Link => {
                let connections = self
                    .connections
                    .iter()
                    .map(|(&id, connection)| (id, connection.waiting()));
                let link = LinkState {
                    current: self.current,
                    connections: connections.collect(),
                    phase: self.lifetime.phase(),
                };
                question.answer(debug::link(&link, &self.node, &self.surroundings.status));
            }
            Subject::Inspect(what) => {
                let Some(order) = self.asked.add(question) else {
                    return;
                };
                let connection = ConnectionId::OPS;
                let ticket = Ticket { connection, order };
                if let Some(reply) = self.node.on_order(ticket, Command::Inspect(what)) {
                    self.asked.on_reply(order, reply);
                }
            }
        }
    }

    fn show_phase(&mut self) {
        if self.lifetime.phase() >= Phase::Draining && self.node.drain() {
            tracing::info!("draining: no session is admitted any more");
            for connection in self.connections.values() {
                connection.push_event(ShardIndex(0), 0, Event::Draining(Draining {}));
            }
        }
        self.surroundings
            .status
            .set_draining(self.node.is_draining());
        self.surroundings
            .status
            .set_sessions(self.node.placement().sessions());
    }

    fn hello(&self, connection: ConnectionId) -> Hello {
        let shards = self
            .node
            .shards()
            .map(|(index, udp_port)| ShardInfo {
                index,
                addresses: self.node.candidates(index),
                udp_port,
            })
            .collect();
        Hello {
            shards,
            draining: self.node.is_draining(),
            connection: connection.0,
            ..self.hello.clone()
        }
    }
}
