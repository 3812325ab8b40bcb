//! Switches in virtual time: two encodings of one camera, and a second publisher.

use super::*;
use crate::table::Table;

const HZ: u32 = 90_000;
/// A frame at 30 a second.
const FRAME: u32 = 3_000;
const SLIDE_MAX: i64 = 450;

/// Two publishers.
fn publishers() -> (Key, Key) {
    let mut table = Table::default();
    (table.insert(()), table.insert(()))
}

/// A stream whose clock said that timestamp `start` was captured at `second` of its publisher.
#[derive(Clone, Copy)]
struct Stream {
    clock: SenderClock,
}

impl Stream {
    fn new(start: u32) -> Stream {
        let clock = SenderClock {
            ntp: 1_000 << 32,
            timestamp: start,
            arrival: Micros(0),
        };
        Stream { clock }
    }

    /// The frame captured `ms` after the report, which arrived `late_ms` later.
    fn frame(self, ms: u32, late_ms: u32) -> Instant {
        let timestamp = self.clock.timestamp.wrapping_add(ms * (HZ / 1_000));
        Instant {
            timestamp,
            arrival: Micros(u64::from(ms + late_ms) * 1_000),
            captured: Some(self.clock.captured(timestamp, HZ)),
        }
    }

    /// The same, before its report arrived.
    fn silent_frame(self, ms: u32, late_ms: u32) -> Instant {
        Instant {
            captured: None,
            ..self.frame(ms, late_ms)
        }
    }
}

fn begin(timeline: &mut Timeline, frame: Instant, publisher: Key) -> u32 {
    timeline.switch(frame, publisher, HZ);
    timeline.place(frame, publisher, true).unwrap()
}

#[test]
fn layers_of_one_publisher_are_aligned_by_capture_whatever_their_delay() {
    let (teacher, _) = publishers();
    let (low, high) = (Stream::new(50), Stream::new(4_000_000_000));
    let mut timeline = Timeline::new(MediaKind::Video, 7);
    let first = begin(&mut timeline, low.frame(0, 20), teacher);
    let last = timeline.place(low.frame(100, 20), teacher, true).unwrap();
    assert_eq!(last - first, 9_000);
    // The encoder of the high layer takes 80 ms longer: by arrival it would stand 80 ms later.
    let switched = begin(&mut timeline, high.frame(133, 100), teacher);
    assert_eq!(switched - first, 133 * 90);
    let next = timeline.place(high.frame(166, 100), teacher, true).unwrap();
    assert_eq!(next - first, 166 * 90);
    // And so is what is reported: audio and video stay together.
    let (ntp, timestamp) = timeline.report(Micros(500_000), Some(high.clock)).unwrap();
    assert_eq!(ntp, (1_000 << 32) + (1 << 31));
    assert_eq!(timestamp - first, 45_000);
}

#[test]
fn a_layer_that_lags_begins_behind_what_was_sent_and_slides_back() {
    let (teacher, _) = publishers();
    let (low, high) = (Stream::new(50), Stream::new(1_000_000));
    let mut timeline = Timeline::new(MediaKind::Video, 7);
    let first = begin(&mut timeline, low.frame(0, 0), teacher);
    timeline.place(low.frame(99, 0), teacher, true).unwrap();
    let mut before = begin(&mut timeline, high.frame(66, 50), teacher);
    assert_eq!(before - first, 99 * 90 + 1, "time never runs backwards");
    for n in 1..=10 {
        let ms = 66 + 33 * n;
        let sent = timeline.place(high.frame(ms, 50), teacher, true).unwrap();
        let step = i64::from(sent - before) - 33 * 90;
        assert!((-SLIDE_MAX..=0).contains(&step), "{step} at frame {n}");
        before = sent;
    }
    assert_eq!(before - first, (66 + 330) * 90);
}

