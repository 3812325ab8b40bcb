//! H.265 access units out of packets (RFC 7798 section 4.4).

use super::{NAL_DELIMITER, NAL_VPS, Payload, is_random_access, nal_type};
use crate::payload::depacketize::{Assembly, Beginning, Flaw};
use crate::payload::nal::Gather;

/// Octets of payload header and FU header (RFC 7798 section 4.4.3).
const FU_HEAD_LEN: usize = 3;

/// A delimiter is the first of its access unit. A video parameter set comes before all other sets, and what
/// could come before it, a delimiter, no picture needs.
pub(in crate::payload) fn beginning(payload: &[u8]) -> Beginning {
    let of = |nal_type| match nal_type {
        NAL_DELIMITER | NAL_VPS => Beginning::AfterLoss,
        _ => Beginning::InOrder,
    };
    match Payload::parse(payload) {
        Some(Payload::Single { nal_type, .. }) => of(nal_type),
        Some(Payload::Aggregate(aggregate)) => aggregate
            .nals()
            .next()
            .and_then(nal_type)
            .map_or(Beginning::InOrder, of),
        Some(Payload::Fragment {
            nal_type,
            start: true,
            ..
        }) => of(nal_type),
        Some(Payload::Fragment { start: false, .. }) => Beginning::Never,
        None => Beginning::InOrder,
    }
}

pub(in crate::payload) fn append(
    gather: &mut Gather,
    frame: &mut Assembly,
    payload: &[u8],
) -> Result<(), Flaw> {
    match Payload::parse(payload).ok_or(Flaw::Malformed)? {
        Payload::Single { nal_type, .. } => {
            frame.keyframe |= is_random_access(nal_type);
            gather.unit(frame, payload)
        }
        Payload::Aggregate(aggregate) => aggregate.nals().try_for_each(|nal| {
            frame.keyframe |= nal_type(nal).is_some_and(is_random_access);
            gather.unit(frame, nal)
        }),
        Payload::Fragment {
            nal_type,
            start,
            end,
            ..
        } => {
            frame.keyframe |= is_random_access(nal_type);
            let [first, second] = payload.first_chunk().copied().unwrap_or_default();
            let header = [(first & 0x81) | (nal_type << 1), second];
            let fragment = payload.get(FU_HEAD_LEN..).unwrap_or_default();
            gather.fragment(frame, &header, fragment, (start, end))
        }
    }
}
