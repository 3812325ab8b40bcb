//! The answer as text, and the node's own offer, which differs in `a=setup`. Every section repeats the transport, because older stacks look for it there; the
//! candidates stand in the section that carries the bundle.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use dataplane_api::command::{Fingerprint, FingerprintHash};
use dataplane_api::ids::SessionId;
use dataplane_api::media::MediaKind;
use serde::{Deserialize, Serialize};

use super::attributes::{Rid, Rtpmap};
use super::codec::{OfferedCodec, Parameters};
use super::extension::Extension;
use super::parse::{Media, Section};

/// What the data plane answered: our side of the transport.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a> {
    /// Becomes the session id of `o=` and the CNAME, in hex.
    pub session: SessionId,
    /// The certificate of the data plane's boot.
    pub fingerprint: &'a Fingerprint,
    /// Our ufrag.
    pub ufrag: &'a str,
    /// Our password.
    pub pwd: &'a str,
    /// Our host candidates, best first.
    pub candidates: &'a [SocketAddr],
}

/// Everything of an answer, or of our own offer, but the transport's secrets.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) sections: Vec<SectionAnswer>,
    pub(super) tagged: usize,
    /// The offer has a BUNDLE group.
    pub(super) grouped: bool,
    pub(super) setup: &'static str,
    pub(super) extmap_allow_mixed: bool,
}

#[derive(Clone, Debug)]
pub(super) struct SectionAnswer {
    word: String,
    protocol: String,
    mid: Option<String>,
    body: Body,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    /// Port 0, outside the bundle.
    Rejected { formats: Vec<String> },
    /// In the bundle, without media.
    Idle { format: String, map: Option<Rtpmap> },
    /// The peer sends.
    Receive(Carried),
    /// We send.
    Send(Carried),
}

#[derive(Clone, Debug)]
pub(super) struct Carried {
    pub(super) codec: OfferedCodec,
    pub(super) rtcp_rsize: bool,
    /// Id, extension, and the suffix of its direction.
    pub(super) extensions: Vec<(u8, Extension, &'static str)>,
    pub(super) simulcast: bool,
    pub(super) layers: Vec<Rid>,
    pub(super) outgoing: Option<Outgoing>,
}

#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) ssrc: u32,
    pub(super) rtx_ssrc: Option<u32>,
    pub(super) stream: String,
    pub(super) kind: MediaKind,
}

/// What the answer to an ICE restart repeats of the first one (RFC 9725 section 4.3.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceSection {
    bundle: Option<String>,
    media: String,
    mid: Option<String>,
}

impl IceSection {
    /// The body of the answer to a restart.
    #[must_use]
    pub fn fragment(&self, ufrag: &str, pwd: &str, candidates: &[SocketAddr]) -> String {
        let mut out = Lines::default();
        out.line(format_args!("a=ice-lite"));
        out.line(format_args!("a=ice-options:ice2 trickle"));
        if let Some(bundle) = &self.bundle {
            out.line(format_args!("a=group:BUNDLE {bundle}"));
        }
        out.line(format_args!("{}", self.media));
        if let Some(mid) = &self.mid {
            out.line(format_args!("a=mid:{mid}"));
        }
        out.line(format_args!("a=ice-ufrag:{ufrag}"));
        out.line(format_args!("a=ice-pwd:{pwd}"));
        out.candidates(candidates);
        out.0
    }
}

impl SectionAnswer {
    pub(super) fn new(section: &Section, body: Body) -> SectionAnswer {
        SectionAnswer {
            word: match &section.media {
                Media::Rtp(MediaKind::Audio) => "audio".to_owned(),
                Media::Rtp(MediaKind::Video) => "video".to_owned(),
                Media::Other(word) => word.clone(),
            },
            protocol: section.protocol.clone(),
            mid: section.mid().map(str::to_owned),
            body,
        }
    }

    /// A section that nobody asked for: of our own offer.
    pub(super) fn offered(kind: MediaKind, mid: String, body: Body) -> SectionAnswer {
        SectionAnswer {
            word: match kind {
                MediaKind::Audio => "audio".to_owned(),
                MediaKind::Video => "video".to_owned(),
            },
            protocol: "UDP/TLS/RTP/SAVPF".to_owned(),
            mid: Some(mid),
            body,
        }
    }

    /// RFC 8840 section 4.1: port 9 where the candidates speak for themselves.
    fn media_line(&self) -> String {
        let (port, formats) = match &self.body {
            Body::Rejected { formats } => (0, formats.join(" ")),
            Body::Idle { format, .. } => (9, format.clone()),
            Body::Receive(carried) | Body::Send(carried) => (9, carried.payload_types()),
        };
        format!("m={} {port} {} {formats}", self.word, self.protocol)
    }
}

