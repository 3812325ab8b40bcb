//! Floors: the part of a media node's work that no media node can avoid, and nothing else.
//!
//! `gso` seals and sends with segmentation offload; `tokio` is the loop most servers start from. Both
//! seal every packet for every viewer with that viewer's own keys, because a node must.

#[expect(
    unsafe_code,
    reason = "segmented sends need raw message headers: one call a burst is the floor"
)]
pub(crate) mod gso;
#[expect(
    unsafe_code,
    reason = "leaving a network namespace has no safe wrapper"
)]
pub(crate) mod sink;
pub(crate) mod tokio;

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};
use socket2::SockRef;

use crate::cli::{FloorArguments, Submit};
use crate::cpu::{self, Cores};
use crate::progress::Progress;
use crate::report::Report;
use crate::srtp::{Keys, Profile, RTP_HEADER_BYTES};
use crate::stats::{median, rounded};

use self::sink::Sink;

const SCHEMA: &str = "lectern-perf/floor/1";

/// Length of an RTP packet before sealing, header included: what a video encoder's packetizer makes.
pub(crate) const PACKET_BYTES: usize = 1200;

/// Send buffer asked for; the kernel caps it at `net.core.wmem_max`.
const SEND_BUFFER_BYTES: usize = 32 << 20;

/// A run in which more than this share of packets was refused by the kernel measured something else.
const REFUSED_MAX: f64 = 0.01;

/// What one floor run does.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// Packets of one burst to one viewer.
    pub(crate) burst: usize,
    /// One entry a viewer.
    pub(crate) destinations: Vec<SocketAddr>,
    /// SRTP profile of all viewers.
    pub(crate) profile: Profile,
    /// How long to send.
    pub(crate) window: Duration,
    /// From one burst to the next; zero sends as fast as the kernel takes them. Only `floor-gso` keeps
    /// it: a processor that sleeps between bursts finds its caches cold and pays for waking up, whoever
    /// runs on it.
    pub(crate) interval: Duration,
    /// The processors to use.
    pub(crate) cores: Cores,
}

/// What one floor run cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Packets the kernel took.
    pub(crate) packets: u64,
    /// Packets the kernel refused because the send buffer was full.
    pub(crate) refused: u64,
    /// Calls' worth of messages those packets were in: one each, or one for a whole burst.
    pub(crate) messages: u64,
    /// CPU time of the sending thread.
    pub(crate) cpu: Duration,
}

impl Cost {
    /// CPU nanoseconds per packet sent.
    pub(crate) fn per_packet_ns(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e9 / self.packets as f64
    }

    /// Refuses a run that did not do what it claims to measure.
    ///
    /// # Errors
    /// Saying what went wrong.
    pub(crate) fn valid(self) -> anyhow::Result<Cost> {
        if self.packets == 0 {
            bail!("void: not one packet was sent");
        }
        let offered = self.packets + self.refused;
        if self.refused as f64 > REFUSED_MAX * offered as f64 {
            bail!(
                "void: the kernel refused {} of {offered} packets; raise net.core.wmem_max",
                self.refused
            );
        }
        Ok(self)
    }
}

/// One viewer of a floor: keys, a source of its own and where its packets go.
#[derive(Debug)]
struct Viewer {
    keys: Keys,
    ssrc: u32,
    destination: SocketAddr,
}

impl Viewer {
    fn all(work: &Work) -> Vec<Viewer> {
        (0_u32..)
            .zip(&work.destinations)
            .map(|(number, &destination)| Viewer {
                keys: Keys::random(work.profile),
                ssrc: 0x1000_0000 | number,
                destination,
            })
            .collect()
    }

