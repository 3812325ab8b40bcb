//! Switch storms: whichever sources fill a slot in whichever order, and whatever the network does to their packets,
//! the viewer gets one stream that counts on.

use std::collections::BTreeMap;

use codecs::payload::PictureId;
use dataplane_api::command::Slot as Spec;
use dataplane_api::ids::SlotId;
use dataplane_api::media::{CodecId, MediaKind, PayloadType};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::slot::{Slot, Verdict};
use crate::limits::FORWARDED_EXTENSION_BYTES_MAX;
use crate::pool::{PacketMeta, Picture, Pool};
use crate::publish::{SenderClock, ntp_of_us};
use crate::table::{Key, Table};
use crate::time::Micros;

const FRAME_US: u64 = 33_000;
const HZ: u32 = 90_000;
const FRAME_TICKS: u32 = HZ / 1_000 * 33;
/// Two layers each of a teacher's camera, the teacher's screen and a pupil's camera.
const LAYERS: usize = 6;

/// One session, whose clock is the same for all it sends.
#[derive(Clone, Copy, Debug)]
struct Publisher {
    key: Key,
    /// NTP time of its clock at our zero.
    epoch: u64,
}

/// One encoding.
#[derive(Debug)]
struct Layer {
    track: Key,
    publisher: Publisher,
    layer: u8,
    delay_us: u64,
    ext_seq: u64,
    timestamp: u32,
    /// What the stream's sender reports say, and when the first one arrives.
    clock: SenderClock,
    reports_at: u64,
    /// How long after its beginning the first report arrives, at most.
    silent_us_max: u64,
    is_short: bool,
    picture: u16,
    tl0: u8,
    key_idx: u8,
    frame: u16,
    temporal: u8,
    wants_key: bool,
}

impl Layer {
    fn new(
        rng: &mut StdRng,
        (track, publisher): (Key, Publisher),
        layer: u8,
        silent_us_max: u64,
    ) -> Layer {
        let mut made = Layer {
            track,
            publisher,
            layer,
            delay_us: rng.random_range(0..100_000),
            ext_seq: 0,
            timestamp: 0,
            clock: SenderClock {
                ntp: 0,
                timestamp: 0,
                arrival: Micros::ZERO,
            },
            reports_at: 0,
            silent_us_max,
            is_short: rng.random_range(0..4) == 0,
            picture: 0,
            tl0: 0,
            key_idx: 0,
            frame: 0,
            temporal: 1,
            wants_key: true,
        };
        made.restart(rng, 0);
        made
    }

    /// The encoder starts over: every number is another one.
    fn restart(&mut self, rng: &mut StdRng, now_us: u64) {
        self.ext_seq = rng.random_range(0..0x8000);
        self.timestamp = rng.random();
        self.clock = SenderClock {
            ntp: self.publisher.epoch + ntp_of_us(now_us),
            timestamp: self.timestamp,
            arrival: Micros(now_us),
        };
        self.reports_at = now_us + rng.random_range(0..=self.silent_us_max);
        self.picture = rng.random();
        self.tl0 = rng.random();
        self.key_idx = rng.random();
        self.frame = rng.random();
        self.wants_key = true;
    }

    /// The two packets of the next frame.
    fn frame(&mut self, now_us: u64) -> [PacketMeta; 2] {
        self.timestamp = self.timestamp.wrapping_add(FRAME_TICKS);
        self.picture = self.picture.wrapping_add(1);
        self.frame = self.frame.wrapping_add(1);
        let key = std::mem::take(&mut self.wants_key);
        self.temporal = if key { 0 } else { 1 - self.temporal };
        self.tl0 = self.tl0.wrapping_add(1 - self.temporal);
        self.key_idx = self.key_idx.wrapping_add(u8::from(key)) & 0x1f;
        let [high, low] = self.picture.to_be_bytes();
        let id = if self.is_short {
            PictureId::Short(low & 0x7f)
        } else {
            PictureId::Long(u16::from_be_bytes([high & 0x7f, low]))
        };
        [true, false].map(|first| {
            self.ext_seq += 1;
            PacketMeta {
                ext_seq: self.ext_seq,
                timestamp: self.timestamp,
                layer: self.layer,
                switch_point: key && first,
                keyframe: key && first,
                captured: (now_us >= self.reports_at)
                    .then(|| self.clock.captured(self.timestamp, HZ)),
                picture: Some(Picture {
                    id: Some(id),
                    tl0_pic_idx: Some(self.tl0),
                    key_idx: Some(self.key_idx),
                    temporal: self.temporal,
                    id_at: 0,
                    tl0_pic_idx_at: 2,
                    key_idx_at: 3,
                }),
                frame_number: Some(self.frame),
                ..PacketMeta::plain()
            }
        })
    }
}