#[test]
fn a_layer_without_a_report_stands_by_arrival_and_slides_when_it_comes() {
    let (teacher, _) = publishers();
    let (low, high) = (Stream::new(50), Stream::new(1_000_000));
    let mut timeline = Timeline::new(MediaKind::Video, 7);
    let first = begin(&mut timeline, low.frame(0, 0), teacher);
    let mut before = begin(&mut timeline, high.silent_frame(33, 40), teacher);
    assert_eq!(before - first, 73 * 90);
    assert_eq!(timeline.report(Micros(100_000), None), None);
    for us in [100_000, 9_000_000] {
        assert_eq!(
            timeline.report(Micros(us), Some(high.clock)),
            None,
            "no frame has said yet how the two go together"
        );
    }
    for n in 1..=20 {
        let ms = 33 + 33 * n;
        let frame = if n < 5 {
            high.silent_frame(ms, 40)
        } else {
            high.frame(ms, 40)
        };
        let sent = timeline.place(frame, teacher, true).unwrap();
        let step = i64::from(sent - before) - 33 * 90;
        assert!((-SLIDE_MAX..=0).contains(&step), "{step} at frame {n}");
        assert_eq!(step < 0, (5..13).contains(&n), "40 ms are eight frames");
        before = sent;
        if n >= 5 {
            let report = timeline.report(Micros(0), Some(high.clock)).unwrap();
            assert_eq!(
                report,
                (1_000 << 32, first),
                "one line, while it slides too"
            );
        }
    }
    assert_eq!(before - first, (33 + 660) * 90);
}

#[test]
fn a_late_packet_gets_the_timestamp_of_its_frame_or_its_share() {
    let (teacher, _) = publishers();
    let (low, high) = (Stream::new(50), Stream::new(1_000_000));
    let mut timeline = Timeline::new(MediaKind::Video, 7);
    begin(&mut timeline, low.frame(0, 0), teacher);
    timeline.place(low.frame(99, 0), teacher, true).unwrap();
    let frame = |n: u32| high.frame(66 + 33 * n, 50);
    let mut sent = vec![begin(&mut timeline, frame(0), teacher)];
    // Every other frame is lost on the way here, and repaired later.
    for n in (2..=8).step_by(2) {
        sent.push(timeline.place(frame(n), teacher, true).unwrap());
    }
    for n in 0..=8 {
        let late = timeline.place(frame(n), teacher, false).unwrap();
        let at = usize::try_from(n / 2).unwrap();
        if n % 2 == 0 {
            assert_eq!(late, sent[at], "frame {n}");
        } else {
            assert!(sent[at] < late && late < sent[at + 1], "frame {n}");
        }
    }
}

#[test]
fn frames_close_together_keep_their_order_while_the_offset_slides() {
    let (teacher, _) = publishers();
    let (low, high) = (Stream::new(50), Stream::new(1_000_000));
    let mut timeline = Timeline::new(MediaKind::Video, 7);
    begin(&mut timeline, low.frame(60, 0), teacher);
    // 250 frames a second, of which every other is repaired later at first: 4 ms are not shortened by 5.
    let frame = |n: u32| high.frame(4 * n, 70);
    begin(&mut timeline, frame(0), teacher);
    for n in (2..=14).step_by(2).chain(15..=22) {
        timeline.place(frame(n), teacher, true).unwrap();
    }
    let sent: Vec<_> = (0..=22)
        .map(|n| timeline.place(frame(n), teacher, false).unwrap())
        .collect();
    assert!(sent.is_sorted_by(|before, next| before < next), "{sent:?}");
}

#[test]
fn a_slide_is_forgotten_before_timestamps_come_round_or_start_over() {
    let (teacher, _) = publishers();
    let (low, high) = (Stream::new(50), Stream::new(1_000_000));
    for jumps_ms in [5_000_000..45_000_000, 0..1] {
        let mut timeline = Timeline::new(MediaKind::Video, 7);
        begin(&mut timeline, low.frame(20_000, 0), teacher);
        begin(&mut timeline, high.frame(19_950, 100), teacher);
        for n in 1..=20 {
            timeline.place(high.frame(19_950 + 33 * n, 100), teacher, true);
        }
        let offset = timeline.source.unwrap().offset;
        for ms in jumps_ms.step_by(5_000_000) {
            let frame = high.silent_frame(ms, 0);
            for is_newest in [true, false] {
                let sent = timeline.place(frame, teacher, is_newest);
                assert_eq!(sent, Some(frame.timestamp.wrapping_add(offset)));
            }
        }
    }
}