impl Answer {
    pub(super) fn write(&self, local: &Local<'_>) -> String {
        let mut out = Lines::default();
        out.line(format_args!("v=0"));
        out.line(format_args!("o=- {} 1 IN IP4 127.0.0.1", local.session));
        out.line(format_args!("s=-"));
        out.line(format_args!("t=0 0"));
        if let Some(bundle) = self.bundle() {
            out.line(format_args!("a=group:BUNDLE {bundle}"));
        }
        if self.extmap_allow_mixed {
            out.line(format_args!("a=extmap-allow-mixed"));
        }
        out.line(format_args!("a=ice-lite"));
        out.line(format_args!("a=ice-options:ice2 trickle"));
        for (index, section) in self.sections.iter().enumerate() {
            self.section(&mut out, local, section, index == self.tagged);
        }
        out.0
    }

    pub(super) fn ice_section(&self) -> IceSection {
        let section = self.sections.get(self.tagged);
        IceSection {
            bundle: self.bundle(),
            media: section.map(SectionAnswer::media_line).unwrap_or_default(),
            mid: section.and_then(|section| section.mid.clone()),
        }
    }

    /// The mids that share the transport; `None` where the offer has no group.
    fn bundle(&self) -> Option<String> {
        let mids: Vec<&str> = self
            .sections
            .iter()
            .filter(|section| !matches!(section.body, Body::Rejected { .. }))
            .filter_map(|section| section.mid.as_deref())
            .collect();
        self.grouped.then(|| mids.join(" "))
    }

    fn section(&self, out: &mut Lines, local: &Local<'_>, section: &SectionAnswer, tagged: bool) {
        out.line(format_args!("{}", section.media_line()));
        out.line(format_args!("c=IN IP4 0.0.0.0"));
        if let Some(mid) = &section.mid {
            out.line(format_args!("a=mid:{mid}"));
        }
        let direction = match &section.body {
            Body::Rejected { .. } => {
                out.line(format_args!("a=inactive"));
                return;
            }
            Body::Idle { .. } => "inactive",
            Body::Receive(_) => "recvonly",
            Body::Send(_) => "sendonly",
        };
        out.line(format_args!("a={direction}"));
        out.line(format_args!("a=rtcp-mux"));
        // RFC 9725 section 4.4.1: in each bundled section.
        out.line(format_args!("a=rtcp-mux-only"));
        if let Body::Receive(Carried {
            rtcp_rsize: true, ..
        })
        | Body::Send(Carried {
            rtcp_rsize: true, ..
        }) = section.body
        {
            out.line(format_args!("a=rtcp-rsize"));
        }
        out.line(format_args!("a=ice-ufrag:{}", local.ufrag));
        out.line(format_args!("a=ice-pwd:{}", local.pwd));
        out.line(format_args!("a=fingerprint:{}", Digest(local.fingerprint)));
        out.line(format_args!("a=setup:{}", self.setup));
        match &section.body {
            Body::Rejected { .. } => {}
            Body::Idle { map, .. } => {
                if let Some(map) = map {
                    out.rtpmap(map.pt, &map.name, map.clock_hz, map.channels);
                }
            }
            Body::Receive(carried) | Body::Send(carried) => carried.write(out, local.session),
        }
        if tagged {
            out.candidates(local.candidates);
        }
    }
}

impl Carried {
    fn payload_types(&self) -> String {
        match &self.codec.rtx {
            Some((rtx, _)) => format!("{} {rtx}", self.codec.pt),
            None => self.codec.pt.to_string(),
        }
    }

