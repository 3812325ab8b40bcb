//! Codecs: what a section offers, which one a publisher gets, which one fits a viewer.

use std::fmt;

use dataplane_api::media::{CodecId, MediaKind, PayloadType};

use super::attributes::Feedback;
use super::parse::{Media, Section};

/// What a stream carries in one media section. Two sides understand each other when this is equal:
/// nothing is transcoded on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Format {
    /// Codec.
    pub codec: CodecId,
    /// Incompatible forms of one codec, as in [`PayloadType::form`].
    pub form: u32,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.codec {
            CodecId::OPUS => f.write_str("Opus"),
            CodecId::VP8 => f.write_str("VP8"),
            CodecId::VP9 => write!(f, "VP9 profile {}", self.form),
            CodecId::AV1 => write!(f, "AV1 profile {}", self.form),
            CodecId::H265 => write!(f, "H.265 profile {}", self.form),
            CodecId::H264 => {
                let h264 = H264::from_form(self.form);
                write!(
                    f,
                    "H.264 {} (packetization-mode {})",
                    h264.profile, h264.mode
                )
            }
            CodecId(other) => write!(f, "codec {other}"),
        }
    }
}

/// One payload type of an offer that the node can forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OfferedCodec {
    pub(super) format: Format,
    pub(super) pt: u8,
    pub(super) name: String,
    pub(super) clock_hz: u32,
    pub(super) channels: Option<u32>,
    pub(super) fmtp: Option<String>,
    /// Its RTX payload type with that one's fmtp (RFC 4588 section 8).
    pub(super) rtx: Option<(u8, String)>,
    pub(super) nack: bool,
    pub(super) pli: bool,
    pub(super) fir: bool,
    pub(super) transport_cc: bool,
}

impl OfferedCodec {
    /// As the data plane takes it. `format` is the source's, which may be a subset of what is offered.
    pub(super) fn payload_type(&self, format: Format, transport_cc: bool) -> PayloadType {
        PayloadType {
            codec: format.codec,
            pt: self.pt,
            rtx_pt: self.rtx.as_ref().map(|(pt, _)| *pt),
            clock_hz: self.clock_hz,
            nack: self.nack,
            pli: self.pli || self.fir,
            transport_cc: self.transport_cc && transport_cc,
            form: format.form,
        }
    }
}

/// The codecs of `section` that the node forwards, in the offer's order of preference.
pub(super) fn offered(section: &Section) -> Vec<OfferedCodec> {
    let Media::Rtp(kind) = section.media else {
        return Vec::new();
    };
    section
        .formats
        .iter()
        .filter_map(|format| format.parse::<u8>().ok())
        .filter_map(|pt| one(section, kind, pt))
        .collect()
}

/// The codec a publisher is asked for: the first of its own preference. Of H.264 in the Baseline family
/// it is constrained baseline in packetization mode 1, when that stands anywhere in the offer: encoders
/// send the same pictures under both names, and it is the one form that every viewer offers.
pub(super) fn preferred(offered: &[OfferedCodec]) -> Option<&OfferedCodec> {
    let first = offered.first()?;
    let baseline = |codec: &OfferedCodec| {
        codec.format.codec == CodecId::H264
            && H264::from_form(codec.format.form).profile.is_baseline()
    };
    if !baseline(first) {
        return Some(first);
    }
    let best = H264 {
        profile: Profile::CONSTRAINED_BASELINE,
        mode: 1,
    }
    .form();
    offered
        .iter()
        .find(|codec| {
            codec.format
                == Format {
                    codec: CodecId::H264,
                    form: best,
                }
        })
        .or(Some(first))
}

/// The payload type under which a viewer can take `source`: an equal one, else one whose decoder reads
/// it as a subset.
pub(super) fn fitting(offered: &[OfferedCodec], source: Format) -> Option<&OfferedCodec> {
    let equal = offered.iter().find(|codec| codec.format == source);
    equal.or_else(|| {
        offered.iter().find(|codec| {
            source.codec == CodecId::H264
                && codec.format.codec == CodecId::H264
                && H264::from_form(codec.format.form).decodes(H264::from_form(source.form))
        })
    })
}