#[test]
fn a_packet_too_late_for_a_timestamp_has_no_place() {
    let (teacher, _) = publishers();
    let (low, high) = (Stream::new(50), Stream::new(1_000_000));
    let mut timeline = Timeline::new(MediaKind::Video, 7);
    begin(&mut timeline, low.frame(0, 0), teacher);
    timeline.place(low.frame(990, 0), teacher, true).unwrap();
    begin(&mut timeline, high.frame(66, 950), teacher);
    for n in 1..=40 {
        timeline.place(high.frame(66 + 33 * n, 950), teacher, true);
    }
    assert_eq!(timeline.place(high.frame(99, 950), teacher, false), None);
    assert!(
        timeline
            .place(high.frame(66 + 33 * 39, 950), teacher, false)
            .is_some()
    );
}

#[test]
fn two_publishers_clocks_never_mix() {
    let (teacher, pupil) = publishers();
    let teachers = Stream::new(50);
    let mut pupils = Stream::new(90);
    pupils.clock.ntp = 77 << 32;
    let mut timeline = Timeline::new(MediaKind::Video, 7);
    let first = begin(&mut timeline, teachers.frame(0, 0), teacher);
    assert!(timeline.report(Micros(0), Some(teachers.clock)).is_some());
    let switched = begin(&mut timeline, pupils.silent_frame(40, 0), pupil);
    assert_eq!(switched - first, 3_600, "by arrival");
    for ms in [40, 1_000, 3_000, 60_000] {
        let now = Micros(ms * 1_000);
        assert_eq!(timeline.report(now, None), None, "the teacher's is not his");
    }
    let said = timeline.place(pupils.frame(73, 0), pupil, true).unwrap();
    assert_eq!(said - first, 73 * 90, "a first clock moves nothing");
    let (ntp, timestamp) = timeline.report(Micros(73_000), Some(pupils.clock)).unwrap();
    assert_eq!(
        ntp,
        pupils.clock.captured(pupils.frame(73, 0).timestamp, HZ)
    );
    assert_eq!(timestamp, said);
}

#[test]
fn a_layer_that_never_reports_is_where_its_arrival_put_it_after_two_seconds() {
    let (teacher, _) = publishers();
    let (low, high) = (Stream::new(50), Stream::new(1_000_000));
    let mut timeline = Timeline::new(MediaKind::Video, 7);
    let first = begin(&mut timeline, low.frame(0, 0), teacher);
    begin(&mut timeline, high.silent_frame(40, 0), teacher);
    assert_eq!(timeline.report(Micros(2_039_999), None), None);
    let (ntp, timestamp) = timeline.report(Micros(2_500_000), None).unwrap();
    assert_eq!(ntp, (1_002 << 32) + (1 << 31));
    assert_eq!(timestamp - first, 225_000);
}

#[test]
fn a_clock_that_contradicts_arrival_is_not_believed() {
    let (teacher, _) = publishers();
    let low = Stream::new(50);
    let mut high = Stream::new(1_000_000);
    high.clock.ntp += 3 << 32;
    let mut timeline = Timeline::new(MediaKind::Video, 7);
    let first = begin(&mut timeline, low.frame(0, 0), teacher);
    let switched = begin(&mut timeline, high.frame(40, 0), teacher);
    assert_eq!(switched - first, 3_600);
    let (ntp, timestamp) = timeline.report(Micros(40_000), Some(high.clock)).unwrap();
    assert_eq!(timestamp, switched);
    assert_eq!(
        ntp,
        high.frame(40, 0).captured.unwrap(),
        "what it says next is"
    );
    let low_again = begin(&mut timeline, low.silent_frame(80, 0), teacher);
    timeline.place(low.frame(120, 0), teacher, true).unwrap();
    assert_eq!(low_again - switched, 3_600);
    let next = timeline.place(low.frame(160, 0), teacher, true).unwrap();
    assert_eq!(next - switched, 120 * 90, "no slide of three seconds");
}