    /// Seals the packet of `index` for this viewer: header rewritten, payload encrypted out of place.
    #[inline]
    fn seal(&self, packet: &mut [u8], index: u64, out: &mut [u8]) -> usize {
        packet[2..4].copy_from_slice(&index.to_be_bytes()[6..]);
        packet[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        self.keys.seal(packet, RTP_HEADER_BYTES, index, out)
    }
}

/// A packet as it comes from a publisher: VP8 payload type, random payload.
fn packet() -> Vec<u8> {
    let mut packet = vec![0; PACKET_BYTES];
    packet[0] = 0x80;
    packet[1] = 96;
    for byte in &mut packet[RTP_HEADER_BYTES..] {
        *byte = rand::random();
    }
    packet
}

/// The socket a floor sends from, in the calling thread's namespace.
fn sending_socket(local: SocketAddr) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind(local).with_context(|| format!("cannot bind {local}"))?;
    let _granted = SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER_BYTES);
    Ok(socket)
}

/// Runs `lectern-perf floor`.
///
/// # Errors
/// When the sink cannot be set up, or a run is void.
pub(crate) fn measure(arguments: &FloorArguments) -> anyhow::Result<Report> {
    let mut report = Report::new(SCHEMA);
    let cores = Cores::choose()?;
    cpu::pin(cores.loader)?;
    let sink = Sink::set_up(arguments.path, usize::from(arguments.viewers))?;
    let edge = gso::Edge::choose(arguments.submit)?;
    let rounds = arguments.rounds;

    let mut bursts: Vec<usize> = arguments.bursts.iter().copied().map(usize::from).collect();
    bursts.sort_unstable();
    bursts.dedup();

    let mut samples: BTreeMap<usize, Vec<(f64, f64)>> = BTreeMap::new();
    let progress = Progress::new(u64::from(rounds.rounds) * bursts.len() as u64);
    for round in 0..rounds.rounds {
        let mut rows = Vec::new();
        for &burst in &bursts {
            progress.doing(format!(
                "round {round}, bursts of {burst}, {}",
                sink.kind().word()
            ));
            let work = Work {
                burst,
                destinations: sink.destinations().to_vec(),
                profile: rounds.profile,
                window: rounds.seconds,
                interval: Duration::ZERO,
                cores,
            };
            let pair = Pair::measure(&sink, &work, edge, usize::from(round))?;
            progress.step();
            rows.push(pair.row(burst));
            if round > 0 {
                samples
                    .entry(burst)
                    .or_default()
                    .push((pair.gso.per_packet_ns(), pair.tokio.per_packet_ns()));
            }
        }
        report
            .rounds
            .push(json!({"round": round, "discarded": round == 0, "floors": rows}));
    }
    drop(progress);

    report.medians = conditions(&sink, edge, rounds.profile, cores);
    report
        .medians
        .insert("destinations".to_owned(), json!(arguments.viewers));
    report.table.push(format!(
        "CPU ns per packet sent, {} destinations, {}, sink {}, {}",
        arguments.viewers,
        rounds.profile.word(),
        sink.kind().word(),
        edge.word()
    ));
    report.table.extend(sink.notes().iter().cloned());
    report.table.push(format!(
        "{:>6}{:>12}{:>12}{:>8}",
        "burst", "floor-gso", "floor-tokio", "ratio"
    ));
    let mut floors = Vec::new();
    for (burst, pairs) in samples {
        let gso = median(pairs.iter().map(|pair| pair.0)).unwrap_or(f64::NAN);
        let tokio = median(pairs.iter().map(|pair| pair.1)).unwrap_or(f64::NAN);
        let ratio = median(pairs.iter().map(|pair| pair.1 / pair.0)).unwrap_or(f64::NAN);
        floors.push(json!({
            "burst": burst,
            "floor_gso_ns": rounded(gso, 1),
            "floor_tokio_ns": rounded(tokio, 1),
            "tokio_over_gso": rounded(ratio, 3),
        }));
        report
            .table
            .push(format!("{burst:>6}{gso:>12.0}{tokio:>12.0}{ratio:>8.2}"));
    }
    report
        .medians
        .insert("floors".to_owned(), Value::Array(floors));
    Ok(report)
}

/// Measures `floor-gso` alone.
///
/// # Errors
/// When it cannot run or is void.
pub(crate) fn gso(sink: &Sink, work: &Work, edge: gso::Edge) -> anyhow::Result<Cost> {
    let work = work.clone();
    arrived(sink, move |local| {
        gso::run(&sending_socket(local)?, &work, edge)
    })
    .context("floor-gso")
}

