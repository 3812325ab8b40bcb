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

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use dataplane_api::event::{SessionClosed, SessionConnected, TrackLive};
    use dataplane_api::ids::TrackId;
    use dataplane_api::media::CodecId;
    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Text(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Text {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines of these events, without the time.
    fn lines(events: &[Event]) -> Vec<Value> {
        let text = Text::default();
        let writer = text.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(move || writer.clone())
            .without_time()
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            for event in events {
                on_event(ShardIndex(2), event);
            }
        });
        let text = text.0.lock().unwrap();
        text.split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    #[test]
    fn a_session_joins_and_leaves_in_one_line_each() {
        let session = SessionId((1 << 60) + 1);
        let track = TrackId(7);
        let codec = CodecId::VP8;
        let reason = CloseReason::ConsentExpired;
        let join_ms = 312;
        let lines = lines(&[
            Event::SessionConnected(SessionConnected { session, join_ms }),
            Event::TrackLive(TrackLive { track, codec }),
            Event::SessionClosed(SessionClosed { session, reason }),
        ]);
        let [joined, left] = &lines[..] else {
            panic!("{lines:?}");
        };
        assert_eq!(
            (&joined["message"], &joined["join_ms"]),
            (&"joined".into(), &312.into())
        );
        assert_eq!(left["message"], "left");
        assert_eq!(left["reason"], "consent_expired");
        for line in [joined, left] {
            assert_eq!(line["level"], "INFO");
            assert_eq!(line["span"]["name"], "session");
            assert_eq!(line["span"]["session"], "1152921504606846977");
            assert_eq!(line["span"]["shard"], 2);
        }
    }
}
