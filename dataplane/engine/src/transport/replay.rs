//! Extended packet indices: the guess of the rollover counter and the replay window (RFC 3711 sections
//! 3.3.1 and 3.3.2), and the index of an outgoing stream.

/// One past the last RTP index: a 32-bit rollover counter over a 16-bit sequence number. A key has to be
/// replaced before it is reached (RFC 3711 section 9.2).
pub const RTP_INDEX_END: u64 = 1 << 48;

/// One past the last SRTCP index (RFC 3711 sections 3.4 and 9.2).
pub const RTCP_INDEX_END: u64 = 1 << 31;

/// The index of a packet with sequence number `seq`, guessed from the highest index that authenticated:
/// of the indices with that sequence number, the one within 2^15 of `highest` (RFC 3711 section 3.3.1 and
/// appendix A). `None` when that one lies before the beginning or past the end of the key's life.
///
/// The tie at a distance of exactly 2^15 falls as in the RFC's pseudo-code: into the same rollover.
#[must_use]
pub fn guess_index(highest: u64, seq: u16) -> Option<u64> {
    const HALF: u64 = 1 << 15;
    const FULL: u64 = 1 << 16;

    let last = highest % FULL;
    let same = highest - last + u64::from(seq);
    let guess = if last < HALF {
        if u64::from(seq) > last + HALF {
            same.checked_sub(FULL)?
        } else {
            same
        }
    } else if last - HALF > u64::from(seq) {
        same + FULL
    } else {
        same
    };
    (guess < RTP_INDEX_END).then_some(guess)
}

/// Which of the last `64 * WORDS` indices authenticated.
///
/// The window is a ring of bits: index `i` lives in bit `i % bits`, so moving forward clears the bits
/// passed over and shifts nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayWindow<const WORDS: usize> {
    /// The highest index marked.
    highest: u64,
    bits: [u64; WORDS],
}

/// RTP: 1,024 packets, a second of high-rate video, so that a late RTX stream is not taken for a replay
/// (security.md S3).
pub type RtpReplayWindow = ReplayWindow<16>;

/// RTCP: a few packets a second, 128 as every receiver keeps (RFC 3711 section 3.3.2: at least 64).
pub type RtcpReplayWindow = ReplayWindow<2>;

impl<const WORDS: usize> ReplayWindow<WORDS> {
    /// How many indices the window reaches back, `highest` included.
    pub const INDICES: u64 = 64 * WORDS as u64;

    /// A window whose first authenticated index is `first`. What came before it is unknown, not replayed:
    /// a packet that was overtaken at the start is still welcome.
    #[must_use]
    pub fn starting_with(first: u64) -> ReplayWindow<WORDS> {
        let mut window = ReplayWindow {
            highest: first,
            bits: [0; WORDS],
        };
        window.set(first);
        window
    }

    /// A window that goes on behind `highest`, of which nothing is known but that it authenticated: every
    /// index up to it counts as seen.
    #[must_use]
    pub fn resuming_above(highest: u64) -> ReplayWindow<WORDS> {
        ReplayWindow {
            highest,
            bits: [u64::MAX; WORDS],
        }
    }

    /// The highest index marked.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether `index` may be opened: neither seen nor too old to tell.
    #[must_use]
    pub fn admits(&self, index: u64) -> bool {
        if index > self.highest {
            return true;
        }
        self.highest - index < Self::INDICES && !self.is_set(index)
    }

    /// Marks `index` as seen. Call it only after the packet's tag verified.
    pub fn mark(&mut self, index: u64) {
        if index > self.highest {
            let ahead = index - self.highest;
            if ahead >= Self::INDICES {
                self.bits = [0; WORDS];
            } else {
                for passed in self.highest + 1..index {
                    self.clear(passed);
                }
            }
            self.highest = index;
        }
        self.set(index);
    }

    fn set(&mut self, index: u64) {
        let (word, bit) = Self::position(index);
        self.bits[word] |= bit;
    }

    fn clear(&mut self, index: u64) {
        let (word, bit) = Self::position(index);
        self.bits[word] &= !bit;
    }

    fn is_set(&self, index: u64) -> bool {
        let (word, bit) = Self::position(index);
        self.bits[word] & bit != 0
    }

    fn position(index: u64) -> (usize, u64) {
        let place = index % Self::INDICES;
        let word = usize::try_from(place / 64).expect("invariant: a word of the window");
        (word, 1 << (place % 64))
    }
}

/// How far an index jumps when a session moves to another process or shard: more than the packets that
/// can have left after the export, and far below the 2^15 that a receiver's guess bridges (contracts.md
/// 3).
pub const HAND_OVER_JUMP: u64 = 1 << 12;

const _: () = assert!(HAND_OVER_JUMP < 1 << 15);

/// The index of one outgoing SSRC, and the only source of its numbers: every index is given out once, so
/// no (key, SSRC, index) is sealed twice (security.md S6).
///
/// It is an iterator over the unused indices and ends with the key's life at 2^48.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendIndex {
    next: u64,
}

impl SendIndex {
    /// A stream whose first sequence number is in 1..2^15 - 1, chosen by `random`: a receiver that loses
    /// the packets around the first rollover can then not guess it wrong (security.md S4).
    #[must_use]
    pub fn from_random(random: u16) -> SendIndex {
        const CHOICES: u16 = (1 << 15) - 2;
        SendIndex {
            next: u64::from(1 + random % CHOICES),
        }
    }

    /// A stream that goes on at `index`.
    #[must_use]
    pub fn resuming_at(index: u64) -> SendIndex {
        SendIndex { next: index }
    }

    /// The index [`Iterator::next`] gives out next.
    #[must_use]
    pub fn peek(&self) -> u64 {
        self.next
    }

    /// The sequence number of [`SendIndex::peek`].
    #[must_use]
    pub fn seq(&self) -> u16 {
        seq_of(self.next)
    }

    /// The rollover counter of [`SendIndex::peek`].
    #[must_use]
    pub fn roc(&self) -> u32 {
        roc_of(self.next)
    }

    /// Leaves [`HAND_OVER_JUMP`] indices unused.
    pub fn jump(&mut self) {
        self.next = self.next.saturating_add(HAND_OVER_JUMP);
    }
}

impl Iterator for SendIndex {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let index = self.next;
        if index >= RTP_INDEX_END {
            return None;
        }
        self.next += 1;
        Some(index)
    }
}

/// The sequence number of a 48-bit index.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are meant")]
pub const fn seq_of(index: u64) -> u16 {
    index as u16
}

/// The rollover counter of a 48-bit index.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "bits 16 to 47 are meant")]
pub const fn roc_of(index: u64) -> u32 {
    (index >> 16) as u32
}
