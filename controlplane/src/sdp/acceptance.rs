//! The peer's answer to the node's own offer.

use dataplane_api::command::{RemoteTransport, Setup, Slot};
use dataplane_api::ids::SlotId;

use super::SdpError;
use super::attributes::bad;
use super::codec::{self, Format};
use super::negotiate::{no_common_codec, usable};
use super::parse::{Media, Offer, Section};

/// What an answer says yes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// The peer's ICE and DTLS parameters; its `setup` is `active` or `passive`.
    pub transport: RemoteTransport,
    /// The slots it will receive, in the offer's order; never empty. The others stay without media.
    pub slots: Vec<SlotId>,
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
        for (index, (section, slot)) in answer.sections.iter().zip(offered).enumerate() {
            same_section(section, slot)?;
            // RFC 3264 section 6: port 0 refuses a section, and so does a direction that takes nothing.
            if section.rejected || !section.direction().receives() {
                continue;
            }
            if usable(&answer, index)?.is_some() {
                takes(section, slot)?;
                slots.push(slot.slot);
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

/// The answer must name the payload type of the offer for the same codec; others beside it cost nothing.
fn takes(section: &Section, slot: &Slot) -> Result<(), SdpError> {
    let answered = codec::offered(section);
    let fits = slot.codecs.iter().any(|offered| {
        let format = Format {
            codec: offered.codec,
            form: offered.form,
        };
        let named: Vec<_> = answered
            .iter()
            .filter(|codec| codec.pt == offered.pt)
            .cloned()
            .collect();
        codec::fitting(&named, format).is_some()
    });
    if fits {
        return Ok(());
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
