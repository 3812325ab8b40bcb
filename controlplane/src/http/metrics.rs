//! What this process counts, as Prometheus reads it. Names are those of the specification; no label ever
//! comes from a user.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::auth::Role;

/// OpenMetrics 1.0.0, what the encoder writes.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From admission to keys, seconds: from a lucky LAN to what nobody waits for.
const JOIN_BUCKETS_S: [f64; 9] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// How somebody is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionKind {
    /// Publishes by WHIP.
    Whip,
    /// Watches by WHEP.
    Whep,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionState {
    /// Answered, without media yet.
    New,
    /// Media may flow.
    Connected,
    /// Silent.
    Lost,
}

impl EncodeLabelValue for ConnectionKind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        let text = match self {
            ConnectionKind::Whip => "whip",
            ConnectionKind::Whep => "whep",
        };
        EncodeLabelValue::encode(&text, encoder)
    }
}

impl EncodeLabelValue for ConnectionState {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        let text = match self {
            ConnectionState::New => "new",
            ConnectionState::Connected => "connected",
            ConnectionState::Lost => "lost",
        };
        EncodeLabelValue::encode(&text, encoder)
    }
}

impl EncodeLabelValue for Role {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RoleLabels {
    role: Role,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabels {
    kind: ConnectionKind,
    state: ConnectionState,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: ConnectionKind,
}

/// The counters; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    rooms: Gauge,
    participants: Family<RoleLabels, Gauge>,
    connections: Family<ConnectionLabels, Gauge>,
    http_requests: Family<RequestLabels, Counter>,
    link_up: Gauge,
    link_resyncs: Counter,
    join_seconds: Family<KindLabels, Histogram, fn() -> Histogram>,
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("lectern");
        let rooms = Gauge::default();
        let participants = Family::default();
        let connections = Family::default();
        let http_requests = Family::default();
        let link_up = Gauge::default();
        let link_resyncs = Counter::default();
        let join_seconds: Family<KindLabels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(JOIN_BUCKETS_S));
        let build = Info::new(vec![("version", crate::VERSION), ("commit", crate::COMMIT)]);
        registry.register("build", "Which build this is", build);
        registry.register("rooms", "Rooms that are live", rooms.clone());
        registry.register("participants", "People in rooms", participants.clone());
        registry.register("connections", "Media connections", connections.clone());
        registry.register(
            "http_requests",
            "Requests by route and status",
            http_requests.clone(),
        );
        registry.register("link_up", "1 while the data plane answers", link_up.clone());
        registry.register(
            "link_resyncs",
            "Times the state was read anew",
            link_resyncs.clone(),
        );
        registry.register(
            "join_seconds",
            "From the admission of a session to its keys",
            join_seconds.clone(),
        );
        Metrics {
            inner: Arc::new(Inner {
                registry,
                rooms,
                participants,
                connections,
                http_requests,
                link_up,
                link_resyncs,
                join_seconds,
            }),
        }
    }

    /// Rooms that are live now.
    pub fn set_rooms(&self, count: usize) {
        self.inner
            .rooms
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// People of this role now.
    pub fn set_participants(&self, role: Role, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.inner
            .participants
            .get_or_create(&RoleLabels { role })
            .set(count);
    }

    /// Connections of this kind in this state now.
    pub fn set_connections(&self, kind: ConnectionKind, state: ConnectionState, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.inner
            .connections
            .get_or_create(&ConnectionLabels { kind, state })
            .set(count);
    }

    /// One connection is through after `took`.
    pub fn joined(&self, kind: ConnectionKind, took: Duration) {
        self.inner
            .join_seconds
            .get_or_create(&KindLabels { kind })
            .observe(took.as_secs_f64());
    }

    /// One answered request. `route` is the router's pattern, never the path.
    pub fn answered(&self, route: &str, code: StatusCode) {
        let labels = RequestLabels {
            route: route.to_owned(),
            code: code.as_u16(),
        };
        self.inner.http_requests.get_or_create(&labels).inc();
    }

    /// Whether the data plane answers.
    pub fn set_link_up(&self, up: bool) {
        self.inner.link_up.set(i64::from(up));
    }

    /// The state was read anew from the data plane.
    pub fn resynced(&self) {
        self.inner.link_resyncs.inc();
    }

    /// The exposition.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.inner.registry)
            .expect("invariant: writing to a String cannot fail");
        text
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl IntoResponse for &Metrics {
    fn into_response(self) -> Response {
        (
            [(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE))],
            self.text(),
        )
            .into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_those_of_the_specification() {
        let metrics = Metrics::new();
        metrics.set_rooms(2);
        metrics.set_participants(Role::Teacher, 1);
        metrics.set_connections(ConnectionKind::Whip, ConnectionState::Connected, 1);
        metrics.answered("/whip/{room}", StatusCode::CREATED);
        metrics.set_link_up(true);
        metrics.joined(ConnectionKind::Whep, Duration::from_millis(120));
        let text = metrics.text();
        for line in [
            "lectern_rooms 2",
            "lectern_participants{role=\"teacher\"} 1",
            "lectern_connections{kind=\"whip\",state=\"connected\"} 1",
            "lectern_http_requests_total{route=\"/whip/{room}\",code=\"201\"} 1",
            "lectern_link_up 1",
            "lectern_link_resyncs_total 0",
            "lectern_join_seconds_bucket{le=\"0.2\",kind=\"whep\"} 1",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line}\nis not in\n{text}"
            );
        }
        assert!(text.contains("lectern_build_info{version=\""), "{text}");
    }
}
