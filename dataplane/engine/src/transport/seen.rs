//! The transaction ids of the checks that were accepted under one pair of ICE credentials.
//!
//! A check is authenticated, but nothing in it says when or from where it was sent. Whoever saw one on the wire
//! can send it again: from an address of his own, to be sent the media, or from the peer's, to keep a session that
//! is over. An honest peer draws a new id for every check (RFC 8489 section 6) and repeats one only toward the
//! address it asked first, when the answer was lost (section 6.2.1). So an id is good for one path, once.
//!
//! The memory is bounded: the last [`REMEMBERED`] ids of the credentials. At a check every 2.5 s that is the last
//! ten minutes, at one every 480 ms the last two. A check that was captured before that, under credentials that are
//! still in use, is taken for a new one: it can move egress and renew consent, once. Only an ICE restart ends that,
//! because nothing in a check tells when it was made.

use rustc_hash::FxHasher;
use std::hash::{Hash, Hasher};
use turn::stun::TransactionId;

use crate::packet::Path;

/// Ids remembered: 2 KiB a session.
const REMEMBERED: usize = 256;

/// What an id says of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Novelty {
    /// It was not seen.
    New,
    /// It came by this path before: our answer was lost, or somebody repeats it in the peer's name.
    Repeated,
    /// It came by another path before.
    Replayed,
}

/// An id and the path that first carried it. Hashes do: the ids are the peer's, who alone could make two collide
/// and would only lose a check of his own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    id: u32,
    path: u32,
}

/// The ids of one pair of credentials, the oldest overwritten first.
#[derive(Debug, Default)]
pub(crate) struct SeenChecks {
    /// Empty until the first check: most sessions of a flood never send one.
    entries: Vec<Entry>,
    oldest: usize,
}

impl SeenChecks {
    pub(crate) fn novelty(&self, id: TransactionId, path: Path) -> Novelty {
        let entry = Entry::of(id, path);
        match self.entries.iter().find(|seen| seen.id == entry.id) {
            None => Novelty::New,
            Some(seen) if seen.path == entry.path => Novelty::Repeated,
            Some(_) => Novelty::Replayed,
        }
    }

    /// Remembers a new id.
    pub(crate) fn remember(&mut self, id: TransactionId, path: Path) {
        let entry = Entry::of(id, path);
        if self.entries.len() < REMEMBERED {
            if self.entries.is_empty() {
                self.entries.reserve_exact(REMEMBERED);
            }
            self.entries.push(entry);
        } else if let Some(oldest) = self.entries.get_mut(self.oldest) {
            *oldest = entry;
            self.oldest = (self.oldest + 1) % REMEMBERED;
        }
    }
}

impl Entry {
    fn of(id: TransactionId, path: Path) -> Entry {
        Entry {
            id: hash(&id.0),
            path: hash(&path),
        }
    }
}

/// Both halves, for neither alone is well mixed.
fn hash(value: &impl Hash) -> u32 {
    let mut hasher = FxHasher::default();
    value.hash(&mut hasher);
    let [a, b, c, d, e, f, g, h] = hasher.finish().to_be_bytes();
    u32::from_be_bytes([a, b, c, d]) ^ u32::from_be_bytes([e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::SocketIndex;

    fn path(port: u16) -> Path {
        Path {
            local: [192, 0, 2, 1].into(),
            remote: ([198, 51, 100, 7], port).into(),
            socket: SocketIndex::UDP_V4,
        }
    }

    fn id(n: usize) -> TransactionId {
        let mut id = [0; 12];
        id[4..].copy_from_slice(&n.to_be_bytes());
        TransactionId(id)
    }

    #[test]
    fn an_id_belongs_to_the_path_that_first_carried_it() {
        let mut seen = SeenChecks::default();
        assert_eq!(seen.novelty(id(1), path(1)), Novelty::New);
        seen.remember(id(1), path(1));
        assert_eq!(seen.novelty(id(1), path(1)), Novelty::Repeated);
        assert_eq!(seen.novelty(id(1), path(2)), Novelty::Replayed);
        assert_eq!(seen.novelty(id(2), path(1)), Novelty::New);
    }

    #[test]
    fn the_last_ids_are_remembered_and_no_more() {
        let mut seen = SeenChecks::default();
        for n in 0..10_000 {
            assert_eq!(seen.novelty(id(n), path(1)), Novelty::New, "{n}");
            seen.remember(id(n), path(1));
            for back in [1, REMEMBERED / 2, REMEMBERED - 1] {
                let Some(earlier) = n.checked_sub(back) else {
                    continue;
                };
                assert_eq!(seen.novelty(id(earlier), path(1)), Novelty::Repeated);
            }
        }
        assert_eq!(
            seen.novelty(id(10_000 - REMEMBERED - 1), path(1)),
            Novelty::New
        );
        assert_eq!(seen.entries.capacity(), REMEMBERED);
    }
}
