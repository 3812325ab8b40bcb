//! What the log says of sessions: one span a session, a line when it joins and a line when it leaves.
//!
//! The link thread writes it, not the shard: a log that nobody reads must not hold up media. Handles are the only
//! names there are here; whose they are, the control plane's log says.

use dataplane_api::Event;
use dataplane_api::event::CloseReason;
use dataplane_api::ids::{SessionId, ShardIndex};
use tracing::Span;

/// The span of a session: `session` is its handle in decimal, as everywhere outside, `shard` its shard's number.
fn span(session: SessionId, shard: ShardIndex) -> Span {
    tracing::info_span!("session", session = %session, shard = shard.0)
}

/// Writes the line of an event, if it has one.
pub(crate) fn on_event(shard: ShardIndex, event: &Event) {
    match event {
        Event::SessionConnected(joined) => span(joined.session, shard).in_scope(|| {
            tracing::info!(join_ms = joined.join_ms, "joined");
        }),
        Event::SessionClosed(left) => span(left.session, shard).in_scope(|| {
            tracing::info!(reason = label(left.reason), "left");
        }),
        Event::TrackLive(_)
        | Event::TrackSilent(_)
        | Event::TrackLayers(_)
        | Event::ResyncNeeded(_)
        | Event::Superseded(_)
        | Event::Draining(_)
        | Event::ShardStats(_) => {}
    }
}

/// The word for a reason.
fn label(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Ordered => "ordered",
        CloseReason::IceTimeout => "ice_timeout",
        CloseReason::ConsentExpired => "consent_expired",
        CloseReason::HandshakeFailed => "handshake_failed",
        CloseReason::FingerprintMismatch => "fingerprint_mismatch",
        CloseReason::PeerClosed => "peer_closed",
        CloseReason::KeyExhausted => "key_exhausted",
        CloseReason::Other => "other",
    }
}
