//! SRTP and SRTCP: noise, and packets that were sealed with the right key so that what stands behind the
//! tag is reached (security.md S2 to S5, S7).

use codecs::rtcp::Compound;
use codecs::rtp::RtpView;
use codecs::rtp::view::{header_len, strip_padding};
use dataplane_engine::limits::SSRCS_PER_SESSION_MAX;
use dataplane_engine::reason::DropReason;
use dataplane_engine::transport::keys::{
    Profile, RTCP_OVERHEAD_MAX, RTP_OVERHEAD_MAX, Role, SrtpKeys,
};
use dataplane_engine::transport::replay::guess_index;
use dataplane_engine::transport::srtp::{Opener, Sealer};

use super::{OCTETS, rtcp_vectors, rtp_vectors};
use crate::behaviour;
use crate::input::Input;
use crate::runner::Target;
use crate::vectors;

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "srtp_forged",
            run: srtp_forged,
            seeds: || {
                let whole = vectors::octets(&[
                    "dataplane/engine/tests/vectors/srtp/packets_end_to_end.json",
                ]);
                [whole, rtp_vectors(), rtcp_vectors()].concat()
            },
            executions: 8_000,
            ..OCTETS
        },
        Target {
            name: "srtp_sealed",
            run: srtp_sealed,
            seeds: || {
                let vectors = [rtp_vectors(), rtcp_vectors()].concat();
                let mut seeds: Vec<Vec<u8>> = vectors
                    .into_iter()
                    .map(|packet| [vec![0, 0], packet].concat())
                    .collect();
                // A wrap of the sequence number, a repetition, a jump.
                seeds.push(
                    [
                        &[1, 1][..],
                        &[0x80, 96, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 9, 1, 2, 3],
                    ]
                    .concat(),
                );
                seeds
            },
            executions: 8_000,
            ..OCTETS
        },
    ]
}

/// Both ends of a session in one profile.
pub(super) fn session(profile: Profile) -> (Sealer, Opener) {
    let material: Vec<u8> = (0..=255)
        .cycle()
        .take(profile.keying_material_bytes())
        .collect();
    let keys = |role| {
        SrtpKeys::from_keying_material(profile, role, &material)
            .expect("as many octets as it takes")
    };
    (
        Sealer::new(&keys(Role::Client)),
        Opener::new(&keys(Role::Server)),
    )
}

/// A datagram from somebody without the key: refused, and nothing is kept of it.
pub fn srtp_forged(bytes: &[u8]) {
    for profile in Profile::ALL {
        let (_, mut opener) = session(profile);
        let mut packet = bytes.to_vec();
        if let Ok(header) = header_len(bytes) {
            let refused = opener
                .open_rtp(&mut packet, header)
                .expect_err("nobody can guess a tag");
            behaviour::outcome("rtp", &refused);
        }
        let mut packet = bytes.to_vec();
        let refused = opener
            .open_rtcp(&mut packet)
            .expect_err("nobody can guess a tag");
        behaviour::outcome("rtcp", &refused);
        assert!(matches!(
            refused,
            DropReason::SrtpAuth | DropReason::RtcpMalformed | DropReason::RtpMalformed
        ));
        assert_eq!(opener.ssrc_count(), 0, "state before authentication");
    }
}

/// A packet from a peer that holds the key: it opens to what was sealed, once, and its parsers hold. A
/// flipped bit is a broken tag.
pub fn srtp_sealed(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (choice, at) = (input.u8(), input.u8());
    let profile = Profile::ALL[usize::from(choice) % Profile::ALL.len()];
    let (mut sealer, mut opener) = session(profile);
    let plain = input.rest();
    match header_len(plain) {
        Ok(header) if !codecs::rtcp::is_rtcp(plain) => {
            rtp(&mut sealer, &mut opener, plain, header, at)
        }
        _ if plain.len() >= 8 => rtcp(&mut sealer, &mut opener, plain, at),
        _ => behaviour::note("too short", 0),
    }
}

