//! Picture ids of VP8 at a viewer go on, whatever fills its slot.

use super::window::Note;

/// Pictures of a source that may lie between the last packet that was forwarded of it and the first of the
/// next: those whose packets never came.
const SKIPPED_MAX: u16 = 64;

/// One frame has one picture id; within a source the ids keep the distances of the frames; the next source
/// goes on behind the last. The same for TL0PICIDX, where every frame is of the base layer.
#[derive(Clone, Copy, Debug)]
pub struct Pictures;

impl Pictures {
    /// Its name.
    pub const NAME: &'static str = "Pictures";

    pub(super) fn judge(earlier: &Note, later: &Note) -> Option<String> {
        let (Some(before), Some(after)) = (earlier.picture, later.picture) else {
            return None;
        };
        let ids = after.id.wrapping_sub(before.id) & 0x7fff;
        let layers = after.tl0.wrapping_sub(before.tl0);
        let frames = later.stamp.frame.wrapping_sub(earlier.stamp.frame);
        let keeps = u32::from(ids) == frames & 0x7fff && u32::from(layers) == frames & 0xff;
        let goes_on =
            (1..=SKIPPED_MAX).contains(&ids) && (1..=SKIPPED_MAX).contains(&u16::from(layers));
        let right = if earlier.same_source(later) {
            keeps || (earlier.pauses_before(later) && goes_on)
        } else {
            goes_on
        };
        (!right).then(|| {
            format!(
                "picture {after:?} of {:?} follows {before:?} of {:?}",
                later.stamp, earlier.stamp
            )
        })
    }
}
