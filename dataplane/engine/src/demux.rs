//! What a datagram is, by its first byte (RFC 7983 section 7), and RTP against RTCP by its second (RFC
//! 5761 section 4).

/// The protocol of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// 0..=3
    Stun,
    /// 20..=63
    Dtls,
    /// 128..=191, second byte outside 192..=223
    Rtp,
    /// 128..=191, second byte within 192..=223
    Rtcp,
}

/// The protocol of `bytes`, or `None` when they are none of ours (ZRTP, TURN channels, QUIC, nothing).
pub(crate) fn classify(bytes: &[u8]) -> Option<Protocol> {
    match *bytes {
        [0..=3, ..] => Some(Protocol::Stun),
        [20..=63, ..] => Some(Protocol::Dtls),
        [128..=191, 192..=223, ..] => Some(Protocol::Rtcp),
        [128..=191, _, ..] => Some(Protocol::Rtp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_first_byte_has_one_class() {
        for first in 0..=255u8 {
            for second in [0u8, 96, 191, 192, 200, 223, 224, 255] {
                let expected = match first {
                    0..=3 => Some(Protocol::Stun),
                    20..=63 => Some(Protocol::Dtls),
                    128..=191 if (192..=223).contains(&second) => Some(Protocol::Rtcp),
                    128..=191 => Some(Protocol::Rtp),
                    _ => None,
                };
                assert_eq!(
                    classify(&[first, second, 0, 0]),
                    expected,
                    "{first} {second}"
                );
            }
        }
        assert_eq!(classify(&[]), None);
        assert_eq!(classify(&[128]), None, "one byte cannot be told apart");
    }
}
