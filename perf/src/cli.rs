//! The command line: every option with its unit, its default, and when to change it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::srtp::Profile;

/// Measures what a forwarded packet costs, as a ratio against floors measured in the same run.
///
/// Exit status: 0 every gate passed, 3 a gate was missed, 1 the run failed or was void.
///
/// CPU time is the scheduler's run time of the working threads; numbers are medians over alternating
/// rounds, the first of which is discarded. Compare ratios, not nanoseconds, between machines.
#[derive(Debug, Parser)]
#[command(name = "lectern-perf", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Whether the report is wanted as JSON.
    pub(crate) fn json(&self) -> bool {
        match &self.command {
            Command::Floor(arguments) => arguments.json,
            Command::Forward(arguments) => arguments.json,
            Command::Abuse(arguments) => arguments.json,
            Command::Restart(arguments) => arguments.json,
            Command::Draw(_) => false,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What sending costs with no media node at all: `floor-gso` and `floor-tokio`.
    ///
    /// `floor-gso` seals each packet for each viewer and hands the kernel one segmented message
    /// (UDP_SEGMENT) per viewer and burst. `floor-tokio` is the loop most servers start from: recv_from,
    /// seal, send_to, on a current-thread runtime.
    ///
    /// Packets go to an `ifb` device in a private network namespace: its driver frees the packet, so no
    /// receive cost is charged to the sender. That needs root; without it packets go to receivers on
    /// loopback and the report says so.
    Floor(FloorArguments),
    /// What the node costs: one publisher and N viewers over WHIP, WHEP, ICE, DTLS and SRTP.
    ///
    /// Starts its own node from the `lectern` beside this program (or --node, or the PATH), joins, sends
    /// stamped bursts at an even rate and counts at every viewer what arrives: delivered, lost, foreign,
    /// duplicate, reordered, and one-way latency. The node's CPU is the run time of every thread of its
    /// data plane, divided by the packets delivered.
    ///
    /// The gates A1 to A4 of the data path compare it with the floors of the same run and burst, which
    /// send without a pause (node_over_gso). A processor that sleeps between frames finds its caches cold,
    /// whoever runs on it: node_over_gso_paced compares with the floor at the node's own frame rate, and
    /// what remains is the node's. node_waited_share above a few percent says that something else ran on
    /// the node's processor: repeat the run on a quiet machine.
    Forward(ForwardArguments),
    /// What hostile packets cost the honest: latency, loss, CPU and memory under attack, against the same
    /// run without it.
    ///
    /// Starts its own node, fills rooms with publishers and viewers who authenticate every packet, and
    /// attacks it row by row of the threat table (security.md), each in alternating windows: calm, attack,
    /// calm. A ratio compares an attack with the calm windows before and after it; the median over the rounds
    /// is held against the bound of its row.
    ///
    /// Attackers, honest clients and node share this machine. The node's shard has a processor for itself and
    /// everything else the other one, so a p99 under attack also holds what the generator took from the
    /// memory bus, the caches and the kernel; a wide ratio with little more CPU of the node is the machine's.
    Abuse(AbuseArguments),
    /// What a class notices when a process of the node dies, is replaced, hangs, or loses its disk, its
    /// descriptors or its clock.
    ///
    /// Starts its own nodes, fills rooms with publishers and viewers who authenticate and count every stamped
    /// packet, and does it to them, kill after kill. Each kill is a window of its own, between calm windows
    /// that say how long a gap is anyway. Afterwards the sessions of before the kill must be manageable with
    /// the URL, ETag and token of before, somebody new must get in and see a picture, and when everybody has
    /// left nothing may remain.
    Restart(RestartArguments),
    /// Draws the gates of results as bars: what was found, as a share of what must hold.
    Draw(DrawArguments),
}

#[derive(Debug, Args)]
pub(crate) struct FloorArguments {
    /// Packets of one burst to one viewer; several, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "1,5,12,48", value_parser = clap::value_parser!(u16).range(1..=48))]
    pub(crate) bursts: Vec<u16>,
    /// Destinations.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=2000))]
    pub(crate) viewers: u16,
    #[command(flatten)]
    pub(crate) rounds: RoundArguments,
    /// Where packets go.
    #[arg(long, value_enum, default_value_t = PathChoice::Auto)]
    pub(crate) path: PathChoice,
    /// How `floor-gso` calls the kernel.
    #[arg(long, value_enum, default_value_t = Submit::Auto)]
    pub(crate) submit: Submit,
    /// Print the report as one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ForwardArguments {
    /// Viewers, each with its own connection and keys.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=2000))]
    pub(crate) viewers: u16,
    /// Packets in a frame: they leave the publisher together. 12 is a keyframe-sized burst, 5 a frame of
    /// 1.5 Mbit/s, 1 is audio-like.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=48))]
    pub(crate) burst: u16,
    #[command(flatten)]
    pub(crate) rounds: RoundArguments,
    /// What node and viewers are connected by; the floors of the run use the same.
    #[arg(long, value_enum, default_value_t = PathChoice::Auto)]
    pub(crate) path: PathChoice,
    /// How `floor-gso` calls the kernel.
    #[arg(long, value_enum, default_value_t = Submit::Auto)]
    pub(crate) submit: Submit,
    /// Load offered to the node, as the share of one core that `floor-gso` would need for the same
    /// packets. Ignored with --fps.
    #[arg(long, default_value_t = 0.3, value_parser = parse_load)]
    pub(crate) load: f64,
    /// Frames a second, instead of --load.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) fps: Option<u32>,
    /// Measure a node that is already running. Its CPU cannot be attributed then: delivery and latency
    /// are measured, the CPU gates are left out.
    #[arg(long, requires = "token")]
    pub(crate) url: Option<String>,
    /// Room token for viewers, and for the publisher unless --publish-token is given.
    #[arg(long, requires = "url")]
    pub(crate) token: Option<String>,
    /// Room token for the publisher.
    #[arg(long, requires = "url")]
    pub(crate) publish_token: Option<String>,
    /// Room to use.
    #[arg(long, default_value = "perf")]
    pub(crate) room: String,
    /// The `lectern` program to start.
    #[arg(long, conflicts_with = "url")]
    pub(crate) node: Option<PathBuf>,
    /// Edge of the node under test.
    #[arg(long, default_value = "auto", conflicts_with = "url")]
    pub(crate) edge: String,
    /// Keep the node's log at this file, to see why a run failed.
    #[arg(long, conflicts_with = "url")]
    pub(crate) node_log: Option<PathBuf>,
    /// Print the report as one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AbuseArguments {
    /// Rows to run, separated by commas; all of them when not given.
    #[arg(long, value_delimiter = ',', value_parser = crate::abuse::parse_row)]
    pub(crate) only: Vec<&'static crate::abuse::Row>,
    /// Packets a second of a row's attack, instead of its own: `t10=5000`. Several, separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = crate::abuse::parse_rate)]
    pub(crate) rate: Vec<(&'static str, u32)>,
    /// Rooms of the standing load, each with one publisher.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(crate) rooms: u16,
    /// Viewers of each room; all of them authenticate every packet.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) viewers: u16,
    /// Packets in a frame of each publisher.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=48))]
    pub(crate) burst: u16,
    /// Frames a second of each publisher. 30 of 5 packets are 1.5 Mbit/s.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) fps: u32,
    /// Addresses that attacks from strangers come from.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) sources: u16,
    #[command(flatten)]
    pub(crate) rounds: RoundArguments,
    /// What node and clients are connected by. Nobody is diverted: every viewer checks every packet.
    #[arg(long, value_enum, default_value_t = PathChoice::Auto)]
    pub(crate) path: PathChoice,
    /// The `lectern` program to start.
    #[arg(long)]
    pub(crate) node: Option<PathBuf>,
    /// Edge of the node under test.
    #[arg(long, default_value = "auto")]
    pub(crate) edge: String,
    /// Keep the node's log at this file, to see why a run failed.
    #[arg(long)]
    pub(crate) node_log: Option<PathBuf>,
    /// Print the report as one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RestartArguments {
    /// Chapters to run, separated by commas; all of them when not given.
    #[arg(long, value_delimiter = ',', value_enum)]
    pub(crate) only: Vec<crate::restart::Chapter>,
    /// Kills of the control plane.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) kills: u16,
    /// Kills of the data plane.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) media_kills: u16,
    /// Take-overs by a control plane with another data directory, and as many upgrades.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) takeovers: u16,
    /// How long the control plane hangs, in seconds.
    #[arg(long, default_value = "5", value_parser = parse_seconds)]
    pub(crate) freeze: Duration,
    /// Decides when kills come and who joins where.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Rooms, each with one publisher.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(crate) rooms: u16,
    /// Viewers of each room; all of them authenticate every packet.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) viewers: u16,
    /// Packets in a frame of each publisher.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=48))]
    pub(crate) burst: u16,
    /// Frames a second of each publisher. 30 of 5 packets are 1.5 Mbit/s.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) fps: u32,
    /// The `lectern` program to start.
    #[arg(long)]
    pub(crate) node: Option<PathBuf>,
    /// The `lectern` program that upgrades start; the same one when not given.
    #[arg(long)]
    pub(crate) next: Option<PathBuf>,
    /// Edge of the node under test.
    #[arg(long, default_value = "auto")]
    pub(crate) edge: String,
    /// Keep the nodes' logs beside this file, to see why a run failed.
    #[arg(long)]
    pub(crate) node_log: Option<PathBuf>,
    /// Print the report as one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DrawArguments {
    /// Reports, as --json wrote them.
    #[arg(required = true)]
    pub(crate) results: Vec<PathBuf>,
    /// The SVG to write.
    #[arg(long)]
    pub(crate) svg: PathBuf,
}

/// What all measurements share.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct RoundArguments {
    /// Length of one measured window, in seconds.
    #[arg(long, default_value = "1", value_parser = parse_seconds)]
    pub(crate) seconds: Duration,
    /// Rounds; the first is discarded. 6 leave five to take medians of.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(2..=200))]
    pub(crate) rounds: u16,
    /// SRTP profile. The targets are stated for `gcm128`.
    #[arg(long, value_enum, default_value_t = Profile::Gcm128)]
    pub(crate) profile: Profile,
}

/// Where packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PathChoice {
    /// The best that can be set up.
    Auto,
    /// A device that frees packets in its driver, in a private network namespace; needs root. The viewers
    /// of `forward` join over a veth, then all but 8 are diverted to that device: those 8 check every
    /// packet, and the receive cost of the others falls on nobody.
    Ifb,
    /// Receivers on 127.0.0.1: the receive path is charged to the sender, in the floors as in the node.
    Loopback,
}

/// How `floor-gso` calls the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Submit {
    /// io_uring where it can be set up, else sendmmsg.
    Auto,
    /// io_uring SENDMSG.
    Uring,
    /// sendmmsg, 16 messages a call.
    Mmsg,
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.01..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("must be between 0.01 and 3600".to_owned())
    }
}

fn parse_load(text: &str) -> Result<f64, String> {
    let load: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.01..=0.9).contains(&load) {
        Ok(load)
    } else {
        Err("must be between 0.01 and 0.9".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_measured_window_has_sane_bounds() {
        assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
        for refused in ["0", "-1", "nan", "4000", "soon"] {
            assert!(parse_seconds(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_running_node_needs_a_token() {
        let without = [
            "lectern-perf",
            "forward",
            "--viewers",
            "1",
            "--burst",
            "1",
            "--url",
            "http://x",
        ];
        assert!(Cli::try_parse_from(without).is_err());
    }
}
