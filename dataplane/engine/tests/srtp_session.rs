//! Two ends of a session: what one seals the other opens, and nothing an attacker injects changes
//! anything (security.md S2 to S7).

#![allow(clippy::unwrap_used, reason = "a test states what must be by failing")]

use std::collections::BTreeSet;

use dataplane_engine::limits::{SSRCS_PER_SESSION_MAX, SSRCS_REMEMBERED_MAX};
use dataplane_engine::reason::DropReason;
use dataplane_engine::transport::keys::{
    Profile, RTCP_OVERHEAD_MAX, RTP_OVERHEAD_MAX, Role, SrtpKeys,
};
use dataplane_engine::transport::replay::{RTCP_INDEX_END, SendIndex, seq_of};
use dataplane_engine::transport::srtp::{Opener, Sealer};

const SSRC: u32 = 0xcafe_babe;
const HEADER: usize = 12;

#[test]
fn every_length_and_padding_comes_back() {
    for profile in Profile::ALL {
        let (mut sealer, mut opener) = session(profile);
        let mut send = SendIndex::from_random(99);
        for payload_len in (0..40).chain([159, 160, 161, 1_100, 1_199, 1_200]) {
            for padding_len in [0, 1, 2, 15, 16, 17, 32, 255] {
                let payload: Vec<u8> = (0..=250).cycle().take(payload_len).collect();
                let index = send.next().unwrap();
                let mut sealed = packet_with(index, payload_len + padding_len + RTP_OVERHEAD_MAX);
                let len = sealer.seal_rtp(index, HEADER, &payload, padding_len, &mut sealed);
                assert_eq!(
                    len,
                    HEADER + payload_len + padding_len + sealer.rtp_overhead()
                );
                sealed.truncate(len);

                // Sealing the same bytes in place gives the same packet: a resend is byte-identical.
                let mut plain = payload.clone();
                plain.resize(payload_len + padding_len, 0);
                if padding_len > 0 {
                    *plain.last_mut().unwrap() = u8::try_from(padding_len).unwrap();
                }
                let mut again = packet_with(index, plain.len() + RTP_OVERHEAD_MAX);
                again[HEADER..][..plain.len()].copy_from_slice(&plain);
                let again_len = sealer.seal_rtp_in_place(index, HEADER, plain.len(), &mut again);
                assert_eq!(again[..again_len], sealed);

                let opened = opener.open_rtp(&mut sealed, HEADER).unwrap();
                assert_eq!(opened.index, index);
                assert_eq!(sealed[opened.payload], plain);
            }
        }
    }
}

