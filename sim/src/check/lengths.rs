//! No packet grows on its way by more than it must.

use dataplane_engine::limits::PADDING_BYTES_MAX;

use crate::stamp::Stamp;

/// The longest tag, the original number of a retransmission, and padding (contracts.md 17).
const GROWTH_BYTES_MAX: usize = 16 + 2 + PADDING_BYTES_MAX;

/// An outgoing packet is at most as long as its publisher's, a tag, two bytes of RTX and the padding of runs.
#[derive(Clone, Copy, Debug)]
pub struct Lengths;

impl Lengths {
    /// Its name.
    pub const NAME: &'static str = "Lengths";

    pub(super) fn judge(len: usize, stamp: &Stamp) -> Option<String> {
        let most = usize::from(stamp.packet_bytes) + GROWTH_BYTES_MAX;
        (len > most).then(|| format!("{len} bytes of {stamp:?}, at most {most}"))
    }
}
