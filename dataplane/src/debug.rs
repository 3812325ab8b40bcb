//! `/debug/*` of the ops port: what the node holds, as JSON for people. No names and no addresses of anybody: there
//! are none here.
//!
//! What the link thread knows it answers itself; what a shard knows it asks as the control plane does, with an
//! order in the shard's ring, so a shard that is busy is not made busier and one that hangs holds up nobody.

use std::collections::BTreeMap;
use std::time::Duration;

use dataplane_api::Reply;
use dataplane_api::command::Inspect;
use dataplane_api::ids::{OrderId, SessionId, ShardIndex};
use dataplane_api::reply::Refusal;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::lifetime::Phase;
use crate::link::Waiting;
use crate::mesh::ConnectionId;
use crate::node::Node;
use crate::placement::Placement;
use crate::status::Status;

/// Questions that wait for the link thread; beyond, the ops port says that it is busy.
pub const QUESTIONS_MAX: usize = 16;

/// Sessions listed at once. Whoever wants more asks the shards' metrics how many there are.
const SESSIONS_LISTED_MAX: usize = 1_000;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `/debug/sessions`
    Sessions,
    /// `/debug/link`
    Link,
    /// `/debug/sessions/{handle}` and `/debug/shards/{i}`
    Inspect(Inspect),
}

impl Subject {
    /// What a path names, if it names anything that is answered by the link thread.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Subject> {
        let mut parts = path.strip_prefix("/debug/")?.split('/');
        let subject = match (parts.next()?, parts.next()) {
            ("link", None) => Subject::Link,
            ("sessions", None) => Subject::Sessions,
            ("sessions", Some(handle)) => {
                Subject::Inspect(Inspect::Session(SessionId(handle.parse().ok()?)))
            }
            ("shards", Some(index)) => {
                Subject::Inspect(Inspect::Shard(ShardIndex(index.parse().ok()?)))
            }
            _ => return None,
        };
        parts.next().is_none().then_some(subject)
    }
}

/// One question of the ops port.
#[derive(Debug)]
pub struct Question {
    /// What it asks for.
    pub about: Subject,
    to: oneshot::Sender<Answer>,
}

/// What becomes of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// JSON.
    Found(String),
    /// Nothing here has that name.
    Unknown(String),
    /// Nobody answers now, and why.
    Unavailable(String),
}

impl Question {
    /// Answers it, if somebody still waits.
    pub(crate) fn answer(self, json: Value) {
        drop(self.to.send(Answer::Found(json.to_string())));
    }
}

/// The ops port's end.
#[derive(Clone, Debug)]
pub struct Asker(mpsc::Sender<Question>);

impl Asker {
    /// An asker and where its questions arrive.
    #[must_use]
    pub fn new() -> (Asker, mpsc::Receiver<Question>) {
        let (sender, receiver) = mpsc::channel(QUESTIONS_MAX);
        (Asker(sender), receiver)
    }

    /// Asks, and waits a second at most.
    pub async fn ask(&self, about: Subject) -> Answer {
        let (to, answer) = oneshot::channel();
        if self.0.try_send(Question { about, to }).is_err() {
            return Answer::Unavailable("too many questions at once: ask again".to_owned());
        }
        let unanswered = || match about {
            Subject::Inspect(_) => "the shard does not answer".to_owned(),
            Subject::Sessions | Subject::Link => "the link thread does not answer".to_owned(),
        };
        match timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Answer::Unavailable(unanswered()),
        }
    }
}

/// Questions that a shard has not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    waiting: BTreeMap<OrderId, oneshot::Sender<Answer>>,
    last: u64,
}

impl Asked {
    /// The order that asks it; `None` when too many wait already, which the asker is told.
    pub(crate) fn add(&mut self, question: Question) -> Option<OrderId> {
        self.waiting.retain(|_, to| !to.is_closed());
        if self.waiting.len() >= QUESTIONS_MAX {
            let busy = Answer::Unavailable("too many questions wait for shards".to_owned());
            drop(question.to.send(busy));
            return None;
        }
        self.last += 1;
        let order = OrderId(self.last);
        self.waiting.insert(order, question.to);
        Some(order)
    }

    /// A shard has answered.
    pub(crate) fn on_reply(&mut self, order: OrderId, reply: Reply) {
        let Some(to) = self.waiting.remove(&order) else {
            return;
        };
        let answer = match reply {
            Reply::Inspected(inspected) => Answer::Found(inspected.json),
            Reply::Refused(refused) if refused.reason == Refusal::Unknown => {
                Answer::Unknown(refused.detail)
            }
            Reply::Refused(refused) => Answer::Unavailable(refused.detail),
            Reply::Done(_) | Reply::Admitted(_) | Reply::Pong(_) | Reply::Unsupported(_) => {
                Answer::Unavailable("the shard answered something else".to_owned())
            }
        };
        // Whoever asked may have gone.
        drop(to.send(answer));
    }
}

/// Where sessions live, by handle.
pub(crate) fn sessions(placement: &Placement) -> Value {
    let mut seats: Vec<_> = placement.seats().collect();
    let sessions = seats.len();
    seats.sort_unstable();
    let listed = seats.iter().take(SESSIONS_LISTED_MAX);
    let listed: Vec<Value> = listed
        .map(|(session, room, shard)| {
            json!({"session": session.to_string(), "room": room.to_string(), "shard": shard.0})
        })
        .collect();
    json!({"total": sessions, "items": listed})
}

/// What the link server knows of itself.
#[derive(Debug)]
pub(crate) struct LinkState {
    /// The connection of the control plane.
    pub(crate) current: Option<ConnectionId>,
    /// Every connection, with what waits to be written to it.
    pub(crate) connections: BTreeMap<ConnectionId, Waiting>,
    pub(crate) phase: Phase,
}

/// The link's connections and queues.
pub(crate) fn link(link: &LinkState, node: &Node, status: &Status) -> Value {
    let connection = |(&id, waiting): (&ConnectionId, &Waiting)| {
        json!({
            "connection": id.0,
            "control_plane": link.current == Some(id),
            "waiting_frames": waiting.frames,
            "waiting_events": waiting.events,
            "waiting_measurements": waiting.measurements,
            "resync_waits": waiting.resync,
        })
    };
    let connections: Vec<Value> = link.connections.iter().map(connection).collect();
    let orders = node.unanswered();
    let orders: Vec<Value> = orders
        .map(|(shard, orders)| json!({"shard": shard.0, "unanswered_orders": orders}))
        .collect();
    json!({
        "phase": match link.phase {
            Phase::Serving => "serving",
            Phase::Draining => "draining",
            Phase::Stopping => "stopping",
        },
        "connections": connections,
        "shards": orders,
        "sessions": node.placement().sessions(),
        "resyncs": status.resyncs(),
        "measurements_dropped": status.measurements_dropped(),
    })
}

/// Every shard, as of its last sample.
pub(crate) fn shards(status: &Status) -> Value {
    let shards: Vec<Value> = status
        .shards()
        .map(|(index, shard)| {
            let sample = shard.slot.read();
            json!({
                "shard": index.0,
                "up": !shard.health.has_ended(),
                "sessions": sample.population.sessions,
                "tracks": sample.population.tracks,
                "subscriptions": sample.population.subscriptions,
                "packets_in": sample.engine.received_packets,
                "packets_out": sample.engine.sent_packets,
                "dropped": sample.engine.dropped_in.total() + sample.engine.dropped_out.total(),
                "turns": sample.turns.total(),
                "linger_us": sample.engine.linger_us,
            })
        })
        .collect();
    json!({"items": shards})
}
