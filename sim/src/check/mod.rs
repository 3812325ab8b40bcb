//! What must hold after every turn of the node, for every datagram that leaves it, and at every viewer. Each
//! promise is a checker of its own, with a name; what breaks one is a [`Violation`].
//!
//! Sessions with injected keys are looked into on their way out, before the network can lose anything: what
//! is judged is what the node did. Of sessions with real handshakes only headers and ciphertext are seen.

mod bounds;
mod conservation;
mod continuity;
mod keyframes;
mod lengths;
mod liveness;
mod once;
mod one_seal;
mod payloads;
mod pictures;
mod repairs;
mod speech;
mod strangers;
mod subscriptions;
mod switches;
mod tap;
mod times;
mod window;

use std::fmt;

use dataplane_engine::time::Micros;

pub use bounds::Bounds;
pub use conservation::Conservation;
pub use continuity::Continuity;
pub use keyframes::KeyframeLimiter;
pub use lengths::Lengths;
pub use liveness::{Liveness, RECOVERY_US_MAX};
pub use once::Once;
pub use one_seal::OneSeal;
pub use payloads::Payloads;
pub use pictures::Pictures;
pub use repairs::Repairs;
pub use speech::Speech;
pub use strangers::Strangers;
pub use subscriptions::Subscriptions;
pub use switches::SwitchPoints;
pub use tap::{Expected, Tap};
pub use times::Times;

/// A promise that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which checker says so.
    pub checker: &'static str,
    /// When.
    pub at: Micros,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} us: {}", self.checker, self.at.0, self.what)
    }
}

/// Violations so far. One is enough, so no more than a few are kept.
#[derive(Debug, Default)]
pub struct Report {
    violations: Vec<Violation>,
}

/// More than anybody reads.
const VIOLATIONS_MAX: usize = 200;

impl Report {
    pub(crate) fn add(&mut self, checker: &'static str, at: Micros, what: impl fmt::Display) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation {
                checker,
                at,
                what: what.to_string(),
            });
        }
    }

    /// What was found, in the order it was found.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}

/// Content of a datagram, for telling two apart. FNV over words: fast, and nobody attacks it.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mix = |sum: u64, word: u64| {
        (sum ^ word)
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(23)
    };
    let sum = words.iter().fold(0xcbf2_9ce4_8422_2325, |sum, word| {
        mix(sum, u64::from_be_bytes(*word))
    });
    let rest = rest
        .iter()
        .fold(0, |word, &byte| word << 8 | u64::from(byte));
    mix(mix(sum, rest), bytes.len() as u64)
}
