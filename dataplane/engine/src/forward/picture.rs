//! Continuity of the numbers that pictures carry: the picture id, TL0PICIDX and KEYIDX of VP8 and VP9 payload
//! descriptors (RFC 7741 section 4.2, RFC 9628 section 4.2) and the frame number of the dependency descriptor
//! (AV1 RTP specification, appendix A.8.2) go on when a slot's source changes (contracts.md 21).
//!
//! What is added to a number is constant for as long as a source fills the slot. So the numbers keep every
//! relation they have among each other: the reference distances of VP9's flexible mode and of the dependency
//! descriptor are relative and need no rewriting, a lost picture stays a gap, and a late packet gets the
//! number its picture had. The first source of a slot is not changed at all.

use crate::limits::FORWARDED_EXTENSION_BYTES_MAX;
use crate::pool::Picture;

/// What is added to the numbers of one packet. The width of each is that of the packet: sums wrap in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Patch {
    pub(super) picture_id: u16,
    pub(super) frame_number: u16,
    pub(super) tl0_pic_idx: u8,
    pub(super) key_idx: u8,
}

impl Patch {
    /// Changes nothing.
    pub(crate) const NONE: Patch = Patch {
        picture_id: 0,
        frame_number: 0,
        tl0_pic_idx: 0,
        key_idx: 0,
    };

    /// Whether a payload with the numbers of `picture` stays as it is.
    pub(crate) fn spares(self, picture: Option<&Picture>) -> bool {
        picture.is_none_or(|picture| {
            (self.picture_id == 0 || picture.id.is_none())
                && (self.tl0_pic_idx == 0 || picture.tl0_pic_idx.is_none())
                && (self.key_idx == 0 || picture.key_idx.is_none())
        })
    }

    /// Writes the numbers into `payload`, which `picture` was read from. None of them changes its length.
    pub(crate) fn apply(self, picture: &Picture, payload: &mut [u8]) {
        const WHOLE: &str = "invariant: the numbers were read from this payload";
        if let Some(id) = picture.id {
            id.patch(
                payload,
                picture.id_at.into(),
                id.value().wrapping_add(self.picture_id),
            )
            .expect(WHOLE);
        }
        if let Some(tl0) = picture.tl0_pic_idx {
            *payload
                .get_mut(usize::from(picture.tl0_pic_idx_at))
                .expect(WHOLE) = tl0.wrapping_add(self.tl0_pic_idx);
        }
        if let Some(key_idx) = picture.key_idx {
            let octet = payload
                .get_mut(usize::from(picture.key_idx_at))
                .expect(WHOLE);
            // TID and Y share the octet.
            *octet = *octet & 0xe0 | key_idx.wrapping_add(self.key_idx) & 0x1f;
        }
    }

    /// The dependency descriptor as it goes out: `descriptor` itself, or its copy in `out`. The frame number
    /// follows the first octet, whatever else the descriptor carries.
    pub(crate) fn descriptor<'a>(
        self,
        descriptor: &'a [u8],
        out: &'a mut [u8; FORWARDED_EXTENSION_BYTES_MAX],
    ) -> &'a [u8] {
        let (&[_, high, low, ..], true) = (descriptor, self.frame_number != 0) else {
            return descriptor;
        };
        let Some(out) = out.get_mut(..descriptor.len()) else {
            return descriptor;
        };
        out.copy_from_slice(descriptor);
        let number = u16::from_be_bytes([high, low]).wrapping_add(self.frame_number);
        if let Some(place) = out.get_mut(1..3) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        out
    }
}

/// One number that counts pictures, wrapping.
#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    /// The newest number that went out, not cut to the width it has on the wire.
    newest: Option<u16>,
    /// The current source's number that went out as `newest`.
    source: Option<(u16, u32)>,
    offset: u16,
}

impl Counter {
    /// What is added comes from the next number: it follows the newest one.
    fn restart(&mut self) {
        self.source = None;
    }

    /// Notes a number of `bits` bits and says what is added to it.
    fn place(&mut self, number: u16, bits: u32) -> u16 {
        let Some((source, source_bits)) = self.source else {
            if let Some(newest) = self.newest {
                self.offset = newest.wrapping_add(1).wrapping_sub(number);
            }
            self.newest = Some(number.wrapping_add(self.offset));
            self.source = Some((number, bits));
            return self.offset;
        };
        // Publishers exist that send seven bits while the id is small and fifteen afterwards: of two widths only
        // what both say is compared.
        let ahead = ahead(number, source, bits.min(source_bits));
        if ahead > 0 {
            self.newest = self.newest.map(|newest| newest.wrapping_add(ahead));
            self.source = Some((number, bits));
        }
        self.offset
    }
}

/// How far `number` is ahead of `before`, both of `bits` bits and wrapping; 0 when it is not.
fn ahead(number: u16, before: u16, bits: u32) -> u16 {
    let mask = u16::MAX >> (u16::BITS - bits);
    let distance = number.wrapping_sub(before) & mask;
    if distance > mask / 2 { 0 } else { distance }
}

/// The numbers of one slot's pictures.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pictures {
    ids: Counter,
    tl0s: Counter,
    keys: Counter,
    frames: Counter,
}

impl Pictures {
    /// A new source begins with the next packet.
    pub(crate) fn switch(&mut self) {
        self.ids.restart();
        self.tl0s.restart();
        self.keys.restart();
        self.frames.restart();
    }

