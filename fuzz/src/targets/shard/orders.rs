//! What the control plane ordered before a story begins.

use dataplane_api::Command;
use dataplane_api::command::{
    Accept, Admit, Fingerprint, FingerprintHash, Publish, RemoteTransport, SessionPolicy, Setup,
    Slot, Source, Subscribe,
};
use dataplane_api::ids::{RoomId, SessionId, SlotId, TrackId};
use dataplane_api::media::{CodecId, Encoding, Extensions, MediaKind, PayloadType};

pub(super) const PEER_UFRAG: &str = "peer";
pub(super) const PEER_PWD: &str = "a password of two dozen!";

/// Header extension ids of every session.
pub(super) const MID: u8 = 4;
pub(super) const RID: u8 = 10;
pub(super) const REPAIRED_RID: u8 = 11;
pub(super) const TRANSPORT_CC: u8 = 3;

/// Payload types of every session.
pub(super) const VIDEO_PT: u8 = 96;
pub(super) const RTX_PT: u8 = 97;
pub(super) const AUDIO_PT: u8 = 111;

/// SSRCs that viewers get: by kind, then for retransmission.
pub(super) const VIDEO_OUT: u32 = 0xb0;
pub(super) const AUDIO_OUT: u32 = 0xa0;
pub(super) const RTX_OUT: u32 = 0xb1;

/// Who is there, in the order of their sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    HostilePublisher,
    HostileViewer,
    Publisher,
    Viewer,
}

impl Who {
    pub(super) const ALL: [Who; 4] = [
        Who::HostilePublisher,
        Who::HostileViewer,
        Who::Publisher,
        Who::Viewer,
    ];

    pub(super) fn is_hostile(self) -> bool {
        matches!(self, Who::HostilePublisher | Who::HostileViewer)
    }

    pub(super) fn session(self) -> SessionId {
        SessionId(match self {
            Who::HostilePublisher => 1,
            Who::HostileViewer => 2,
            Who::Publisher => 3,
            Who::Viewer => 4,
        })
    }

    fn room(self) -> RoomId {
        RoomId(if self.is_hostile() { 1 } else { 2 })
    }
}

/// What the hostile publisher says its video is.
pub(super) const CODECS: [CodecId; 6] = [
    CodecId::VP8,
    CodecId::VP9,
    CodecId::H264,
    CodecId::H265,
    CodecId::AV1,
    CodecId::VP8,
];

/// Tracks: simulcast video by rid, video by SSRC, audio; of the honest publisher video and audio.
pub(super) const HOSTILE_VIDEO: TrackId = TrackId(11);
pub(super) const HOSTILE_SCREEN: TrackId = TrackId(12);
pub(super) const HOSTILE_AUDIO: TrackId = TrackId(13);
const HONEST_VIDEO: TrackId = TrackId(21);
const HONEST_AUDIO: TrackId = TrackId(22);

pub(super) fn payload_type(kind: MediaKind, codec: CodecId) -> PayloadType {
    let video = kind == MediaKind::Video;
    PayloadType {
        codec: if video { codec } else { CodecId::OPUS },
        pt: if video { VIDEO_PT } else { AUDIO_PT },
        rtx_pt: video.then_some(RTX_PT),
        clock_hz: if video { 90_000 } else { 48_000 },
        nack: true,
        pli: true,
        transport_cc: true,
        form: 0,
    }
}

/// Everybody's admission.
pub(super) fn admit(who: Who, codec: CodecId) -> Command {
    Command::Admit(admission(who, codec))
}

fn admission(who: Who, codec: CodecId) -> Admit {
    let video = |slot, ssrc, rtx_ssrc| Slot {
        slot: SlotId(slot),
        kind: MediaKind::Video,
        mid: format!("v{slot}"),
        ssrc,
        rtx_ssrc,
        codecs: vec![payload_type(MediaKind::Video, codec)],
    };
    let audio = Slot {
        slot: SlotId(1),
        kind: MediaKind::Audio,
        mid: "a1".into(),
        ssrc: AUDIO_OUT,
        rtx_ssrc: None,
        codecs: vec![payload_type(MediaKind::Audio, CodecId::OPUS)],
    };
    let slots = match who {
        Who::HostilePublisher | Who::Publisher => Vec::new(),
        // One slot with a retransmission stream, one without: both ways to repair.
        Who::HostileViewer => vec![
            video(0, VIDEO_OUT, Some(RTX_OUT)),
            audio,
            video(2, 0xb2, None),
        ],
        Who::Viewer => vec![video(0, VIDEO_OUT, None), audio],
    };
    Admit {
        session: who.session(),
        room: who.room(),
        tag: vec![1, 2, 3],
        shard_hint: None,
        remote: Some(remote(Setup::Active)),
        extensions: Extensions {
            mid: Some(MID),
            rid: Some(RID),
            repaired_rid: Some(REPAIRED_RID),
            transport_cc: Some(TRANSPORT_CC),
            audio_level: Some(1),
            video_orientation: Some(13),
            dependency_descriptor: Some(12),
            abs_capture_time: Some(8),
            playout_delay: Some(7),
            mixed: true,
        },
        slots,
        policy: SessionPolicy::default(),
    }
}

