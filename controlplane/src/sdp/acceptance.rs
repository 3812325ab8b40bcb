//! The peer's answer to the node's own offer.

use dataplane_api::command::{RemoteTransport, Setup, Slot};
use dataplane_api::ids::SlotId;
use dataplane_api::media::{Extensions, PayloadType};

use super::SdpError;
use super::attributes::bad;
use super::codec::{self, Format};
use super::extension::{Extension, Ids};
use super::negotiate::{no_common_codec, usable};
use super::offer::EXTENSIONS;
use super::parse::{Media, Offer, Section};

/// What an answer says yes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// The peer's ICE and DTLS parameters; its `setup` is `active` or `passive`.
    pub transport: RemoteTransport,
    /// The slots it will receive, in the offer's order, each with what the answer left of its codec; never
    /// empty. The others stay without media.
    pub slots: Vec<(SlotId, Vec<PayloadType>)>,
    /// What it left of the header extensions that were offered.
    pub extensions: Extensions,
}

impl Acceptance {
    /// Reads the answer to an offer that made `offered`.
    ///
    /// # Errors
    /// As [`Offer::parse`]; [`SdpError::Bad`] when the sections are not those of the offer (RFC 3264
    /// section 6), [`SdpError::NoCommonCodec`] when one is taken without its codec,
    /// [`SdpError::Unsupported`] when none is taken or the transport is not ours.
    pub fn read(body: &[u8], offered: &[Slot]) -> Result<Acceptance, SdpError> {
        let answer = Offer::parse(body)?;
        if answer.sections.len() != offered.len() {
            let line = answer.sections.last().map_or(1, |section| section.line);
            return Err(bad(
                line,
                format!(
                    "the answer has {} media sections, the offer {}",
                    answer.sections.len(),
                    offered.len()
                ),
            ));
        }
        if answer.transport.setup == Setup::ActPass {
            return Err(SdpError::Unsupported {
                section: "the answer".to_owned(),
                what: "it leaves `a=setup` open; an answer is `active` or `passive`".to_owned(),
            });
        }
        let mut slots = Vec::new();
        let mut ids = Ids::default();
        for (index, (section, slot)) in answer.sections.iter().zip(offered).enumerate() {
            same_section(section, slot)?;
            // RFC 3264 section 6: port 0 refuses a section, and so does a direction that takes nothing.
            if section.rejected || !section.direction().receives() {
                continue;
            }
            if usable(&answer, index)?.is_some() {
                let transport_cc = take_extensions(section, &mut ids);
                slots.push((slot.slot, vec![takes(section, slot, transport_cc)?]));
            }
        }
        if slots.is_empty() {
            return Err(SdpError::Unsupported {
                section: "the answer".to_owned(),
                what: "it receives nothing of what was offered".to_owned(),
            });
        }
        Ok(Acceptance {
            transport: answer.transport,
            slots,
            extensions: ids.0,
        })
    }
}

fn same_section(section: &Section, slot: &Slot) -> Result<(), SdpError> {
    if section.media != Media::Rtp(slot.kind) {
        return Err(bad(section.line, "is of another kind than in the offer"));
    }
    match section.mid() {
        Some(mid) if mid != slot.mid => Err(bad(
            section.line,
            format!("has the mid `{mid}`, the offer `{}`", slot.mid),
        )),
        Some(_) | None => Ok(()),
    }
}

/// Remembers which of the offered extensions the section keeps, under their offered ids; whether
/// transport-wide feedback is among them.
fn take_extensions(section: &Section, ids: &mut Ids) -> bool {
    let mut transport_cc = false;
    for map in &section.attributes.extmaps {
        let offered = EXTENSIONS.iter().find(|(id, extension, _)| {
            *id == map.id && Extension::from_uri(&map.uri) == Some(*extension)
        });
        if let Some(&(id, extension, _)) = offered
            && map.direction.receives()
            && ids.accept(extension, id).is_some()
        {
            transport_cc |= extension == Extension::TransportCc;
        }
    }
    transport_cc
}

/// The answer must name the payload type of the offer for the same codec; others beside it cost nothing.
/// What it says of feedback and retransmission is what will be used.
fn takes(section: &Section, slot: &Slot, transport_cc: bool) -> Result<PayloadType, SdpError> {
    let answered = codec::offered(section);
    let taken = slot.codecs.iter().find_map(|offered| {
        let format = Format {
            codec: offered.codec,
            form: offered.form,
        };
        let named: Vec<_> = answered
            .iter()
            .filter(|codec| codec.pt == offered.pt)
            .cloned()
            .collect();
        let codec = codec::fitting(&named, format)?;
        let left = codec.payload_type(format, transport_cc);
        Some(PayloadType {
            rtx_pt: left.rtx_pt.filter(|_| left.rtx_pt == offered.rtx_pt),
            nack: left.nack && offered.nack,
            pli: left.pli && offered.pli,
            transport_cc: left.transport_cc && offered.transport_cc,
            ..offered.clone()
        })
    });
    if let Some(taken) = taken {
        return Ok(taken);
    }
    let offered: Vec<String> = slot
        .codecs
        .iter()
        .map(|offered| {
            let format = Format {
                codec: offered.codec,
                form: offered.form,
            };
            format!("{format} as {}", offered.pt)
        })
        .collect();
    Err(no_common_codec(
        section,
        &format!("what was offered is {}", offered.join(", ")),
    ))
}