fn one(section: &Section, kind: MediaKind, pt: u8) -> Option<OfferedCodec> {
    let attributes = &section.attributes;
    let map = attributes.rtpmaps.iter().find(|map| map.pt == pt)?;
    let fmtp = attributes
        .fmtps
        .iter()
        .find(|(of, _)| *of == pt)
        .map(|(_, text)| text.clone());
    let parameters = Parameters(fmtp.as_deref().unwrap_or_default());
    let format = format(kind, &map.name, map.clock_hz, parameters)?;
    let has = |wanted| {
        attributes
            .feedback
            .iter()
            .any(|&(of, is)| is == wanted && of.is_none_or(|of| of == pt))
    };
    Some(OfferedCodec {
        format,
        pt,
        name: map.name.clone(),
        clock_hz: map.clock_hz,
        channels: map.channels,
        rtx: rtx(section, pt, map.clock_hz),
        nack: has(Feedback::Nack),
        pli: has(Feedback::Pli),
        fir: has(Feedback::Fir),
        transport_cc: has(Feedback::TransportCc),
        fmtp: fmtp.as_deref().and_then(|text| repeatable(pt, text)),
    })
}

fn format(
    kind: MediaKind,
    name: &str,
    clock_hz: u32,
    parameters: Parameters<'_>,
) -> Option<Format> {
    let (codec, form) = match (kind, name.to_ascii_lowercase().as_str(), clock_hz) {
        (MediaKind::Audio, "opus", 48_000) => (CodecId::OPUS, 0),
        (MediaKind::Video, "vp8", 90_000) => (CodecId::VP8, 0),
        (MediaKind::Video, "vp9", 90_000) => {
            // RFC 9628 section 6.1: absent is 0. 1 and 3 are not 4:2:0, which no browser decodes.
            let profile = parameters.number("profile-id").unwrap_or(0);
            (
                CodecId::VP9,
                Some(profile).filter(|profile| matches!(profile, 0 | 2))?,
            )
        }
        (MediaKind::Video, "h264", 90_000) => {
            (CodecId::H264, H264::from_parameters(parameters)?.form())
        }
        // RFC 7798 section 7.1: profile-id is 1 (Main) when absent.
        (MediaKind::Video, "h265", 90_000) => {
            (CodecId::H265, parameters.number("profile-id").unwrap_or(1))
        }
        // AV1 RTP payload format, section 7.2.1: profile is 0 (Main) when absent.
        (MediaKind::Video, "av1", 90_000) => {
            (CodecId::AV1, parameters.number("profile").unwrap_or(0))
        }
        _ => return None,
    };
    Some(Format { codec, form })
}

/// A payload type is offered by the m-line; an `a=rtpmap` alone is a name for nothing.
fn rtx(section: &Section, pt: u8, clock_hz: u32) -> Option<(u8, String)> {
    let listed = |pt| section.formats.iter().any(|of| of.parse() == Ok(pt));
    let attributes = &section.attributes;
    let rtx = attributes.fmtps.iter().find(|(of, text)| {
        Parameters(text).number("apt") == Some(u32::from(pt))
            && listed(*of)
            && attributes.rtpmaps.iter().any(|map| {
                map.pt == *of && map.clock_hz == clock_hz && map.name.eq_ignore_ascii_case("rtx")
            })
    })?;
    Some((rtx.0, repeatable(rtx.0, &rtx.1)?))
}

/// What an answer repeats of an offer's parameters: all of them, or those that can be read when one
/// cannot. `None` when nothing is left.
fn repeatable(pt: u8, text: &str) -> Option<String> {
    let reads = |parameters: &str| {
        let line = format!("a=fmtp:{pt} {parameters}");
        matches!(super::attributes::read(1, &line), Ok(Some(_)))
    };
    if reads(text) {
        return Some(text.to_owned());
    }
    let kept: Vec<&str> = text
        .split(';')
        .map(str::trim)
        // A bare word reads by itself, as an event list, and spoils the list it stands in.
        .filter(|one| one.contains('=') && reads(one))
        .collect();
    Some(kept.join(";")).filter(|kept| !kept.is_empty() && reads(kept))
}

/// `name=value;name=value` of one fmtp line.
#[derive(Clone, Copy)]
pub(super) struct Parameters<'a>(pub(super) &'a str);

impl<'a> Parameters<'a> {
    pub(super) fn get(self, wanted: &str) -> Option<&'a str> {
        self.0
            .split(';')
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim())
    }

    fn number(self, wanted: &str) -> Option<u32> {
        self.get(wanted)?.parse().ok()
    }
}

