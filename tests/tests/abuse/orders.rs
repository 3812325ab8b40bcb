//! What the control plane would order in a hall: sessions, tracks, subscriptions.

use std::net::Ipv4Addr;

use dataplane_api::Reply;
use dataplane_api::command::{
    Admit, Command, Fingerprint, FingerprintHash, Publish, RemoteTransport, RestartIce,
    SessionPolicy, Setup, Slot, Source, Subscribe,
};
use dataplane_api::ids::{RoomId, SessionId, SlotId, TrackId};
use dataplane_api::media::{CodecId, Encoding, Extensions, MediaKind, PayloadType};

use crate::attacker;
use crate::hall::{Hall, Layer, Peer, PeerId};
use crate::payloads;
use crate::receiver::Receiver;

const UFRAG: &str = "peer";
const PASSWORD: &str = "a password of two dozen";

impl Hall {
    /// A peer that sent no check yet. With a codec it has a slot for it.
    pub(crate) fn admit(
        &mut self,
        room: u64,
        slot: Option<CodecId>,
        policy: SessionPolicy,
    ) -> PeerId {
        let number = self.peers.len();
        let session = SessionId(u64::try_from(number).unwrap() + 1);
        let fingerprint = match &self.dtls {
            Some(dtls) => dtls.clients.fingerprint(),
            None => Fingerprint {
                hash: FingerprintHash::Sha256,
                digest: vec![0; 32],
            },
        };
        self.admit_as(session, room, slot, policy, fingerprint)
    }

    /// The same with a fingerprint of the story's choice.
    pub(crate) fn admit_as(
        &mut self,
        session: SessionId,
        room: u64,
        slot: Option<CodecId>,
        policy: SessionPolicy,
        fingerprint: Fingerprint,
    ) -> PeerId {
        let slot_ssrc = 0x2000_0000 + self.ssrc_base(session);
        let reply = self.shard.on_command(
            self.now,
            Command::Admit(Admit {
                session,
                room: RoomId(room),
                tag: Vec::new(),
                shard_hint: None,
                remote: Some(RemoteTransport {
                    ufrag: UFRAG.into(),
                    pwd: PASSWORD.into(),
                    fingerprint,
                    setup: Setup::Active,
                }),
                extensions: Extensions {
                    mid: Some(4),
                    transport_cc: Some(3),
                    dependency_descriptor: Some(5),
                    mixed: true,
                    ..Extensions::default()
                },
                slots: slot
                    .map(|codec| Slot {
                        slot: SlotId(0),
                        kind: MediaKind::Video,
                        mid: "v".into(),
                        ssrc: slot_ssrc,
                        rtx_ssrc: self.rtx.then_some(slot_ssrc + 0x1000_0000),
                        codecs: vec![PayloadType {
                            rtx_pt: self.rtx.then_some(97),
                            ..payloads::payload_type(codec)
                        }],
                    })
                    .into_iter()
                    .collect(),
                policy,
            }),
        );
        let Reply::Admitted(admitted) = reply else {
            panic!("{reply:?}")
        };
        let [_, _, high, low] = u32::try_from(session.0).unwrap().to_be_bytes();
        let path = attacker::path(Ipv4Addr::new(198, 18, high, low), 5_000);
        let number = self.peers.len();
        self.by_path.insert(path, number);
        self.peers.push(Peer {
            session,
            path,
            ufrag: admitted.ufrag,
            password: admitted.pwd,
            remote_ufrag: UFRAG.into(),
            sealer: None,
            codec: CodecId::VP8,
            slot_ssrc,
            layers: Vec::new(),
            received: Receiver::new(),
        });
        number
    }

    /// New ICE credentials on both sides; false when the node refuses.
    pub(crate) fn restart_ice(&mut self, peer: PeerId, ufrag: &str) -> bool {
        let order = RestartIce {
            session: self.peers[peer].session,
            ufrag: ufrag.into(),
            pwd: PASSWORD.into(),
            tag: None,
        };
        let reply = self.shard.on_command(self.now, Command::RestartIce(order));
        if let Reply::Admitted(admitted) = reply {
            let peer = &mut self.peers[peer];
            peer.ufrag = admitted.ufrag;
            peer.password = admitted.pwd;
            peer.remote_ufrag = ufrag.into();
            return true;
        }
        assert!(matches!(reply, Reply::Refused(_)), "{reply:?}");
        false
    }

    fn ssrc_base(&self, session: SessionId) -> u32 {
        if self.same_ssrcs {
            return 1;
        }
        u32::try_from(session.0).unwrap()
    }

    /// A track of `layers` layers with declared SSRCs.
    pub(crate) fn publish(&mut self, peer: PeerId, codec: CodecId, layers: u32) {
        self.publish_as(peer, codec, layers, false);
    }

    /// The same, end-to-end encrypted if `opaque`.
    pub(crate) fn publish_as(&mut self, peer: PeerId, codec: CodecId, layers: u32, opaque: bool) {
        let session = self.peers[peer].session;
        let base = 0x1000_0000 + 16 * self.ssrc_base(session);
        let ssrcs: Vec<u32> = (0..layers).map(|layer| base + layer).collect();
        let publish = Publish {
            track: TrackId(session.0),
            session,
            uid: [0; 16],
            origin_node: [0; 16],
            hops: 0,
            kind: MediaKind::Video,
            mid: "v".into(),
            codecs: vec![payloads::payload_type(codec)],
            encodings: ssrcs
                .iter()
                .map(|&ssrc| Encoding {
                    rid: None,
                    ssrc: Some(ssrc),
                    rtx_ssrc: None,
                })
                .collect(),
            opaque,
            tag: Vec::new(),
        };
        let reply = self.shard.on_command(self.now, Command::Publish(publish));
        assert!(matches!(reply, Reply::Done(_)), "{reply:?}");
        let peer = &mut self.peers[peer];
        peer.codec = codec;
        peer.layers = ssrcs
            .iter()
            .map(|&ssrc| Layer {
                ssrc,
                index: 1_000,
                timestamp: 0,
                number: 0,
            })
            .collect();
    }

    /// Fills a viewer's slot.
    pub(crate) fn watch(&mut self, viewer: PeerId, publisher: PeerId) {
        let order = Subscribe {
            session: self.peers[viewer].session,
            slot: SlotId(0),
            source: Source::Track(TrackId(self.peers[publisher].session.0)),
        };
        let reply = self.shard.on_command(self.now, Command::Subscribe(order));
        assert!(matches!(reply, Reply::Done(_)), "{reply:?}");
    }
}
