//! H.264 access units out of packets (RFC 6184 section 5.6 to 5.8).

use super::{NAL_DELIMITER, NAL_IDR, NAL_SPS, Payload, nal_type};
use crate::payload::depacketize::{Assembly, Beginning, Flaw};
use crate::payload::nal::Gather;

/// Octets of FU indicator and FU header (RFC 6184 section 5.8).
const FU_HEAD_LEN: usize = 2;

/// A delimiter is the first of its access unit. A sequence parameter set comes before all slices, and what
/// could come before it, a delimiter or supplemental information, no picture needs.
pub(in crate::payload) fn beginning(payload: &[u8]) -> Beginning {
    let of = |nal_type| match nal_type {
        NAL_DELIMITER | NAL_SPS => Beginning::AfterLoss,
        _ => Beginning::InOrder,
    };
    match Payload::parse(payload) {
        Some(Payload::Single { nal_type }) => of(nal_type),
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
        Payload::Single { nal_type } => {
            frame.keyframe |= nal_type == NAL_IDR;
            gather.unit(frame, payload)
        }
        Payload::Aggregate(aggregate) => aggregate.nals().try_for_each(|nal| {
            frame.keyframe |= nal_type(nal) == Some(NAL_IDR);
            gather.unit(frame, nal)
        }),
        Payload::Fragment {
            nal_type,
            start,
            end,
        } => {
            frame.keyframe |= nal_type == NAL_IDR;
            let indicator = payload.first().copied().unwrap_or(0);
            let header = [(indicator & 0xE0) | nal_type];
            let fragment = payload.get(FU_HEAD_LEN..).unwrap_or_default();
            gather.fragment(frame, &header, fragment, (start, end))
        }
    }
}
