//! From an offer to what the data plane is told and what the answer says. Both follow from one plan, so
//! they cannot disagree.

use dataplane_api::command::{Setup, Slot};
use dataplane_api::ids::SlotId;
use dataplane_api::media::{Encoding, Extensions, MediaKind, PayloadType};

use super::answer::{Answer, Body, Carried, Outgoing, SectionAnswer};
use super::attributes::bad;
use super::codec::{self, Format, OfferedCodec};
use super::extension::{Extension, Ids};
use super::layers::{encodings, layers};
use super::parse::{Direction, Media, Offer, Section};
use super::{Local, SdpError};

pub use super::answer::IceSection;

/// What a publisher's offer comes to.
#[derive(Clone, Debug)]
pub struct PublishPlan {
    /// The session's header extension ids.
    pub extensions: Extensions,
    /// At most one audio and one video track; never empty.
    pub tracks: Vec<PlannedTrack>,
    answer: Answer,
}

/// One track that a publisher will send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedTrack {
    /// Audio or video.
    pub kind: MediaKind,
    /// Its m-section's mid, or its index where the offer has none.
    pub mid: String,
    /// What a viewer must take.
    pub format: Format,
    /// The one payload type of the answer.
    pub codec: PayloadType,
    /// Its layers as the offer lists them; never empty.
    pub encodings: Vec<Encoding>,
}

/// What a viewer's offer comes to.
#[derive(Clone, Debug)]
pub struct WatchPlan {
    /// The session's header extension ids.
    pub extensions: Extensions,
    /// One slot a section that is answered `sendonly`; never empty.
    pub slots: Vec<Slot>,
    answer: Answer,
}

impl PublishPlan {
    /// The answer's text.
    #[must_use]
    pub fn answer(&self, local: &Local<'_>) -> String {
        self.answer.write(local)
    }

    /// What an ICE restart will have to repeat.
    #[must_use]
    pub fn ice_section(&self) -> IceSection {
        self.answer.ice_section()
    }
}

impl WatchPlan {
    /// The answer's text.
    #[must_use]
    pub fn answer(&self, local: &Local<'_>) -> String {
        self.answer.write(local)
    }

    /// What an ICE restart will have to repeat.
    #[must_use]
    pub fn ice_section(&self) -> IceSection {
        self.answer.ice_section()
    }
}

/// Plans the answer to a publisher: each section that sends is received in the first codec of its
/// preference that the node forwards, with every simulcast layer it lists.
///
/// # Errors
/// [`SdpError::Unsupported`], [`SdpError::NoCommonCodec`], or [`SdpError::Bad`] where sections
/// contradict each other. There are no partial answers (RFC 9725 section 4.2).
pub fn publish(offer: &Offer) -> Result<PublishPlan, SdpError> {
    let mut ids = Ids::default();
    let mut tracks: Vec<PlannedTrack> = Vec::new();
    let mut sections = Vec::with_capacity(offer.sections.len());
    for (index, section) in offer.sections.iter().enumerate() {
        let body = match usable(offer, index)? {
            None => rejected(section),
            Some(_) if !section.direction().sends() => idle(offer, index),
            Some(kind) => {
                if tracks.iter().any(|track| track.kind == kind) {
                    return Err(section.unsupported(
                        "a stream carries one audio and one video; publish the other under another name",
                    ));
                }
                let (track, carried) = receive(section, index, kind, &mut ids)?;
                tracks.push(track);
                Body::Receive(carried)
            }
        };
        sections.push(SectionAnswer::new(section, body));
    }
    if tracks.is_empty() {
        return Err(nothing_carried("no section sends audio or video"));
    }
    let mut ssrcs: Vec<u32> = Vec::new();
    for (section, ssrc) in tracks.iter().flat_map(|track| {
        let declared =
            |encoding: &Encoding| [encoding.ssrc, encoding.rtx_ssrc].into_iter().flatten();
        track
            .encodings
            .iter()
            .flat_map(declared)
            .map(|ssrc| (&track.mid, ssrc))
    }) {
        if ssrcs.contains(&ssrc) {
            return Err(bad(
                1,
                format!("the SSRC {ssrc} is declared twice (mid `{section}`)"),
            ));
        }
        ssrcs.push(ssrc);
    }
    Ok(PublishPlan {
        extensions: Extensions {
            mixed: offer.extmap_allow_mixed,
            ..ids.0
        },
        tracks,
        answer: answer(offer, sections),
    })
}

