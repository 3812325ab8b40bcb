//! Which event streams a session has, and who reads them.
//!
//! A stream's id says its events, so one that was made before this process began is served too.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dataplane_api::ids::SessionId;
use tokio::sync::{oneshot, watch};

use super::told::Wanted;
use crate::rooms::News;

/// Most streams of one session. A page needs one, and one more while it reloads.
pub(super) const READERS_MAX: usize = 4;

/// Ended streams that are remembered, so that they are not found again.
const ENDED_MAX: usize = 16;

/// Sessions that are remembered before those that are gone are looked for.
const SESSIONS_MIN: usize = 64;

/// The last segment of a stream's URL: its events in two hexadecimal digits, then 96 random bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamId(String, Wanted);

impl StreamId {
    pub(super) fn new(wanted: Wanted) -> StreamId {
        let random = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 12]>());
        StreamId(format!("{:02x}{random}", wanted.bits()), wanted)
    }

    /// One that a client sent, if it can be one.
    pub(super) fn presented(text: &str) -> Option<StreamId> {
        let (bits, random) = text.split_at_checked(2)?;
        let wanted = Wanted::from_bits(u8::from_str_radix(bits, 16).ok()?)?;
        let formed = URL_SAFE_NO_PAD
            .decode(random)
            .is_ok_and(|bytes| bytes.len() == 12);
        formed.then(|| StreamId(text.to_owned(), wanted))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The streams of every session; clones share them.
#[derive(Clone, Debug, Default)]
pub(in crate::http) struct EventStreams(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    sessions: HashMap<SessionId, Streams>,
    readers: u64,
    /// How many sessions there may be before those that are gone are looked for.
    sessions_max: usize,
}

#[derive(Debug)]
struct Streams {
    /// Its sender goes with the session.
    news: watch::Receiver<News>,
    known: Vec<Stream>,
    ended: VecDeque<StreamId>,
}

#[derive(Debug)]
struct Stream {
    id: StreamId,
    /// Dropping the sender cuts the reader off.
    reader: Option<(u64, oneshot::Sender<()>)>,
}

impl EventStreams {
    /// Remembers a new stream. The oldest that nobody reads gives way; `false` when all are read.
    pub(super) fn add(
        &self,
        session: SessionId,
        id: StreamId,
        news: &watch::Receiver<News>,
    ) -> bool {
        self.table().streams(session, news).add(id)
    }

    /// Whether a stream was ended by its owner.
    pub(super) fn has_ended(&self, session: SessionId, id: &StreamId) -> bool {
        let table = self.table();
        let streams = table.sessions.get(&session);
        streams.is_some_and(|streams| streams.ended.contains(id))
    }

    /// Reads a stream, which another reader loses by it; `None` when the session has no room for one
    /// more.
    pub(super) fn read(
        &self,
        session: SessionId,
        id: StreamId,
        news: &watch::Receiver<News>,
    ) -> Option<Reading> {
        let mut table = self.table();
        table.readers += 1;
        let reader = table.readers;
        let streams = table.streams(session, news);
        if !streams.known.iter().any(|stream| stream.id == id) && !streams.add(id.clone()) {
            return None;
        }
        let stream = streams.known.iter_mut().find(|stream| stream.id == id)?;
        let (sender, cut) = oneshot::channel();
        stream.reader = Some((reader, sender));
        Some(Reading {
            streams: self.clone(),
            session,
            id,
            reader,
            cut,
            once: false,
        })
    }

    /// Ends a stream and its reader; `false` when it has ended before.
    pub(super) fn end(
        &self,
        session: SessionId,
        id: StreamId,
        news: &watch::Receiver<News>,
    ) -> bool {
        let mut table = self.table();
        let streams = table.streams(session, news);
        if streams.ended.contains(&id) {
            return false;
        }
        streams.known.retain(|stream| stream.id != id);
        if streams.ended.len() == ENDED_MAX {
            streams.ended.pop_front();
        }
        streams.ended.push_back(id);
        true
    }

    fn left(&self, reading: &Reading) {
        let mut table = self.table();
        let Some(streams) = table.sessions.get_mut(&reading.session) else {
            return;
        };
        if streams.news.has_changed().is_err() {
            table.sessions.remove(&reading.session);
            return;
        }
        let own = |stream: &Stream| {
            let reader = stream.reader.as_ref().map(|(reader, _)| *reader);
            stream.id == reading.id && reader == Some(reading.reader)
        };
        if reading.once {
            streams.known.retain(|stream| !own(stream));
        } else if let Some(stream) = streams.known.iter_mut().find(|stream| own(stream)) {
            stream.reader = None;
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn streams(&mut self, session: SessionId, news: &watch::Receiver<News>) -> &mut Streams {
        if self.sessions.len() >= self.sessions_max.max(SESSIONS_MIN) {
            self.sessions
                .retain(|_, streams| streams.news.has_changed().is_ok());
            self.sessions_max = 2 * self.sessions.len();
        }
        self.sessions.entry(session).or_insert_with(|| Streams {
            news: news.clone(),
            known: Vec::new(),
            ended: VecDeque::new(),
        })
    }
}

impl Streams {
    fn add(&mut self, id: StreamId) -> bool {
        if self.known.len() >= READERS_MAX {
            let unread = self.known.iter().position(|stream| stream.reader.is_none());
            let Some(unread) = unread else { return false };
            self.known.remove(unread);
        }
        self.known.push(Stream { id, reader: None });
        true
    }
}

/// One answer that lasts; dropped, it gives its place back.
#[derive(Debug)]
pub(super) struct Reading {
    streams: EventStreams,
    session: SessionId,
    id: StreamId,
    reader: u64,
    cut: oneshot::Receiver<()>,
    once: bool,
}

impl Reading {
    /// Nobody knows the stream's id: it ends with this answer.
    pub(super) fn once(mut self) -> Reading {
        self.once = true;
        self
    }

    pub(super) fn wanted(&self) -> Wanted {
        self.id.1
    }

    /// Completes when the stream is ended or another reads it.
    pub(super) async fn cut(&mut self) {
        // The sender's drop is the message.
        let _dropped = (&mut self.cut).await.is_err();
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.streams.clone().left(self);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    const SESSION: SessionId = SessionId(1);

    fn is_cut(reading: &mut Reading) -> bool {
        reading.cut.try_recv() == Err(TryRecvError::Closed)
    }

    fn id() -> StreamId {
        StreamId::new(Wanted::ALL)
    }

    #[test]
    fn a_session_has_four_readers_and_the_unread_stream_gives_way() {
        let (_news, news) = watch::channel(News::default());
        let streams = EventStreams::default();
        let ids = [id(), id(), id(), id()];
        for id in &ids {
            assert!(streams.add(SESSION, id.clone(), &news));
        }
        let late = id();
        assert!(
            streams.add(SESSION, late.clone(), &news),
            "the first gives way"
        );
        let mut readings: Vec<Reading> = [&ids[1], &ids[2], &ids[3], &late]
            .map(|id| streams.read(SESSION, id.clone(), &news).unwrap())
            .into();
        assert!(!streams.add(SESSION, id(), &news), "all are read");
        assert!(streams.read(SESSION, ids[0].clone(), &news).is_none());
        let again = streams.read(SESSION, late.clone(), &news).unwrap();
        assert!(is_cut(&mut readings[3]));
        assert!(!is_cut(&mut readings[0]));
        readings.pop();
        assert!(!streams.add(SESSION, id(), &news), "the newer reader stays");
        drop(again);
        assert!(streams.add(SESSION, id(), &news));
        assert!(streams.add(SessionId(2), id(), &news), "another session");
    }

    #[test]
    fn an_ended_stream_is_not_found_again_and_an_older_process_s_is() {
        let (_news, news) = watch::channel(News::default());
        let streams = EventStreams::default();
        let wanted = Wanted::read(br#"["layers"]"#).unwrap();
        let made_before = StreamId::new(wanted);
        let presented = StreamId::presented(made_before.as_str()).unwrap();
        let mut reading = streams.read(SESSION, presented, &news).unwrap();
        assert_eq!(reading.wanted(), wanted);
        assert!(!streams.has_ended(SESSION, &made_before));
        assert!(streams.end(SESSION, made_before.clone(), &news));
        assert!(is_cut(&mut reading));
        assert!(streams.has_ended(SESSION, &made_before));
        assert!(!streams.end(SESSION, made_before.clone(), &news));
        let long = format!("{}A", made_before.as_str());
        for text in [
            "",
            "1",
            "zz",
            "1f",
            "20AAAAAAAAAAAAAAAA",
            "é",
            "1f/../../x",
            &long,
        ] {
            assert_eq!(StreamId::presented(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_kept_of_sessions_that_are_gone_is_bounded() {
        let streams = EventStreams::default();
        let kept = || streams.table().sessions.len();
        for number in 0..1_000 {
            let (gone, news) = watch::channel(News::default());
            assert!(streams.add(SessionId(number), id(), &news));
            drop(gone);
        }
        assert!(kept() <= SESSIONS_MIN, "{}", kept());
        let (gone, news) = watch::channel(News::default());
        let reading = streams.read(SessionId(5_000), id(), &news).unwrap();
        drop(gone);
        let before = kept();
        drop(reading);
        assert_eq!(
            kept(),
            before - 1,
            "a reader that ends takes its session along"
        );
    }
}
