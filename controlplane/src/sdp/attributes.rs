//! The `a=` lines of the session or of one media section, as far as the node uses them.

use dataplane_api::command::{Fingerprint, FingerprintHash, Setup};
use webrtc_sdp::attribute_type::{
    SdpAttribute, SdpAttributeDirection, SdpAttributeFingerprintHashType,
    SdpAttributeGroupSemantic, SdpAttributePayloadType, SdpAttributeRtcpFbType, SdpAttributeSetup,
    SdpSingleDirection, SdpSsrcGroupSemantic,
};
use webrtc_sdp::error::SdpParserError;
use webrtc_sdp::{SdpType, parse_sdp_line};

use super::SdpError;
use super::caps::MID_BYTES_MAX;
use super::fragment::credential;
use super::parse::Direction;

/// What the `a=` lines of one level say, as far as the node uses it.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes {
    pub(super) mid: Option<String>,
    pub(super) direction: Option<Direction>,
    pub(super) bundle: Option<(usize, Vec<String>)>,
    pub(super) bundle_only: bool,
    pub(super) ice_lite: bool,
    pub(super) ufrag: Option<String>,
    pub(super) pwd: Option<String>,
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) weak_fingerprint: bool,
    pub(super) setup: Option<SetupWish>,
    pub(super) rtcp_mux: bool,
    pub(super) rtcp_rsize: bool,
    pub(super) extmap_allow_mixed: bool,
    pub(super) rtpmaps: Vec<Rtpmap>,
    pub(super) fmtps: Vec<(u8, String)>,
    pub(super) feedback: Vec<(Option<u8>, Feedback)>,
    pub(super) extmaps: Vec<Extmap>,
    pub(super) rids: Vec<Rid>,
    pub(super) simulcast_send: Vec<String>,
    pub(super) ssrcs: Vec<u32>,
    pub(super) ssrc_groups: Vec<SsrcGroup>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetupWish {
    Known(Setup),
    HoldConn,
}

#[derive(Clone, Debug)]
pub(super) struct Rtpmap {
    pub(super) pt: u8,
    pub(super) name: String,
    pub(super) clock_hz: u32,
    pub(super) channels: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feedback {
    Nack,
    Pli,
    Fir,
    TransportCc,
}

#[derive(Clone, Debug)]
pub(super) struct Extmap {
    pub(super) id: u16,
    pub(super) uri: String,
    pub(super) direction: Direction,
}

#[derive(Clone, Debug)]
pub(super) struct Rid {
    pub(super) id: String,
    pub(super) sends: bool,
    /// Restrictions of RFC 8851 other than `pt=`, verbatim.
    pub(super) restrictions: Vec<String>,
}

/// Source groups that pair SSRCs (RFC 5576): a stream with its RTX, or the layers of a simulcast from
/// before RFC 8853.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SsrcGroup {
    Fid(Vec<u32>),
    Sim(Vec<u32>),
}

impl Attributes {
    /// `<payload type> <parameters>`; a format that is no payload type belongs to a data channel.
    pub(super) fn fmtp(&mut self, number: usize, rest: &str) -> Result<(), SdpError> {
        let Some((format, parameters)) = rest.trim().split_once(' ') else {
            return Ok(());
        };
        match format.parse::<u8>() {
            Ok(pt) if pt < 128 => self.fmtps.push((pt, parameters.trim().to_owned())),
            Ok(_) => return Err(bad(number, "a payload type is at most 127")),
            Err(_) => {}
        }
        Ok(())
    }

    /// Several may stand side by side (RFC 8122 section 5); the strongest we know counts.
    pub(super) fn fingerprint(&mut self, number: usize, line: &str) -> Result<(), SdpError> {
        let Some(SdpType::Attribute(SdpAttribute::Fingerprint(found))) = read(number, line)? else {
            self.weak_fingerprint = true;
            return Ok(());
        };
        let hash = match found.hash_algorithm {
            SdpAttributeFingerprintHashType::Sha256 => FingerprintHash::Sha256,
            SdpAttributeFingerprintHashType::Sha384 => FingerprintHash::Sha384,
            SdpAttributeFingerprintHashType::Sha512 => FingerprintHash::Sha512,
            SdpAttributeFingerprintHashType::Sha1 | SdpAttributeFingerprintHashType::Sha224 => {
                self.weak_fingerprint = true;
                return Ok(());
            }
        };
        let longer = self
            .fingerprint
            .as_ref()
            .is_none_or(|known| known.digest.len() < found.fingerprint.len());
        if longer {
            self.fingerprint = Some(Fingerprint {
                hash,
                digest: found.fingerprint,
            });
        }
        Ok(())
    }

