//! What the hostile pair does, octet by octet.

use codecs::rtcp::pli_fir::{write_fir, write_pli};
use codecs::rtcp::sdes_bye::write_bye;
use codecs::rtcp::sr_rr::{write_rr, write_sr};
use codecs::rtcp::{FirEntry, ReportBlock, SenderInfo, nack, remb, twcc};
use codecs::rtp::{Header, HeaderWriter, Seq};
use dataplane_api::Command;
use dataplane_api::command::{
    Close, Inspect, RestartIce, SessionPolicy, SetPolicy, Setup, Unpublish, Unsubscribe,
};
use dataplane_api::ids::{ShardIndex, SlotId};
use dataplane_engine::transport::handshake::HandshakeOutput;

use super::super::codec;
use super::class::{Class, path};
use super::orders::{
    self, AUDIO_OUT, AUDIO_PT, CODECS, HOSTILE_AUDIO, HOSTILE_SCREEN, HOSTILE_VIDEO, MID, PEER_PWD,
    REPAIRED_RID, RID, RTX_OUT, RTX_PT, TRANSPORT_CC, VIDEO_OUT, VIDEO_PT, Who,
};
use crate::behaviour;
use crate::input::Input;

pub(super) const RTP: u8 = 0;
pub(super) const RAW_RTCP: u8 = 1;
pub(super) const NACK: u8 = 2;
pub(super) const HONEST: u8 = 3;
pub(super) const FLUSH: u8 = 4;
pub(super) const TICK: u8 = 5;
pub(super) const REPLAY: u8 = 6;
const FEEDBACK: u8 = 7;
const RAW_RTP: u8 = 8;
const NOISE: u8 = 9;
const CHECK: u8 = 10;
const ORDER: u8 = 11;
const FAIL: u8 = 12;
pub(super) const RTX: u8 = 13;
const END: u8 = 14;
pub(super) const BURST: u8 = 15;
const RAW_MEDIA: u8 = 16;
const ACTIONS: u8 = 17;

/// Most datagrams kept for a replay.
const SENT_MAX: usize = 64;

/// Streams that a hostile peer sends: payload type, SSRC, mid, rid.
const STREAMS: [(u8, u32, &str, &str); 9] = [
    (VIDEO_PT, 0x61, "v", "q"),
    (VIDEO_PT, 0x62, "v", "h"),
    (VIDEO_PT, 0x63, "v", "f"),
    (AUDIO_PT, 0x71, "a", ""),
    (VIDEO_PT, 0x51, "s", ""),
    (RTX_PT, 0x64, "v", "q"),
    (RTX_PT, 0x52, "s", ""),
    // Of somebody else: the honest publisher's own SSRC, and what viewers are sent on.
    (VIDEO_PT, 0x1b0, "v", ""),
    (VIDEO_PT, VIDEO_OUT, "nobody", "x"),
];

/// SSRCs that feedback is about: one's own slots, those of others, and none.
const ABOUT: [u32; 8] = [
    VIDEO_OUT,
    RTX_OUT,
    AUDIO_OUT,
    0xb2,
    0x1b0,
    0x1a0,
    0,
    0xffff_ffff,
];

