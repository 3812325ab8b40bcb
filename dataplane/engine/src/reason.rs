//! Why a packet was dropped. Bytes from the network never travel up as `Err`: they are counted here, and
//! received = accepted + dropped is checked.

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)+) => {
        /// Why a datagram or an outgoing packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DropReason {
            $($(#[$doc])* $name,)+
        }

        impl DropReason {
            /// Every reason, in the order of the counters.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$name,)+];

            /// The `reason` label in metrics.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self {
                    $(DropReason::$name => $label,)+
                }
            }
        }
    };
}

reasons! {
    /// First byte of no known protocol (RFC 7983), or empty.
    Demux = "demux",
    /// Not STUN, and from a path ICE has not validated.
    UnknownPath = "unknown_path",
    /// Malformed STUN.
    StunMalformed = "stun_malformed",
    /// STUN for no session of this node.
    StunUnknownUser = "stun_unknown_user",
    /// STUN whose MESSAGE-INTEGRITY is missing or wrong.
    StunIntegrity = "stun_integrity",
    /// A check whose transaction id came by another path, or by one that is forgotten.
    StunReplay = "stun_replay",
    /// A STUN message a lite agent has no use for.
    StunUnexpected = "stun_unexpected",
    /// More paths than a session may have.
    PathLimit = "path_limit",
    /// DTLS for a session that is past the epoch of this record, or a queue that is full.
    Dtls = "dtls",
    /// Malformed RTP.
    RtpMalformed = "rtp_malformed",
    /// RTP or RTCP before keys are installed.
    NoKeys = "no_keys",
    /// SRTP or SRTCP whose tag is wrong.
    SrtpAuth = "srtp_auth",
    /// A replayed or too old SRTP or SRTCP index.
    SrtpReplay = "srtp_replay",
    /// More SSRCs than a session may have.
    SsrcLimit = "ssrc_limit",
    /// RTP that belongs to no track.
    UnknownSource = "unknown_source",
    /// A payload type that was not negotiated.
    PayloadType = "payload_type",
    /// Malformed RTCP.
    RtcpMalformed = "rtcp_malformed",
    /// RTCP beyond the budget of a session.
    RtcpBudget = "rtcp_budget",
    /// A packet that arrived before, by another way (RTX) or twice.
    Duplicate = "duplicate",
    /// Only padding: acknowledged, not forwarded.
    PaddingOnly = "padding_only",
    /// RTX without the right original.
    Rtx = "rtx",
    /// Beyond what the session may publish.
    Policer = "policer",
    /// The packet left the pool before it could be sent.
    Pool = "pool",
    /// The pacer shed it.
    Pacer = "pacer",
    /// The kernel did not take it.
    Send = "send",
    /// A send index reached the end of its key's life.
    KeyExhausted = "key_exhausted",
    /// A queue to another thread was full.
    Queue = "queue",
}

/// A count a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped([u64; DropReason::ALL.len()]);

impl Default for Dropped {
    fn default() -> Self {
        Dropped([0; DropReason::ALL.len()])
    }
}

impl Dropped {
    /// Counts one packet.
    pub fn count(&mut self, reason: DropReason) {
        self.add(reason, 1);
    }

    /// Counts `packets` packets.
    pub fn add(&mut self, reason: DropReason, packets: u64) {
        self.0[reason as usize] += packets;
    }

    /// How many were dropped for `reason`.
    #[must_use]
    pub fn of(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// How many were dropped for any reason.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Reason and count, in the order of [`DropReason::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL
            .iter()
            .map(|&reason| (reason, self.of(reason)))
    }
}