    /// One attribute other than `a=fmtp` and `a=fingerprint`.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the reader passes only attributes that have an arm"
    )]
    pub(super) fn apply(&mut self, number: usize, attribute: SdpAttribute) -> Result<(), SdpError> {
        match attribute {
            SdpAttribute::BundleOnly => self.bundle_only = true,
            SdpAttribute::IceLite => self.ice_lite = true,
            SdpAttribute::ExtmapAllowMixed => self.extmap_allow_mixed = true,
            SdpAttribute::RtcpMux => self.rtcp_mux = true,
            SdpAttribute::RtcpRsize => self.rtcp_rsize = true,
            SdpAttribute::Sendrecv => self.direction = Some(Direction::SendRecv),
            SdpAttribute::Sendonly => self.direction = Some(Direction::SendOnly),
            SdpAttribute::Recvonly => self.direction = Some(Direction::RecvOnly),
            SdpAttribute::Inactive => self.direction = Some(Direction::Inactive),
            SdpAttribute::Mid(mid) => self.mid = Some(mid),
            SdpAttribute::IceUfrag(ufrag) => {
                self.ufrag = Some(credential(number, ufrag, 4)?);
            }
            SdpAttribute::IcePwd(pwd) => {
                self.pwd = Some(credential(number, pwd, 22)?);
            }
            SdpAttribute::Setup(setup) => {
                self.setup = Some(match setup {
                    SdpAttributeSetup::Active => SetupWish::Known(Setup::Active),
                    SdpAttributeSetup::Passive => SetupWish::Known(Setup::Passive),
                    SdpAttributeSetup::Actpass => SetupWish::Known(Setup::ActPass),
                    SdpAttributeSetup::Holdconn => SetupWish::HoldConn,
                });
            }
            SdpAttribute::Group(group) => {
                if matches!(group.semantics, SdpAttributeGroupSemantic::Bundle) {
                    if self.bundle.is_some() {
                        return Err(bad(number, "a second BUNDLE group"));
                    }
                    self.bundle = Some((number, group.tags));
                }
            }
            SdpAttribute::Rtpmap(map) => self.rtpmaps.push(Rtpmap {
                pt: map.payload_type,
                name: map.codec_name,
                clock_hz: map.frequency,
                channels: map.channels,
            }),
            SdpAttribute::Rtcpfb(feedback) => {
                let pt = match feedback.payload_type {
                    SdpAttributePayloadType::PayloadType(pt) => Some(pt),
                    SdpAttributePayloadType::Wildcard => None,
                };
                let known = match (feedback.feedback_type, feedback.parameter.as_str()) {
                    (SdpAttributeRtcpFbType::Nack, "") => Some(Feedback::Nack),
                    (SdpAttributeRtcpFbType::Nack, "pli") => Some(Feedback::Pli),
                    (SdpAttributeRtcpFbType::Ccm, "fir") => Some(Feedback::Fir),
                    (SdpAttributeRtcpFbType::TransCc, _) => Some(Feedback::TransportCc),
                    _ => None,
                };
                self.feedback.extend(known.map(|known| (pt, known)));
            }
            SdpAttribute::Extmap(map) => self.extmaps.push(Extmap {
                id: map.id,
                uri: map.url,
                direction: match map.direction {
                    Some(SdpAttributeDirection::Sendonly) => Direction::SendOnly,
                    Some(SdpAttributeDirection::Recvonly) => Direction::RecvOnly,
                    Some(SdpAttributeDirection::Sendrecv) | None => Direction::SendRecv,
                },
            }),
            SdpAttribute::Rid(rid) => {
                if !is_rid(&rid.id) {
                    return Err(bad(number, "a rid has letters, digits, `-` and `_` only"));
                }
                let sends = matches!(rid.direction, SdpSingleDirection::Send);
                let restrictions = rid.params.to_string();
                self.rids.push(Rid {
                    id: rid.id,
                    sends,
                    restrictions: restrictions
                        .split(';')
                        .filter(|part| !part.is_empty())
                        .map(str::to_owned)
                        .collect(),
                });
            }
            SdpAttribute::Simulcast(simulcast) => {
                // Of alternatives (`a,b;c`) the first is the offerer's preference (RFC 8853 section 5.2).
                self.simulcast_send = simulcast
                    .send
                    .into_iter()
                    .filter_map(|version| version.ids.into_iter().next())
                    .map(|id| id.id)
                    .collect();
            }
            SdpAttribute::Ssrc(ssrc) if self.ssrcs.contains(&ssrc.id) => {}
            SdpAttribute::Ssrc(ssrc) => self.ssrcs.push(ssrc.id),
            SdpAttribute::SsrcGroup(semantics, ssrcs) => {
                let ids = ssrcs.iter().map(|ssrc| ssrc.id).collect();
                match semantics {
                    SdpSsrcGroupSemantic::FlowIdentification => {
                        self.ssrc_groups.push(SsrcGroup::Fid(ids));
                    }
                    SdpSsrcGroupSemantic::Sim => self.ssrc_groups.push(SsrcGroup::Sim(ids)),
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// One line by webrtc-sdp; `None` where it is well-formed and means something that crate does not know.
///
/// The crate forbids unsafe code and has no panic that we know of; the guard is there because an offer
/// comes from anybody with a token, and a panic would take the connection of an innocent with it.
pub(super) fn read(number: usize, line: &str) -> Result<Option<SdpType>, SdpError> {
    let parsed = std::panic::catch_unwind(|| parse_sdp_line(line, number));
    match parsed {
        Ok(Ok(line)) => Ok(Some(line.sdp_type)),
        Ok(Err(SdpParserError::Unsupported { .. })) => Ok(None),
        Ok(Err(SdpParserError::Line { error, .. })) => Err(bad(number, error.to_string())),
        Ok(Err(SdpParserError::Sequence { message, .. })) => Err(bad(number, message)),
        Err(_) => Err(bad(number, "cannot be read")),
    }
}

pub(super) fn bad(line: usize, what: impl Into<String>) -> SdpError {
    SdpError::Bad {
        line,
        what: what.into(),
    }
}

/// RFC 8851 section 10, `rid-id`.
fn is_rid(text: &str) -> bool {
    (1..=MID_BYTES_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}