/// Plans the answer to a viewer of a stream that carries `formats`: the first section of each kind that
/// receives gets a slot, the others stay inactive. `label` names the stream in `a=msid`, `ssrc` makes
/// SSRCs.
///
/// # Errors
/// [`SdpError::NoCommonCodec`] when a section of a kind that the stream carries does not offer its
/// codec: nothing is transcoded. [`SdpError::Unsupported`] when nothing at all would be sent.
pub fn watch(
    offer: &Offer,
    formats: &[(MediaKind, Format)],
    label: &str,
    mut ssrc: impl FnMut() -> u32,
) -> Result<WatchPlan, SdpError> {
    let mut ids = Ids::default();
    let mut slots: Vec<Slot> = Vec::new();
    let mut sections = Vec::with_capacity(offer.sections.len());
    for (index, section) in offer.sections.iter().enumerate() {
        let body = match usable(offer, index)? {
            None => rejected(section),
            Some(kind) => {
                let source = formats
                    .iter()
                    .find(|(of, _)| *of == kind)
                    .map(|(_, format)| *format);
                let free = slots.iter().all(|slot| slot.kind != kind);
                match source {
                    Some(source) if free && section.direction().receives() => {
                        let slot = SlotId(u16::try_from(slots.len()).unwrap_or(u16::MAX));
                        let (slot, carried) = send(
                            section, index, slot, kind, source, label, &mut ids, &mut ssrc,
                        )?;
                        slots.push(slot);
                        Body::Send(carried)
                    }
                    _ => idle(offer, index),
                }
            }
        };
        sections.push(SectionAnswer::new(section, body));
    }
    if slots.is_empty() {
        return Err(nothing_carried(
            "no section receives what the stream carries",
        ));
    }
    Ok(WatchPlan {
        extensions: Extensions {
            mixed: offer.extmap_allow_mixed,
            ..ids.0
        },
        slots,
        answer: answer(offer, sections),
    })
}

/// Whether a section can carry media at all: `None` for one that is to be answered with port 0.
pub(super) fn usable(offer: &Offer, index: usize) -> Result<Option<MediaKind>, SdpError> {
    let Some(section) = offer.sections.get(index) else {
        return Ok(None);
    };
    let kind = match (&section.media, section.rejected) {
        (Media::Rtp(kind), false) => *kind,
        // RFC 9143 section 7.3.1: the section the offerer tagged carries the transport of the bundle;
        // Chromium fails when the answer rejects it.
        (Media::Other(_), false) if index == offer.tagged => {
            return Err(section.unsupported(
                "the first section of the bundle must be audio or video; data channels are refused",
            ));
        }
        _ => return Ok(None),
    };
    let secure = [
        "UDP/TLS/RTP/SAVPF",
        "UDP/TLS/RTP/SAVP",
        "RTP/SAVPF",
        "TCP/DTLS/RTP/SAVPF",
    ];
    if !secure
        .iter()
        .any(|protocol| protocol.eq_ignore_ascii_case(&section.protocol))
    {
        return Err(section.unsupported(format!(
            "its transport is `{}`; WebRTC media has `UDP/TLS/RTP/SAVPF`",
            section.protocol
        )));
    }
    if !section.attributes.rtcp_mux {
        return Err(section.unsupported("it has no `a=rtcp-mux`; RTP and RTCP share one port here"));
    }
    let bundled = match (&offer.bundle, section.mid()) {
        (Some(group), Some(mid)) => group.iter().any(|tag| tag == mid),
        (Some(_), None) => false,
        (None, _) => {
            let live = |other: &&Section| matches!(other.media, Media::Rtp(_)) && !other.rejected;
            offer.sections.iter().filter(live).count() == 1
        }
    };
    if !bundled {
        return Err(
            section.unsupported("it is not in the BUNDLE group; all media shares one transport")
        );
    }
    Ok(Some(kind))
}

fn receive(
    section: &Section,
    index: usize,
    kind: MediaKind,
    ids: &mut Ids,
) -> Result<(PlannedTrack, Carried), SdpError> {
    let offered = codec::offered(section);
    let Some(chosen) = codec::preferred(&offered) else {
        let forwarded = match kind {
            MediaKind::Audio => "Opus",
            MediaKind::Video => "VP8, VP9, H.264, AV1 and H.265",
        };
        return Err(no_common_codec(
            section,
            &format!("this node forwards {forwarded}"),
        ));
    };
    let (extensions, transport_cc) = extensions(section, chosen, ids, |_, of| of.sends());
    let layers = layers(section)?;
    let rid_extension = extensions
        .iter()
        .any(|(_, extension, _)| *extension == Extension::Rid);
    let encodings = encodings(section, &layers, chosen.rtx.is_some(), rid_extension)?;
    let track = PlannedTrack {
        kind,
        mid: section
            .mid()
            .map_or_else(|| index.to_string(), str::to_owned),
        format: chosen.format,
        codec: chosen.payload_type(chosen.format, transport_cc),
        encodings,
    };
    let carried = Carried {
        codec: chosen.clone(),
        rtcp_rsize: section.attributes.rtcp_rsize,
        extensions,
        simulcast: !section.attributes.simulcast_send.is_empty(),
        layers,
        outgoing: None,
    };
    Ok((track, carried))
}

