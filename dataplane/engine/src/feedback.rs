//! RTCP in and out: reports, transport-wide feedback, requests to send again.

use codecs::rtcp::nack::Nack;
use codecs::rtcp::sdes_bye::write_sdes_cname;
use codecs::rtcp::sr_rr::{write_rr, write_sr};
use codecs::rtcp::twcc;
use codecs::rtcp::{Compound, Packet, ReportBlock, SenderInfo};
use codecs::rtp::{RtpView, Seq};

use crate::control::ControlQueue;
use crate::flush::{RESENDS_MAX, Resend};
use crate::forward::{Sealed, smooth};
use crate::limits::{HISTORY_US_MAX, NACK_NUMBERS_PER_SECOND_MAX, REPORT_INTERVAL_US};
use crate::packet::{Datagram, Path};
use crate::publish::{SenderClock, Stream};
use crate::reason::DropReason;
use crate::session::{Session, Srtp};
use crate::shard::Shard;
use crate::table::Key;
use crate::time::Micros;

/// Room for one compound of ours: below every path's MTU.
const COMPOUND_BYTES_MAX: usize = 1_200;
/// Report blocks of one compound: 31 fit the count, 24 bytes each (RFC 3550 section 6.4.2).
const REPORT_BLOCKS_MAX: usize = 31;
/// Slots reported on in one compound: 28 bytes of report and at most 32 of CNAME each.
const SENDER_REPORTS_MAX: usize = 16;

impl Shard {
    /// One SRTCP datagram of a validated path.
    pub(crate) fn on_rtcp(
        &mut self,
        now: Micros,
        key: Key,
        datagram: Datagram<'_>,
    ) -> Result<(), DropReason> {
        let Datagram {
            path,
            bytes,
            arrival,
        } = datagram;
        let session = self.sessions.get_mut(key).ok_or(DropReason::UnknownPath)?;
        let srtp = session.srtp.as_mut().ok_or(DropReason::NoKeys)?;
        let len = srtp.opener.open_rtcp(bytes)?;
        session.gate.on_authenticated();
        session.ice.on_authenticated(now, path);
        session.on_heard();
        if !session.take_rtcp_budget(now) {
            return Err(DropReason::RtcpBudget);
        }
        let compound = bytes.get(..len).ok_or(DropReason::RtcpMalformed)?;
        for packet in Compound::parse(compound) {
            let packet = packet.map_err(|_| DropReason::RtcpMalformed)?;
            self.on_rtcp_packet(now, key, arrival, &packet);
        }
        Ok(())
    }

