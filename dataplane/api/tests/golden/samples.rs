//! A frame of every kind, with every field that may be absent present in one and absent in another.

use dataplane_api::command::{
    Accept, Admit, Close, Drain, Fingerprint, FingerprintHash, Inspect, Ping, Publish,
    RemoteTransport, RestartIce, SessionPolicy, SetPolicy, Setup, Slot, Snapshot, Source,
    Subscribe, Unpublish, Unsubscribe,
};
use dataplane_api::event::{
    CloseReason, Draining, Hello, LayerState, Limits, ResyncNeeded, SessionClosed,
    SessionConnected, ShardInfo, ShardStats, Superseded, TrackLayers, TrackLive, TrackSilent,
};
use dataplane_api::ids::{OrderId, RoomId, SessionId, ShardIndex, SlotId, TrackId};
use dataplane_api::media::{CodecId, Encoding, Extensions, MediaKind, PayloadType};
use dataplane_api::reply::{Admitted, Done, Inspected, Pong, Refusal, Refused, Unsupported};
use dataplane_api::snapshot::{End, Part, SessionPart, ShardEnd, TrackPart};
use dataplane_api::wire::Frame;
use dataplane_api::{Command, Event, Reply};

/// Fields that may be absent.
pub(crate) const OPTIONAL: [&str; 18] = [
    "shard_hint",
    "remote",
    "tag",
    "egress_bps_max",
    "ingress_bps_max",
    "rtx_ssrc",
    "rtx_pt",
    "rid",
    "ssrc",
    "ops",
    "mid",
    "repaired_rid",
    "transport_cc",
    "audio_level",
    "video_orientation",
    "dependency_descriptor",
    "abs_capture_time",
    "playout_delay",
];

const SESSION: SessionId = SessionId((3 << 40) + 7);
const ROOM: RoomId = RoomId((3 << 40) + 8);
const TRACK: TrackId = TrackId((3 << 40) + 9);
const ORDER: OrderId = OrderId(1 << 33);

/// Every sample under its name.
pub(crate) fn samples() -> Vec<(&'static str, Frame)> {
    let mut samples = vec![
        ("hello", Frame::Hello(Box::new(hello(true)))),
        ("hello-bare", Frame::Hello(Box::new(hello(false)))),
    ];
    samples.extend(orders().map(|(name, order)| (name, Frame::Order(ORDER, order))));
    samples.extend(replies().map(|(name, reply)| (name, Frame::Reply(ORDER, reply))));
    samples.extend(parts().map(|(name, part)| (name, Frame::Part(ORDER, part))));
    let event = |(name, event)| (name, Frame::Event(ShardIndex(2), 1 << 35, event));
    samples.extend(events().map(event));
    samples
}

fn fingerprint(hash: FingerprintHash, bytes: usize) -> Fingerprint {
    Fingerprint {
        hash,
        digest: (1..).take(bytes).collect(),
    }
}

fn hello(full: bool) -> Hello {
    let shard = |index, addresses: &[&str]| ShardInfo {
        index: ShardIndex(index),
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        udp_port: 40_000 + index,
    };
    Hello {
        version: "0.1.0".into(),
        boot_id: *b"one boot of many",
        features: if full { vec!["accept".into()] } else { vec![] },
        fingerprint: fingerprint(FingerprintHash::Sha256, 32),
        shards: if full {
            vec![
                shard(0, &["192.0.2.1:40000", "[2001:db8::1]:40000"]),
                shard(1, &[]),
            ]
        } else {
            vec![]
        },
        limits: Limits {
            sessions_per_shard_max: 4_096,
            slots_per_session_max: 256,
        },
        edge: "uring".into(),
        ops: full.then(|| "127.0.0.1:9601".parse().unwrap()),
        draining: full,
        connection: if full { 3 } else { 0 },
    }
}

fn remote(setup: Setup, fingerprint: Fingerprint) -> RemoteTransport {
    RemoteTransport {
        ufrag: "Yk3q".into(),
        pwd: "a password of two dozen!".into(),
        fingerprint,
        setup,
    }
}

fn payload_type(codec: CodecId, full: bool) -> PayloadType {
    PayloadType {
        codec,
        pt: 96,
        rtx_pt: full.then_some(97),
        clock_hz: 90_000,
        nack: full,
        pli: full,
        transport_cc: full,
        form: if full { 0x0001_42e0 } else { 0 },
    }
}

