//! WHEP's server-sent events (draft-ietf-wish-whep-04 section 4.9.1): what a player is told of the stream
//! it watches.
//!
//! ```text
//! POST   .../{id}/sse            -> 201, Location: the stream of the wished events
//! GET    .../{id}/sse/{stream}   -> text/event-stream
//! GET    .../{id}/sse            -> text/event-stream of every event, for a bare EventSource; also below /whip
//! DELETE .../{id}/sse/{stream}   -> 200
//! ```
//! A stream first says how things are, then what changes. A slow reader misses states between, never the
//! last one; what is kept for it is that last state.

mod streams;
mod told;

use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use dataplane_api::media::MediaKind;
use futures_util::stream::unfold;
use tokio::sync::watch;

use super::layers::read_body;
use super::problem::Problem;
use super::session::owned;
use super::signaling::{EventsAddress, SessionAddress, require_type};
use crate::rooms::{Connection, Kind, News};
use crate::state::AppState;

pub(super) use streams::EventStreams;
use streams::{READERS_MAX, Reading, StreamId};
use told::{Told, Wanted};

/// The relation of the extension's `Link`.
pub(super) const RELATION: &str = "urn:ietf:params:whep:ext:core:server-sent-events";

/// Longest list of wished events; the five names have 49 bytes.
const WISH_BYTES_MAX: usize = 1_024;

/// How often a silent stream shows that it lives: proxies cut what is silent for a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The shortest time between two looks at the news. A class of a thousand that joins in ten seconds
/// would otherwise be told a million viewer counts.
const PACE: Duration = Duration::from_millis(200);

/// The value of the extension's `Link`, with every event there is.
pub(super) fn link(location: &str) -> String {
    let events = Wanted::NAMES.join(",");
    format!("<{location}/sse>; rel=\"{RELATION}\"; events=\"{events}\"")
}

/// Makes a stream of the events in the body, of all without one.
pub(super) async fn create(
    State(state): State<AppState>,
    Extension(streams): Extension<EventStreams>,
    address: SessionAddress,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    let connection = owned(&state, Kind::Whep, &address, &headers, &uri)?;
    let body = read_body(body, WISH_BYTES_MAX).await?;
    let wanted = if body.trim_ascii().is_empty() {
        Wanted::ALL
    } else {
        require_type(&headers, "application/json")?;
        Wanted::read(&body).ok_or_else(|| {
            Problem::bad_request(
                "Send a JSON list of event names, such as [\"active\",\"layers\"].",
            )
        })?
    };
    let news = news(&state, &connection)?;
    let stream = StreamId::new(wanted);
    if !streams.add(connection.session, stream.clone(), &news) {
        return Err(full());
    }
    let SessionAddress(path, resource) = &address;
    let location = format!("/whep/{path}/{}/sse/{}", resource.as_str(), stream.as_str());
    let location = HeaderValue::from_str(&location).map_err(|_| Problem::internal())?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)]).into_response())
}

/// Reads the stream that a POST made. Whoever read it before is cut off.
pub(super) async fn read(
    State(state): State<AppState>,
    Extension(streams): Extension<EventStreams>,
    EventsAddress(address, stream): EventsAddress,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let connection = owned(&state, Kind::Whep, &address, &headers, &uri)?;
    let stream = StreamId::presented(&stream).ok_or_else(ended)?;
    if streams.has_ended(connection.session, &stream) {
        return Err(ended());
    }
    let news = news(&state, &connection)?;
    let reading = streams
        .read(connection.session, stream, &news)
        .ok_or_else(full)?;
    Ok(flow(reading, sections(&connection), news))
}

/// Reads every event, without a stream that was made before. Also a publisher's: whoever teaches wants to
/// know how many watch. Its 201 names no events, because encoders split `Link` at the commas.
pub(super) async fn read_all(
    kind: Kind,
    State(state): State<AppState>,
    Extension(streams): Extension<EventStreams>,
    address: SessionAddress,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let connection = owned(&state, kind, &address, &headers, &uri)?;
    let news = news(&state, &connection)?;
    let stream = StreamId::new(Wanted::ALL);
    let reading = streams
        .read(connection.session, stream, &news)
        .ok_or_else(full)?;
    Ok(flow(reading.once(), sections(&connection), news))
}

/// Ends a stream, and its reader's answer.
pub(super) async fn delete(
    State(state): State<AppState>,
    Extension(streams): Extension<EventStreams>,
    EventsAddress(address, stream): EventsAddress,
    headers: HeaderMap,
    uri: Uri,
) -> Result<StatusCode, Problem> {
    let connection = owned(&state, Kind::Whep, &address, &headers, &uri)?;
    let stream = StreamId::presented(&stream).ok_or_else(ended)?;
    let news = news(&state, &connection)?;
    if streams.end(connection.session, stream, &news) {
        Ok(StatusCode::OK)
    } else {
        Err(ended())
    }
}

