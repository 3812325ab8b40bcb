//! One session, room or shard as JSON that a person can read.

use std::fmt::Write;

use dataplane_api::command::Inspect;

use crate::publish::Stream;
use crate::session::Session;
use crate::shard::Shard;

impl Shard {
    /// What this shard knows of it; `None` when it is not here.
    #[must_use]
    pub fn inspect(&self, what: Inspect) -> Option<String> {
        match what {
            Inspect::Session(id) => {
                let session = self.sessions.get(*self.session_keys.get(&id)?)?;
                Some(self.describe_session(session).finish())
            }
            Inspect::Room(room) => {
                let sessions: Vec<String> = self
                    .sessions
                    .iter()
                    .filter(|(_, session)| session.room == room)
                    .map(|(_, session)| self.describe_session(session).finish())
                    .collect();
                if sessions.is_empty() {
                    return None;
                }
                let mut object = Object::default();
                object.handle("room", Some(room.0));
                object.raw("sessions", &array(&sessions));
                Some(object.finish())
            }
            Inspect::Shard(index) => (index == self.config.index).then(|| self.describe_shard()),
        }
    }

    fn describe_shard(&self) -> String {
        let population = self.population();
        let counters = self.counters();
        let mut dropped = Object::default();
        for (reason, packets) in counters.dropped_in.iter() {
            let packets = packets + counters.dropped_out.of(reason);
            if packets > 0 {
                dropped.number(reason.label(), packets);
            }
        }
        let mut object = Object::default();
        object.number("shard", self.config.index.0.into());
        object.number("sessions", population.sessions as u64);
        object.number("tracks", population.tracks as u64);
        object.number("subscriptions", population.subscriptions as u64);
        object.number("received_packets", counters.received_packets);
        object.number("sent_packets", counters.sent_packets);
        object.number("sent_runs", counters.sent_runs);
        object.number("linger_us", counters.linger_us);
        object.raw("dropped", &dropped.finish());
        object.finish()
    }

    fn describe_session(&self, session: &Session) -> Object {
        let tracks: Vec<String> = session
            .tracks
            .iter()
            .filter_map(|&key| Some((key, self.tracks.get(key)?)))
            .map(|(key, track)| {
                let mut object = Object::default();
                object.handle("track", Some(track.id().0));
                object.text("mid", &track.spec.mid);
                object.boolean("live", track.is_live());
                object.number("layers", track.layers.len() as u64);
                object.number("subscribers", track.subscribers.len() as u64);
                let streams = (0u8..)
                    .zip(&track.layers)
                    .filter_map(|(n, _)| session.receiver.layer(key, n));
                let missing: usize = streams.map(Stream::missing).sum();
                object.number("missing", missing as u64);
                object.finish()
            })
            .collect();
        let slots: Vec<String> = session
            .slots
            .iter()
            .map(|slot| {
                let source = slot.source().and_then(|key| self.tracks.get(key));
                let mut object = Object::default();
                object.number("slot", slot.spec.slot.0.into());
                object.text("mid", &slot.spec.mid);
                object.handle("track", source.map(|track| track.id().0));
                object.optional("layer", slot.layer().map(u64::from));
                object.number("packets_sent", slot.packets_sent);
                object.number("payload_bytes_sent", slot.payload_bytes_sent);
                object.finish()
            })
            .collect();
        let mut object = Object::default();
        object.handle("session", Some(session.id.0));
        object.handle("room", Some(session.room.0));
        object.boolean("awaits_answer", session.remote.is_none());
        object.boolean("connected", session.is_connected());
        object.text(
            "srtp",
            session
                .srtp
                .as_ref()
                .map_or("none", |srtp| srtp.profile().name()),
        );
        object.number("paths", session.ice.paths().count() as u64);
        object.number("rtt_us", session.rtt_us.unwrap_or(session.round_trip.us()));
        object.raw("tracks", &array(&tracks));
        object.raw("slots", &array(&slots));
        object
    }
}

/// A JSON object under construction. The engine's own numbers and SDP tokens are all it has to carry, which
/// needs no serialiser.
#[derive(Debug, Default)]
struct Object(String);

impl Object {
    fn number(&mut self, key: &str, value: u64) {
        self.raw(key, &value.to_string());
    }

    fn optional(&mut self, key: &str, value: Option<u64>) {
        self.raw(
            key,
            &value.map_or_else(|| "null".to_owned(), |value| value.to_string()),
        );
    }

    /// Handles are texts outside: not every reader's numbers have 64 bits.
    fn handle(&mut self, key: &str, value: Option<u64>) {
        let text = value.map_or_else(|| "null".to_owned(), |value| format!("\"{value}\""));
        self.raw(key, &text);
    }

    fn boolean(&mut self, key: &str, value: bool) {
        self.raw(key, if value { "true" } else { "false" });
    }

    fn text(&mut self, key: &str, value: &str) {
        let mut quoted = String::from('"');
        for c in value.chars() {
            match c {
                '"' | '\\' => quoted.extend(['\\', c]),
                c if c.is_control() => {
                    write!(quoted, "\\u{:04x}", u32::from(c))
                        .expect("invariant: writing to a String");
                }
                c => quoted.push(c),
            }
        }
        quoted.push('"');
        self.raw(key, &quoted);
    }

    fn raw(&mut self, key: &str, value: &str) {
        let comma = if self.0.is_empty() { "" } else { "," };
        write!(self.0, "{comma}\"{key}\":{value}").expect("invariant: writing to a String");
    }

    fn finish(self) -> String {
        format!("{{{}}}", self.0)
    }
}

fn array(items: &[String]) -> String {
    format!("[{}]", items.join(","))
}
