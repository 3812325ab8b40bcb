//! An SDP offer as the node sees it: the transport of the bundle and the media sections in order.

use std::fmt;

use dataplane_api::command::{RemoteTransport, Setup};
use dataplane_api::media::MediaKind;
use webrtc_sdp::SdpType;

use super::SdpError;
use super::attributes::{Attributes, SetupWish, bad, read};
use super::caps::{self, MID_BYTES_MAX};

/// An offer within the caps, with a transport the data plane can answer.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The peer's ICE and DTLS parameters: those of the section the BUNDLE group names first.
    pub transport: RemoteTransport,
    /// The mids of the BUNDLE group in its order; `None` without a group.
    pub bundle: Option<Vec<String>>,
    /// Index of the section that carries the transport (RFC 9143 section 7.2.1: the offerer-tagged one).
    pub tagged: usize,
    /// One-byte and two-byte headers may be mixed (RFC 8285 section 4.1.2).
    pub extmap_allow_mixed: bool,
    /// The media sections, in order; never empty.
    pub sections: Vec<Section>,
}

/// What a section carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Media {
    /// Audio or video.
    Rtp(MediaKind),
    /// A data channel, or something of a later day: the word of the m-line.
    Other(String),
}

/// `a=sendrecv` and its kin, seen from the offerer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Direction {
    /// Default (RFC 8866 section 6.7).
    #[default]
    SendRecv,
    /// The offerer sends.
    SendOnly,
    /// The offerer receives.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// Whether the offerer sends.
    #[must_use]
    pub fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// Whether the offerer receives.
    #[must_use]
    pub fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }
}

/// One media section of an offer.
#[derive(Clone, Debug)]
pub struct Section {
    /// The line of its `m=`, counted from 1.
    pub line: usize,
    /// Its place, counted from 1.
    pub number: usize,
    /// What it carries.
    pub media: Media,
    /// The transport protocol of the m-line, verbatim.
    pub protocol: String,
    /// The formats of the m-line, verbatim.
    pub formats: Vec<String>,
    /// Port 0 without `a=bundle-only`: the offerer itself does not want it (RFC 8829 section 5.2.2).
    pub rejected: bool,
    pub(super) attributes: Attributes,
}

impl Section {
    /// `a=mid`.
    #[must_use]
    pub fn mid(&self) -> Option<&str> {
        self.attributes.mid.as_deref()
    }

    /// Its direction.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.attributes.direction.unwrap_or_default()
    }

    pub(super) fn unsupported(&self, what: impl Into<String>) -> SdpError {
        SdpError::Unsupported {
            section: self.to_string(),
            what: what.into(),
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match &self.media {
            Media::Rtp(MediaKind::Audio) => "audio",
            Media::Rtp(MediaKind::Video) => "video",
            Media::Other(word) => word,
        };
        write!(
            f,
            "media section {} ({word}, line {})",
            self.number, self.line
        )
    }
}

impl Offer {
    /// Reads an offer.
    ///
    /// # Errors
    /// See [`SdpError`]; what is read here has `TooLarge`, `Bad` and `Unsupported`.
    pub fn parse(body: &[u8]) -> Result<Offer, SdpError> {
        match Offer::read(body)? {
            Reading::Offer(offer) => Ok(offer),
            Reading::Nothing(why) => Err(why),
        }
    }

    /// Reads an offer that may describe nothing.
    pub(super) fn read(body: &[u8]) -> Result<Reading, SdpError> {
        let text = caps::check(body)?;
        let mut reader = Reader::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_end();
            if !line.is_empty() {
                reader.line(number, line)?;
            }
        }
        reader.finish(text.lines().count().max(1))
    }
}

/// What was read.
pub(super) enum Reading {
    /// An offer with at least one live section.
    Offer(Offer),
    /// SDP without one, and what is said of it where there has to be one.
    Nothing(SdpError),
}

