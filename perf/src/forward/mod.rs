//! The node under load: one publisher, N viewers, everything real from the offer to the authentication
//! tag; what arrives is counted at every viewer, and the node's CPU is set against the floors.

mod round;

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::json;

use self::round::{Figure, METRICS, Round, gates};
use crate::cli::ForwardArguments;
use crate::cpu::{self, Affinity, Cores, CpuTime};
use crate::floor::{self, Cost, Pair, Work, gso};
use crate::interrupt;
use crate::load::http::Http;
use crate::load::loader::{Load, Loader, Room};
use crate::load::node::{self, Grant, Node};
use crate::load::patience::Patience;
use crate::load::publisher::{IDLE_PAUSE, Plan};
use crate::progress::Progress;
use crate::report::Report;
use crate::rig::Rig;
use crate::stats::{median, rounded};

const SCHEMA: &str = "lectern-perf/forward/1";

/// What is still under way at the end of a window arrives within this.
const SETTLE: Duration = Duration::from_millis(250);

/// Everyone has got a frame before those who are not watched stop receiving.
const WARM_UP: Duration = Duration::from_millis(750);

/// Share of its processor the load generator may use: above it, it measures itself.
const LOADER_SHARE_MAX: f64 = 0.85;

/// How much longer than planned the publisher may take before the load was not what the report says.
const LATE_MAX: f64 = 1.05;

/// Runs `lectern-perf forward`.
///
/// # Errors
/// When the node cannot be started or joined, or the run is void.
pub(crate) fn measure(arguments: &ForwardArguments) -> anyhow::Result<Report> {
    interrupt::watch()?;
    let mut report = Report::new(SCHEMA);
    let affinity = Affinity::current()?;
    let cores = Cores::choose()?;
    cpu::pin(cores.loader)?;
    let viewers = usize::from(arguments.viewers);
    let rig = match &arguments.url {
        Some(url) => Rig::towards(url, viewers)?,
        None => Rig::set_up(arguments.path, viewers)?,
    };
    let edge = gso::Edge::choose(arguments.submit)?;

    let node = match &arguments.url {
        Some(_) => None,
        None => {
            let options = node::Options {
                program: arguments.node.clone(),
                address: rig.node_address(),
                cpu: cores.measured,
                affinity,
                edge: arguments.edge.clone(),
                log: arguments.node_log.clone(),
                log_level: "warn",
            };
            Some(rig.at_node(move || Node::start(&options))?)
        }
    };
    let (url, publish_token, view_token) = match (&node, &arguments.url) {
        (Some(node), _) => (
            node.url(),
            node.token(&arguments.room, Grant::Publish)?,
            node.token(&arguments.room, Grant::Subscribe)?,
        ),
        (None, url) => {
            let view = arguments.token.clone().context("--url needs --token")?;
            let publish = arguments
                .publish_token
                .clone()
                .unwrap_or_else(|| view.clone());
            (url.clone().context("no node and no --url")?, publish, view)
        }
    };
    let progress = Progress::new(u64::from(arguments.rounds.rounds) * 2);
    progress.doing(format!("joining 1 publisher and {viewers} viewers"));
    let load = Load {
        http: Http::new(&url),
        rooms: vec![Room {
            name: arguments.room.clone(),
            publish_token,
            view_token,
            publisher: rig.publisher_address(),
            viewers: rig.viewer_addresses(),
        }],
        burst: usize::from(arguments.burst),
        profile: arguments.rounds.profile,
        idle: IDLE_PAUSE,
        patience: Patience::Live,
    };
    let loader = rig.at_loader(move || Loader::start(load))?;
    std::thread::sleep(WARM_UP);
    rig.divert()?;

    let bench = Bench {
        arguments,
        cores,
        edge,
        rig,
        node,
        loader,
    };
    let mut fps = arguments.fps.map(f64::from);
    let mut kept = Vec::new();
    for number in 0..arguments.rounds.rounds {
        let round = bench.round(number, &mut fps, &progress)?;
        report.rounds.push(round.row(number));
        if number > 0 {
            kept.push(round);
        }
    }
    drop(progress);
    let leave = bench.loader.leaving();
    bench.rig.at_loader(leave)?;
    bench.conclude(&kept, fps.unwrap_or(f64::NAN), &mut report);
    Ok(report)
}

/// Everything that is set up for the run.
struct Bench<'a> {
    arguments: &'a ForwardArguments,
    cores: Cores,
    edge: gso::Edge,
    rig: Rig,
    node: Option<Node>,
    loader: Loader,
}