    /// Acts only on the sender's own: its streams, its slots (security.md R5).
    fn on_rtcp_packet(&mut self, now: Micros, key: Key, arrival: Micros, packet: &Packet<'_>) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        match packet {
            Packet::SenderReport(report) => {
                let info = &report.info;
                if let Some((_, stream)) = session.receiver.get_mut(info.ssrc)
                    && let Some(clock) =
                        SenderClock::reported(info.ntp, info.rtp_timestamp, arrival)
                {
                    stream.on_sender_report(clock);
                }
                session.on_report_blocks(arrival, report.blocks());
            }
            Packet::ReceiverReport(report) => session.on_report_blocks(arrival, report.blocks()),
            Packet::Nack(nack) => self.on_nack(now, key, nack),
            Packet::Pli(pli) => self.on_keyframe_wish(now, key, pli.media_ssrc),
            Packet::Fir(fir) => {
                for entry in fir.entries() {
                    self.on_keyframe_wish(now, key, entry.ssrc);
                }
            }
            Packet::Sdes(_)
            | Packet::Bye(_)
            | Packet::TransportCc(_)
            | Packet::Remb(_)
            | Packet::Unknown(_) => {}
        }
    }

    /// A viewer lost packets of one of its slots.
    fn on_nack(&mut self, now: Micros, key: Key, nack: &Nack<'_>) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(position) = session.slot_by_ssrc(nack.media_ssrc) else {
            return;
        };
        let (Ok(slot), Some(entry)) = (u16::try_from(position), session.slots.get_mut(position))
        else {
            return;
        };
        let rtt_us = session.rtt_us;
        let mut is_lost = false;
        let mut seqs = nack.seqs();
        while let Some(Seq(seq)) = seqs.next() {
            if self.resends.len() >= RESENDS_MAX
                || !session.nack_budget.take(now, NACK_NUMBERS_PER_SECOND_MAX)
            {
                // Counted and not looked up: the lookups are what costs.
                self.counters.resends_missed += 1 + seqs.count() as u64;
                break;
            }
            let affordable = |sealed: &Sealed| {
                self.pool.get(sealed.packet).is_some_and(|packet| {
                    now.since(packet.meta.arrival) < HISTORY_US_MAX
                        && session.resends.spend(sealed.resend_cost(&packet))
                })
            };
            match entry.history.take_resend(now, rtt_us, seq, affordable) {
                Some(sealed) => self.resends.push_back(Resend {
                    session: key,
                    slot,
                    sealed,
                }),
                None => {
                    self.counters.resends_missed += 1;
                    is_lost |= entry
                        .history
                        .is_lost(now, rtt_us, seq, entry.keyframe_index);
                }
            }
        }
        if is_lost {
            // The viewer will say so itself, but only when it has waited for the packet long enough. How often it
            // is heard stays as it is: the wish is the node's, and the budget of the layer is limit enough.
            self.wish_keyframe(now, key, position);
        }
    }

    /// Sends the feedback and reports of one session that are due.
    pub(crate) fn send_feedback(&mut self, now: Micros, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let (Some(path), true) = (session.ice.selected(), session.is_connected()) else {
            return;
        };
        session.send_transport_feedback(now, path, &mut self.control);
        if session.report_at <= now {
            session.report_at = now.plus_us(REPORT_INTERVAL_US);
            session.send_receiver_report(now, path, &mut self.control);
            for first in (0..session.slots.len()).step_by(SENDER_REPORTS_MAX) {
                self.send_sender_reports(now, key, path, first);
            }
        }
    }

    /// Sender reports of one compound's slots from `first` on, on the capture clocks of their publishers.
    fn send_sender_reports(&mut self, now: Micros, key: Key, path: Path, first: usize) {
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let mut reports = [None; SENDER_REPORTS_MAX];
        let slots = session.slots.iter().skip(first).take(SENDER_REPORTS_MAX);
        let filled = slots.filter_map(|slot| {
            let track_key = slot.source()?;
            let track = self.tracks.get(track_key)?;
            let publisher = self.sessions.get(track.session)?;
            let stream = publisher.receiver.layer(track_key, slot.layer()?);
            let clock = stream.and_then(Stream::clock);
            let (ntp, rtp_timestamp) = slot.report_clock(now, clock)?;
            Some(SenderInfo {
                ssrc: slot.spec.ssrc,
                ntp,
                rtp_timestamp,
                packet_count: low_32(slot.packets_sent),
                octet_count: low_32(slot.payload_bytes_sent),
            })
        });
        for (place, info) in reports.iter_mut().zip(filled) {
            *place = Some(info);
        }
        if reports.iter().all(Option::is_none) {
            return;
        }
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        for info in reports.iter().flatten() {
            if let Some(slot) = session.slots.iter_mut().find(|s| s.spec.ssrc == info.ssrc) {
                slot.reports.on_sent(now, info.ntp);
            }
        }
        let cname = session.cname.as_bytes();
        let Some(srtp) = session.srtp.as_mut() else {
            return;
        };
        seal_compound(&mut self.control, path, srtp, |out| {
            let mut at = 0;
            for info in reports.iter().flatten() {
                at += write_sr(out.get_mut(at..)?, info, &[]).ok()?;
                at += write_sdes_cname(out.get_mut(at..)?, info.ssrc, cname).ok()?;
            }
            Some(at)
        });
    }
}