#[test]
fn a_drifting_clock_is_followed() {
    let (teacher, _) = publishers();
    let mut low = Stream::new(50);
    let mut timeline = Timeline::new(MediaKind::Video, 7);
    let first = begin(&mut timeline, low.frame(0, 0), teacher);
    // An hour later the RTP clock of the encoder is 180 ms behind its wallclock.
    low.clock.ntp = ((1_000 + 3_600) << 32) + (180 << 32) / 1_000;
    low.clock.timestamp = low.clock.timestamp.wrapping_add(3_600 * HZ);
    low.clock.arrival = Micros(3_600_000_000);
    let mut frame = low.frame(0, 0);
    frame.arrival = low.clock.arrival;
    let sent = timeline.place(frame, teacher, true).unwrap();
    assert_eq!(sent - first, 3_600 * HZ, "a frame is not moved for it");
    let report = timeline.report(low.clock.arrival, Some(low.clock));
    assert_eq!(report, Some((low.clock.ntp, sent)));
    // A layer that begins now is aligned with what is shown, not with an hour ago.
    let high = Stream::new(9);
    let mut begin_high = high.frame(33, 0);
    begin_high.arrival = Micros(3_600_033_000);
    begin_high.captured = Some(low.frame(33, 0).captured.unwrap());
    assert_eq!(begin(&mut timeline, begin_high, teacher) - sent, 2_970);
}

#[test]
fn a_source_whose_timestamps_start_over_is_followed() {
    let (teacher, _) = publishers();
    let mut timeline = Timeline::new(MediaKind::Video, 7);
    let frame = |timestamp, ms: u64| Instant {
        timestamp,
        arrival: Micros(ms * 1_000),
        captured: None,
    };
    begin(&mut timeline, frame(3_000_000_000, 0), teacher);
    timeline.place(frame(5, 1_000), teacher, true).unwrap();
    let last = timeline
        .place(frame(5 + FRAME, 1_033), teacher, true)
        .unwrap();
    let next = begin(&mut timeline, frame(77, 1_133), teacher);
    assert_eq!(next.wrapping_sub(last), 9_000);
}

#[test]
fn speech_slides_so_slowly_that_no_packet_overlaps_the_next() {
    const SPEECH_HZ: u32 = 48_000;
    let (teacher, _) = publishers();
    let mut timeline = Timeline::new(MediaKind::Audio, 7);
    let clock = SenderClock::reported(1 << 32, 0, Micros::ZERO).unwrap();
    // The anchor is of a stream that was 100 ms earlier than this one arrives.
    let packet = |n: u32, late_ms: u64, known: bool| Instant {
        timestamp: n * 960,
        arrival: Micros((u64::from(n) * 20 + late_ms) * 1_000),
        captured: known.then(|| clock.captured(n * 960, SPEECH_HZ)),
    };
    timeline.switch(packet(0, 20, true), teacher, SPEECH_HZ);
    let mut last = timeline.place(packet(0, 20, true), teacher, true).unwrap();
    timeline.switch(packet(10, 120, false), teacher, SPEECH_HZ);
    let mut least = u32::MAX;
    for n in 10..1_000 {
        let sent = timeline
            .place(packet(n, 120, n > 20), teacher, true)
            .unwrap();
        if n > 10 {
            least = least.min(sent - last);
        }
        last = sent;
    }
    assert!(
        (940..960).contains(&least),
        "{least} ticks between two packets of 960"
    );
    assert_eq!(last, 7 + 999 * 960, "it arrives where capture time puts it");
}