/// The parameters under which we offer a form of H.264. Level 3.1 is what every browser says; with
/// `level-asymmetry-allowed` a sender may go beyond it.
pub(super) fn h264_parameters(form: u32) -> String {
    let H264 { profile, mode } = H264::from_form(form);
    let profile = profile.0;
    format!("level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={profile:04x}1f")
}

/// H.264 as RFC 6184 section 8.1 distinguishes it: profile and packetization mode. The level is not part
/// of it, because `level-asymmetry-allowed` lets each side send its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct H264 {
    profile: Profile,
    mode: u32,
}

/// `profile_idc` and the `profile-iop` bits in their canonical spelling, such as 0x42e0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Profile(u32);

impl H264 {
    fn from_parameters(parameters: Parameters<'_>) -> Option<H264> {
        // RFC 6184 section 8.1: absent, both mean the least: Baseline level 1, single NAL units.
        let mode = parameters.number("packetization-mode").unwrap_or(0);
        let level_id = match parameters.get("profile-level-id") {
            Some(hex) => u32::from_str_radix(hex, 16)
                .ok()
                .filter(|id| *id <= 0xff_ffff)?,
            None => 0x42_0010,
        };
        // Mode 2 is interleaved, which no WebRTC endpoint sends.
        (mode < 2).then(|| H264 {
            profile: Profile::from_level_id(level_id),
            mode,
        })
    }

    fn form(self) -> u32 {
        self.mode << 16 | self.profile.0
    }

    fn from_form(form: u32) -> H264 {
        H264 {
            profile: Profile(form & 0xffff),
            mode: form >> 16,
        }
    }

    /// Whether a decoder that announces `self` decodes every stream of `source` (H.264 annex A.2: constrained
    /// baseline is a subset of the others, main and constrained high of high, all of predictive 4:4:4); a
    /// depacketizer of mode 1 reads mode 0.
    fn decodes(self, source: H264) -> bool {
        let supersets: &[Profile] = match source.profile {
            Profile::CONSTRAINED_BASELINE => &[
                Profile::BASELINE,
                Profile::MAIN,
                Profile::CONSTRAINED_HIGH,
                Profile::HIGH,
                Profile::PREDICTIVE_444,
            ],
            Profile::MAIN | Profile::CONSTRAINED_HIGH => &[Profile::HIGH, Profile::PREDICTIVE_444],
            Profile::HIGH => &[Profile::PREDICTIVE_444],
            _ => &[],
        };
        let reads = self.profile == source.profile || supersets.contains(&self.profile);
        reads && self.mode >= source.mode
    }
}

impl Profile {
    const CONSTRAINED_BASELINE: Profile = Profile(0x42e0);
    const BASELINE: Profile = Profile(0x4200);
    const MAIN: Profile = Profile(0x4d00);
    const HIGH: Profile = Profile(0x6400);
    const CONSTRAINED_HIGH: Profile = Profile(0x640c);
    const PREDICTIVE_444: Profile = Profile(0xf400);

    /// RFC 6184 section 8.1, table 5: which bits of `profile-iop` matter depends on `profile_idc`, so
    /// 42c015, 42e01f and 4d801f are all constrained baseline.
    fn from_level_id(level_id: u32) -> Profile {
        let idc = level_id >> 16 & 0xff;
        let iop = level_id >> 8 & 0xff;
        match idc {
            0x42 if iop & 0x4f == 0x40 => Profile::CONSTRAINED_BASELINE,
            0x4d if iop & 0x8f == 0x80 => Profile::CONSTRAINED_BASELINE,
            0x58 if iop & 0xcf == 0xc0 => Profile::CONSTRAINED_BASELINE,
            0x42 if iop & 0x4f == 0x00 => Profile::BASELINE,
            0x58 if iop & 0xcf == 0x80 => Profile::BASELINE,
            0x4d if iop & 0xaf == 0x00 => Profile::MAIN,
            0x64 if iop == 0x00 => Profile::HIGH,
            0x64 if iop == 0x0c => Profile::CONSTRAINED_HIGH,
            _ => Profile(idc << 8 | iop),
        }
    }

