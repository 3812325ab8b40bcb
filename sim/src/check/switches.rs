//! A viewer is never switched to where its decoder cannot follow.

use super::window::Note;

/// What fills a video slot changes at the beginning of a keyframe only.
#[derive(Clone, Copy, Debug)]
pub struct SwitchPoints;

impl SwitchPoints {
    /// Its name.
    pub const NAME: &'static str = "SwitchPoints";

    pub(super) fn judge(earlier: Option<&Note>, later: &Note) -> Option<String> {
        let switched = earlier.is_none_or(|earlier| !earlier.same_source(later));
        (switched && !later.begins_keyframe).then(|| {
            format!(
                "a source begins with {:?}, which begins no keyframe",
                later.stamp
            )
        })
    }
}
