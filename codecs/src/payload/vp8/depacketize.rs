//! VP8 frames out of packets: the payloads behind their descriptors, one after another (RFC 7741 section 4.4).

use super::{Descriptor, is_key};
use crate::payload::depacketize::{Assembly, Beginning, Flaw};

/// The first packet of a frame has S and partition 0, no other has (RFC 7741 section 4.2).
pub(in crate::payload) fn beginning(payload: &[u8]) -> Beginning {
    match Descriptor::parse(payload) {
        Some(descriptor) if descriptor.begins_frame() => Beginning::Always,
        Some(_) => Beginning::Never,
        None => Beginning::InOrder,
    }
}

pub(in crate::payload) fn append(frame: &mut Assembly, payload: &[u8]) -> Result<(), Flaw> {
    let descriptor = Descriptor::parse(payload).ok_or(Flaw::Malformed)?;
    frame.extend(payload.get(descriptor.len..).unwrap_or_default())
}

/// Whether it is a key frame shows when its header is together: a short first packet may cut it.
pub(in crate::payload) fn finish(frame: &mut Assembly) -> Result<(), Flaw> {
    frame.keyframe = is_key(frame.frame());
    Ok(())
}
