//! Rows of the fault matrix that concern single datagrams: loss, bursts, reordering, doubles, damage, and the
//! numbers that must hold (security.md section 2).

use dataplane_api::media::MediaKind;
use dataplane_engine::reason::DropReason;
use dataplane_engine::time::Micros;
use sim::{Burst, Conditions, PeerId, PublisherPlan, ViewerPlan, World};

const AUDIO: MediaKind = MediaKind::Audio;
const VIDEO: MediaKind = MediaKind::Video;
const RTT_MS: u64 = 50;
const SECONDS: u64 = 30;
/// No picture may stand longer.
const FREEZE_US_MAX: u64 = 2_000_000;
/// 99 of 100 gaps of speech are shorter.
const GAP_US_MAX: u64 = 200_000;

struct Row {
    world: World,
    teacher: PeerId,
    students: Vec<PeerId>,
    from: Micros,
}

/// A teacher and four students, two of them with RTX, 30 s under these conditions both ways.
fn run(seed: u64, teacher_rtx: bool, change: impl Fn(&mut Conditions)) -> Row {
    let mut world = World::wired(seed, Conditions::with_rtt_ms(RTT_MS), 1);
    let plan = PublisherPlan {
        rtx: teacher_rtx,
        probes: false,
        ..PublisherPlan::default()
    };
    let teacher = world.publish_as(0, plan);
    let students: Vec<_> = [true, false, true, false]
        .into_iter()
        .map(|rtx| {
            let plan = ViewerPlan {
                rtx,
                ..ViewerPlan::default()
            };
            world.watch_as(teacher, plan)
        })
        .collect();
    world.run_ms(2_000);
    let from = world.now();
    world.network.change_all(change);
    world.run_ms(SECONDS * 1_000);
    world.recover();
    Row {
        world,
        teacher,
        students,
        from,
    }
}

impl Row {
    /// Packets of video that never came, in millionths of those that were sent.
    fn residual_ppm(&self, student: PeerId) -> u64 {
        let tallies = self.world.light(student).screen(VIDEO).tallies();
        let (lost, came) = tallies.values().fold((0, 0), |(lost, came), tally| {
            (lost + tally.lost(), came + tally.came)
        });
        lost * 1_000_000 / (lost + came)
    }

    fn assert_residual(&self, ppm_max: u64) {
        for &student in &self.students {
            let ppm = self.residual_ppm(student);
            assert!(
                ppm <= ppm_max,
                "{ppm} of a million packets lost, at most {ppm_max}; teacher {:?}, nacked {}, given up {}, node {:?}",
                self.world.light(self.teacher).heard(),
                self.world.light(student).screen(VIDEO).nacked(),
                self.world.light(student).screen(VIDEO).given_up(),
                self.world.node.shard().counters(),
            );
        }
    }

    fn assert_watchable(&self) {
        self.assert_watchable_but_for(FREEZE_US_MAX);
    }

    fn assert_watchable_but_for(&self, freeze_us_max: u64) {
        for &student in &self.students {
            let student = self.world.light(student);
            let freeze_us = student.screen(VIDEO).longest_freeze_us(self.from);
            assert!(freeze_us <= freeze_us_max, "a freeze of {freeze_us} us");
            let mut gaps = student.screen(AUDIO).gaps_us(self.from);
            gaps.sort_unstable();
            let p99 = gaps[gaps.len() * 99 / 100];
            assert!(p99 <= GAP_US_MAX, "gaps of speech up to {p99} us");
        }
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.world.node.shard().counters().dropped_in.of(reason)
    }
}

fn lossy(per_mille: u32) -> impl Fn(&mut Conditions) {
    move |conditions| conditions.loss_per_mille = per_mille
}

#[test]
fn one_percent_of_loss_is_repaired() {
    let row = run(101, true, lossy(10));
    row.assert_residual(1_000);
    row.assert_watchable();
}

#[test]
fn five_percent_of_loss_is_repaired() {
    for rtx in [true, false] {
        let row = run(105, rtx, lossy(50));
        row.assert_residual(1_000);
        row.assert_watchable();
    }
}

#[test]
fn ten_percent_of_loss_leaves_one() {
    for rtx in [true, false] {
        let row = run(110, rtx, lossy(100));
        row.assert_residual(10_000);
        row.assert_watchable();
    }
}

#[test]
fn twenty_percent_of_loss_is_watchable() {
    // Every fourth packet would have to be sent again, and one of six may be (security.md R7). What is missing then
    // is made up for by keyframes, which lose packets too. Freezes end, but only a lower layer would prevent them.
    for seed in 120..123 {
        run(seed, true, lossy(200)).assert_watchable_but_for(5_000_000);
    }
}

#[test]
fn bursts_of_eight_are_repaired() {
    let row = run(130, true, |conditions| {
        conditions.burst = Some(Burst {
            loss_per_mille: 50,
            mean_datagrams: 8,
        });
    });
    row.assert_residual(10_000);
    row.assert_watchable();
}

#[test]
fn overtaken_and_doubled_datagrams_lose_and_double_nothing() {
    // That nothing is forwarded twice says the checker `Once`.
    let row = run(140, true, |conditions| {
        conditions.reorder_per_mille = 50;
        conditions.reorder_depth = 20;
        conditions.duplicate_per_mille = 20;
    });
    row.assert_residual(0);
    row.assert_watchable();
    assert_eq!(row.dropped(DropReason::SrtpAuth), 0);
    let doubled = row.world.network.faults().duplicated;
    assert!(doubled > 100, "{doubled} doubles");
}

#[test]
fn damaged_packets_are_lost_packets() {
    // That no damaged payload is forwarded says the checker `Payloads`.
    let row = run(150, true, |conditions| conditions.corrupt_per_mille = 10);
    let damaged = row.dropped(DropReason::SrtpAuth);
    assert!(damaged > 20, "{damaged} damaged");
    row.assert_residual(1_000);
    row.assert_watchable();
    for &student in &row.students {
        for screen in row.world.light(student).screens() {
            assert_eq!(screen.corrupt(), 0);
        }
    }
}

#[test]
fn a_publisher_hears_of_each_of_its_packets_whether_it_arrived() {
    let row = run(160, true, lossy(20));
    let heard = row.world.light(row.teacher).heard();
    let told = heard.acknowledged + heard.missed;
    let sent = row.world.light(row.teacher).packets_sent() + heard.resent;
    // Feedback is lost as well, one in fifty; the first and the last packets are in none.
    assert!(told * 100 >= sent * 95 && told <= sent, "{told} of {sent}");
    let share = heard.missed * 1_000 / told;
    assert!((10..30).contains(&share), "{share} per mille missed");
}
