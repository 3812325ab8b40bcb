//! Opus packets out of RTP: the payload is the packet (RFC 7587 section 4.2).

use super::duration;
use crate::payload::depacketize::{Assembly, Flaw};

/// What no decoder takes (no frames, more than 120 ms) is no packet.
pub(in crate::payload) fn append(frame: &mut Assembly, payload: &[u8]) -> Result<(), Flaw> {
    duration(payload).ok_or(Flaw::Malformed)?;
    frame.keyframe = true;
    frame.extend(payload)
}
