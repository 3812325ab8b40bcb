//! How many there are of everything, for the gauges.

use std::collections::{HashMap, HashSet};

use super::Rooms;
use crate::auth::Role;
use crate::http::metrics::{ConnectionKind, ConnectionState, Metrics};
use crate::rooms::connection::Kind;

impl Rooms {
    pub(super) fn measure(&self, metrics: &Metrics) {
        let mut connections: HashMap<(Kind, bool), usize> = HashMap::new();
        let mut people: HashSet<(&str, &str, Role)> = HashSet::new();
        for (name, room) in &self.by_name {
            for connection in room.connections() {
                *connections
                    .entry((connection.kind, connection.connected))
                    .or_default() += 1;
                people.insert((name, &connection.sub, connection.role));
            }
        }
        metrics.set_rooms(self.by_name.len());
        for role in Role::ALL {
            metrics.set_participants(role, people.iter().filter(|(_, _, of)| *of == role).count());
        }
        for kind in [Kind::Whip, Kind::Whep] {
            for (connected, state) in [
                (false, ConnectionState::New),
                (true, ConnectionState::Connected),
            ] {
                let count = connections.get(&(kind, connected)).copied().unwrap_or(0);
                metrics.set_connections(label(kind), state, count);
            }
        }
    }
}

/// A kind of connection as the metrics name it.
pub(super) fn label(kind: Kind) -> ConnectionKind {
    match kind {
        Kind::Whip => ConnectionKind::Whip,
        Kind::Whep => ConnectionKind::Whep,
    }
}
