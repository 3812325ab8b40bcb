//! What a decoder makes of packets in order: pictures, while the chain from the last keyframe holds.

use dataplane_api::media::MediaKind;
use dataplane_engine::time::Micros;

use crate::stamp::Stamp;

/// One picture, or one packet of audio, that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// When.
    pub at: Micros,
    /// When it was captured.
    pub captured: Micros,
    /// Who sent it.
    pub publisher: u32,
    /// Which layer.
    pub layer: u8,
}

/// The frame that is being put together.
#[derive(Clone, Copy, Debug)]
struct Assembly {
    stamp: Stamp,
    next_part: u8,
}

/// One decoder.
#[derive(Debug)]
pub(super) struct Decoder {
    kind: MediaKind,
    /// Publisher, SSRC and frame of the picture that the next one may depend on.
    chain: Option<(u32, u32, u32)>,
    assembly: Option<Assembly>,
    keyframe_wanted: bool,
    shown: Vec<Shown>,
}

impl Decoder {
    pub(super) fn new(kind: MediaKind) -> Decoder {
        Decoder {
            kind,
            chain: None,
            assembly: None,
            keyframe_wanted: false,
            shown: Vec::new(),
        }
    }

    /// Whether it can go on with nothing but a keyframe.
    pub(super) fn wants_keyframe(&self) -> bool {
        self.keyframe_wanted
    }

    pub(super) fn shown(&self) -> &[Shown] {
        &self.shown
    }

    /// The next packet in order.
    pub(super) fn feed(&mut self, now: Micros, stamp: Stamp) {
        if self.kind == MediaKind::Audio {
            self.show(now, &stamp);
            return;
        }
        if stamp.part == 0 {
            self.assembly = Some(Assembly {
                stamp,
                next_part: 0,
            });
        }
        let belongs = |assembly: &Assembly| {
            let of = &assembly.stamp;
            (of.publisher, of.ssrc, of.frame) == (stamp.publisher, stamp.ssrc, stamp.frame)
                && assembly.next_part == stamp.part
        };
        let Some(assembly) = self.assembly.as_mut().filter(|a| belongs(a)) else {
            self.lose();
            return;
        };
        assembly.next_part += 1;
        if assembly.next_part < stamp.parts {
            return;
        }
        self.assembly = None;
        let follows = stamp
            .frame
            .checked_sub(1)
            .is_some_and(|before| self.chain == Some((stamp.publisher, stamp.ssrc, before)));
        if stamp.key || follows {
            self.chain = Some((stamp.publisher, stamp.ssrc, stamp.frame));
            self.keyframe_wanted = false;
            self.show(now, &stamp);
        } else {
            self.lose();
        }
    }

    /// Something is missing for good.
    pub(super) fn lose(&mut self) {
        if self.kind == MediaKind::Video {
            self.assembly = None;
            self.chain = None;
            self.keyframe_wanted = true;
        }
    }

    fn show(&mut self, now: Micros, stamp: &Stamp) {
        self.shown.push(Shown {
            at: now,
            captured: Micros(stamp.captured_us),
            publisher: stamp.publisher,
            layer: stamp.layer,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(frame: u32, part: u8, key: bool) -> Stamp {
        Stamp {
            publisher: 1,
            ssrc: 2,
            frame,
            part,
            parts: 2,
            key,
            ..Stamp::default()
        }
    }

    fn shown(packets: &[(u32, u8, bool)]) -> (usize, bool) {
        let mut decoder = Decoder::new(MediaKind::Video);
        for &(frame, part, key) in packets {
            decoder.feed(Micros::ZERO, stamp(frame, part, key));
        }
        (decoder.shown().len(), decoder.wants_keyframe())
    }

    #[test]
    fn a_picture_needs_all_its_packets_and_the_picture_before_it() {
        assert_eq!(shown(&[(0, 0, true), (0, 1, true)]), (1, false));
        assert_eq!(
            shown(&[(0, 0, true), (0, 1, true), (1, 0, false), (1, 1, false)]),
            (2, false)
        );
        assert_eq!(shown(&[(0, 1, true)]), (0, true), "its beginning is lost");
        assert_eq!(shown(&[(1, 0, false), (1, 1, false)]), (0, true));
        assert_eq!(
            shown(&[(0, 0, true), (0, 1, true), (2, 0, false), (2, 1, false)]),
            (1, true)
        );
    }

    #[test]
    fn a_keyframe_ends_every_trouble() {
        let packets = [(1, 0, false), (1, 1, false), (2, 0, true), (2, 1, true)];
        assert_eq!(shown(&packets), (1, false));
    }
}