/// One action.
pub(super) fn act(class: &mut Class, input: &mut Input<'_>) {
    let action = input.u8() % ACTIONS;
    behaviour::note("action", u64::from(action));
    match action {
        RTP => {
            let stream = stream(input);
            let (template, patch) = (input.u8(), input.u8());
            media(class, stream, &payload(template, patch));
        }
        RAW_MEDIA => {
            let stream = stream(input);
            media(class, stream, input.short());
        }
        BURST => burst(class, input),
        RTX => retransmission(class, input),
        RAW_RTP => {
            let who = hostile(input);
            let plain = input.short();
            send_rtp(class, who, plain);
        }
        RAW_RTCP => {
            let who = hostile(input);
            let plain = input.short();
            send_rtcp(class, who, plain);
        }
        NACK => {
            let who = hostile(input);
            let (media_ssrc, back, mask) = (input.pick(&ABOUT), input.u8(), input.u8());
            let seqs = asked(class, who, media_ssrc, back, mask);
            let mut out = [0; 256];
            if let Ok(written) = nack::write(&mut out, 1, media_ssrc, &seqs) {
                send_rtcp(class, who, &out[..written.len]);
            }
        }
        FEEDBACK => feedback(class, input),
        HONEST => class.honest_frame(),
        FLUSH => class.flush(),
        TICK => {
            let ms = input.u8();
            // Up to 250 ms in steps of one, then up to 36 s: past every deadline there is.
            let us = if ms <= 250 {
                u64::from(ms) * 1_000
            } else {
                u64::from(ms - 250) * 7_200_000
            };
            class.advance(us);
        }
        REPLAY => {
            let at = input.u8();
            if !class.sent.is_empty() {
                let (peer, bytes) = class.sent[usize::from(at) % class.sent.len()].clone();
                let path = class.peers[peer].path;
                class.receive(path, &bytes);
            }
        }
        NOISE => {
            // From a path of one's own, or from nowhere.
            let from = path(u16::from(input.u8() % 12) & !0x2);
            let bytes = input.short();
            class.receive(from, bytes);
        }
        CHECK => {
            let who = hostile(input);
            let (place, nominated) = (input.u8(), input.u8());
            // Places 2 and 3 are the honest pair's, and not to be taken.
            let from = path(u16::from(place % 16));
            class.check(who, from, nominated & 1 == 1);
            if nominated & 1 == 1 && place % 16 > 3 {
                class.peer(who).path = from;
            }
        }
        ORDER => order(class, input),
        FAIL => {
            let packets = input.u8();
            class.flush();
            class.fail_last_run(packets);
        }
        END => {
            let who = hostile(input);
            // Once in a while only: a story without its villain is short.
            if input.u8() == 0x5c {
                let session = who.session();
                class
                    .shard
                    .on_handshake(class.now, HandshakeOutput::PeerClosed { session });
            }
        }
        _ => {}
    }
}

fn hostile(input: &mut Input<'_>) -> Who {
    input.pick(&[Who::HostilePublisher, Who::HostileViewer])
}

/// What is said of one packet.
#[derive(Clone, Copy, Debug)]
struct Stream {
    who: Who,
    which: u8,
    forward: u8,
    step: u8,
    flags: u8,
    lie: u8,
}

fn stream(input: &mut Input<'_>) -> Stream {
    Stream {
        who: hostile(input),
        which: input.u8(),
        forward: input.u8(),
        step: input.u8(),
        flags: input.u8(),
        lie: input.u8(),
    }
}

/// A payload as an encoder sends it, with one octet changed unless `patch` is 0.
fn payload(template: u8, patch: u8) -> Vec<u8> {
    let well = codec::well();
    let mut payload = well[usize::from(template) % well.len()].to_vec();
    let at = usize::from(patch) % payload.len();
    payload[at] ^= patch;
    payload
}

/// A keyframe and what follows it, of which some get lost on the way to the node.
fn burst(class: &mut Class, input: &mut Input<'_>) {
    let (which, template, lost, ms) = (input.u8(), input.u8(), input.u8(), input.u8());
    for n in 0..8_u8 {
        let template = if n == 0 {
            template
        } else {
            template.wrapping_add(n % 2)
        };
        let (who, flags) = (Who::HostilePublisher, 0x01 | n << 7);
        let forward = u8::from(lost >> n & 1 == 1);
        let one = Stream {
            who,
            which,
            forward,
            step: n,
            flags,
            lie: n,
        };
        media(class, one, &payload(template, 0));
        class.advance(u64::from(ms % 64) * 1_000 + 1);
    }
}

