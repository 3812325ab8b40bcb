//! The node's own offer: WHEP's counter-offer, for a viewer whose offer could receive nothing.

use dataplane_api::command::Slot;
use dataplane_api::ids::SlotId;
use dataplane_api::media::{CodecId, Extensions, MediaKind};

use super::answer::{Answer, Body, Carried, IceSection, Outgoing, SectionAnswer};
use super::codec::{self, Format, OfferedCodec};
use super::extension::{Extension, Ids};
use super::parse::{Media, Offer, Reading};
use super::{Local, SdpError};

/// The payload types of an offer, as browsers number them. One codec a section, because a stream has one.
const AUDIO_PT: u8 = 111;
const VIDEO_PT: u8 = 96;
const RTX_PT: u8 = 97;

/// The header extensions of an offer with their ids; one id space for the bundle.
pub(super) const EXTENSIONS: [(u16, Extension, Option<MediaKind>); 6] = [
    (1, Extension::Mid, None),
    (2, Extension::TransportCc, None),
    (3, Extension::AbsCaptureTime, None),
    (4, Extension::AudioLevel, Some(MediaKind::Audio)),
    (5, Extension::VideoOrientation, Some(MediaKind::Video)),
    (6, Extension::PlayoutDelay, Some(MediaKind::Video)),
];

/// What a viewer asks for with its first body.
#[derive(Clone, Debug)]
pub enum Wish {
    /// To be answered.
    Answer(Box<Offer>),
    /// To be offered something: nothing of its own could receive what the stream carries.
    Offer,
}

impl Wish {
    /// Reads the body of a viewer of a stream that carries `formats`: empty, or an offer. No section at
    /// all, only data channels and only sections that do not receive are a wish for our offer.
    ///
    /// # Errors
    /// As [`Offer::parse`] for a body that is not SDP.
    pub fn read(body: &[u8], formats: &[(MediaKind, Format)]) -> Result<Wish, SdpError> {
        if body.trim_ascii().is_empty() {
            return Ok(Wish::Offer);
        }
        let Reading::Offer(offer) = Offer::read(body)? else {
            return Ok(Wish::Offer);
        };
        let receives = offer.sections.iter().any(|section| {
            let carried = match &section.media {
                Media::Rtp(kind) => formats.iter().any(|(of, _)| of == kind),
                Media::Other(_) => false,
            };
            carried && !section.rejected && section.direction().receives()
        });
        Ok(if receives {
            Wish::Answer(Box::new(offer))
        } else {
            Wish::Offer
        })
    }
}

/// What the node offers to a viewer.
#[derive(Clone, Debug)]
pub struct OfferPlan {
    /// The session's header extension ids.
    pub extensions: Extensions,
    /// One slot a section, in the order of the sections; never empty.
    pub slots: Vec<Slot>,
    description: Answer,
}

impl OfferPlan {
    /// The offer's text.
    #[must_use]
    pub fn text(&self, local: &Local<'_>) -> String {
        self.description.write(local)
    }

    /// What an ICE restart will have to repeat.
    #[must_use]
    pub fn ice_section(&self) -> IceSection {
        self.description.ice_section()
    }
}

/// Plans the offer of a stream that carries `formats`: one `sendonly` section each, audio first, all in
/// one bundle. `label` names the stream in `a=msid`, `ssrc` makes SSRCs.
///
/// # Errors
/// [`SdpError::Unsupported`] when the stream carries nothing that has a name in SDP.
pub fn offer(
    formats: &[(MediaKind, Format)],
    label: &str,
    mut ssrc: impl FnMut() -> u32,
) -> Result<OfferPlan, SdpError> {
    let mut ids = Ids::default();
    let mut slots = Vec::with_capacity(formats.len());
    let mut sections = Vec::with_capacity(formats.len());
    for (number, (kind, codec)) in (0_u16..).zip(
        formats
            .iter()
            .filter_map(|(kind, format)| Some((*kind, codec_of(*format)?))),
    ) {
        let outgoing = Outgoing {
            ssrc: ssrc(),
            rtx_ssrc: codec.rtx.is_some().then(&mut ssrc),
            stream: label.to_owned(),
            kind,
        };
        let extensions = EXTENSIONS
            .iter()
            .filter(|(_, _, only)| only.is_none_or(|only| only == kind))
            .filter_map(|&(id, extension, _)| Some((ids.accept(extension, id)?, extension, "")))
            .collect();
        let mid = number.to_string();
        slots.push(Slot {
            slot: SlotId(number),
            kind,
            mid: mid.clone(),
            ssrc: outgoing.ssrc,
            rtx_ssrc: outgoing.rtx_ssrc,
            codecs: vec![codec.payload_type(codec.format, true)],
        });
        let carried = Carried {
            codec,
            rtcp_rsize: true,
            extensions,
            simulcast: false,
            layers: Vec::new(),
            outgoing: Some(outgoing),
        };
        sections.push(SectionAnswer::offered(kind, mid, Body::Send(carried)));
    }
    if slots.is_empty() {
        return Err(SdpError::Unsupported {
            section: "the stream".to_owned(),
            what: "it carries no codec that this node can offer".to_owned(),
        });
    }
    Ok(OfferPlan {
        extensions: ids.0,
        slots,
        description: Answer {
            sections,
            tagged: 0,
            grouped: true,
            // RFC 8842 section 5.2: the offerer leaves the choice.
            setup: "actpass",
            // Without it the answerer need not read the two-byte form, so it is never sent.
            extmap_allow_mixed: false,
        },
    })
}

/// A codec as we offer it.
fn codec_of(format: Format) -> Option<OfferedCodec> {
    let (name, fmtp) = match format.codec {
        CodecId::OPUS => ("opus", Some("minptime=10;useinbandfec=1".to_owned())),
        CodecId::VP8 => ("VP8", None),
        CodecId::VP9 => ("VP9", Some(format!("profile-id={}", format.form))),
        CodecId::H264 => ("H264", Some(codec::h264_parameters(format.form))),
        CodecId::H265 => (
            "H265",
            Some(format!(
                "level-id=180;profile-id={};tier-flag=0;tx-mode=SRST",
                format.form
            )),
        ),
        CodecId::AV1 => (
            "AV1",
            Some(format!("level-idx=5;profile={};tier=0", format.form)),
        ),
        CodecId(_) => return None,
    };
    let audio = format.codec == CodecId::OPUS;
    Some(OfferedCodec {
        format,
        pt: if audio { AUDIO_PT } else { VIDEO_PT },
        name: name.to_owned(),
        clock_hz: if audio { 48_000 } else { 90_000 },
        channels: audio.then_some(2),
        fmtp,
        rtx: (!audio).then(|| (RTX_PT, format!("apt={VIDEO_PT}"))),
        nack: !audio,
        pli: !audio,
        fir: !audio,
        transport_cc: true,
    })
}