#[expect(
    clippy::too_many_arguments,
    reason = "one caller, and each is a different noun"
)]
fn send(
    section: &Section,
    index: usize,
    slot: SlotId,
    kind: MediaKind,
    source: Format,
    label: &str,
    ids: &mut Ids,
    ssrc: &mut impl FnMut() -> u32,
) -> Result<(Slot, Carried), SdpError> {
    let offered = codec::offered(section);
    let Some(chosen) = codec::fitting(&offered, source) else {
        return Err(no_common_codec(
            section,
            &format!("the publisher sends {source}, and nothing is transcoded"),
        ));
    };
    // Layers are chosen here, so a viewer never sees a rid.
    let (extensions, transport_cc) = extensions(section, chosen, ids, |extension, of| {
        of.receives() && !matches!(extension, Extension::Rid | Extension::RepairedRid)
    });
    let outgoing = Outgoing {
        ssrc: ssrc(),
        rtx_ssrc: chosen.rtx.is_some().then(&mut *ssrc),
        stream: label.to_owned(),
        kind,
    };
    let slot = Slot {
        slot,
        kind,
        mid: section
            .mid()
            .map_or_else(|| index.to_string(), str::to_owned),
        ssrc: outgoing.ssrc,
        rtx_ssrc: outgoing.rtx_ssrc,
        codecs: vec![chosen.payload_type(source, transport_cc)],
    };
    let carried = Carried {
        codec: chosen.clone(),
        rtcp_rsize: section.attributes.rtcp_rsize,
        extensions,
        simulcast: false,
        layers: Vec::new(),
        outgoing: Some(outgoing),
    };
    Ok((slot, carried))
}

/// The extensions of one section that both sides know, with our direction's suffix; and whether
/// transport-wide feedback is among them, which takes both the extension and `a=rtcp-fb`.
fn extensions(
    section: &Section,
    codec: &OfferedCodec,
    ids: &mut Ids,
    usable: impl Fn(Extension, Direction) -> bool,
) -> (Vec<(u8, Extension, &'static str)>, bool) {
    let mut accepted: Vec<(u8, Extension, &'static str)> = Vec::new();
    for map in &section.attributes.extmaps {
        let Some(extension) = Extension::from_uri(&map.uri) else {
            continue;
        };
        if !usable(extension, map.direction)
            || accepted.iter().any(|(_, known, _)| *known == extension)
            || extension == Extension::TransportCc && !codec.transport_cc
        {
            continue;
        }
        let suffix = match map.direction {
            Direction::SendOnly => "/recvonly",
            Direction::RecvOnly => "/sendonly",
            Direction::SendRecv | Direction::Inactive => "",
        };
        accepted.extend(
            ids.accept(extension, map.id)
                .map(|id| (id, extension, suffix)),
        );
    }
    let transport_cc = accepted
        .iter()
        .any(|(_, known, _)| *known == Extension::TransportCc);
    (accepted, transport_cc)
}

/// A section that carries nothing but keeps its place in the bundle: `inactive` and not port 0, so that
/// a player's transceiver stays alive. Port 0 where no codec of it could be named.
fn idle(offer: &Offer, index: usize) -> Body {
    let Some(section) = offer.sections.get(index) else {
        return Body::Rejected {
            formats: vec!["0".to_owned()],
        };
    };
    let known = codec::offered(section)
        .first()
        .map(|codec| codec.pt.to_string());
    let format = match known {
        Some(format) => Some(format),
        None if index == offer.tagged => section.formats.first().cloned(),
        None => None,
    };
    match format {
        Some(format) => {
            let pt = format.parse::<u8>().ok();
            let map = section
                .attributes
                .rtpmaps
                .iter()
                .find(|map| Some(map.pt) == pt)
                .cloned();
            Body::Idle { format, map }
        }
        None => rejected(section),
    }
}

fn rejected(section: &Section) -> Body {
    Body::Rejected {
        formats: section.formats.clone(),
    }
}

fn answer(offer: &Offer, sections: Vec<SectionAnswer>) -> Answer {
    Answer {
        sections,
        tagged: offer.tagged,
        grouped: offer.bundle.is_some(),
        setup: match offer.transport.setup {
            // RFC 5763 section 5: the answerer chooses; passive lets the peer start at once, and lets
            // peers with RSA certificates be DTLS clients.
            Setup::Active | Setup::ActPass => "passive",
            Setup::Passive => "active",
        },
        extmap_allow_mixed: offer.extmap_allow_mixed,
    }
}

pub(super) fn no_common_codec(section: &Section, needed: &str) -> SdpError {
    let mut names: Vec<&str> = Vec::new();
    for map in &section.attributes.rtpmaps {
        if !names.contains(&map.name.as_str()) && names.len() < 16 {
            names.push(&map.name);
        }
    }
    let offered = if names.is_empty() {
        "no named codec".to_owned()
    } else {
        names.join(", ")
    };
    SdpError::NoCommonCodec {
        section: section.to_string(),
        what: format!("it offers {offered}; {needed}"),
    }
}

fn nothing_carried(what: &str) -> SdpError {
    SdpError::Unsupported {
        section: "the offer".to_owned(),
        what: what.to_owned(),
    }
}
