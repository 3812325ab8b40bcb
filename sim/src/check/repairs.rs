//! A retransmission repeats what it says it repeats.

use super::window::Note;
use crate::stamp::Stamp;

/// What goes out on an RTX stream is, behind the original number, the payload that was sealed under that
/// number (RFC 4588 section 4).
#[derive(Clone, Copy, Debug)]
pub struct Repairs;

impl Repairs {
    /// Its name.
    pub const NAME: &'static str = "Repairs";

    pub(super) fn judge(original: &Note, stamp: &Stamp, digest: u64) -> Option<String> {
        (original.digest != digest).then(|| {
            format!(
                "index {} was {:?}, its retransmission is {stamp:?}",
                original.index, original.stamp
            )
        })
    }
}