    fn is_baseline(self) -> bool {
        self == Profile::BASELINE || self == Profile::CONSTRAINED_BASELINE
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Profile::CONSTRAINED_BASELINE => f.write_str("constrained baseline"),
            Profile::BASELINE => f.write_str("baseline"),
            Profile::MAIN => f.write_str("main"),
            Profile::HIGH => f.write_str("high"),
            Profile::CONSTRAINED_HIGH => f.write_str("constrained high"),
            Profile(other) => write!(f, "profile {other:04x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h264(fmtp: &str) -> Format {
        Format {
            codec: CodecId::H264,
            form: H264::from_parameters(Parameters(fmtp))
                .expect("a form")
                .form(),
        }
    }

    fn codec(format: Format, pt: u8) -> OfferedCodec {
        OfferedCodec {
            format,
            pt,
            name: String::new(),
            clock_hz: 90_000,
            channels: None,
            fmtp: None,
            rtx: None,
            nack: false,
            pli: false,
            fir: false,
            transport_cc: false,
        }
    }

    #[test]
    fn profiles_are_compared_by_bits() {
        let constrained =
            h264("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f");
        for same in ["42c015", "42e034", "42c01f", "4d801f", "58c01f"] {
            assert_eq!(
                h264(&format!("packetization-mode=1;profile-level-id={same}")),
                constrained,
                "{same}"
            );
        }
        for other in ["42001f", "4d001f", "64001f", "640c1f", "f4001f"] {
            assert_ne!(
                h264(&format!("packetization-mode=1;profile-level-id={other}")),
                constrained,
                "{other}"
            );
        }
        assert_ne!(
            h264("profile-level-id=42e01f"),
            constrained,
            "packetization mode 0"
        );
        assert_eq!(
            h264("profile-level-id=42e01f; packetization-mode=1"),
            constrained,
            "a blank after `;`"
        );
        assert_eq!(
            h264(""),
            h264("profile-level-id=42001f;packetization-mode=0"),
            "defaults"
        );
        assert_eq!(
            constrained.to_string(),
            "H.264 constrained baseline (packetization-mode 1)"
        );
        assert!(H264::from_parameters(Parameters("packetization-mode=2")).is_none());
        assert!(H264::from_parameters(Parameters("profile-level-id=zz")).is_none());
    }

    #[test]
    fn a_baseline_publisher_is_asked_for_the_form_every_viewer_has() {
        let baseline = codec(h264("packetization-mode=1;profile-level-id=42001f"), 102);
        let single = codec(h264("packetization-mode=0;profile-level-id=42e01f"), 125);
        let constrained = codec(h264("packetization-mode=1;profile-level-id=42e01f"), 108);
        let high = codec(h264("packetization-mode=1;profile-level-id=64001f"), 123);
        let vp8 = codec(
            Format {
                codec: CodecId::VP8,
                form: 0,
            },
            96,
        );
        let pick = |offered: &[&OfferedCodec]| {
            let offered: Vec<_> = offered.iter().map(|&codec| codec.clone()).collect();
            preferred(&offered).map(|codec| codec.pt)
        };
        assert_eq!(pick(&[&baseline, &single, &constrained, &high]), Some(108));
        assert_eq!(
            pick(&[&high, &constrained]),
            Some(123),
            "a wish for High is a wish for High"
        );
        assert_eq!(pick(&[&vp8, &constrained]), Some(96));
        assert_eq!(pick(&[&baseline, &single]), Some(102));
        assert_eq!(pick(&[]), None);
    }

    #[test]
    fn a_viewer_takes_a_subset_but_never_a_superset() {
        let constrained = h264("packetization-mode=1;profile-level-id=42e01f");
        let single = h264("profile-level-id=42e01f");
        let main = h264("packetization-mode=1;profile-level-id=4d001f");
        let high = h264("packetization-mode=1;profile-level-id=64001f");
        let fits = |offered: Format, source| fitting(&[codec(offered, 100)], source).is_some();
        assert!(fits(main, constrained));
        assert!(fits(high, constrained));
        assert!(fits(constrained, single), "mode 1 reads mode 0");
        assert!(!fits(single, constrained));
        assert!(!fits(constrained, main));
        let constrained_high = h264("packetization-mode=1;profile-level-id=640c1f");
        let predictive = h264("packetization-mode=1;profile-level-id=f4001f");
        assert!(fits(high, main) && fits(high, constrained_high));
        assert!(
            [constrained, main, constrained_high, high]
                .iter()
                .all(|&source| fits(predictive, source))
        );
        assert!(!fits(high, predictive));
        assert!(fits(constrained_high, constrained));
        assert!(
            !fits(constrained_high, high) && !fits(main, high) && !fits(main, constrained_high)
        );
        let both = [codec(main, 100), codec(constrained, 101)];
        assert_eq!(
            fitting(&both, constrained).map(|codec| codec.pt),
            Some(101),
            "equal before subset"
        );
    }
}