/// Runs a floor and makes sure that the sink took what it sent: packets lost on the way (no route, a full
/// queue) cost less than packets sent.
fn arrived(
    sink: &Sink,
    floor: impl FnOnce(SocketAddr) -> anyhow::Result<Cost> + Send + 'static,
) -> anyhow::Result<Cost> {
    let before = sink.freed()?;
    let cost = sink.run(floor)?.valid()?;
    if let Some((before, after)) = before.zip(sink.freed()?) {
        let expected = sink.sunk_of(cost.messages);
        let freed = after.since(before).messages;
        if freed < expected {
            bail!("void: of {expected} messages {freed} reached the device");
        }
    }
    Ok(cost)
}

/// Both floors, one after the other, on one path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) gso: Cost,
    pub(crate) tokio: Cost,
}

impl Pair {
    /// Measures both; odd rounds in the other order, so that neither always follows the other.
    ///
    /// # Errors
    /// When a floor cannot run or is void.
    pub(crate) fn measure(
        sink: &Sink,
        work: &Work,
        edge: gso::Edge,
        round: usize,
    ) -> anyhow::Result<Pair> {
        let gso = || gso(sink, work, edge);
        let tokio = || {
            let work = work.clone();
            arrived(sink, move |local| tokio::run(sending_socket(local)?, &work))
                .context("floor-tokio")
        };
        Ok(if round.is_multiple_of(2) {
            let gso = gso()?;
            Pair {
                gso,
                tokio: tokio()?,
            }
        } else {
            let tokio = tokio()?;
            Pair { gso: gso()?, tokio }
        })
    }

    fn row(&self, burst: usize) -> Value {
        json!({
            "burst": burst,
            "floor_gso_ns": rounded(self.gso.per_packet_ns(), 1),
            "floor_gso_packets": self.gso.packets,
            "floor_tokio_ns": rounded(self.tokio.per_packet_ns(), 1),
            "floor_tokio_packets": self.tokio.packets,
        })
    }
}

/// The conditions medians hold for.
pub(crate) fn conditions(
    sink: &Sink,
    edge: gso::Edge,
    profile: Profile,
    cores: Cores,
) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("sink".to_owned(), json!(sink.kind().word()));
    map.insert("submit".to_owned(), json!(edge.word()));
    map.insert("profile".to_owned(), json!(profile.word()));
    map.insert("packet_bytes".to_owned(), json!(PACKET_BYTES));
    map.insert("loader_shares_core".to_owned(), json!(cores.shared()));
    map
}

impl From<Submit> for Option<gso::Edge> {
    fn from(submit: Submit) -> Self {
        match submit {
            Submit::Auto => None,
            Submit::Uring => Some(gso::Edge::Uring),
            Submit::Mmsg => Some(gso::Edge::Mmsg),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(packets: u64, refused: u64) -> Cost {
        Cost {
            packets,
            refused,
            messages: packets,
            cpu: Duration::from_micros(366),
        }
    }

    #[test]
    fn cost_is_counted_per_packet_the_kernel_took() {
        assert!((cost(1000, 0).per_packet_ns() - 366.0).abs() < 1e-9);
    }

    #[test]
    fn a_run_that_sent_nothing_or_lost_much_is_void() {
        assert!(cost(0, 0).valid().is_err());
        assert!(cost(9_000, 1_000).valid().is_err());
        assert!(cost(9_999, 1).valid().is_ok());
    }

    #[test]
    fn both_floors_send_on_loopback() {
        let sink = Sink::loopback(3, &[]).unwrap();
        let work = Work {
            burst: 5,
            destinations: sink.destinations().to_vec(),
            profile: Profile::Gcm128,
            window: Duration::from_millis(5),
            interval: Duration::ZERO,
            cores: Cores::choose().unwrap(),
        };
        for edge in [gso::Edge::choose(Submit::Auto).unwrap(), gso::Edge::Mmsg] {
            let pair = Pair::measure(&sink, &work, edge, 0).unwrap();
            assert_eq!(pair.gso.packets % 15, 0, "whole bursts to each viewer");
            assert!(pair.tokio.packets > 0);
        }
    }
}