    /// Notes a packet of the current source and says how it is patched. What the packet does not carry is not
    /// patched, and goes on with the next packet that carries it.
    pub(crate) fn place(&mut self, picture: Option<&Picture>, frame_number: Option<u16>) -> Patch {
        let mut patch = Patch::NONE;
        if let Some(picture) = picture {
            if let Some(id) = picture.id {
                patch.picture_id = self.ids.place(id.value(), id.bits());
            }
            if let Some(tl0) = picture.tl0_pic_idx {
                patch.tl0_pic_idx = low_8(self.tl0s.place(tl0.into(), 8));
            }
            if let Some(key_idx) = picture.key_idx {
                patch.key_idx = low_8(self.keys.place(key_idx.into(), 5));
            }
        }
        if let Some(frame_number) = frame_number {
            patch.frame_number = self.frames.place(frame_number, 16);
        }
        patch
    }
}

fn low_8(n: u16) -> u8 {
    let [_, low] = n.to_be_bytes();
    low
}

#[cfg(test)]
mod tests {
    use codecs::payload::PictureId;

    use super::*;

    fn long(id: u16) -> Picture {
        Picture {
            id: Some(PictureId::Long(id)),
            ..Picture::default()
        }
    }

    fn short(id: u8) -> Picture {
        Picture {
            id: Some(PictureId::Short(id)),
            ..Picture::default()
        }
    }

    /// The picture id that goes out.
    fn sent(pictures: &mut Pictures, picture: Picture) -> u16 {
        let patch = pictures.place(Some(&picture), None);
        let mut payload = [0; 2];
        patch.apply(&picture, &mut payload);
        match picture.id.unwrap() {
            PictureId::Short(_) => payload[0].into(),
            PictureId::Long(_) => u16::from_be_bytes(payload) & 0x7fff,
        }
    }

    #[test]
    fn the_first_source_is_not_changed() {
        let mut pictures = Pictures::default();
        for id in [32_000, 32_001, 32_000, 32_767, 0] {
            let patch = pictures.place(Some(&long(id)), Some(id));
            assert_eq!(patch, Patch::NONE);
            assert!(patch.spares(Some(&long(id))));
        }
    }

    #[test]
    fn a_new_source_goes_on_behind_the_newest_picture_over_the_wrap() {
        let mut pictures = Pictures::default();
        for id in [32_766, 32_767, 32_765] {
            sent(&mut pictures, long(id));
        }
        pictures.switch();
        assert_eq!(sent(&mut pictures, long(500)), 0);
        assert_eq!(sent(&mut pictures, long(503)), 3, "a loss stays a gap");
        assert_eq!(sent(&mut pictures, long(501)), 1, "late, in its place");
        pictures.switch();
        assert_eq!(sent(&mut pictures, long(7)), 4);
    }

    #[test]
    fn seven_bits_stay_seven_bits() {
        let mut pictures = Pictures::default();
        sent(&mut pictures, short(126));
        pictures.switch();
        assert_eq!(sent(&mut pictures, short(3)), 127);
        assert_eq!(sent(&mut pictures, short(4)), 0);
        pictures.switch();
        assert_eq!(sent(&mut pictures, long(1_000)), 129);
        pictures.switch();
        assert_eq!(sent(&mut pictures, short(0)), 2, "the low bits of 130");
    }

    #[test]
    fn a_publisher_that_widens_its_ids_as_they_grow_keeps_counting() {
        let mut pictures = Pictures::default();
        sent(&mut pictures, long(2_999));
        pictures.switch();
        assert_eq!(sent(&mut pictures, short(126)), 3_000 & 0x7f);
        assert_eq!(sent(&mut pictures, short(127)), 3_001 & 0x7f);
        assert_eq!(sent(&mut pictures, long(128)), 3_002);
        pictures.switch();
        assert_eq!(sent(&mut pictures, long(0)), 3_003);
    }

    #[test]
    fn each_number_goes_on_by_itself_and_what_is_not_there_is_not_written() {
        let numbered = |id, tl0, key| Picture {
            id: Some(PictureId::Long(id)),
            tl0_pic_idx: Some(tl0),
            key_idx: Some(key),
            temporal: 0,
            id_at: 0,
            tl0_pic_idx_at: 2,
            key_idx_at: 3,
        };
        let mut pictures = Pictures::default();
        pictures.place(Some(&numbered(10, 255, 31)), Some(0xffff));
        pictures.switch();
        let picture = numbered(700, 9, 4);
        let patch = pictures.place(Some(&picture), Some(77));
        let mut payload = [0x82, 0xbc, 9, 0xa4, 0x55];
        patch.apply(&picture, &mut payload);
        assert_eq!(payload, [0x80, 11, 0, 0xa0, 0x55], "TID and Y stay");
        let mut out = [0; FORWARDED_EXTENSION_BYTES_MAX];
        assert_eq!(
            patch.descriptor(&[0xc1, 0, 77, 0x80, 9], &mut out),
            [0xc1, 0, 0, 0x80, 9]
        );
        let bare = Picture::default();
        let mut payload = [0x82; 3];
        patch.apply(&bare, &mut payload);
        assert_eq!(payload, [0x82; 3]);
        assert!(patch.spares(Some(&bare)) && patch.spares(None));
    }

    #[test]
    fn a_number_that_comes_back_goes_on_where_it_stopped() {
        let mut pictures = Pictures::default();
        sent(&mut pictures, long(100));
        pictures.switch();
        assert_eq!(
            pictures.place(None, None),
            Patch::NONE,
            "a source without picture ids is left as it is"
        );
        pictures.switch();
        assert_eq!(sent(&mut pictures, long(5)), 101);
    }
}
