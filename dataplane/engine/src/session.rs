//! One session: ICE, DTLS and SRTP toward one peer, what it publishes and what it watches. By value in its
//! shard's table, touched by one thread.

use dataplane_api::command::{Admit, Fingerprint, RemoteTransport, SessionPolicy, Setup};
use dataplane_api::ids::{RoomId, SessionId};
use dataplane_api::media::Extensions;

use crate::forward::{Flow, Lanes, Slot};
use crate::limits::{
    REPORT_INTERVAL_US, RESEND_BURST_BYTES, RESEND_SHARE, RESEND_START_BYTES, RTCP_PER_SECOND_MAX,
    UNHEARD_PACKETS_MAX,
};
use crate::pace::Pacer;
use crate::publish::{KeyframeRate, Policer, Receiver, RoundTrip};
use crate::table::Key;
use crate::time::Micros;
use crate::transport::gate::RecordGate;
use crate::transport::ice::IceAgent;
use crate::transport::keys::{Profile, Role, SrtpKeys};
use crate::transport::srtp::{Opener, Sealer};

/// Both directions of SRTP, once keys exist.
#[derive(Debug)]
pub(crate) struct Srtp {
    pub(crate) opener: Opener,
    pub(crate) sealer: Sealer,
}

impl Srtp {
    pub(crate) fn new(keys: &SrtpKeys) -> Srtp {
        Srtp {
            opener: Opener::new(keys),
            sealer: Sealer::new(keys),
        }
    }

    pub(crate) fn profile(&self) -> Profile {
        self.sealer.profile()
    }
}

/// How much of something was read in the current second.
#[derive(Debug, Default)]
pub(crate) struct PerSecond {
    window_at: Micros,
    taken: u32,
}

impl PerSecond {
    /// Whether one more, of `most` a second, may be read.
    pub(crate) fn take(&mut self, now: Micros, most: u32) -> bool {
        if now.since(self.window_at) >= 1_000_000 {
            *self = PerSecond {
                window_at: now,
                taken: 0,
            };
        }
        let fits = self.taken < most;
        self.taken += u32::from(fits);
        fits
    }
}

/// How much may still be sent again: a share of what was sent, saved up to a burst.
#[derive(Debug)]
pub(crate) struct ResendBudget {
    bytes: u64,
}

impl Default for ResendBudget {
    fn default() -> Self {
        ResendBudget {
            bytes: RESEND_START_BYTES,
        }
    }
}

impl ResendBudget {
    /// Media of `bytes` was sent.
    pub(crate) fn earn(&mut self, bytes: u64) {
        self.bytes = (self.bytes + bytes / RESEND_SHARE).min(RESEND_BURST_BYTES);
    }

    /// Whether `bytes` may be sent again; then they count as spent.
    pub(crate) fn spend(&mut self, bytes: u64) -> bool {
        let rest = self.bytes.checked_sub(bytes);
        self.bytes = rest.unwrap_or(self.bytes);
        rest.is_some()
    }

    /// `bytes` that were spent did not leave.
    pub(crate) fn give_back(&mut self, bytes: u64) {
        self.bytes = (self.bytes + bytes).min(RESEND_BURST_BYTES);
    }
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) room: RoomId,
    pub(crate) tag: Vec<u8>,
    pub(crate) extensions: Extensions,
    pub(crate) policy: SessionPolicy,
    pub(crate) admitted_at: Micros,
    /// What the peer's SDP said at first, its DTLS side needed when its first path is validated; `None` while it
    /// has not answered our offer.
    pub(crate) remote: Option<RemoteTransport>,
    pub(crate) ice: IceAgent,
    pub(crate) gate: RecordGate,
    pub(crate) srtp: Option<Srtp>,
    pub(crate) receiver: Receiver,
    /// To the peer as a publisher.
    pub(crate) round_trip: RoundTrip,
    /// What it may publish.
    pub(crate) policer: Policer,
    /// How many keyframes it was asked for lately.
    pub(crate) keyframes: KeyframeRate,
    /// When to look which of its slots' keyframe wishes may be heard now; not later than the first of them.
    pub(crate) wish_at: Option<Micros>,
    /// The tracks it publishes.
    pub(crate) tracks: Vec<Key>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) lanes: Lanes,
    pub(crate) resends: ResendBudget,
    pub(crate) pacer: Pacer,
    /// Packets chosen for it since it was heard.
    pub(crate) unheard_packets: u32,
    /// The next transport-wide sequence number.
    pub(crate) transport_seq: u16,
    /// The SSRC of our RTCP toward it.
    pub(crate) rtcp_ssrc: u32,
    /// CNAME of everything sent to it: the session's handle in hexadecimal, as the SDP says it.
    pub(crate) cname: String,
    pub(crate) report_at: Micros,
    /// Round trip to it, as its reports on our streams show; `None` before the first.
    pub(crate) rtt_us: Option<u64>,
    /// Compound RTCP packets (security.md R9).
    rtcp_budget: PerSecond,
    /// Sequence numbers it asked for again.
    pub(crate) nack_budget: PerSecond,
    /// Its entry in the shard's timers.
    pub(crate) deadline: Option<Micros>,
}