/// A packet at the viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Received {
    /// Which frame of the world.
    world: (usize, u64),
    key: bool,
    temporal: u8,
    timestamp: u32,
    id: PictureId,
    tl0: u8,
    key_idx: u8,
    frame: u16,
}

fn vp8(pt: u8) -> PayloadType {
    PayloadType {
        codec: CodecId::VP8,
        pt,
        rtx_pt: None,
        clock_hz: HZ,
        nack: true,
        pli: true,
        transport_cc: true,
        form: 0,
    }
}

/// What a viewer is shown for a while, and whether the encoder of it starts over before.
#[derive(Clone, Copy, Debug)]
struct Step {
    shown: usize,
    frames: u64,
    restarts: bool,
    loss_percent: u32,
}

/// Runs the steps and returns what the viewer got, by index.
fn run(steps: &[Step], seed: u64, silent_us_max: u64) -> BTreeMap<u64, Received> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut table = Table::default();
    let [teacher, pupil] = [3 << 32, 5_000 << 32].map(|epoch| Publisher {
        key: table.insert(()),
        epoch,
    });
    let tracks = [teacher, teacher, pupil].map(|publisher| (table.insert(()), publisher));
    let mut layers: Vec<_> = (0..LAYERS)
        .map(|n| {
            Layer::new(
                &mut rng,
                tracks[n / 2],
                u8::try_from(n % 2).unwrap(),
                silent_us_max,
            )
        })
        .collect();
    let spec = Spec {
        slot: SlotId(0),
        kind: MediaKind::Video,
        mid: "0".into(),
        ssrc: 1,
        rtx_ssrc: None,
        codecs: vec![vp8(96)],
    };
    let mut slot = Slot::new(spec, [rng.random(), 1], rng.random());
    let mut pool = Pool::new(1);
    let mut received = BTreeMap::new();
    let mut under_way: BTreeMap<(u64, u64), (usize, u64, PacketMeta)> = BTreeMap::new();
    let (mut now_us, mut number) = (0, 0);
    for step in steps {
        let shown = &mut layers[step.shown];
        if slot.source() != Some(shown.track) {
            slot.fill(shown.track, shown.publisher.key);
        }
        let (track, wished) = (shown.track, shown.layer);
        shown.wants_key = true;
        if step.restarts {
            slot.restart(shown.layer);
            shown.restart(&mut rng, now_us);
            // Its old packets come under another SSRC.
            under_way.retain(|_, (n, ..)| *n != step.shown);
        }
        for _ in 0..step.frames {
            now_us += FRAME_US;
            number += 1;
            for (n, layer) in layers.iter_mut().enumerate() {
                layer.wants_key |= rng.random_range(0..20) == 0;
                for meta in layer.frame(now_us) {
                    if rng.random_range(0..100) < step.loss_percent {
                        continue;
                    }
                    let arrival = now_us + layer.delay_us + rng.random_range(0..60_000);
                    let meta = PacketMeta {
                        arrival: Micros(arrival),
                        ..meta
                    };
                    under_way.insert((arrival, meta.ext_seq), (n, number, meta));
                }
            }
            while let Some(entry) = under_way.first_entry() {
                if entry.key().0 > now_us {
                    break;
                }
                let (n, number, meta) = entry.remove();
                if layers[n].track != track {
                    continue;
                }
                let handle = pool.insert(meta, &[], &[]).unwrap();
                if let Verdict::Forward(pending) = slot.take(handle, &meta, &vp8(96), wished, 0) {
                    let picture = meta.picture.unwrap();
                    let mut payload = [0; 4];
                    pending.patch.apply(&picture, &mut payload);
                    let [head, low, tl0, key_idx] = payload;
                    let [high, low_frame] = meta.frame_number.unwrap().to_be_bytes();
                    let mut out = [0; FORWARDED_EXTENSION_BYTES_MAX];
                    let descriptor = [0, high, low_frame];
                    let descriptor = pending.patch.descriptor(&descriptor, &mut out);
                    let got = Received {
                        world: (n, number),
                        key: meta.switch_point,
                        temporal: picture.temporal,
                        timestamp: pending.timestamp,
                        id: match picture.id.unwrap() {
                            PictureId::Short(_) => PictureId::Short(head),
                            PictureId::Long(_) => {
                                PictureId::Long(u16::from_be_bytes([head & 0x7f, low]))
                            }
                        },
                        tl0,
                        key_idx,
                        frame: u16::from_be_bytes([descriptor[1], descriptor[2]]),
                    };
                    assert_eq!(
                        received.insert(pending.index, got),
                        None,
                        "one index, twice"
                    );
                }
            }
        }
    }
    received
}

