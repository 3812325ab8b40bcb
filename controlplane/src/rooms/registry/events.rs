//! What comes up the link, and what the rooms make of it.

use std::time::{Duration, Instant};

use dataplane_api::Event;
use dataplane_api::ids::SessionId;

use super::Registry;
use super::census::label;
use crate::node::LinkEvent;
use crate::rooms::connection::Kind;
use crate::rooms::news::Reconnect;
use crate::rooms::room::Input;

impl Registry {
    pub(super) fn on_link(&self, event: LinkEvent) {
        match event {
            LinkEvent::Up { hello, same_boot } => {
                self.0.ids.begin(hello.connection);
                self.rooms().down_since = None;
                self.set_draining(hello.draining);
                if same_boot {
                    self.0.health.set_link_up(*self.0.settled.borrow());
                } else {
                    self.0.settled.send_replace(false);
                    self.everywhere(|| Input::AllGone);
                }
                self.resync();
            }
            LinkEvent::Down => {
                self.0.health.set_link_up(false);
                self.rooms().down_since = Some(Instant::now());
            }
            LinkEvent::Event { event, .. } => self.on_event(event),
        }
    }

    fn on_event(&self, event: Event) {
        let mut rooms = self.rooms();
        match event {
            Event::SessionConnected(connected) => {
                let session = connected.session;
                if let Some(kind) = rooms.kind_of(session) {
                    let _span = span(session, kind).entered();
                    tracing::info!(join_ms = connected.join_ms, "connected");
                    self.0
                        .metrics
                        .joined(label(kind), Duration::from_millis(connected.join_ms));
                }
                self.on_session(&mut rooms, session, Input::Connected(session));
            }
            Event::SessionClosed(closed) => {
                let session = closed.session;
                if let Some(asked) = &mut rooms.asked {
                    asked.closed.insert(session);
                }
                if let Some(kind) = rooms.kind_of(session) {
                    let _span = span(session, kind).entered();
                    tracing::info!(reason = ?closed.reason, "closed");
                }
                self.on_session(&mut rooms, session, Input::Closed(session));
            }
            Event::TrackLive(live) => {
                self.on_track(&mut rooms, live.track, Input::Activity(live.track, true));
            }
            Event::TrackSilent(silent) => {
                let track = silent.track;
                self.on_track(&mut rooms, track, Input::Activity(track, false));
            }
            Event::TrackLayers(told) => {
                let track = told.track;
                self.on_track(&mut rooms, track, Input::Layers(track, told.layers));
            }
            Event::ResyncNeeded(_) => {
                drop(rooms);
                self.resync();
            }
            Event::Draining(_) => {
                drop(rooms);
                self.set_draining(true);
            }
            // The client ends with `Superseded`, and the process follows.
            Event::Superseded(_) | Event::ShardStats(_) => {}
        }
    }

    fn set_draining(&self, draining: bool) {
        self.0.health.set_draining(draining);
        let mut rooms = self.rooms();
        rooms.send_away(draining.then_some(Reconnect::Draining));
    }
}

/// What every line about a session stands under.
fn span(session: SessionId, kind: Kind) -> tracing::Span {
    tracing::info_span!("session", session = session.0, kind = kind.as_str())
}
