//! Stories of one room.

mod takeover;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use dataplane_api::ids::{RoomId, SessionId, SlotId, TrackId};
use dataplane_api::media::{CodecId, MediaKind};

use super::room::Resync;
use super::stream::Formats;
use super::*;
use crate::auth::Role;
use crate::sdp::{Format, Offer, publish};

const AUDIO: (MediaKind, Format) = (
    MediaKind::Audio,
    Format {
        codec: CodecId::OPUS,
        form: 0,
    },
);
const VIDEO: (MediaKind, Format) = (
    MediaKind::Video,
    Format {
        codec: CodecId::VP8,
        form: 0,
    },
);
const OTHER: (MediaKind, Format) = (
    MediaKind::Video,
    Format {
        codec: CodecId::AV1,
        form: 0,
    },
);

/// A room with a clock.
struct Story {
    room: Room,
    now: Duration,
}

fn story() -> Story {
    Story {
        room: Room::new(RoomId(1), Limits::default()),
        now: Duration::from_secs(1_000),
    }
}

fn connection(session: u64, kind: Kind, stream: &str, sub: &str) -> Connection {
    let offer = include_bytes!("../../../tests/vectors/sdp/chromium_whip.sdp");
    let ice = publish(&Offer::parse(offer).unwrap())
        .unwrap()
        .ice_section();
    let slots = vec![(SlotId(0), MediaKind::Audio), (SlotId(1), MediaKind::Video)];
    Connection {
        session: SessionId(session),
        resource: ResourceId::presented(&format!("r{session}")),
        kind,
        stream: stream.to_owned(),
        sub: sub.to_owned(),
        role: Role::Viewer,
        counted: true,
        etag: "e1".to_owned(),
        restart: 0,
        remote_ufrag: "ufrag".to_owned(),
        ice,
        tracks_planned: if kind == Kind::Whip { 2 } else { 0 },
        formats: if kind == Kind::Whep {
            vec![AUDIO, VIDEO]
        } else {
            Vec::new()
        },
        negotiated: Vec::new(),
        slots: if kind == Kind::Whep {
            slots
        } else {
            Vec::new()
        },
        admitted: false,
        connected: false,
    }
}

/// The tracks of a session: ten times its number, and one more.
fn tracks(session: u64, formats: &[(MediaKind, Format)]) -> Vec<Track> {
    let ids = (session * 10..).map(TrackId);
    ids.zip(formats)
        .map(|(track, &(kind, format))| Track {
            track,
            kind,
            format,
            live: false,
            layers: Vec::new(),
        })
        .collect()
}

impl Story {
    fn apply(&mut self, input: Input) -> Vec<Output> {
        self.room.apply(self.now, input)
    }

    fn pass(&mut self, seconds: u64) -> &mut Story {
        self.now += Duration::from_secs(seconds);
        self
    }

    fn reserves(&mut self, session: u64, sub: &str) -> Vec<Output> {
        self.apply(Input::Reserve(connection(session, Kind::Whip, MAIN, sub)))
    }

    fn publishes(&mut self, session: u64, formats: &[(MediaKind, Format)]) -> Vec<Output> {
        self.apply(Input::Published(
            SessionId(session),
            tracks(session, formats),
        ))
    }

    /// A publisher with media flowing.
    fn live(&mut self, session: u64, sub: &str) {
        assert_eq!(self.reserves(session, sub), []);
        assert_eq!(self.publishes(session, &[AUDIO, VIDEO]), []);
        self.activity(session, true);
    }

    fn activity(&mut self, session: u64, live: bool) {
        for track in tracks(session, &[AUDIO, VIDEO]) {
            assert_eq!(self.apply(Input::Activity(track.track, live)), []);
        }
    }

    fn joins(&mut self, session: u64, sub: &str) -> Vec<Output> {
        let planned: Formats = vec![AUDIO, VIDEO];
        self.apply(Input::Join(
            connection(session, Kind::Whep, MAIN, sub),
            planned,
        ))
    }

    fn watches(&mut self, session: u64, sub: &str) {
        assert_eq!(self.joins(session, sub), []);
        self.apply(Input::Admitted(SessionId(session)));
        self.apply(Input::Connected(SessionId(session)));
    }

    fn closed(&mut self, session: u64) -> Vec<Output> {
        self.apply(Input::Closed(SessionId(session)))
    }
}

fn refused(refusal: Refusal) -> Vec<Output> {
    vec![Output::Refused(refusal)]
}

fn left(session: u64, tracks: &[u64]) -> Output {
    Output::Left(Left {
        session: SessionId(session),
        tracks: tracks.iter().copied().map(TrackId).collect(),
        reconnect: None,
    })
}