fn extensions(full: bool) -> Extensions {
    let id = |n| full.then_some(n);
    Extensions {
        mid: id(1),
        rid: id(2),
        repaired_rid: id(3),
        transport_cc: id(4),
        audio_level: id(5),
        video_orientation: id(6),
        dependency_descriptor: id(7),
        abs_capture_time: id(8),
        playout_delay: id(9),
        mixed: full,
    }
}

fn slot(n: u16, full: bool) -> Slot {
    Slot {
        slot: SlotId(n),
        kind: if full {
            MediaKind::Video
        } else {
            MediaKind::Audio
        },
        mid: n.to_string(),
        ssrc: 0xdead_0001,
        rtx_ssrc: full.then_some(0xdead_0002),
        codecs: vec![
            payload_type(CodecId::H264, full),
            payload_type(CodecId(999), !full),
        ],
    }
}

fn admit(full: bool) -> Admit {
    Admit {
        session: SESSION,
        room: ROOM,
        tag: if full { b"{}".to_vec() } else { vec![] },
        shard_hint: full.then_some(ShardIndex(1)),
        remote: full.then(|| {
            let fingerprint = fingerprint(FingerprintHash::Sha384, 48);
            remote(Setup::ActPass, fingerprint)
        }),
        extensions: extensions(full),
        slots: vec![slot(0, full), slot(1, !full)],
        policy: SessionPolicy {
            egress_bps_max: full.then_some(5_000_000_000),
            ingress_bps_max: full.then_some(150_000_000),
        },
    }
}

fn publish(full: bool) -> Publish {
    let encoding = |rid: Option<&str>, full: bool| Encoding {
        rid: rid.map(Into::into),
        ssrc: full.then_some(0x11),
        rtx_ssrc: full.then_some(0x12),
    };
    Publish {
        track: TRACK,
        session: SESSION,
        uid: *b"a track's uuid..",
        origin_node: *b"a node's uuid...",
        hops: 3,
        kind: MediaKind::Video,
        mid: "1".into(),
        codecs: vec![payload_type(CodecId::VP8, true)],
        encodings: if full {
            vec![encoding(Some("q"), false), encoding(Some("h"), true)]
        } else {
            vec![encoding(None, false)]
        },
        opaque: full,
        tag: if full { b"tag".to_vec() } else { vec![] },
    }
}

fn orders() -> impl Iterator<Item = (&'static str, Command)> {
    let (session, slot) = (SESSION, SlotId(1));
    let accept = |setup, fingerprint, tag: Option<Vec<u8>>| {
        let narrowed = tag.is_some();
        Command::Accept(Accept {
            session,
            remote: remote(setup, fingerprint),
            tag,
            codecs: if narrowed {
                vec![(slot, vec![payload_type(CodecId::VP8, false)])]
            } else {
                Vec::new()
            },
            extensions: narrowed.then(|| extensions(false)),
        })
    };
    let restart = |tag| {
        Command::RestartIce(RestartIce {
            session,
            ufrag: "newu".into(),
            pwd: "a new password of many!!".into(),
            tag,
        })
    };
    let sha256 = fingerprint(FingerprintHash::Sha256, 32);
    let sha512 = fingerprint(FingerprintHash::Sha512, 64);
    let subscribe = Subscribe {
        session,
        slot,
        source: Source::Track(TRACK),
    };
    let policy = SetPolicy {
        session,
        policy: SessionPolicy::default(),
    };
    [
        ("admit", Command::Admit(admit(true))),
        ("admit-bare", Command::Admit(admit(false))),
        ("close", Command::Close(Close { session })),
        ("publish", Command::Publish(publish(true))),
        ("publish-bare", Command::Publish(publish(false))),
        ("unpublish", Command::Unpublish(Unpublish { track: TRACK })),
        ("subscribe", Command::Subscribe(subscribe)),
        (
            "unsubscribe",
            Command::Unsubscribe(Unsubscribe { session, slot }),
        ),
        ("set-policy", Command::SetPolicy(policy)),
        ("restart-ice", restart(Some(b"{\"etag\":2}".to_vec()))),
        ("restart-ice-bare", restart(None)),
        ("accept", accept(Setup::Active, sha256, Some(vec![1, 2]))),
        ("accept-bare", accept(Setup::Passive, sha512, None)),
        (
            "inspect-session",
            Command::Inspect(Inspect::Session(session)),
        ),
        ("inspect-room", Command::Inspect(Inspect::Room(ROOM))),
        (
            "inspect-shard",
            Command::Inspect(Inspect::Shard(ShardIndex(2))),
        ),
        ("snapshot", Command::Snapshot(Snapshot {})),
        ("drain", Command::Drain(Drain {})),
        ("ping", Command::Ping(Ping {})),
    ]
    .into_iter()
}