fn rtp(sealer: &mut Sealer, opener: &mut Opener, plain: &[u8], header: usize, at: u8) {
    // A profile that is not offered is refused before the tag is looked at (RFC 9335, contracts.md 13).
    let block = 12 + 4 * usize::from(plain[0] & 0x0f);
    let profile = plain.get(block..block + 2).filter(|_| plain[0] & 0x10 != 0);
    if profile.is_some_and(|profile| profile == [0xc0, 0xde] || profile == [0xc2, 0xde]) {
        let refused = opener.open_rtp(&mut plain.to_vec(), header);
        assert_eq!(
            refused.map(|opened| opened.index),
            Err(DropReason::RtpMalformed)
        );
        return behaviour::note("cryptex", 0);
    }
    let seq = u16::from_be_bytes([plain[2], plain[3]]);
    let index = guess_index(u64::from(seq), seq).expect("its own number");
    let mut sealed = vec![0; plain.len() + RTP_OVERHEAD_MAX];
    sealed[..plain.len()].copy_from_slice(plain);
    let len = sealer.seal_rtp_in_place(index, header, plain.len() - header, &mut sealed);
    sealed.truncate(len);
    assert_eq!(len, plain.len() + sealer.rtp_overhead());

    let mut forged = sealed.clone();
    let place = usize::from(at) * 7 % forged.len();
    forged[place] ^= 1 << (at % 8);
    // A bit of the header may change where the payload begins, and then it is no packet at all.
    if let Ok(moved) = header_len(&forged) {
        let outcome = opener.open_rtp(&mut forged, moved);
        assert!(outcome.is_err(), "octet {place} does not count");
    }
    assert_eq!(opener.ssrc_count(), 0);

    let mut packet = sealed.clone();
    let opened = opener
        .open_rtp(&mut packet, header)
        .expect("what was sealed");
    assert_eq!(
        (opened.index, &packet[..opened.payload.end]),
        (index, plain)
    );
    let again = opener.open_rtp(&mut sealed, header);
    assert_eq!(
        again.map(|opened| opened.index),
        Err(DropReason::SrtpReplay)
    );
    assert_eq!(opener.ssrc_count(), 1);

    let view = RtpView::parse(&packet[..opened.payload.end]).expect("it has a header");
    behaviour::note(
        "padding",
        u64::from(strip_padding(view.payload(), view.has_padding()).is_ok()),
    );
    super::rtp::rtp_header(plain);
    ssrcs(sealer, opener, plain, header);
}

/// More sources than have a window at once, and then the first of them again: nothing it sent can be replayed (S5).
fn ssrcs(sealer: &mut Sealer, opener: &mut Opener, plain: &[u8], header: usize) {
    let first = u32::from_be_bytes([plain[8], plain[9], plain[10], plain[11]]);
    let mut replayed = 0;
    let last = u32::try_from(SSRCS_PER_SESSION_MAX + 4).expect("a small number");
    for step in (1..last).chain([0]) {
        let mut packet = vec![0; plain.len() + RTP_OVERHEAD_MAX];
        packet[..plain.len()].copy_from_slice(plain);
        packet[8..12].copy_from_slice(&first.wrapping_add(step).to_be_bytes());
        let seq = u16::from_be_bytes([plain[2], plain[3]]);
        let len =
            sealer.seal_rtp_in_place(u64::from(seq), header, plain.len() - header, &mut packet);
        match opener.open_rtp(&mut packet[..len], header) {
            Ok(_) => {}
            Err(DropReason::SrtpReplay) if step == 0 => replayed += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(
        (opener.ssrc_count(), replayed),
        (SSRCS_PER_SESSION_MAX + 4, 1)
    );
}

fn rtcp(sealer: &mut Sealer, opener: &mut Opener, plain: &[u8], at: u8) {
    let mut sealed = vec![0; plain.len() + RTCP_OVERHEAD_MAX];
    let len = sealer.seal_rtcp(plain, &mut sealed).expect("a fresh key");
    sealed.truncate(len);

    let mut forged = sealed.clone();
    let place = usize::from(at) * 7 % forged.len();
    forged[place] ^= 1 << (at % 8);
    let outcome = opener.open_rtcp(&mut forged);
    assert!(outcome.is_err(), "octet {place} does not count");

    let mut packet = sealed.clone();
    let len = opener.open_rtcp(&mut packet).expect("what was sealed");
    assert_eq!(&packet[..len], plain);
    assert_eq!(opener.open_rtcp(&mut sealed), Err(DropReason::SrtpReplay));
    behaviour::size("packets", Compound::parse(plain).count());
    super::rtcp::rtcp_compound(plain);
}