/// A session that the node offers.
pub(super) fn offer(who: Who, codec: CodecId) -> Command {
    Command::Admit(Admit {
        remote: None,
        ..admission(who, codec)
    })
}

/// The answer to an offer.
pub(super) fn accept(who: Who, setup: Setup) -> Command {
    Command::Accept(Accept {
        session: who.session(),
        remote: remote(setup),
        tag: Some(vec![5; 5]),
        codecs: Vec::new(),
        extensions: None,
    })
}

fn remote(setup: Setup) -> RemoteTransport {
    RemoteTransport {
        ufrag: PEER_UFRAG.into(),
        pwd: PEER_PWD.into(),
        fingerprint: fingerprint(),
        setup,
    }
}

/// What everybody publishes.
pub(super) fn publications(codec: CodecId, opaque: bool) -> Vec<Command> {
    let rid = |rid: &str| Encoding {
        rid: Some(rid.into()),
        ssrc: None,
        rtx_ssrc: None,
    };
    let by_ssrc = |ssrc, rtx_ssrc| Encoding {
        rid: None,
        ssrc,
        rtx_ssrc,
    };
    let publish = |track, who: Who, kind, mid: &str, codec, encodings, opaque| {
        Command::Publish(Publish {
            track,
            session: who.session(),
            uid: [7; 16],
            origin_node: [0; 16],
            hops: 0,
            kind,
            mid: mid.into(),
            codecs: vec![payload_type(kind, codec)],
            encodings,
            opaque,
            tag: Vec::new(),
        })
    };
    let (video, audio) = (MediaKind::Video, MediaKind::Audio);
    let (foe, friend) = (Who::HostilePublisher, Who::Publisher);
    let layers = vec![rid("q"), rid("h"), rid("f")];
    let screen = vec![by_ssrc(Some(0x51), Some(0x52))];
    vec![
        publish(HOSTILE_VIDEO, foe, video, "v", codec, layers, opaque),
        publish(HOSTILE_SCREEN, foe, video, "s", codec, screen, opaque),
        publish(
            HOSTILE_AUDIO,
            foe,
            audio,
            "a",
            codec,
            vec![by_ssrc(None, None)],
            opaque,
        ),
        publish(
            HONEST_VIDEO,
            friend,
            video,
            "v",
            CodecId::VP8,
            vec![by_ssrc(None, None)],
            false,
        ),
        publish(
            HONEST_AUDIO,
            friend,
            audio,
            "a",
            CodecId::OPUS,
            vec![by_ssrc(None, None)],
            false,
        ),
    ]
}

/// Who watches what.
pub(super) fn subscriptions() -> Vec<Command> {
    [
        (Who::HostileViewer, 0, HOSTILE_VIDEO),
        (Who::HostileViewer, 1, HOSTILE_AUDIO),
        (Who::HostileViewer, 2, HOSTILE_SCREEN),
        (Who::Viewer, 0, HONEST_VIDEO),
        (Who::Viewer, 1, HONEST_AUDIO),
    ]
    .map(|(who, slot, track)| subscribe(who, slot, track))
    .into()
}

pub(super) fn subscribe(who: Who, slot: u16, track: TrackId) -> Command {
    Command::Subscribe(Subscribe {
        session: who.session(),
        slot: SlotId(slot),
        source: Source::Track(track),
    })
}

/// One order of each kind that a story begins with.
pub(in crate::targets) fn orders() -> Vec<Command> {
    let mut orders: Vec<Command> = Who::ALL
        .iter()
        .map(|&who| admit(who, CodecId::AV1))
        .collect();
    orders.extend(publications(CodecId::H264, true));
    orders.extend(subscriptions());
    orders.push(offer(Who::HostileViewer, CodecId::VP8));
    orders.push(accept(Who::HostileViewer, Setup::Passive));
    orders
}

/// A fingerprint that nothing has.
pub(in crate::targets) fn fingerprint() -> Fingerprint {
    Fingerprint {
        hash: FingerprintHash::Sha256,
        digest: vec![0xab; 32],
    }
}
