//! Where an order goes: to the shard of its session, track or room, to all shards, or nowhere because
//! the answer is known here.

use dataplane_api::command::{Admit, Inspect, TAG_BYTES_MAX};
use dataplane_api::ids::{SessionId, ShardIndex, TrackId};
use dataplane_api::reply::{Done, Pong, Refusal, Refused};
use dataplane_api::{Command, Reply};

use crate::placement::Placement;

/// The way of one order.
#[derive(Debug, PartialEq, Eq)]
pub enum Route {
    /// To this shard; its answer has this effect on the tables.
    To(ShardIndex, Effect),
    /// To every shard.
    All,
    /// Nowhere: this is the answer.
    Answer(Reply),
}

/// What the answer to an order changes in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// The session is admitted, or its place is free again.
    Admit(SessionId),
    /// The session is gone.
    Close(SessionId),
    /// The track is published, or forgotten.
    Publish(TrackId),
    /// The track is gone.
    Unpublish(TrackId),
    /// One shard's share of a snapshot.
    Snapshot,
    /// What a shard holds, asked by the node itself.
    Census,
}

/// Routes one order and notes in the tables what has to be known before its answer: the place of an
/// admitted session and the publisher of a track.
///
/// What is already gone is closed, unpublished and unsubscribed without asking anyone: orders are
/// idempotent.
pub fn route(command: &Command, placement: &mut Placement, draining: bool) -> Route {
    match command {
        Command::Admit(admit) => route_admit(admit, placement, draining),
        Command::Close(order) => match placement.of_session(order.session) {
            Some(shard) => Route::To(shard, Effect::Close(order.session)),
            None => done(),
        },
        Command::Publish(order) => {
            let Some(shard) = placement.of_session(order.session) else {
                return unknown(format!("no session {}", order.session));
            };
            // A refusal of a repeated order must not forget the track of the first.
            let known = placement.of_track(order.track).is_some();
            placement.on_publish(order.track, order.session);
            Route::To(
                shard,
                if known {
                    Effect::None
                } else {
                    Effect::Publish(order.track)
                },
            )
        }
        Command::Unpublish(order) => match placement.of_track(order.track) {
            Some(shard) => Route::To(shard, Effect::Unpublish(order.track)),
            None => done(),
        },
        Command::Subscribe(order) => to_session(placement, order.session),
        Command::Unsubscribe(order) => match placement.of_session(order.session) {
            Some(shard) => Route::To(shard, Effect::None),
            None => done(),
        },
        Command::SetPolicy(order) => to_session(placement, order.session),
        Command::RestartIce(order) => to_session(placement, order.session),
        Command::Accept(order) => to_session(placement, order.session),
        Command::Inspect(what) => route_inspect(*what, placement),
        Command::Snapshot(_) => Route::All,
        Command::Drain(_) => done(),
        Command::Ping(_) => Route::Answer(Reply::Pong(Pong {})),
    }
}

fn route_admit(admit: &Admit, placement: &mut Placement, draining: bool) -> Route {
    if admit.tag.len() > TAG_BYTES_MAX {
        let detail = format!(
            "a tag of {} bytes, at most {TAG_BYTES_MAX}",
            admit.tag.len()
        );
        return Route::Answer(refused(Refusal::Invalid, detail));
    }
    // A repeated order for a session that is here is answered as the first time, even in a drain.
    if draining && placement.of_session(admit.session).is_none() {
        return Route::Answer(refused(Refusal::Draining, "the node drains".to_owned()));
    }
    match placement.assign(admit) {
        Some(shard) => Route::To(shard, Effect::Admit(admit.session)),
        None => Route::Answer(refused(
            Refusal::Overloaded,
            "every shard of this node has failed".to_owned(),
        )),
    }
}

fn route_inspect(what: Inspect, placement: &Placement) -> Route {
    let shard = match what {
        Inspect::Session(session) => placement.of_session(session),
        Inspect::Room(room) => placement.of_room(room),
        Inspect::Shard(shard) => Some(shard).filter(|&shard| placement.is_alive(shard)),
    };
    match shard {
        Some(shard) => Route::To(shard, Effect::None),
        None => unknown(format!("nothing here is {what:?}")),
    }
}

fn to_session(placement: &Placement, session: SessionId) -> Route {
    match placement.of_session(session) {
        Some(shard) => Route::To(shard, Effect::None),
        None => unknown(format!("no session {session}")),
    }
}

fn done() -> Route {
    Route::Answer(Reply::Done(Done {}))
}

fn unknown(detail: String) -> Route {
    Route::Answer(refused(Refusal::Unknown, detail))
}

/// A refusal with its reason for the program and for the log.
#[must_use]
pub fn refused(reason: Refusal, detail: String) -> Reply {
    Reply::Refused(Refused { reason, detail })
}