#[test]
fn rtcp_of_every_length_comes_back() {
    for profile in Profile::ALL {
        let (mut sealer, mut opener) = session(profile);
        for len in (8..200).step_by(4) {
            let compound = compound(SSRC, len);
            let mut sealed = vec![0; len + RTCP_OVERHEAD_MAX];
            let sealed_len = sealer.seal_rtcp(&compound, &mut sealed).unwrap();
            assert_eq!(sealed_len, len + profile.rtcp_overhead());
            let plain_len = opener.open_rtcp(&mut sealed[..sealed_len]).unwrap();
            assert_eq!(sealed[..plain_len], compound);
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_a_bad_tag_and_changes_nothing() {
    for profile in Profile::ALL {
        let (mut sealer, mut opener) = session(profile);
        let good = sealed(&mut sealer, 1_000);
        for bit in 0..8 * good.len() {
            let mut forged = good.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let outcome = opener.open_rtp(&mut forged, HEADER);
            assert_eq!(outcome, Err(DropReason::SrtpAuth), "{profile:?} bit {bit}");
        }
        assert_eq!(opener.ssrc_count(), 0);

        let mut good_rtcp = vec![0; 28 + profile.rtcp_overhead()];
        sealer.seal_rtcp(&compound(SSRC, 28), &mut good_rtcp);
        for bit in 0..8 * good_rtcp.len() {
            let mut forged = good_rtcp.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(opener.open_rtcp(&mut forged), Err(DropReason::SrtpAuth));
        }

        assert!(opener.open_rtp(&mut good.clone(), HEADER).is_ok());
        assert!(opener.open_rtcp(&mut good_rtcp).is_ok());
    }
}

#[test]
fn every_cut_is_refused() {
    for profile in Profile::ALL {
        let (mut sealer, mut opener) = session(profile);
        let good = sealed(&mut sealer, 1_000);
        for len in 0..good.len() {
            assert!(opener.open_rtp(&mut good[..len].to_vec(), HEADER).is_err());
            assert!(opener.open_rtcp(&mut good[..len].to_vec()).is_err());
        }
        for header_len in [
            0,
            11,
            good.len() - profile.tag_bytes() + 1,
            good.len(),
            usize::MAX / 2,
        ] {
            let outcome = opener.open_rtp(&mut good.clone(), header_len);
            assert_eq!(outcome, Err(DropReason::RtpMalformed), "{header_len}");
        }
    }
}

#[test]
fn a_packet_is_opened_once() {
    for profile in Profile::ALL {
        let (mut sealer, mut opener) = session(profile);
        let packets: Vec<Vec<u8>> = (1_000..3_000).map(|at| sealed(&mut sealer, at)).collect();
        for packet in &packets {
            assert!(opener.open_rtp(&mut packet.clone(), HEADER).is_ok());
            let again = opener.open_rtp(&mut packet.clone(), HEADER);
            assert_eq!(again, Err(DropReason::SrtpReplay));
        }
        for packet in &packets {
            let again = opener.open_rtp(&mut packet.clone(), HEADER);
            assert_eq!(again, Err(DropReason::SrtpReplay));
        }

        let mut report = vec![0; 28 + profile.rtcp_overhead()];
        sealer.seal_rtcp(&compound(SSRC, 28), &mut report);
        assert!(opener.open_rtcp(&mut report.clone()).is_ok());
        assert_eq!(opener.open_rtcp(&mut report), Err(DropReason::SrtpReplay));
    }
}

/// S4: the rollover with loss and with packets overtaking each other by up to 64.
#[test]
fn the_rollover_survives_loss_and_reordering() {
    for profile in Profile::ALL {
        for loss_percent in [0, 5, 30] {
            let mut random = Random(0x5eed ^ loss_percent);
            let (mut sealer, mut opener) = session(profile);
            let mut packets: Vec<(u64, Vec<u8>)> = (0xfe00..0x1_0200)
                .map(|index| (index, sealed(&mut sealer, index)))
                .collect();
            for at in 0..packets.len() {
                let with = (at + usize::try_from(random.below(64)).unwrap()).min(packets.len() - 1);
                packets.swap(at, with);
            }
            // The first packet the receiver gets names the rollover; it is before the wrap.
            let mut opened = BTreeSet::new();
            let mut sent = 0;
            for (index, mut packet) in packets {
                if random.below(100) < loss_percent && sent > 0 {
                    continue;
                }
                sent += 1;
                let result = opener.open_rtp(&mut packet, HEADER);
                assert_eq!(result.map(|opened| opened.index), Ok(index));
                opened.insert(index);
            }
            assert_eq!(opened.len(), sent, "every packet that arrived was opened");
        }
    }
}

#[test]
fn a_forgery_half_a_cycle_ahead_moves_no_rollover() {
    for profile in Profile::ALL {
        let (mut sealer, mut opener) = session(profile);
        // Before anything was authenticated, and after.
        for index in [0x7000_u64, 0x7001, 0xf000, 0x1_6fff] {
            for ahead in [0x7ffe, 0x7fff, 0x8000, 0x8001] {
                let mut forged = sealed(&mut sealer, index + ahead);
                *forged.last_mut().unwrap() ^= 1;
                assert!(opener.open_rtp(&mut forged, HEADER).is_err());
            }

            let mut good = sealed(&mut sealer, index);
            let opened = opener.open_rtp(&mut good, HEADER).unwrap();
            assert_eq!(opened.index, index);
        }
    }
}

#[test]
fn unauthenticated_ssrcs_leave_nothing_and_authenticated_ones_are_limited() {
    let (mut sealer, mut opener) = session(Profile::AeadAes128Gcm);
    let mut random = Random(1);
    for _ in 0..10_000 {
        let mut packet = sealed(&mut sealer, 1_000);
        let ssrc = u32::try_from(random.below(1 << 32)).unwrap();
        packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
        assert_eq!(
            opener.open_rtp(&mut packet, HEADER),
            Err(DropReason::SrtpAuth)
        );
    }
    assert_eq!(opener.ssrc_count(), 0);

    let limit = u32::try_from(SSRCS_PER_SESSION_MAX + SSRCS_REMEMBERED_MAX).unwrap();
    for ssrc in 0..=limit {
        let mut packet = packet_with(1_000, 100 + RTP_OVERHEAD_MAX);
        packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
        let len = sealer.seal_rtp(1_000, HEADER, &[7; 100], 0, &mut packet);
        let outcome = opener.open_rtp(&mut packet[..len], HEADER).map(drop);
        let expected = if ssrc < limit {
            Ok(())
        } else {
            Err(DropReason::SsrcLimit)
        };
        assert_eq!(outcome, expected, "SSRC {ssrc}");
    }
    assert_eq!(
        opener.ssrc_count(),
        SSRCS_PER_SESSION_MAX + SSRCS_REMEMBERED_MAX
    );

    // Each lost its window to another until its turn: nothing of it can be replayed, and it goes on, also across a
    // wrap.
    for ssrc in 0..limit {
        for (index, expected) in [
            (999, Err(DropReason::SrtpReplay)),
            (1_000, Err(DropReason::SrtpReplay)),
            (33_000, Ok(())),
            (65_537, Ok(())),
            (33_000, Err(DropReason::SrtpReplay)),
        ] {
            let mut packet = packet_with(index, 100 + RTP_OVERHEAD_MAX);
            packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
            let len = sealer.seal_rtp(index, HEADER, &[7; 100], 0, &mut packet);
            let outcome = opener.open_rtp(&mut packet[..len], HEADER).map(drop);
            assert_eq!(outcome, expected, "SSRC {ssrc}, index {index}");
        }
    }
}

/// An SRTCP packet without the E bit whose tag is right, made from the keys: the sender chose not to
/// encrypt, or a receiver would have to believe that it did.
#[test]
fn unencrypted_rtcp_is_refused() {
    use aws_lc_rs::hmac;
    use dataplane_engine::transport::keys::{Label, derive};

    let keys = keys(Profile::Aes128CmSha1_80, Role::Server);
    let mut auth_key = [0; 20];
    derive(&keys.local, Label::RtcpAuthentication, &mut auth_key);
    let mut packet = compound(SSRC, 28);
    packet.extend(1_u32.to_be_bytes());
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &auth_key);
    let tag = hmac::sign(&key, &packet);
    packet.extend(&tag.as_ref()[..10]);

    let (_, mut opener) = session(Profile::Aes128CmSha1_80);
    assert_eq!(opener.open_rtcp(&mut packet), Err(DropReason::SrtpAuth));
}

#[test]
fn srtcp_stops_at_the_end_of_the_key() {
    for profile in Profile::ALL {
        let mut sealer = Sealer::resuming(&keys(profile, Role::Server), RTCP_INDEX_END - 2);
        let mut opener = Opener::new(&keys(profile, Role::Client));
        let report = compound(SSRC, 28);
        let mut out = vec![0; 28 + profile.rtcp_overhead()];
        for _ in 0..2 {
            assert!(sealer.seal_rtcp(&report, &mut out).is_some());
            assert_eq!(opener.open_rtcp(&mut out), Ok(28));
        }
        out.fill(0);
        assert_eq!(sealer.seal_rtcp(&report, &mut out), None);
        assert_eq!(sealer.seal_rtcp(&report, &mut out), None);
        assert!(out.iter().all(|&byte| byte == 0), "nothing was written");
    }
}

#[test]
fn the_two_directions_do_not_open_each_other() {
    for profile in Profile::ALL {
        let mut sealer = Sealer::new(&keys(profile, Role::Server));
        let mut reflected = Opener::new(&keys(profile, Role::Server));
        let mut packet = sealed(&mut sealer, 1_000);
        let outcome = reflected.open_rtp(&mut packet, HEADER);
        assert_eq!(outcome, Err(DropReason::SrtpAuth));
    }
}

fn session(profile: Profile) -> (Sealer, Opener) {
    let sealer = Sealer::new(&keys(profile, Role::Server));
    let opener = Opener::new(&keys(profile, Role::Client));
    (sealer, opener)
}

fn keys(profile: Profile, role: Role) -> SrtpKeys {
    let len = u8::try_from(profile.keying_material_bytes()).unwrap();
    let material: Vec<u8> = (0..len).map(|at| at.wrapping_mul(37)).collect();
    SrtpKeys::from_keying_material(profile, role, &material).unwrap()
}

/// A sealed packet of [`SSRC`] with 100 bytes of payload.
fn sealed(sealer: &mut Sealer, index: u64) -> Vec<u8> {
    let payload: Vec<u8> = (0..100).collect();
    let mut packet = packet_with(index, payload.len() + RTP_OVERHEAD_MAX);
    let len = sealer.seal_rtp(index, HEADER, &payload, 0, &mut packet);
    packet.truncate(len);
    packet
}

/// A packet of [`SSRC`] with its header and `space` bytes behind it.
fn packet_with(index: u64, space: usize) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend(seq_of(index).to_be_bytes());
    packet.extend(0x1234_5678_u32.to_be_bytes());
    packet.extend(SSRC.to_be_bytes());
    packet.resize(HEADER + space, 0);
    packet
}

/// A receiver report as long as asked, in form if not in meaning.
fn compound(ssrc: u32, len: usize) -> Vec<u8> {
    let words = u16::try_from(len / 4 - 1).unwrap();
    let mut compound = vec![0x80, 201];
    compound.extend(words.to_be_bytes());
    compound.extend(ssrc.to_be_bytes());
    compound.extend((8..=u8::MAX).cycle().take(len - 8));
    compound
}

/// xorshift64*: the same numbers for the same seed, everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % end
    }
}