/// The lines so far.
#[derive(Default)]
struct Reader {
    prologue: usize,
    timing: bool,
    session: Attributes,
    sections: Vec<Section>,
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) -> Result<(), SdpError> {
        let Some((kind, value)) = line.split_once('=') else {
            return Err(bad(number, "has no `=`"));
        };
        // RFC 8866 section 5: v, o and s come first and in this order.
        if let Some(&wanted) = ["v", "o", "s"].get(self.prologue) {
            if kind != wanted {
                return Err(bad(number, format!("`{wanted}=` is expected here")));
            }
            self.prologue = self.prologue.saturating_add(1);
            read(number, line)?;
            return Ok(());
        }
        match kind {
            "m" => self.section(number, line, value),
            "a" => self.attribute(number, line, value),
            "t" => {
                self.timing = true;
                Ok(())
            }
            // Legal, and without a meaning for media over ICE.
            "b" | "c" | "e" | "i" | "k" | "p" | "r" | "u" | "z" => Ok(()),
            "v" | "o" | "s" => Err(bad(number, format!("a second `{kind}=`"))),
            _ => Err(bad(number, "has a type that SDP does not know")),
        }
    }

    fn section(&mut self, number: usize, line: &str, value: &str) -> Result<(), SdpError> {
        let mut words = value.split_whitespace();
        let word = words.next().unwrap_or_default().to_ascii_lowercase();
        let media = match word.as_str() {
            "audio" => Media::Rtp(MediaKind::Audio),
            "video" => Media::Rtp(MediaKind::Video),
            _ => Media::Other(word),
        };
        let mut section = Section {
            line: number,
            number: self.sections.len().saturating_add(1),
            media,
            protocol: words.nth(1).unwrap_or_default().to_owned(),
            formats: words.map(str::to_owned).collect(),
            rejected: false,
            attributes: Attributes::default(),
        };
        let Some(SdpType::Media(parsed)) = read(number, line)? else {
            let what = format!("the transport `{}` is unknown here", section.protocol);
            return Err(section.unsupported(what));
        };
        if section.formats.is_empty() || !section.formats.iter().all(|format| is_token(format)) {
            return Err(bad(number, "names no formats"));
        }
        section.rejected = parsed.port == 0;
        self.sections.push(section);
        Ok(())
    }

    fn attribute(&mut self, number: usize, line: &str, value: &str) -> Result<(), SdpError> {
        let (name, rest) = value.split_once(':').unwrap_or((value, ""));
        let name = name.trim().to_ascii_lowercase();
        let level = match self.sections.last_mut() {
            Some(section) => &mut section.attributes,
            None => &mut self.session,
        };
        match name.as_str() {
            // Kept verbatim, because answers repeat it and codecs add parameters at will.
            "fmtp" => level.fmtp(number, rest),
            "fingerprint" => level.fingerprint(number, &line.to_ascii_lowercase()),
            "bundle-only" | "extmap" | "extmap-allow-mixed" | "group" | "ice-lite" | "ice-pwd"
            | "ice-ufrag" | "inactive" | "mid" | "recvonly" | "rid" | "rtcp-fb" | "rtcp-mux"
            | "rtcp-rsize" | "rtpmap" | "sendonly" | "sendrecv" | "setup" | "simulcast"
            | "ssrc" | "ssrc-group" => match read(number, line)? {
                Some(SdpType::Attribute(attribute)) => level.apply(number, attribute),
                _ => Ok(()),
            },
            // Candidates among them: an ICE-lite agent learns the peer's address from its checks, so a
            // name that does not resolve or a TCP candidate must not fail the offer.
            _ => Ok(()),
        }
    }

    fn finish(mut self, last_line: usize) -> Result<Reading, SdpError> {
        if self.prologue < 3 {
            return Err(bad(last_line, "ends before `v=`, `o=` and `s=` were said"));
        }
        if !self.timing {
            return Err(bad(last_line, "there is no `t=`"));
        }
        if self.sections.is_empty() {
            let why = bad(last_line, "there is no media section");
            return Ok(Reading::Nothing(why));
        }
        let bundle = self.bundle()?;
        for section in &mut self.sections {
            section.rejected &= !section.attributes.bundle_only;
            if section.attributes.direction.is_none() {
                section.attributes.direction = self.session.direction;
            }
            let inherited = self.session.extmaps.iter().cloned();
            section.attributes.extmaps.extend(inherited);
        }
        let tagged = self.tagged(bundle.as_deref());
        let Some((tagged, carrier)) = tagged.and_then(|at| Some((at, self.sections.get(at)?)))
        else {
            return Ok(Reading::Nothing(nothing_live()));
        };
        let transport = transport(&self.session, carrier)?;
        let extmap_allow_mixed = self.session.extmap_allow_mixed
            || self
                .sections
                .iter()
                .any(|section| section.attributes.extmap_allow_mixed);
        Ok(Reading::Offer(Offer {
            transport,
            bundle,
            tagged,
            extmap_allow_mixed,
            sections: self.sections,
        }))
    }

    /// The BUNDLE group, checked against the mids there are.
    fn bundle(&self) -> Result<Option<Vec<String>>, SdpError> {
        let mut mids: Vec<&str> = Vec::new();
        for section in &self.sections {
            let Some(mid) = section.mid() else { continue };
            if !is_token(mid) {
                return Err(bad(section.line, "has a mid that is no token"));
            }
            if mid.len() > MID_BYTES_MAX {
                return Err(section.unsupported(format!(
                    "its mid has {} bytes, a header extension carries {MID_BYTES_MAX}",
                    mid.len()
                )));
            }
            if mids.contains(&mid) {
                return Err(bad(section.line, format!("repeats the mid `{mid}`")));
            }
            mids.push(mid);
        }
        let Some((line, tags)) = &self.session.bundle else {
            return Ok(None);
        };
        for (index, tag) in tags.iter().enumerate() {
            if !mids.contains(&tag.as_str()) {
                return Err(bad(*line, "bundles a mid that no section has"));
            }
            if tags.iter().take(index).any(|other| other == tag) {
                return Err(bad(*line, "bundles a mid twice"));
            }
        }
        Ok(Some(tags.clone()))
    }

    fn tagged(&self, bundle: Option<&[String]>) -> Option<usize> {
        let live = |section: &Section| !section.rejected;
        let by_group = bundle.into_iter().flatten().find_map(|mid| {
            self.sections
                .iter()
                .position(|section| live(section) && section.mid() == Some(mid.as_str()))
        });
        by_group.or_else(|| self.sections.iter().position(live))
    }
}

