//! What a control plane makes of what the data plane holds.

use dataplane_api::command::Slot;
use dataplane_api::event::LayerState;
use dataplane_api::ids::ShardIndex;
use dataplane_api::media::PayloadType;
use dataplane_api::snapshot::{SessionPart, TrackPart};

use super::super::room::Adopted;
use super::*;

/// A session as an earlier control plane left it.
fn adopted(session: u64, kind: Kind, sub: &str, published: &[(MediaKind, Format)]) -> Input {
    let mut connection = connection(session, kind, MAIN, sub);
    (connection.admitted, connection.connected) = (true, true);
    let mut tracks = tracks(session, published);
    for track in &mut tracks {
        track.live = true;
    }
    Input::Adopt(Adopted {
        tracks_planned: connection.tracks_planned,
        formats: connection.formats.clone(),
        connection,
        tracks,
    })
}

#[test]
fn a_class_goes_on_with_another_control_plane() {
    let mut story = story();
    assert_eq!(
        story.apply(adopted(1, Kind::Whip, "teacher", &[AUDIO, VIDEO])),
        []
    );
    assert_eq!(story.apply(adopted(2, Kind::Whep, "a", &[])), []);
    assert_eq!(story.room.viewers(), 1);
    assert_eq!(
        story.reserves(3, "teacher"),
        refused(Refusal::StillPublishing)
    );
    assert_eq!(
        story.reserves(3, "assistant"),
        refused(Refusal::OtherPublisher)
    );
    story.watches(4, "b");
    assert_eq!(story.room.viewers(), 2);
    assert_eq!(
        story.closed(1),
        [left(1, &[10, 11])],
        "and its tracks are known"
    );
    assert_eq!(story.reserves(5, "teacher"), []);
    assert_eq!(
        story.publishes(5, &[AUDIO, VIDEO]),
        [subscribed(2, 5), subscribed(4, 5)].concat()
    );
}

#[test]
fn viewers_that_wait_for_their_teacher_go_on_waiting() {
    let mut story = story();
    story.apply(adopted(2, Kind::Whep, "a", &[]));
    assert_eq!(
        story.joins(3, "b"),
        refused(Refusal::NotLive),
        "a gap is not live"
    );
    assert_eq!(story.pass(29).apply(Input::Tick), []);
    story.reserves(4, "teacher");
    assert_eq!(story.publishes(4, &[AUDIO, VIDEO]), subscribed(2, 4));
    // With nobody to come back they are not kept for ever.
    let mut story = self::story();
    story.apply(adopted(2, Kind::Whep, "a", &[]));
    assert_eq!(
        story.pass(30).apply(Input::Tick),
        [left(2, &[]), Output::Close(SessionId(2))]
    );
    assert!(story.room.is_idle());
}

#[test]
fn a_publisher_whose_answer_was_never_written_is_closed() {
    let mut story = story();
    assert_eq!(
        story.apply(adopted(1, Kind::Whip, "teacher", &[AUDIO])),
        [left(1, &[10]), Output::Close(SessionId(1))],
        "one of two tracks was declared when the earlier control plane died"
    );
    assert!(story.room.is_idle());
}

#[test]
fn of_two_publishers_of_one_stream_the_newer_stays() {
    let mut story = story();
    story.apply(adopted(1, Kind::Whip, "teacher", &[AUDIO, VIDEO]));
    assert_eq!(
        story.apply(adopted(2, Kind::Whip, "teacher", &[AUDIO, VIDEO])),
        [left(1, &[10, 11]), Output::Close(SessionId(1))]
    );
    assert_eq!(story.room.streams_live(), 1);
}

#[test]
fn a_publisher_that_is_silent_gives_way_at_once() {
    let mut story = story();
    story.apply(adopted(1, Kind::Whip, "teacher", &[AUDIO, VIDEO]));
    story.activity(1, false);
    assert_eq!(
        story.reserves(2, "teacher"),
        [left(1, &[10, 11]), Output::Close(SessionId(1))]
    );
}

#[test]
fn a_publisher_that_is_silent_for_too_long_is_closed_and_then_its_viewers() {
    let mut story = story();
    story.room = Room::new(
        RoomId(1),
        Limits {
            stream_timeout: Some(Duration::from_secs(60)),
            ..Limits::default()
        },
    );
    story.live(1, "teacher");
    story.watches(2, "a");
    assert_eq!(story.room.next_deadline(), None, "media flows");
    story.activity(1, false);
    // Silence is told two seconds after the last packet.
    assert_eq!(story.pass(57).apply(Input::Tick), []);
    assert_eq!(
        story.pass(1).apply(Input::Tick),
        [left(1, &[10, 11]), Output::Close(SessionId(1))]
    );
    assert_eq!(
        story.pass(30).apply(Input::Tick),
        [left(2, &[]), Output::Close(SessionId(2))]
    );
}