    fn write(&self, out: &mut Lines, session: SessionId) {
        for (id, extension, suffix) in &self.extensions {
            out.line(format_args!("a=extmap:{id}{suffix} {}", extension.uri()));
        }
        let codec = &self.codec;
        let pt = codec.pt;
        out.rtpmap(pt, &codec.name, codec.clock_hz, codec.channels);
        let transport_cc = self
            .extensions
            .iter()
            .any(|(_, known, _)| *known == Extension::TransportCc);
        for (name, negotiated) in [
            ("transport-cc", transport_cc),
            ("ccm fir", codec.fir),
            ("nack", codec.nack),
            ("nack pli", codec.pli),
        ] {
            if negotiated {
                out.line(format_args!("a=rtcp-fb:{pt} {name}"));
            }
        }
        if let Some(fmtp) = &codec.fmtp {
            let stereo = if self.wants_stereo(fmtp) {
                ";stereo=1"
            } else {
                ""
            };
            out.line(format_args!("a=fmtp:{pt} {fmtp}{stereo}"));
        }
        if let Some((rtx, fmtp)) = &codec.rtx {
            out.rtpmap(*rtx, "rtx", codec.clock_hz, None);
            out.line(format_args!("a=fmtp:{rtx} {fmtp}"));
        }
        for layer in &self.layers {
            let restrictions = layer.restrictions.join(";");
            let blank = if restrictions.is_empty() { "" } else { " " };
            out.line(format_args!("a=rid:{} recv{blank}{restrictions}", layer.id));
        }
        if self.simulcast {
            let ids: Vec<&str> = self.layers.iter().map(|layer| layer.id.as_str()).collect();
            out.line(format_args!("a=simulcast:recv {}", ids.join(";")));
        }
        if let Some(outgoing) = &self.outgoing {
            outgoing.write(out, session);
        }
    }

    /// RFC 7587 section 7.1: `stereo=1` is the receiver's wish, and a publisher that announces stereo
    /// (`sprop-stereo=1`) sends mono unless the answer wishes for it.
    fn wants_stereo(&self, fmtp: &str) -> bool {
        let parameters = Parameters(fmtp);
        self.outgoing.is_none()
            && parameters.get("sprop-stereo") == Some("1")
            && parameters.get("stereo").is_none()
    }
}

impl Outgoing {
    fn write(&self, out: &mut Lines, session: SessionId) {
        let track = match self.kind {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
        };
        out.line(format_args!("a=msid:{} {track}", self.stream));
        if let Some(rtx) = self.rtx_ssrc {
            out.line(format_args!("a=ssrc-group:FID {} {rtx}", self.ssrc));
        }
        // RFC 7022 section 4.2: unique to the session; one for both sections, which are played in sync.
        for ssrc in [Some(self.ssrc), self.rtx_ssrc].into_iter().flatten() {
            out.line(format_args!("a=ssrc:{ssrc} cname:{:x}", session.0));
        }
    }
}

/// CRLF-terminated lines.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        self.0
            .write_fmt(line)
            .expect("invariant: writing to a String cannot fail");
        self.0.push_str("\r\n");
    }

    fn rtpmap(&mut self, pt: u8, name: &str, clock_hz: u32, channels: Option<u32>) {
        match channels {
            Some(channels) => self.line(format_args!("a=rtpmap:{pt} {name}/{clock_hz}/{channels}")),
            None => self.line(format_args!("a=rtpmap:{pt} {name}/{clock_hz}")),
        }
    }

    /// Host candidates, component 1, UDP (RFC 8839 section 5.1), all of them: nothing is trickled later.
    fn candidates(&mut self, candidates: &[SocketAddr]) {
        let mut bases: Vec<IpAddr> = Vec::new();
        for (index, address) in candidates.iter().enumerate() {
            // RFC 8445 section 5.1.1.3: one foundation a base address.
            if !bases.contains(&address.ip()) {
                bases.push(address.ip());
            }
            let foundation = (1_usize..)
                .zip(&bases)
                .find(|(_, base)| **base == address.ip())
                .map_or(1, |(number, _)| number);
            self.line(format_args!(
                "a=candidate:{foundation} 1 udp {} {} {} typ host",
                host_priority(index),
                address.ip(),
                address.port()
            ));
        }
        self.line(format_args!("a=end-of-candidates"));
    }
}

/// RFC 8445 section 5.1.2.1: type preference 126 for host, component 1, the local preference falling
/// from 65,535 in the order the operator advertises.
fn host_priority(index: usize) -> u32 {
    let local = u16::MAX.saturating_sub(u16::try_from(index).unwrap_or(u16::MAX));
    (126 << 24) | (u32::from(local) << 8) | (256 - 1)
}

/// `sha-256 AB:CD:...` (RFC 8122 section 5).
struct Digest<'a>(&'a Fingerprint);

impl fmt::Display for Digest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.hash {
            FingerprintHash::Sha256 => "sha-256",
            FingerprintHash::Sha384 => "sha-384",
            FingerprintHash::Sha512 => "sha-512",
        })?;
        for (index, byte) in self.0.digest.iter().enumerate() {
            let separator = if index == 0 { ' ' } else { ':' };
            write!(f, "{separator}{byte:02X}")?;
        }
        Ok(())
    }
}