fn replies() -> impl Iterator<Item = (&'static str, Reply)> {
    let admitted = Admitted {
        session: SESSION,
        shard: ShardIndex(1),
        ufrag: "0001abcd".into(),
        pwd: "our password, 128 bits of it".into(),
        candidates: vec![
            "192.0.2.1:40001".parse().unwrap(),
            "[2001:db8::1]:40001".parse().unwrap(),
        ],
    };
    let refused = |reason| {
        Reply::Refused(Refused {
            reason,
            detail: "why".into(),
        })
    };
    let json = "{\"shard\":0}".into();
    [
        ("done", Reply::Done(Done {})),
        ("admitted", Reply::Admitted(admitted)),
        ("refused-unknown", refused(Refusal::Unknown)),
        ("refused-overloaded", refused(Refusal::Overloaded)),
        ("refused-draining", refused(Refusal::Draining)),
        ("refused-invalid", refused(Refusal::Invalid)),
        ("inspected", Reply::Inspected(Inspected { json })),
        ("pong", Reply::Pong(Pong {})),
        ("unsupported", Reply::Unsupported(Unsupported { kind: 63 })),
    ]
    .into_iter()
}

fn layers() -> Vec<LayerState> {
    let layer = |rid: Option<&str>, live| LayerState {
        rid: rid.map(Into::into),
        live,
    };
    vec![layer(Some("q"), true), layer(None, false)]
}

fn parts() -> impl Iterator<Item = (&'static str, Part)> {
    let session = SessionPart {
        session: SESSION,
        room: ROOM,
        shard: ShardIndex(2),
        tag: b"{}".to_vec(),
        connected: true,
        ufrag: "0002abcd".into(),
        slots: vec![slot(0, true), slot(1, false)],
        subscriptions: vec![(SlotId(0), TRACK), (SlotId(1), TrackId(1))],
    };
    let track = TrackPart {
        track: TRACK,
        session: SESSION,
        tag: b"tag".to_vec(),
        live: true,
        layers: layers(),
    };
    let shard_end = ShardEnd {
        shard: ShardIndex(2),
        counter: 1 << 35,
    };
    [
        ("part-session", Part::Session(session)),
        ("part-track", Part::Track(track)),
        ("part-shard-end", Part::ShardEnd(shard_end)),
        ("part-end", Part::End(End {})),
    ]
    .into_iter()
}

fn events() -> impl Iterator<Item = (&'static str, Event)> {
    let (session, track) = (SESSION, TRACK);
    let closed = |reason| Event::SessionClosed(SessionClosed { session, reason });
    let join_ms = 312;
    let codec = CodecId::AV1;
    let layers = layers();
    let stats = ShardStats {
        sessions: 1,
        tracks: 2,
        subscriptions: 3,
        packets_in: 1 << 33,
        packets_out: 1 << 40,
        bytes_in: 6,
        bytes_out: 7,
        dropped: 8,
    };
    [
        (
            "connected",
            Event::SessionConnected(SessionConnected { session, join_ms }),
        ),
        ("closed-ordered", closed(CloseReason::Ordered)),
        ("closed-ice-timeout", closed(CloseReason::IceTimeout)),
        (
            "closed-consent-expired",
            closed(CloseReason::ConsentExpired),
        ),
        (
            "closed-handshake-failed",
            closed(CloseReason::HandshakeFailed),
        ),
        (
            "closed-fingerprint",
            closed(CloseReason::FingerprintMismatch),
        ),
        ("closed-peer", closed(CloseReason::PeerClosed)),
        ("closed-key-exhausted", closed(CloseReason::KeyExhausted)),
        ("track-live", Event::TrackLive(TrackLive { track, codec })),
        ("track-silent", Event::TrackSilent(TrackSilent { track })),
        (
            "track-layers",
            Event::TrackLayers(TrackLayers { track, layers }),
        ),
        ("resync-needed", Event::ResyncNeeded(ResyncNeeded {})),
        ("superseded", Event::Superseded(Superseded {})),
        ("draining", Event::Draining(Draining {})),
        ("shard-stats", Event::ShardStats(stats)),
    ]
    .into_iter()
}
