//! The packets a shard keeps: a ring of fixed slabs, filled in order of arrival.
//!
//! Taking the next slab evicts the oldest packet, so a full pool costs history, never memory and never
//! a wait (contracts.md 16). Whoever still holds the evicted packet's handle finds nothing: a handle
//! carries the packet's number, and the numbers are never reused.

use codecs::payload::PictureId;
use dataplane_api::ids::TrackId;

use crate::limits::{FORWARDED_EXTENSION_BYTES_MAX, POOL_PACKET_BYTES, POOL_PACKETS};
use crate::time::Micros;

/// Names a packet in the pool until it is evicted: its number since the shard started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketHandle(u64);

impl PacketHandle {
    /// Its number.
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// The handle of a number that [`PacketHandle::number`] gave.
    pub(crate) fn numbered(number: u64) -> PacketHandle {
        PacketHandle(number)
    }
}

/// Header extensions that travel from publisher to viewer, where both negotiated them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardedExtensions {
    /// `ssrc-audio-level` (RFC 6464 section 3): V bit and level.
    pub audio_level: Option<u8>,
    /// `video-orientation` (3GPP TS 26.114 7.4.5).
    pub video_orientation: Option<u8>,
    /// Playout delay limits, 24 bits.
    pub playout_delay: Option<[u8; 3]>,
    /// Absolute capture time: 8 bytes of timestamp, without the optional clock offset.
    pub abs_capture_time: Option<[u8; 8]>,
    /// Length of the dependency descriptor kept behind the payload.
    pub(crate) dependency_descriptor_len: u8,
}

/// The numbers of a VP8 or VP9 payload descriptor that count pictures, as the publisher sent them, and the octets
/// of the payload where they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// The picture id.
    pub id: Option<PictureId>,
    /// TL0PICIDX: counts pictures of the temporal base layer.
    pub tl0_pic_idx: Option<u8>,
    /// KEYIDX of VP8: counts keyframes, five bits.
    pub key_idx: Option<u8>,
    /// The temporal layer, 0 where the descriptor names none.
    pub temporal: u8,
    pub(crate) id_at: u8,
    pub(crate) tl0_pic_idx_at: u8,
    pub(crate) key_idx_at: u8,
}

/// What is known of a packet besides its payload (contracts.md 25).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketMeta {
    /// Of which track.
    pub track: TrackId,
    /// The source's sequence number, extended over wraps.
    pub ext_seq: u64,
    /// The source's RTP timestamp.
    pub timestamp: u32,
    /// The RTP marker.
    pub marker: bool,
    /// The publisher's payload type.
    pub payload_type: u8,
    /// Which encoding of the track, lowest first.
    pub layer: u8,
    /// A viewer may begin with it: the first packet of a keyframe, any packet of audio, and any packet of video of
    /// which nothing can be read.
    pub switch_point: bool,
    /// It is known to be the first packet of a keyframe.
    pub keyframe: bool,
    /// When the kernel received it.
    pub arrival: Micros,
    /// When its publisher captured it, on the publisher's own clock (NTP, 32.32 fixed point); `None` before the
    /// first sender report of its stream.
    pub captured: Option<u64>,
    /// The numbers in its payload that go on across sources. `None` where there are none to rewrite, and always
    /// for an opaque track.
    pub picture: Option<Picture>,
    /// The frame number of its dependency descriptor, to be rewritten likewise.
    pub frame_number: Option<u16>,
    /// Extensions to pass on.
    pub extensions: ForwardedExtensions,
}

#[cfg(test)]
impl PacketMeta {
    /// Of a packet of which nothing matters.
    pub(crate) fn plain() -> PacketMeta {
        PacketMeta {
            track: TrackId(0),
            ext_seq: 0,
            timestamp: 0,
            marker: false,
            payload_type: 96,
            layer: 0,
            switch_point: false,
            keyframe: false,
            arrival: Micros::ZERO,
            captured: None,
            picture: None,
            frame_number: None,
            extensions: ForwardedExtensions::default(),
        }
    }
}

/// A packet in the pool.
#[derive(Clone, Copy, Debug)]
pub struct Pooled<'a> {
    /// What is known of it.
    pub meta: &'a PacketMeta,
    /// The plaintext payload without padding.
    pub payload: &'a [u8],
    /// The dependency descriptor, empty when there is none.
    pub dependency_descriptor: &'a [u8],
}