impl Session {
    pub(crate) fn new(
        now: Micros,
        admit: Admit,
        ice: IceAgent,
        slots: Vec<Slot>,
        rtcp_ssrc: u32,
    ) -> Session {
        let mut pacer = Pacer::default();
        pacer.set_ceiling(admit.policy.egress_bps_max);
        Session {
            id: admit.session,
            room: admit.room,
            tag: admit.tag,
            extensions: admit.extensions,
            policer: Policer::new(now, admit.policy.ingress_bps_max),
            keyframes: KeyframeRate::default(),
            policy: admit.policy,
            admitted_at: now,
            remote: admit.remote,
            cname: format!("{:x}", admit.session.0),
            ice,
            gate: RecordGate::new(),
            srtp: None,
            receiver: Receiver::default(),
            round_trip: RoundTrip::default(),
            wish_at: None,
            tracks: Vec::new(),
            slots,
            lanes: Lanes::default(),
            resends: ResendBudget::default(),
            pacer,
            unheard_packets: 0,
            transport_seq: 0,
            rtcp_ssrc,
            report_at: now.plus_us(REPORT_INTERVAL_US),
            rtt_us: None,
            rtcp_budget: PerSecond::default(),
            nack_budget: PerSecond::default(),
            deadline: None,
        }
    }

    /// Our part in DTLS and the peer's certificate, once the peer's SDP is known.
    pub(crate) fn handshake(&self) -> Option<(Role, Fingerprint)> {
        let remote = self.remote.as_ref()?;
        let role = match remote.setup {
            Setup::Active | Setup::ActPass => Role::Server,
            Setup::Passive => Role::Client,
        };
        Some((role, remote.fingerprint.clone()))
    }

    /// Keys are installed.
    pub(crate) fn is_connected(&self) -> bool {
        self.srtp.is_some()
    }

    /// Whether what is sent now can reach the peer: there are keys and a path that may carry media, and it was heard
    /// within so many packets that it still knows where in its streams we are.
    pub(crate) fn is_reachable(&self) -> bool {
        self.is_connected()
            && self.ice.selected().is_some()
            && self.unheard_packets < UNHEARD_PACKETS_MAX
    }

    /// An authenticated datagram of the peer arrived.
    pub(crate) fn on_heard(&mut self) {
        self.unheard_packets = 0;
    }

    /// Whether one more compound may be read this second.
    pub(crate) fn take_rtcp_budget(&mut self, now: Micros) -> bool {
        self.rtcp_budget.take(now, RTCP_PER_SECOND_MAX)
    }

    /// Where media goes and what it is sealed with, with the lanes beside it; `None` before keys or path.
    pub(crate) fn flow(&mut self, key: Key) -> Option<(Flow<'_>, &mut Lanes)> {
        let path = self.ice.selected()?;
        let srtp = self.srtp.as_mut()?;
        let flow = Flow {
            session: key,
            path,
            sealer: &mut srtp.sealer,
            slots: &mut self.slots,
            extensions: &self.extensions,
            transport_seq: &mut self.transport_seq,
            train_bytes_max: self.pacer.train_bytes_max(),
        };
        Some((flow, &mut self.lanes))
    }

    /// The slot that sends with `ssrc`.
    pub(crate) fn slot_by_ssrc(&self, ssrc: u32) -> Option<usize> {
        self.slots.iter().position(|slot| slot.spec.ssrc == ssrc)
    }
}
