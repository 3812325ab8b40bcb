//! Orders for tests.

use dataplane_api::command::{
    Admit, Fingerprint, FingerprintHash, RemoteTransport, SessionPolicy, Setup, Slot,
};
use dataplane_api::ids::{RoomId, SessionId, SlotId};
use dataplane_api::media::{Extensions, MediaKind};

/// An admit with so many video slots.
pub(crate) fn admit(session: u64, room: u64, slots: u16) -> Admit {
    let slot = |slot| Slot {
        slot: SlotId(slot),
        kind: MediaKind::Video,
        mid: slot.to_string(),
        ssrc: 1,
        rtx_ssrc: None,
        codecs: Vec::new(),
    };
    Admit {
        session: SessionId(session),
        room: RoomId(room),
        tag: Vec::new(),
        shard_hint: None,
        remote: Some(RemoteTransport {
            ufrag: "u".into(),
            pwd: "p".into(),
            fingerprint: Fingerprint {
                hash: FingerprintHash::Sha256,
                digest: vec![0; 32],
            },
            setup: Setup::ActPass,
        }),
        extensions: Extensions::default(),
        slots: (0..slots).map(slot).collect(),
        policy: SessionPolicy::default(),
    }
}
