//! Who wants to know what happens to a stream, and the way of the news to them.
//!
//! A change is noted and told within [`super::TICK`]: a thousand viewers that join within it cost each
//! listener one message, not a thousand.

use std::collections::{HashMap, HashSet};

use dataplane_api::ids::SessionId;
use tokio::sync::watch;

use crate::rooms::news::{News, Reconnect};
use crate::rooms::room::Room;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Audience {
    listeners: HashMap<SessionId, watch::Sender<News>>,
    /// Rooms of which something changed.
    changed: HashSet<String>,
    /// Everybody is to come again, elsewhere or later.
    reconnect: Option<Reconnect>,
}

impl Audience {
    /// A listener for a session of this room, told the present state at once.
    pub(super) fn listen(&mut self, room: &Room, session: SessionId) -> watch::Receiver<News> {
        let news = self.news(room, session);
        let sender = self
            .listeners
            .entry(session)
            .or_insert_with(|| watch::Sender::new(news));
        sender.subscribe()
    }

    /// Something happened in a room.
    pub(super) fn changed(&mut self, room: &str) {
        if !self.listeners.is_empty() {
            self.changed.insert(room.to_owned());
        }
    }

    /// Everybody is to come again for this reason from now on, or may stay.
    pub(super) fn send_away(&mut self, why: Option<Reconnect>, rooms: &HashMap<String, Room>) {
        if self.reconnect != why {
            self.reconnect = why;
            self.changed.extend(rooms.keys().cloned());
        }
    }

    /// A session is gone: its listeners hear why, and that nothing more will come.
    pub(super) fn left(&mut self, session: SessionId, reconnect: Option<Reconnect>) {
        if let Some(sender) = self.listeners.remove(&session)
            && reconnect.is_some()
        {
            sender.send_modify(|news| {
                news.active = false;
                news.reconnect = reconnect;
            });
        }
    }

    /// Tells what changed.
    pub(super) fn tell(&mut self, rooms: &HashMap<String, Room>) {
        for name in std::mem::take(&mut self.changed) {
            let Some(room) = rooms.get(&name) else {
                continue;
            };
            let mut of_stream: HashMap<&str, News> = HashMap::new();
            for connection in room.connections() {
                let Some(sender) = self.listeners.get(&connection.session) else {
                    continue;
                };
                let news = of_stream
                    .entry(&connection.stream)
                    .or_insert_with(|| self.in_force(room.news(&connection.stream)));
                sender.send_if_modified(|told| {
                    let differs = told != news;
                    if differs {
                        told.clone_from(news);
                    }
                    differs
                });
            }
        }
        // Whoever stopped listening is forgotten here, at the latest with its session.
        self.listeners.retain(|_, sender| !sender.is_closed());
    }

    fn news(&self, room: &Room, session: SessionId) -> News {
        let mut connections = room.connections();
        let stream = connections
            .find(|connection| connection.session == session)
            .map(|connection| connection.stream.as_str());
        self.in_force(stream.map(|stream| room.news(stream)).unwrap_or_default())
    }

    fn in_force(&self, mut news: News) -> News {
        news.reconnect = self.reconnect;
        news.active &= self.reconnect != Some(Reconnect::MediaDown);
        news
    }
}