/// Left, and told to come again.
fn sent_away(session: u64, tracks: &[u64], reconnect: Reconnect) -> Output {
    let Output::Left(left) = left(session, tracks) else {
        unreachable!()
    };
    Output::Left(Left {
        reconnect: Some(reconnect),
        ..left
    })
}

fn subscribed(session: u64, publisher: u64) -> Vec<Output> {
    (0..2)
        .map(|slot| {
            Output::Subscribe(
                SessionId(session),
                SlotId(slot),
                TrackId(publisher * 10 + u64::from(slot)),
            )
        })
        .collect()
}

#[test]
fn a_viewer_sees_who_publishes_and_nothing_before() {
    let mut story = story();
    assert_eq!(story.joins(2, "viewer"), refused(Refusal::NotLive));
    story.reserves(1, "teacher");
    assert_eq!(
        story.joins(2, "viewer"),
        refused(Refusal::NotLive),
        "a reservation is not a stream"
    );
    story.publishes(1, &[AUDIO, VIDEO]);
    assert_eq!(story.joins(2, "viewer"), []);
    assert_eq!(story.apply(Input::Admitted(SessionId(2))), subscribed(2, 1));
}

#[test]
fn a_plan_for_what_the_stream_no_longer_carries_is_refused() {
    let mut story = story();
    story.reserves(1, "teacher");
    story.publishes(1, &[AUDIO, OTHER]);
    assert_eq!(story.joins(2, "viewer"), refused(Refusal::NotLive));
}

#[test]
fn one_person_a_stream_but_many_streams_a_room() {
    let mut story = story();
    story.live(1, "teacher");
    assert_eq!(
        story.reserves(2, "assistant"),
        refused(Refusal::OtherPublisher)
    );
    let other = connection(2, Kind::Whip, "board", "assistant");
    assert_eq!(story.apply(Input::Reserve(other)), []);
    // Also while the first only reserves.
    let third = connection(3, Kind::Whip, "board", "teacher");
    assert_eq!(
        story.apply(Input::Reserve(third)),
        refused(Refusal::OtherPublisher)
    );
}

#[test]
fn a_publisher_replaces_itself_once_it_has_been_silent() {
    let mut story = story();
    story.live(1, "teacher");
    assert_eq!(
        story.pass(60).reserves(2, "teacher"),
        refused(Refusal::StillPublishing)
    );
    // The encoder crashed: its tracks fall silent, which is said two seconds after the last packet.
    story.activity(1, false);
    assert_eq!(
        story.reserves(2, "teacher"),
        [left(1, &[10, 11]), Output::Close(SessionId(1))],
        "the old session goes when the new one comes"
    );
    assert_eq!(story.closed(1), [], "and its end is no news");
    assert_eq!(story.publishes(2, &[AUDIO, VIDEO]), []);
}

#[test]
fn one_live_track_is_enough_not_to_be_silent() {
    let mut story = story();
    story.live(1, "teacher");
    story.apply(Input::Activity(TrackId(11), false));
    assert_eq!(
        story.pass(60).reserves(2, "teacher"),
        refused(Refusal::StillPublishing)
    );
}

#[test]
fn a_publisher_that_never_came_to_media_is_replaceable_after_two_seconds() {
    let mut story = story();
    story.reserves(1, "teacher");
    story.publishes(1, &[AUDIO, VIDEO]);
    assert_eq!(
        story.pass(1).reserves(2, "teacher"),
        refused(Refusal::StillPublishing)
    );
    assert_ne!(
        story.pass(1).reserves(2, "teacher"),
        refused(Refusal::StillPublishing)
    );
}

#[test]
fn viewers_stay_through_a_gap_and_resume_with_the_same_codecs() {
    let mut story = story();
    story.live(1, "teacher");
    story.watches(2, "a");
    story.watches(3, "b");
    assert_eq!(story.closed(1), [left(1, &[10, 11])]);
    assert_eq!(
        story.joins(4, "c"),
        refused(Refusal::NotLive),
        "a gap is not live for newcomers"
    );
    assert_eq!(story.pass(29).apply(Input::Tick), []);
    // Anybody with the right may go on.
    assert_eq!(story.reserves(5, "assistant"), []);
    assert_eq!(
        story.publishes(5, &[VIDEO, AUDIO]).len(),
        4,
        "two slots of two viewers"
    );
    assert_eq!(story.pass(60).apply(Input::Tick), [], "the gap is over");
    assert_eq!(story.room.viewers(), 2);
}

#[test]
fn viewers_of_other_codecs_are_closed() {
    let mut story = story();
    story.live(1, "teacher");
    story.watches(2, "a");
    story.closed(1);
    story.reserves(3, "teacher");
    assert_eq!(
        story.publishes(3, &[AUDIO, OTHER]),
        [
            sent_away(2, &[], Reconnect::OtherFormats),
            Output::Close(SessionId(2))
        ]
    );
    // And a stream that lost its picture is another stream, too.
    let mut story = self::story();
    story.live(1, "teacher");
    story.watches(2, "a");
    story.closed(1);
    story.reserves(3, "teacher");
    assert_eq!(
        story.publishes(3, &[AUDIO]),
        [
            sent_away(2, &[], Reconnect::OtherFormats),
            Output::Close(SessionId(2))
        ]
    );
}