fn news(state: &AppState, connection: &Connection) -> Result<watch::Receiver<News>, Problem> {
    state
        .registry
        .news(connection.session)
        .ok_or_else(Problem::unknown_session)
}

fn ended() -> Problem {
    Problem::absent(
        "This event stream has ended or never was. A POST to the session's /sse makes one.",
    )
}

fn full() -> Problem {
    let limit = format!("{READERS_MAX} event streams a session");
    Problem::rate_limited(&limit, 2)
}

/// By whose mids layers are told.
fn sections(connection: &Connection) -> Vec<(MediaKind, String)> {
    let slots = connection.negotiated.iter();
    slots.map(|slot| (slot.kind, slot.mid.clone())).collect()
}

/// The answer that lasts: until the session ends, the stream is ended, another reader takes it, or the
/// client goes away.
fn flow(
    reading: Reading,
    sections: Vec<(MediaKind, String)>,
    news: watch::Receiver<News>,
) -> Response {
    let told = Told::new(reading.wanted(), sections);
    let source = Source {
        reading,
        told,
        news,
        ready: Vec::new().into_iter(),
        over: false,
        begun: false,
    };
    let events = unfold(source, |mut source| async move {
        let event = source.next().await?;
        Some((Ok::<_, Infallible>(event), source))
    });
    let mut response = Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response();
    // nginx would collect what is to be told at once.
    response.headers_mut().insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}

/// Where the events of one answer come from.
struct Source {
    reading: Reading,
    told: Told,
    news: watch::Receiver<News>,
    ready: std::vec::IntoIter<(&'static str, serde_json::Value)>,
    begun: bool,
    over: bool,
}

impl Source {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((name, data)) = self.ready.next() {
                return Some(Event::default().event(name).data(data.to_string()));
            }
            if self.over {
                return None;
            }
            if self.begun {
                self.wait().await?;
            }
            self.begun = true;
            let events = self.told.tell(&self.news.borrow_and_update());
            self.ready = events.into_iter();
        }
    }

    /// Until there may be something to tell; `None` when nobody is to be told any more.
    async fn wait(&mut self) -> Option<()> {
        tokio::select! {
            () = self.reading.cut() => None,
            changed = async {
                tokio::time::sleep(PACE).await;
                self.news.changed().await
            } => {
                // The session is gone: its last state is told, and that is all.
                self.over = changed.is_err();
                Some(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::BodyDataStream;
    use dataplane_api::ids::SessionId;
    use futures_util::StreamExt as _;
    use tokio::time::Instant;

    use super::*;

    fn open(news: &watch::Receiver<News>) -> BodyDataStream {
        let reading = EventStreams::default()
            .read(SessionId(1), StreamId::new(Wanted::ALL), news)
            .unwrap();
        let response = flow(reading, Vec::new(), news.clone());
        response.into_body().into_data_stream()
    }

    async fn next(body: &mut BodyDataStream) -> Option<String> {
        let chunk = body.next().await?.unwrap();
        Some(String::from_utf8(chunk.to_vec()).unwrap())
    }

    fn watched_by(viewers: usize) -> News {
        News {
            viewers,
            ..News::default()
        }
    }

    fn count(viewers: usize) -> Option<String> {
        let data = format!("{{\"viewercount\":{viewers}}}");
        Some(format!("event: viewercount\ndata: {data}\n\n"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_shows_every_fifteen_seconds_that_it_lives() {
        let (_tells, news) = watch::channel(News::default());
        let mut body = open(&news);
        assert_eq!(next(&mut body).await, count(0));
        for _ in 0..3 {
            let since = Instant::now();
            assert_eq!(next(&mut body).await.as_deref(), Some(":\n\n"));
            assert_eq!(since.elapsed().as_secs(), 15);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_misses_what_was_between_and_hears_the_last() {
        let (tells, news) = watch::channel(News::default());
        let mut body = open(&news);
        assert_eq!(next(&mut body).await, count(0));
        for viewers in 1..=1_000 {
            tells.send_replace(watched_by(viewers));
        }
        assert_eq!(next(&mut body).await, count(1_000));
        tells.send_replace(watched_by(7));
        drop(tells);
        assert_eq!(next(&mut body).await, count(7), "the last state is told");
        assert_eq!(next(&mut body).await, None, "and that is all");
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_that_comes_one_by_one_is_told_five_times_a_second() {
        let (tells, news) = watch::channel(News::default());
        let mut body = open(&news);
        assert_eq!(next(&mut body).await, count(0));
        let crowd = tokio::spawn(async move {
            for viewers in 1..=1_000 {
                tells.send_replace(watched_by(viewers));
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let mut messages = 0;
        while next(&mut body).await.is_some() {
            messages += 1;
        }
        crowd.await.unwrap();
        assert!((40..=52).contains(&messages), "{messages} in ten seconds");
    }
}