#[derive(Debug, Clone)]
struct Occupant {
    number: u64,
    payload_len: usize,
    meta: PacketMeta,
}

/// The ring of slabs.
#[derive(Debug)]
pub struct Pool {
    slabs: Vec<u8>,
    occupants: Vec<Option<Occupant>>,
    next: u64,
}

impl Default for Pool {
    fn default() -> Self {
        Pool::new(POOL_PACKETS)
    }
}

impl Pool {
    /// A pool of `packets` slabs, all memory taken now.
    #[must_use]
    pub fn new(packets: usize) -> Pool {
        Pool {
            slabs: vec![0; packets * POOL_PACKET_BYTES],
            occupants: vec![None; packets],
            next: 0,
        }
    }

    /// Keeps a packet, evicting the oldest. `None` when it is longer than a slab.
    pub fn insert(
        &mut self,
        mut meta: PacketMeta,
        payload: &[u8],
        dependency_descriptor: &[u8],
    ) -> Option<PacketHandle> {
        let descriptor = if dependency_descriptor.len() <= FORWARDED_EXTENSION_BYTES_MAX {
            dependency_descriptor
        } else {
            &[]
        };
        meta.extensions.dependency_descriptor_len = u8::try_from(descriptor.len()).ok()?;
        let number = self.next;
        let place = self.place(number);
        let slab = self
            .slabs
            .get_mut(place * POOL_PACKET_BYTES..)?
            .get_mut(..POOL_PACKET_BYTES)?;
        slab.get_mut(..payload.len())?.copy_from_slice(payload);
        slab.get_mut(payload.len()..payload.len() + descriptor.len())?
            .copy_from_slice(descriptor);
        *self.occupants.get_mut(place)? = Some(Occupant {
            number,
            payload_len: payload.len(),
            meta,
        });
        self.next += 1;
        Some(PacketHandle(number))
    }

    /// The packet, unless it was evicted.
    #[must_use]
    pub fn get(&self, handle: PacketHandle) -> Option<Pooled<'_>> {
        let place = self.place(handle.0);
        let occupant = self.occupants.get(place)?.as_ref()?;
        if occupant.number != handle.0 {
            return None;
        }
        let slab = self.slabs.get(place * POOL_PACKET_BYTES..)?;
        let descriptor_len = usize::from(occupant.meta.extensions.dependency_descriptor_len);
        let (payload, rest) = slab.split_at_checked(occupant.payload_len)?;
        Some(Pooled {
            meta: &occupant.meta,
            payload,
            dependency_descriptor: rest.get(..descriptor_len)?,
        })
    }

    /// Packets that arrived before `packet`, oldest of `count` first.
    pub(crate) fn before(
        &self,
        packet: PacketHandle,
        count: u64,
    ) -> impl Iterator<Item = (PacketHandle, Pooled<'_>)> {
        (packet.0.saturating_sub(count)..packet.0)
            .filter_map(|number| Some((PacketHandle(number), self.get(PacketHandle(number))?)))
    }

    fn place(&self, number: u64) -> usize {
        usize::try_from(number % self.occupants.len() as u64)
            .expect("invariant: a remainder of a usize fits a usize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(ext_seq: u64) -> PacketMeta {
        PacketMeta {
            track: TrackId(0),
            ext_seq,
            ..PacketMeta::plain()
        }
    }

    #[test]
    fn a_full_pool_evicts_the_oldest_and_its_handle_finds_nothing() {
        let mut pool = Pool::new(4);
        let handles: Vec<_> = (0..5u8)
            .map(|n| pool.insert(meta(u64::from(n)), &[n; 100], &[n; 3]).unwrap())
            .collect();
        assert!(pool.get(handles[0]).is_none(), "evicted by the fifth");
        for n in 1..5u8 {
            let packet = pool.get(handles[usize::from(n)]).unwrap();
            assert_eq!(packet.payload, [n; 100]);
            assert_eq!(packet.dependency_descriptor, [n; 3]);
            assert_eq!(packet.meta.ext_seq, u64::from(n));
        }
    }

    #[test]
    fn a_packet_longer_than_a_slab_is_refused() {
        let mut pool = Pool::new(4);
        assert!(
            pool.insert(meta(0), &[0; POOL_PACKET_BYTES + 1], &[])
                .is_none()
        );
        assert!(
            pool.insert(meta(0), &[0; POOL_PACKET_BYTES], &[1])
                .is_none()
        );
    }
}
