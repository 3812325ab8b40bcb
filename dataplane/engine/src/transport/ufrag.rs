//! Our ICE user fragments encode shard and session, so that a stray check can be handed to its shard
//! (contracts.md 7). 12 bytes as 16 ice-chars (RFC 8445 section 15.1: base64's alphabet): shard, session
//! and two random bytes that tell an ICE restart from what it replaced.

use dataplane_api::ids::{SessionId, ShardIndex};
use rand::{Rng, RngExt};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const UFRAG_BYTES: usize = 12;
/// Length of our ufrags in characters.
pub(crate) const UFRAG_CHARS: usize = UFRAG_BYTES / 3 * 4;
/// 18 random bytes, 144 bits: RFC 8445 section 5.3 asks for 128.
const PASSWORD_BYTES: usize = 18;

/// A fresh ufrag for a session of a shard.
pub(crate) fn make_ufrag(shard: ShardIndex, session: SessionId, rng: &mut impl Rng) -> String {
    let mut bytes = [0; UFRAG_BYTES];
    let (head, random) = bytes.split_at_mut(10);
    let (shard_bytes, session_bytes) = head.split_at_mut(2);
    shard_bytes.copy_from_slice(&shard.0.to_be_bytes());
    session_bytes.copy_from_slice(&session.0.to_be_bytes());
    rng.fill(random);
    encode(&bytes)
}

/// A fresh password.
pub(crate) fn make_password(rng: &mut impl Rng) -> String {
    let mut bytes = [0; PASSWORD_BYTES];
    rng.fill(&mut bytes);
    encode(&bytes)
}

/// The shard and session of one of our ufrags, or `None` when it cannot be ours.
pub(crate) fn read_ufrag(ufrag: &[u8]) -> Option<(ShardIndex, SessionId)> {
    if ufrag.len() != UFRAG_CHARS {
        return None;
    }
    let mut bytes = [0; UFRAG_BYTES];
    for (chars, out) in ufrag.chunks_exact(4).zip(bytes.chunks_exact_mut(3)) {
        let mut word = 0u32;
        for &c in chars {
            word = word << 6 | u32::from(digit(c)?);
        }
        out.copy_from_slice(word.to_be_bytes().get(1..)?);
    }
    let (shard, rest) = bytes.split_first_chunk::<2>()?;
    let session = rest.first_chunk::<8>()?;
    Some((
        ShardIndex(u16::from_be_bytes(*shard)),
        SessionId(u64::from_be_bytes(*session)),
    ))
}

fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() / 3 * 4);
    for chunk in bytes.chunks_exact(3) {
        let word = chunk.iter().fold(0u32, |word, &b| word << 8 | u32::from(b));
        for shift in [18, 12, 6, 0] {
            out.push(char::from(ALPHABET[(word >> shift & 63) as usize]));
        }
    }
    out
}

fn digit(c: u8) -> Option<u8> {
    match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn a_ufrag_names_its_shard_and_session() {
        let mut rng = StdRng::from_seed([7; 32]);
        for (shard, session) in [(0, 0), (1, 42), (65_535, u64::MAX), (3, 1 << 41)] {
            let ufrag = make_ufrag(ShardIndex(shard), SessionId(session), &mut rng);
            assert_eq!(ufrag.len(), UFRAG_CHARS);
            assert_eq!(
                read_ufrag(ufrag.as_bytes()),
                Some((ShardIndex(shard), SessionId(session)))
            );
        }
    }

    #[test]
    fn what_is_not_ours_is_not_read() {
        assert_eq!(read_ufrag(b""), None);
        assert_eq!(read_ufrag(b"AAAA"), None);
        assert_eq!(read_ufrag(b"AAAAAAAAAAAAAAA-"), None);
        assert_eq!(read_ufrag("AAAAAAAAAAAAAAA\u{fffd}".as_bytes()), None);
    }

    #[test]
    fn a_restart_changes_ufrag_and_password() {
        let mut rng = StdRng::from_seed([7; 32]);
        let mut make = || {
            (
                make_ufrag(ShardIndex(0), SessionId(9), &mut rng),
                make_password(&mut rng),
            )
        };
        let (first, second) = (make(), make());
        assert_ne!(first.0, second.0);
        assert_ne!(first.1, second.1);
        assert_eq!(first.1.len(), 24);
    }
}
