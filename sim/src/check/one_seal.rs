//! No (key, SSRC, index) is sealed twice with another plaintext or AAD.

use std::collections::{BTreeMap, HashMap};

use codecs::rtp::{Seq, SeqUnwrapper};
use dataplane_api::ids::SessionId;

/// What a datagram is to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seal {
    /// Its index is new.
    New,
    /// It was sent before, byte for byte.
    Again,
    /// Its index was used for something else.
    Reused,
}

/// Judges ciphertext: the same plaintext and header under the same key and index give the same bytes, and
/// anything else is a keystream used twice (contracts.md 11).
#[derive(Debug, Default)]
pub struct OneSeal {
    streams: BTreeMap<(SessionId, u32), Stream>,
    control: HashMap<(SessionId, u32, u32), u64>,
}

/// One SSRC of one session.
#[derive(Debug, Default)]
struct Stream {
    indices: SeqUnwrapper,
    /// Content by index.
    sealed: HashMap<u64, u64>,
}

impl OneSeal {
    /// Its name.
    pub const NAME: &'static str = "OneSeal";

    /// What an RTP packet would be.
    pub(super) fn look(&self, session: SessionId, ssrc: u32, seq: Seq, digest: u64) -> Seal {
        let Some(stream) = self.streams.get(&(session, ssrc)) else {
            return Seal::New;
        };
        match stream.sealed.get(&stream.indices.peek(seq).0) {
            None => Seal::New,
            Some(&before) if before == digest => Seal::Again,
            Some(_) => Seal::Reused,
        }
    }

    /// Notes a new RTP packet.
    pub(super) fn note(&mut self, session: SessionId, ssrc: u32, seq: Seq, digest: u64) {
        let stream = self.streams.entry((session, ssrc)).or_default();
        let index = stream.indices.extend(seq).0;
        stream.sealed.insert(index, digest);
    }

    /// Notes an RTCP packet by the index it carries.
    pub(super) fn note_control(
        &mut self,
        session: SessionId,
        ssrc: u32,
        index: u32,
        digest: u64,
    ) -> Seal {
        match self.control.insert((session, ssrc, index), digest) {
            None => Seal::New,
            Some(before) if before == digest => Seal::Again,
            Some(_) => Seal::Reused,
        }
    }
}