/// A packet of one of the streams, with extensions that may lie.
fn media(class: &mut Class, stream: Stream, payload: &[u8]) {
    let Stream {
        who,
        which,
        forward,
        step,
        flags,
        lie,
    } = stream;
    let (pt, ssrc, mid, rid) = STREAMS[usize::from(which) % STREAMS.len()];
    let seq = sequence(class, who, ssrc, forward, step);
    let mut plain = vec![0; 1_700];
    let header = Header {
        marker: flags & 0x80 != 0,
        padding: flags & 0x40 != 0,
        payload_type: pt,
        seq: Seq(seq),
        timestamp: u32::from(step) * 3_000 + (u32::from(lie & 0x80) << 24),
        ssrc,
    };
    let write = |plain: &mut Vec<u8>| -> Option<usize> {
        let mut writer = HeaderWriter::new(plain, &header).ok()?;
        writer.push(MID, mid.as_bytes()).ok()?;
        if !rid.is_empty() {
            let id = if pt == RTX_PT { REPAIRED_RID } else { RID };
            writer.push(id, rid.as_bytes()).ok()?;
        }
        if flags & 0x01 != 0 {
            writer.push(TRANSPORT_CC, &[lie, step]).ok()?;
        }
        // The descriptor and the others hold what the payload begins with: it may be anything.
        for (bit, id, len) in [
            (0x02, 12, 40),
            (0x04, 1, 1),
            (0x08, 13, 1),
            (0x10, 8, 8),
            (0x20, 7, 3),
        ] {
            if flags & bit != 0 {
                let len = if lie & bit != 0 { len / 2 } else { len };
                writer.push(id, &payload[..len.min(payload.len())]).ok()?;
            }
        }
        writer.finish().ok()
    };
    let Some(len) = write(&mut plain) else {
        return;
    };
    plain.truncate(len);
    plain.extend(payload);
    if lie & 0x40 != 0 {
        plain.resize(plain.len() + 700, lie);
    }
    send_rtp(class, who, &plain);
}

/// A retransmission of a packet that was, or was not, lost (RFC 4588 section 4).
fn retransmission(class: &mut Class, input: &mut Input<'_>) {
    let (stream, back) = (input.u8(), input.u16());
    let (ssrc, of, mid, rid) = if stream & 1 == 0 {
        (0x64, 0x61, "v", "q")
    } else {
        (0x52, 0x51, "s", "")
    };
    let payload = input.short();
    let who = Who::HostilePublisher;
    let seq = sequence(class, who, ssrc, 0, 1);
    let mut plain = vec![0; 600];
    let header = Header {
        marker: false,
        padding: false,
        payload_type: RTX_PT,
        seq: Seq(seq),
        timestamp: 3_000,
        ssrc,
    };
    let write = |plain: &mut Vec<u8>| -> Option<usize> {
        let mut writer = HeaderWriter::new(plain, &header).ok()?;
        writer.push(MID, mid.as_bytes()).ok()?;
        if !rid.is_empty() {
            writer.push(REPAIRED_RID, rid.as_bytes()).ok()?;
        }
        writer.finish().ok()
    };
    let Some(len) = write(&mut plain) else {
        return;
    };
    plain.truncate(len);
    // Of one of the last packets, or of any number at all.
    let original = if back < 0x100 {
        class.peer(who).last_sent(of).wrapping_sub(back)
    } else {
        back
    };
    plain.extend(original.to_be_bytes());
    plain.extend(payload);
    send_rtp(class, who, &plain);
}

/// Reports and wishes with numbers that may lie.
fn feedback(class: &mut Class, input: &mut Input<'_>) {
    let who = hostile(input);
    let kind = input.u8();
    let about = input.pick(&ABOUT);
    let mut out = [0; 1_300];
    let len = match kind % 8 {
        0 => write_pli(&mut out, 1, about).ok(),
        1 => {
            let entry = FirEntry {
                ssrc: about,
                seq_nr: input.u8(),
            };
            write_fir(&mut out, 1, entry).ok()
        }
        2 => {
            let block = ReportBlock {
                ssrc: about,
                fraction_lost: input.u8(),
                cumulative_lost: i32::from(input.u16()),
                highest_seq: input.u32(),
                jitter: input.u32(),
                last_sr: input.u32(),
                delay_since_last_sr: input.u32(),
            };
            write_rr(&mut out, 1, &[block; 3]).ok()
        }
        3 => {
            let info = SenderInfo {
                ssrc: input.pick(&STREAMS).1,
                ntp: input.u64(),
                rtp_timestamp: input.u32(),
                packet_count: input.u32(),
                octet_count: input.u32(),
            };
            write_sr(&mut out, &info, &[]).ok()
        }
        4 => write_bye(&mut out, &[about, input.pick(&STREAMS).1]).ok(),
        5 => remb::write(&mut out, 1, input.u64(), &[about]).ok(),
        6 => {
            let arrivals: Vec<Option<u64>> = input
                .short()
                .iter()
                .scan(1_000_000_u64, |at, &step| {
                    *at += u64::from(step) * 250;
                    Some((step % 3 > 0).then_some(*at))
                })
                .collect();
            let told = twcc::Feedback {
                sender_ssrc: 1,
                media_ssrc: about,
                base_seq: Seq(u16::from(kind)),
                arrivals_us: &arrivals,
                feedback_count: kind,
            };
            twcc::write(&mut out, &told).ok().map(|written| written.len)
        }
        _ => {
            // A storm of the same wish in one compound.
            let mut end = 0;
            for _ in 0..60 {
                end += write_pli(&mut out[end..], 1, about).unwrap_or(0);
            }
            Some(end)
        }
    };
    if let Some(len) = len {
        send_rtcp(class, who, &out[..len]);
    }
}