/// How far `to` is ahead of `from`, as a receiver of `bits` bits sees it; negative when it is behind.
fn ahead(from: u32, to: u32, bits: u32) -> i64 {
    let shift = u32::BITS - bits;
    (i64::from(to.wrapping_sub(from) << shift) << 32 >> 32) >> shift
}

fn assert_counts_on(received: &BTreeMap<u64, Received>) -> Result<(), TestCaseError> {
    let in_order: Vec<_> = received.values().collect();
    for pair in in_order.windows(2) {
        let (before, next) = (pair[0], pair[1]);
        let bits = before.id.bits().min(next.id.bits());
        let id = ahead(before.id.value().into(), next.id.value().into(), bits);
        let tl0 = ahead(before.tl0.into(), next.tl0.into(), 8);
        let key_idx = ahead(before.key_idx.into(), next.key_idx.into(), 5);
        let frame = ahead(before.frame.into(), next.frame.into(), 16);
        let timestamp = ahead(before.timestamp, next.timestamp, 32);
        let steps = (id, tl0, key_idx, frame, timestamp);
        if before.world == next.world {
            prop_assert_eq!(steps, (0, 0, 0, 0, 0), "{:?} {:?}", before, next);
            continue;
        }
        prop_assert!(id > 0 && frame > 0, "{before:?} {next:?}");
        prop_assert!(timestamp > 0, "{before:?} {next:?}");
        prop_assert!(tl0 >= i64::from(next.temporal == 0), "{before:?} {next:?}");
        prop_assert!(key_idx >= i64::from(next.key), "{before:?} {next:?}");
    }
    Ok(())
}

fn steps(sources: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (0..sources, 1..25u64, 0..6u8, 0..30u32);
    let step = step.prop_map(|(shown, frames, restarts, loss_percent)| Step {
        shown,
        frames,
        restarts: restarts == 0,
        loss_percent,
    });
    prop::collection::vec(step, 1..12)
}

proptest! {
    /// In the order of sequence numbers every number goes forward and none stands for two pictures.
    #[test]
    fn whatever_is_shown_and_lost_the_viewers_stream_counts_on(
        steps in steps(LAYERS),
        seed in any::<u64>(),
    ) {
        let received = run(&steps, seed, 3_000_000);
        assert_counts_on(&received)?;
    }

    /// Of one publisher whose clock is known, everything is shown as far apart as it was captured, whatever it
    /// comes by: what begins late, because something later was shown already, catches up by 5 ms a frame.
    #[test]
    fn lips_and_speech_stay_together(
        mut steps in steps(4),
        seed in any::<u64>(),
    ) {
        for step in &mut steps {
            step.restarts = false;
        }
        let shown = steps.last().unwrap().shown;
        // Packets are up to 160 ms under way, which 32 frames make up for.
        steps.push(Step { shown, frames: 160, restarts: false, loss_percent: 0 });
        let received = run(&steps, seed, 0);
        let first = received.values().next().unwrap();
        let late = |received: &Received| {
            let captured = received.world.1.cast_signed().wrapping_sub(first.world.1.cast_signed()) * i64::from(FRAME_TICKS);
            ahead(first.timestamp, received.timestamp, 32) - captured
        };
        for received in received.values() {
            prop_assert!((0..=200 * i64::from(HZ) / 1_000).contains(&late(received)), "{received:?}");
        }
        prop_assert_eq!(late(received.values().last().unwrap()), 0);
    }
}

#[test]
fn a_quiet_hour_of_switches_reaches_the_viewer() {
    let steps: Vec<_> = (0..60)
        .map(|n| Step {
            shown: n % LAYERS,
            frames: 20,
            restarts: false,
            loss_percent: 0,
        })
        .collect();
    let received = run(&steps, 1, 3_000_000);
    assert!(received.len() > 1_500, "{} of 2,400", received.len());
    let shown: std::collections::BTreeSet<_> = received.values().map(|r| r.world.0).collect();
    assert_eq!(shown.len(), LAYERS, "every source had its turn");
}