#[test]
fn a_gap_ends_after_thirty_seconds_and_so_does_the_room() {
    let mut story = story();
    story.live(1, "teacher");
    story.watches(2, "a");
    story.closed(1);
    assert_eq!(
        story.room.next_deadline(),
        Some(story.now + Duration::from_secs(30))
    );
    assert_eq!(
        story.pass(30).apply(Input::Tick),
        [left(2, &[]), Output::Close(SessionId(2))]
    );
    assert!(story.room.is_idle());
    assert_eq!(story.room.next_deadline(), None);
}

#[test]
fn a_failed_attempt_to_resume_leaves_the_gap_as_it_was() {
    let mut story = story();
    story.live(1, "teacher");
    story.watches(2, "a");
    story.closed(1);
    story.pass(20).reserves(3, "teacher");
    assert_eq!(
        story.room.next_deadline(),
        None,
        "nobody is sent away while somebody is about to publish"
    );
    assert_eq!(story.pass(5).closed(3), [left(3, &[])]);
    assert_eq!(
        story.pass(5).apply(Input::Tick),
        [left(2, &[]), Output::Close(SessionId(2))]
    );
}

#[test]
fn a_session_closed_in_the_middle_is_not_admitted() {
    let mut story = story();
    story.reserves(1, "teacher");
    story.closed(1);
    assert_eq!(story.publishes(1, &[AUDIO]), refused(Refusal::Gone));
    assert!(
        story.room.is_idle(),
        "a stream that never was leaves no gap"
    );
    story.live(2, "teacher");
    story.joins(3, "a");
    story.closed(3);
    assert_eq!(
        story.apply(Input::Admitted(SessionId(3))),
        refused(Refusal::Gone)
    );
}

#[test]
fn a_viewer_that_is_still_joining_is_not_subscribed_by_others() {
    let mut story = story();
    story.live(1, "teacher");
    story.joins(2, "a");
    story.closed(1);
    story.reserves(3, "teacher");
    assert_eq!(
        story.publishes(3, &[AUDIO, VIDEO]),
        [],
        "the data plane does not know the viewer yet"
    );
    assert_eq!(
        story.apply(Input::Admitted(SessionId(2))),
        subscribed(2, 3),
        "then it gets the present tracks"
    );
}

#[test]
fn viewers_are_persons_with_media_who_do_not_publish_main() {
    let mut story = story();
    story.live(1, "teacher");
    story.watches(2, "a");
    story.watches(3, "a");
    story.watches(4, "teacher");
    assert_eq!(
        story.room.viewers(),
        1,
        "two windows of one person, and the teacher's own preview"
    );
    story.joins(5, "b");
    story.apply(Input::Admitted(SessionId(5)));
    assert_eq!(story.room.viewers(), 1, "admitted is not connected");
    story.apply(Input::Connected(SessionId(5)));
    assert_eq!(story.room.viewers(), 2);
    let mut hidden = connection(6, Kind::Whep, MAIN, "monitor");
    hidden.counted = false;
    story.apply(Input::Join(hidden, vec![AUDIO, VIDEO]));
    story.apply(Input::Connected(SessionId(6)));
    assert_eq!(story.room.viewers(), 2);
}

#[test]
fn a_full_room_takes_nobody_new_but_second_windows() {
    let mut story = story();
    story.room = Room::new(
        RoomId(1),
        Limits {
            participants_max: Some(2),
            ..Limits::default()
        },
    );
    story.live(1, "teacher");
    story.watches(2, "a");
    assert_eq!(story.joins(3, "b"), refused(Refusal::Full(2)));
    assert_eq!(story.joins(4, "a"), []);
    story.closed(2);
    story.closed(4);
    assert_eq!(story.joins(5, "b"), []);
}

#[test]
fn an_ice_restart_changes_what_the_next_one_is_compared_with() {
    let mut story = story();
    story.live(1, "teacher");
    // The answer to the later one was read first.
    for (number, ufrag, etag) in [(8, "second", "e2"), (7, "first", "e1")] {
        story.apply(Input::Restarted(Restart {
            session: SessionId(1),
            number,
            ufrag: ufrag.to_owned(),
            etag: etag.to_owned(),
        }));
    }
    let connection = story.room.connection(&ResourceId::presented("r1")).unwrap();
    assert_eq!(
        (connection.remote_ufrag.as_str(), connection.etag.as_str()),
        ("second", "e2")
    );
}
