//! One session: ICE, DTLS and SRTP toward one peer, what it publishes and what it watches. By value in its
//! shard's table, touched by one thread.

use dataplane_api::command::{Admit, SessionPolicy};
use dataplane_api::ids::{RoomId, SessionId};
use dataplane_api::media::Extensions;

use crate::forward::{Flow, Lanes, Slot};
use crate::limits::{
    REPORT_INTERVAL_US, RESEND_BURST_BYTES, RESEND_SHARE, RESEND_START_BYTES, RTCP_PER_SECOND_MAX,
};
use crate::pace::Pacer;
use crate::publish::{KeyframeRate, Policer, Receiver};
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

/// How many compound RTCP packets were read in the current second (security.md R9).
#[derive(Debug, Default)]
struct RtcpBudget {
    window_at: Micros,
    taken: u32,
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
    /// The peer's side of DTLS, needed when its first path is validated.
    pub(crate) handshake: (Role, dataplane_api::command::Fingerprint),
    pub(crate) ice: IceAgent,
    pub(crate) gate: RecordGate,
    pub(crate) srtp: Option<Srtp>,
    pub(crate) receiver: Receiver,
    /// What it may publish.
    pub(crate) policer: Policer,
    /// How many keyframes it was asked for lately.
    pub(crate) keyframes: KeyframeRate,
    /// The tracks it publishes.
    pub(crate) tracks: Vec<Key>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) lanes: Lanes,
    pub(crate) resends: ResendBudget,
    pub(crate) pacer: Pacer,
    /// The next transport-wide sequence number.
    pub(crate) transport_seq: u16,
    /// The SSRC of our RTCP toward it.
    pub(crate) rtcp_ssrc: u32,
    /// CNAME of everything sent to it: the session's handle in hexadecimal, as the SDP says it.
    pub(crate) cname: String,
    pub(crate) report_at: Micros,
    /// Round trip to it, as its reports on our streams show; `None` before the first.
    pub(crate) rtt_us: Option<u64>,
    rtcp_budget: RtcpBudget,
    /// Its entry in the shard's timers.
    pub(crate) deadline: Option<Micros>,
}

impl Session {
    pub(crate) fn new(
        now: Micros,
        admit: Admit,
        role: Role,
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
            handshake: (role, admit.remote.fingerprint),
            cname: format!("{:x}", admit.session.0),
            ice,
            gate: RecordGate::new(),
            srtp: None,
            receiver: Receiver::default(),
            tracks: Vec::new(),
            slots,
            lanes: Lanes::default(),
            resends: ResendBudget::default(),
            pacer,
            transport_seq: 0,
            rtcp_ssrc,
            report_at: now.plus_us(REPORT_INTERVAL_US),
            rtt_us: None,
            rtcp_budget: RtcpBudget::default(),
            deadline: None,
        }
    }

    /// Keys are installed.
    pub(crate) fn is_connected(&self) -> bool {
        self.srtp.is_some()
    }

    /// Whether one more compound may be read this second.
    pub(crate) fn take_rtcp_budget(&mut self, now: Micros) -> bool {
        let budget = &mut self.rtcp_budget;
        if now.since(budget.window_at) >= 1_000_000 {
            *budget = RtcpBudget {
                window_at: now,
                taken: 0,
            };
        }
        budget.taken += 1;
        budget.taken <= RTCP_PER_SECOND_MAX
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
