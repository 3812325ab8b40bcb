//! `application/trickle-ice-sdpfrag` (RFC 8840 section 9, RFC 9725 section 4.3): what PATCH carries.

use webrtc_sdp::SdpType;
use webrtc_sdp::attribute_type::SdpAttribute;

use super::attributes::{bad, read};
use super::{SdpError, caps};

/// A fragment's ICE credentials. Its candidates are not kept: an ICE-lite agent learns the peer's
/// addresses from authenticated checks, so mDNS names and TCP candidates cost nothing either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The peer's ufrag: the one it has (trickle) or a new one (restart).
    pub ufrag: String,
    /// The peer's password.
    pub pwd: String,
}

impl Fragment {
    /// Reads a fragment.
    ///
    /// # Errors
    /// [`SdpError::TooLarge`] or [`SdpError::Bad`].
    pub fn parse(body: &[u8]) -> Result<Fragment, SdpError> {
        let text = caps::check(body)?;
        let mut ufrag = None;
        let mut pwd = None;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_end();
            // The first pair is the pair of the bundle; further sections repeat it.
            if ufrag.is_none() && line.starts_with("a=ice-ufrag:") {
                if let Some(SdpType::Attribute(SdpAttribute::IceUfrag(value))) = read(number, line)?
                {
                    ufrag = Some(credential(number, value, 4)?);
                }
            } else if pwd.is_none() && line.starts_with("a=ice-pwd:") {
                if let Some(SdpType::Attribute(SdpAttribute::IcePwd(value))) = read(number, line)? {
                    pwd = Some(credential(number, value, 22)?);
                }
            } else if !line.is_empty() && line.as_bytes().get(1) != Some(&b'=') {
                return Err(bad(number, "has no `=` after its type"));
            }
        }
        let last = text.lines().count().max(1);
        Ok(Fragment {
            ufrag: ufrag.ok_or_else(|| bad(last, "there is no `a=ice-ufrag`"))?,
            pwd: pwd.ok_or_else(|| bad(last, "there is no `a=ice-pwd`"))?,
        })
    }
}

/// An ICE ufrag or password: RFC 8839 section 5.4 allows `length_min` to 256 characters. Any visible
/// ASCII but `:` passes, because some stacks use more than `ice-char`; `:` separates the two ufrags of a
/// STUN USERNAME.
pub(super) fn credential(
    number: usize,
    value: String,
    length_min: usize,
) -> Result<String, SdpError> {
    let visible = value
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b':');
    if visible && (length_min..=256).contains(&value.len()) {
        return Ok(value);
    }
    Err(bad(
        number,
        format!("an ICE credential has {length_min} to 256 visible characters"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickled_candidate_is_read_for_its_credentials() {
        let body = b"a=ice-ufrag:EsAw\r\na=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
            a=mid:0\r\na=candidate:1 1 udp 2130706431 0f3b3a60.local 5000 typ host\r\na=end-of-candidates\r\n";
        let fragment = Fragment::parse(body).expect("reads");
        assert_eq!(fragment.ufrag, "EsAw");
        assert_eq!(fragment.pwd, "bP+XJMM09aR8AiX1jdukzR6Y");
    }

    #[test]
    fn what_is_missing_or_malformed_is_said() {
        let line = |body: &str| match Fragment::parse(body.as_bytes()) {
            Err(SdpError::Bad { line, .. }) => line,
            other => panic!("{other:?}"),
        };
        assert_eq!(line(""), 1);
        assert_eq!(line("a=ice-ufrag:EsAw\r\n"), 1);
        assert_eq!(line("a=ice-ufrag:EsAw\r\nhello\r\n"), 2);
        assert_eq!(line("a=ice-ufrag:a:b:c\r\n"), 1);
        assert_eq!(line("a=ice-ufrag:EsAw\r\na=ice-pwd:short\r\n"), 2);
    }
}