fn nothing_live() -> SdpError {
    SdpError::Unsupported {
        section: "the offer".to_owned(),
        what: "every media section has port 0".to_owned(),
    }
}

/// The transport of `section`, completed from the session level (RFC 8839 section 5.4, RFC 8122 section 5).
fn transport(session: &Attributes, section: &Section) -> Result<RemoteTransport, SdpError> {
    let own = &section.attributes;
    if session.ice_lite || own.ice_lite {
        return Err(section.unsupported("both sides are ICE-lite, so nobody would send checks"));
    }
    let ufrag = own.ufrag.as_ref().or(session.ufrag.as_ref());
    let pwd = own.pwd.as_ref().or(session.pwd.as_ref());
    let (Some(ufrag), Some(pwd)) = (ufrag, pwd) else {
        return Err(section.unsupported("it has no `a=ice-ufrag` and `a=ice-pwd`; media needs ICE"));
    };
    let fingerprint = own.fingerprint.as_ref().or(session.fingerprint.as_ref());
    let Some(fingerprint) = fingerprint else {
        return Err(
            section.unsupported(if own.weak_fingerprint || session.weak_fingerprint {
                "its `a=fingerprint` has a weak hash; sha-256, sha-384 and sha-512 are accepted"
            } else {
                "it has no `a=fingerprint`; media needs DTLS-SRTP"
            }),
        );
    };
    let setup = match own.setup.or(session.setup) {
        Some(SetupWish::Known(setup)) => setup,
        Some(SetupWish::HoldConn) => {
            return Err(section.unsupported("`a=setup:holdconn` asks for no connection"));
        }
        // RFC 4145 section 4: an offer without it is active.
        None => Setup::Active,
    };
    Ok(RemoteTransport {
        ufrag: ufrag.clone(),
        pwd: pwd.clone(),
        fingerprint: fingerprint.clone(),
        setup,
    })
}

/// RFC 8866 section 9, `token`.
fn is_token(text: &str) -> bool {
    let special = |byte: u8| b"!#$%&'*+-.^_`{|}~".contains(&byte);
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || special(byte))
}