impl Bench<'_> {
    fn round(
        &self,
        number: u16,
        fps: &mut Option<f64>,
        progress: &Progress,
    ) -> anyhow::Result<Round> {
        interrupt::check()?;
        progress.doing(format!("round {number}: floors"));
        let saturated = self.work(Duration::ZERO);
        let floors = Pair::measure(self.rig.sink(), &saturated, self.edge, usize::from(number))?;
        // The first round's floor decides the rate; it then stays the same for all rounds.
        let fps = *fps.get_or_insert_with(|| self.rate(&floors));
        let interval = Duration::from_secs_f64(1.0 / fps);
        let paced = floor::gso(self.rig.sink(), &self.work(interval), self.edge)?;
        progress.step();
        interrupt::check()?;
        progress.doing(format!(
            "round {number}: {fps:.0} frames/s through the node"
        ));
        let round = self.window(u32::from(number) + 1, fps, (floors, paced))?;
        progress.step();
        Ok(round)
    }

    fn work(&self, interval: Duration) -> Work {
        Work {
            burst: usize::from(self.arguments.burst),
            destinations: self.rig.sink().destinations().to_vec(),
            profile: self.arguments.rounds.profile,
            window: self.arguments.rounds.seconds,
            interval,
            cores: self.cores,
        }
    }

    /// Frames a second that would keep `floor-gso` as busy as `--load` says.
    fn rate(&self, floors: &Pair) -> f64 {
        let frame = f64::from(self.arguments.burst) * f64::from(self.arguments.viewers);
        (self.arguments.load * 1e9 / (floors.gso.per_packet_ns() * frame)).max(1.0)
    }

    fn window(
        &self,
        window: u32,
        fps: f64,
        (floors, paced): (Pair, Cost),
    ) -> anyhow::Result<Round> {
        let interval = Duration::from_secs_f64(1.0 / fps);
        let seconds = self.arguments.rounds.seconds.as_secs_f64();
        let plan = Plan {
            window,
            frames: Duration::from_secs_f64((seconds * fps).max(1.0)).as_secs(),
            interval,
        };
        self.loader.begin(window)?;
        let own = cpu::this_process();
        let nodes = self.node_cpu()?;
        let freed = self.rig.sink().freed()?;
        let published = self.loader.publish(plan)?;
        std::thread::sleep(SETTLE);
        let node_cpu = self
            .node_cpu()?
            .zip(nodes)
            .map(|(after, before)| after.since(before));
        let own = cpu::this_process().saturating_sub(own);
        let counts = self.loader.collect()?;

        let sunk = freed
            .zip(self.rig.sink().freed()?)
            .map(|(before, after)| after.since(before));
        let planned = interval.as_secs_f64() * (plan.frames as f64);
        let late = published.took.as_secs_f64() / planned.max(0.001);
        if late > LATE_MAX && plan.frames > 20 {
            bail!(
                "void: the publisher took {late:.2} of the time planned for its frames; lower the load"
            );
        }
        let loader_share = own.as_secs_f64() / published.took.as_secs_f64();
        if loader_share > LOADER_SHARE_MAX {
            bail!(
                "void: the load generator used {:.0} % of its processor; lower the load",
                100.0 * loader_share
            );
        }
        Ok(Round {
            floors,
            paced,
            published: published.packets,
            viewers: self.rig.viewers(),
            watched: self.rig.watched(),
            sunk,
            counts,
            node_cpu,
            loader_share,
            window: published.took,
        })
    }

    fn node_cpu(&self) -> anyhow::Result<Option<CpuTime>> {
        self.node.as_ref().map(Node::cpu).transpose()
    }

    fn conclude(&self, kept: &[Round], fps: f64, report: &mut Report) {
        let profile = self.arguments.rounds.profile;
        let over = |value: Figure| median(kept.iter().filter_map(value));
        let medians = &mut report.medians;
        *medians = floor::conditions(self.rig.sink(), self.edge, profile, self.cores);
        medians.remove("sink");
        for (name, value) in [
            ("path", json!(self.rig.word())),
            ("viewers", json!(self.arguments.viewers)),
            ("watched_viewers", json!(self.rig.watched())),
            ("burst", json!(self.arguments.burst)),
            ("frames_per_second", json!(rounded(fps, 2))),
            ("node", json!(self.node.as_ref().map(Node::version))),
        ] {
            medians.insert(name.to_owned(), value);
        }
        report.table.extend(self.rig.sink().notes().iter().cloned());
        for metric in METRICS {
            if let Some(value) = over(metric.of) {
                medians.insert(metric.name.to_owned(), json!(rounded(value, metric.digits)));
                report.table.push(format!(
                    "{:<28}{:>14}",
                    metric.name,
                    rounded(value, metric.digits)
                ));
            }
        }
        report.table.insert(
            0,
            format!(
                "{} viewers, bursts of {}, {fps:.0} frames/s, {}, over {}",
                self.arguments.viewers,
                self.arguments.burst,
                profile.word(),
                self.rig.word()
            ),
        );
        report.gates = gates(self.arguments.burst, profile, kept);
    }
}