#[test]
fn a_connection_and_a_track_come_back_from_their_tags() {
    let mut before = connection(2, Kind::Whep, "board", "a");
    before.role = Role::Monitor;
    before.counted = false;
    let slot = |(slot, kind): &(SlotId, MediaKind)| Slot {
        slot: *slot,
        kind: *kind,
        mid: "0".into(),
        ssrc: 1,
        rtx_ssrc: None,
        codecs: Vec::<PayloadType>::new(),
    };
    before.negotiated = before.slots.iter().map(slot).collect();
    // Of our own offer the viewer took the sound only.
    before.slots.pop();
    let part = SessionPart {
        session: SessionId(2),
        room: RoomId(1),
        shard: ShardIndex(0),
        tag: tag::SessionTag::new("math-7", &before).encode(),
        connected: true,
        ufrag: "ours".into(),
        slots: before.negotiated.clone(),
        subscriptions: vec![],
    };
    let tag = tag::SessionTag::decode(&part.tag).unwrap();
    assert_eq!(tag.room, "math-7");
    let after = tag.connection(&part).unwrap();
    (before.admitted, before.connected) = (true, true);
    assert_eq!(format!("{after:?}"), format!("{before:?}"));

    let layers = vec![LayerState {
        rid: Some("h".into()),
        live: true,
    }];
    let part = TrackPart {
        track: TrackId(20),
        session: SessionId(2),
        tag: tag::TrackTag::new(VIDEO.0, VIDEO.1).encode(),
        live: true,
        layers: layers.clone(),
    };
    assert_eq!(
        tag::TrackTag::track(part),
        Some(Track {
            track: TrackId(20),
            kind: VIDEO.0,
            format: VIDEO.1,
            live: true,
            layers
        })
    );
}

#[test]
fn tags_of_another_meaning_are_not_guessed_at() {
    let tag = tag::SessionTag::new("math-7", &connection(1, Kind::Whip, MAIN, "t"));
    let text = String::from_utf8(tag.encode()).unwrap();
    assert!(tag::SessionTag::decode(text.as_bytes()).is_some());
    for (from, to) in [
        (r#""v":1"#, r#""v":2"#),
        (r#""kind":"whip""#, r#""kind":"carrier-pigeon""#),
        (r#""room":"math-7""#, r#""room":"../etc""#),
    ] {
        assert!(text.contains(from));
        let other = text.replace(from, to);
        assert!(
            tag::SessionTag::decode(other.as_bytes()).is_none(),
            "{other}"
        );
    }
    let later = text.replace(r#""v":1"#, r#""v":1,"later":[1,2]"#);
    assert!(
        tag::SessionTag::decode(later.as_bytes()).is_some(),
        "a new member is ignored"
    );
    for bytes in [&b""[..], b"{}", b"null", b"\xff"] {
        assert!(tag::SessionTag::decode(bytes).is_none());
    }
}

#[test]
fn what_was_missed_is_made_up_from_a_snapshot() {
    let mut story = story();
    story.live(1, "teacher");
    story.watches(2, "a");
    story.joins(3, "b");
    story.apply(Input::Admitted(SessionId(3)));
    story.joins(4, "c");
    let filled = [(SlotId(0), TrackId(10)), (SlotId(1), TrackId(11))];
    let held = Resync {
        // 2 died unheard; 3 connected unheard and lost one subscription.
        sessions: HashMap::from([
            (SessionId(1), (true, vec![])),
            (SessionId(3), (true, filled[..1].to_vec())),
        ]),
        tracks: HashMap::from([
            (TrackId(10), (false, vec![])),
            (TrackId(11), (false, vec![])),
        ]),
        admitted: HashSet::from([SessionId(1), SessionId(2), SessionId(3)]),
    };
    let outputs = story.apply(Input::Resync(held.into()));
    assert_eq!(
        outputs,
        [
            left(2, &[]),
            Output::Subscribe(SessionId(3), SlotId(1), TrackId(11))
        ]
    );
    assert_eq!(story.room.viewers(), 1);
    // 4 was not admitted when it was asked, so its absence means nothing.
    assert_eq!(story.apply(Input::Admitted(SessionId(4))), subscribed(4, 1));
    // And the silence is known.
    assert_ne!(
        story.reserves(5, "teacher"),
        refused(Refusal::StillPublishing)
    );
}

#[test]
fn viewers_of_other_codecs_whose_end_was_lost_are_closed() {
    let mut story = story();
    story.apply(adopted(1, Kind::Whep, "a", &[]));
    // The publisher came back with another codec, and the earlier control plane died over it.
    story.apply(adopted(2, Kind::Whip, "teacher", &[AUDIO, OTHER]));
    let sessions = [1, 2].map(|session| (SessionId(session), (true, vec![])));
    let held = Resync {
        sessions: HashMap::from(sessions),
        tracks: HashMap::new(),
        admitted: HashSet::from([SessionId(1), SessionId(2)]),
    };
    assert_eq!(
        story.apply(Input::Resync(held.into())),
        [
            sent_away(1, &[], Reconnect::OtherFormats),
            Output::Close(SessionId(1))
        ]
    );
}

#[test]
fn a_tag_comes_back_as_it_was_and_stays_below_its_limit() {
    let mut connection = connection(1, Kind::Whep, &"s".repeat(64), &"\u{1}".repeat(128));
    connection.remote_ufrag = "\\".repeat(256);
    let tag = tag::SessionTag::new(&"r".repeat(64), &connection);
    let bytes = tag.encode();
    assert!(
        bytes.len() <= dataplane_api::command::TAG_BYTES_MAX,
        "{}",
        bytes.len()
    );
    let back: tag::SessionTag = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(back, tag);
    assert_eq!(back.kind(), Some(Kind::Whep));
    assert_eq!(
        tag::TrackTag::new(MediaKind::Video, VIDEO.1).codec,
        CodecId::VP8.0
    );
}
#[test]
fn with_the_data_plane_everything_dies() {
    let mut story = story();
    story.live(1, "teacher");
    story.watches(2, "a");
    assert_eq!(
        story.apply(Input::AllGone),
        [
            sent_away(1, &[10, 11], Reconnect::MediaDown),
            sent_away(2, &[], Reconnect::MediaDown)
        ]
    );
    assert!(story.room.is_idle(), "no gap: there is nobody left to wait");
}
