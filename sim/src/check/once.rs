//! No packet of a publisher is forwarded twice.

use std::collections::BTreeMap;

use crate::stamp::Stamp;

/// More than any reordering or repair reaches back.
const PACKETS: usize = 8_192;

/// One packet of a publisher has one place in a slot, whether it came twice, or late, or as a retransmission
/// of what had come after all. A slot that is filled anew begins anew: what follows its keyframe may have been
/// shown before.
#[derive(Debug, Default)]
pub struct Once {
    /// Index by filling of the slot, publisher, SSRC and number.
    places: BTreeMap<(u32, u32, u32, u64), u64>,
}

impl Once {
    /// Its name.
    pub const NAME: &'static str = "Once";

    pub(super) fn note(&mut self, epoch: u32, index: u64, stamp: &Stamp) -> Option<String> {
        let key = (epoch, stamp.publisher, stamp.ssrc, stamp.number);
        let before = self.places.insert(key, index);
        if self.places.len() > PACKETS {
            self.places.pop_first();
        }
        before.map(|before| format!("{stamp:?} stands at {before} and at {index}"))
    }
}