impl Session {
    /// What this viewer says of the slots it is sent: the round trip to it.
    fn on_report_blocks(&mut self, arrival: Micros, blocks: impl Iterator<Item = ReportBlock>) {
        for block in blocks {
            let slot = self.slots.iter().find(|slot| slot.spec.ssrc == block.ssrc);
            let measured = slot.and_then(|slot| {
                slot.reports
                    .round_trip(arrival, block.last_sr, block.delay_since_last_sr)
            });
            if let Some(measured_us) = measured {
                self.rtt_us = Some(smooth(self.rtt_us, measured_us));
            }
        }
    }

    /// Notes the arrival of a transport-wide numbered packet.
    pub(crate) fn note_transport_seq(&mut self, now: Micros, view: &RtpView<'_>, arrival: Micros) {
        if let Some(id) = self.extensions.transport_cc
            && let Some(&[hi, lo]) = view.extension(id)
        {
            self.receiver.last_ssrc = view.ssrc();
            self.receiver
                .arrivals
                .note(now, Seq(u16::from_be_bytes([hi, lo])), arrival);
        }
    }

    fn send_transport_feedback(&mut self, now: Micros, path: Path, control: &mut ControlQueue) {
        let (sender_ssrc, media_ssrc) = (self.rtcp_ssrc, self.receiver.last_ssrc);
        let Some(feedback) = self.receiver.arrivals.due(now) else {
            return;
        };
        let Some(srtp) = self.srtp.as_mut() else {
            return;
        };
        let mut told = 0;
        seal_compound(control, path, srtp, |out| {
            let at = write_rr(out, sender_ssrc, &[]).ok()?;
            let feedback = twcc::Feedback {
                sender_ssrc,
                media_ssrc,
                base_seq: feedback.base,
                arrivals_us: feedback.times,
                feedback_count: feedback.count,
            };
            let written = twcc::write(out.get_mut(at..)?, &feedback).ok()?;
            told = written.statuses;
            Some(at + written.len)
        });
        self.receiver.arrivals.clear(now, told);
    }

    fn send_receiver_report(&mut self, now: Micros, path: Path, control: &mut ControlQueue) {
        let mut blocks = Vec::with_capacity(REPORT_BLOCKS_MAX);
        let reported = self.receiver.iter_mut().filter(|(bound, _)| !bound.rtx);
        blocks.extend(
            reported
                .map(|(_, stream)| stream.report(now))
                .take(REPORT_BLOCKS_MAX),
        );
        if blocks.is_empty() {
            return;
        }
        self.seal_receiver_report(path, control, &blocks);
    }

    fn seal_receiver_report(
        &mut self,
        path: Path,
        control: &mut ControlQueue,
        blocks: &[ReportBlock],
    ) {
        let (sender_ssrc, cname) = (self.rtcp_ssrc, self.cname.as_bytes());
        let Some(srtp) = self.srtp.as_mut() else {
            return;
        };
        seal_compound(control, path, srtp, |out| {
            let mut at = write_rr(out, sender_ssrc, blocks).ok()?;
            at += write_sdes_cname(out.get_mut(at..)?, sender_ssrc, cname).ok()?;
            Some(at)
        });
    }
}

/// Writes, seals and queues one compound. At the end of the SRTCP key's life nothing more is sent
/// (security.md S7).
pub(crate) fn seal_compound(
    control: &mut ControlQueue,
    path: Path,
    srtp: &mut Srtp,
    write: impl FnOnce(&mut [u8]) -> Option<usize>,
) {
    let mut plain = [0; COMPOUND_BYTES_MAX];
    let Some(compound) = write(&mut plain).and_then(|len| plain.get(..len)) else {
        return;
    };
    if compound.is_empty() {
        return;
    }
    let sealed_len = compound.len() + srtp.profile().rtcp_overhead();
    control.push_with(path, sealed_len, |out| srtp.sealer.seal_rtcp(compound, out));
}

fn low_32(n: u64) -> u32 {
    u32::try_from(n & u64::from(u32::MAX)).unwrap_or(0)
}
