//! What one direction of one link does to datagrams.

/// Faults of one direction of a link. Zero and `None` mean that the fault is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// One-way delay.
    pub delay_us: u64,
    /// Added to the delay, uniformly from zero; more than a packet's spacing reorders.
    pub jitter_us: u64,
    /// Share of datagrams lost, each by itself, per mille.
    pub loss_per_mille: u32,
    /// Losses that come in bursts, besides those that come alone.
    pub burst: Option<Burst>,
    /// Share of datagrams that are overtaken, per mille.
    pub reorder_per_mille: u32,
    /// By how many later datagrams they are overtaken.
    pub reorder_depth: u32,
    /// Share delivered twice, per mille.
    pub duplicate_per_mille: u32,
    /// Share with one flipped bit, per mille.
    pub corrupt_per_mille: u32,
    /// The narrowest place of the link.
    pub rate: Option<Rate>,
    /// Longest UDP payload that passes; longer ones are lost, as where fragments are filtered.
    pub mtu_bytes: Option<usize>,
    /// Nothing passes.
    pub blackout: bool,
}

/// The Gilbert-Elliott model with a good state that loses nothing and a bad one that loses everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Share of all datagrams lost in bursts, per mille, below 1,000.
    pub loss_per_mille: u32,
    /// Mean length of a burst in datagrams, at least 1.
    pub mean_datagrams: u32,
}

impl Burst {
    /// Probability of leaving the good state at a datagram, in millionths. In the long run a share of
    /// p / (p + r) is lost, where r = 1 / mean is the probability of leaving the bad state; solved for p.
    pub(super) fn begins_ppm(self) -> u32 {
        let kept = 1_000 - self.loss_per_mille.min(999);
        self.loss_per_mille.min(999) * 1_000_000 / (self.mean_datagrams.max(1) * kept)
    }

    /// Probability of leaving the bad state at a datagram, in millionths.
    pub(super) fn ends_ppm(self) -> u32 {
        1_000_000 / self.mean_datagrams.max(1)
    }
}

/// A bottleneck with a queue in front of it that drops what does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bits of UDP payload a second.
    pub bps: u64,
    /// Bytes that may wait.
    pub queue_bytes: u64,
}

impl Conditions {
    /// A good wire: 5 ms and nothing else.
    pub const CLEAN: Conditions = Conditions {
        delay_us: 5_000,
        jitter_us: 0,
        loss_per_mille: 0,
        burst: None,
        reorder_per_mille: 0,
        reorder_depth: 0,
        duplicate_per_mille: 0,
        corrupt_per_mille: 0,
        rate: None,
        mtu_bytes: None,
        blackout: false,
    };

    /// A good wire with this round trip.
    #[must_use]
    pub const fn with_rtt_ms(ms: u64) -> Conditions {
        Conditions {
            delay_us: ms * 500,
            ..Conditions::CLEAN
        }
    }
}