/// How a peer may answer: the last is no answer.
const SETUPS: [Setup; 3] = [Setup::Active, Setup::Passive, Setup::ActPass];

/// Orders about the hostile room.
fn order(class: &mut Class, input: &mut Input<'_>) {
    let who = hostile(input);
    let session = who.session();
    let track = input.pick(&[HOSTILE_VIDEO, HOSTILE_SCREEN, HOSTILE_AUDIO]);
    let slot = u16::from(input.u8() % 4);
    let codec = input.pick(&CODECS);
    let command = match input.u8() % 10 {
        0 | 1 => orders::subscribe(who, slot, track),
        2 => Command::Unsubscribe(Unsubscribe {
            session,
            slot: SlotId(slot),
        }),
        3 => Command::Unpublish(Unpublish { track }),
        4 | 5 => {
            for publication in orders::publications(codec, slot == 0).into_iter().take(3) {
                class.order(publication);
            }
            return;
        }
        6 => Command::SetPolicy(SetPolicy {
            session,
            policy: SessionPolicy {
                egress_bps_max: Some(u64::from(input.u32())),
                ingress_bps_max: Some(u64::from(input.u32())),
            },
        }),
        7 => Command::RestartIce(RestartIce {
            session,
            ufrag: "peer".into(),
            pwd: PEER_PWD.into(),
            tag: (slot == 3).then(|| vec![4; 4]),
        }),
        8 => Command::Inspect(match slot {
            0 => Inspect::Shard(ShardIndex(0)),
            1 => Inspect::Room(dataplane_api::ids::RoomId(1)),
            _ => Inspect::Session(session),
        }),
        _ if slot == 3 => Command::Close(Close { session }),
        // Of a session that was offered the answer, of another what was said before or something else.
        _ if slot == 2 => orders::accept(who, input.pick(&SETUPS)),
        _ if slot == 1 => orders::offer(who, codec),
        _ => orders::admit(who, codec),
    };
    class.order(command);
}

/// The number after the last of this stream, one a few steps on or back, or one half a cycle away.
fn sequence(class: &mut Class, who: Who, ssrc: u32, forward: u8, step: u8) -> u16 {
    let last = class.peer(who).last_sent(ssrc);
    match forward {
        0..=0x7f => last.wrapping_add(1 + u16::from(forward) % 8),
        0x80..=0xbf => last.wrapping_sub(u16::from(step)),
        0xc0..=0xdf => last.wrapping_add(u16::from(step) * 256),
        _ => last.wrapping_add(0x8000),
    }
}

/// Numbers around the last that came on a stream.
fn asked(class: &mut Class, who: Who, ssrc: u32, back: u8, mask: u8) -> Vec<Seq> {
    let last = class.peer(who).last_received(ssrc);
    let first = last.wrapping_sub(u16::from(back));
    (0..8)
        .filter(|bit| mask >> bit & 1 == 1)
        .map(|bit| Seq(first.wrapping_add(bit)))
        .collect()
}

fn send_rtp(class: &mut Class, who: Who, plain: &[u8]) {
    if let Some(sealed) = class.peer(who).seal_rtp(plain) {
        send(class, who, sealed);
    }
}

fn send_rtcp(class: &mut Class, who: Who, plain: &[u8]) {
    if let Some(sealed) = class.peer(who).seal_rtcp(plain) {
        send(class, who, sealed);
    }
}

fn send(class: &mut Class, who: Who, sealed: Vec<u8>) {
    let path = class.peer(who).path;
    class.receive(path, &sealed);
    let peer = Who::ALL
        .iter()
        .position(|&other| other == who)
        .expect("one of all");
    if class.sent.len() >= SENT_MAX {
        class.sent.remove(0);
    }
    class.sent.push((peer, sealed));
}
