//! What the kernel and the network give a data plane, and whether the clock is kept.

use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde::Deserialize;

use super::{Row, fail, ok, warn};
use crate::config::{Config, Layers};
use crate::supervise::sibling;

/// What the data plane asks the kernel for, bytes: bursts of a keyframe to a thousand viewers.
pub(super) const SEND_BUFFER_BYTES: u64 = 32 * 1024 * 1024;

/// The same for receiving.
pub(super) const RECEIVE_BUFFER_BYTES: u64 = 16 * 1024 * 1024;

/// Descriptors for 9,000 connections and the rest of the node.
pub(super) const NOFILE_MIN: u64 = 10_240;

/// 2026-01-01: a clock before this build existed is wrong.
pub(super) const CLOCK_MIN: Duration = Duration::from_secs(1_767_225_600);

/// What `lectern-dataplane --probe --json` says of this host.
#[derive(Debug, Deserialize)]
pub(super) struct Probe {
    pub(super) edge: Option<String>,
    pub(super) reason: String,
    pub(super) rmem_max: Option<u64>,
    pub(super) wmem_max: Option<u64>,
    pub(super) nofile: Option<u64>,
    pub(super) addresses: Vec<IpAddr>,
    #[serde(default)]
    pub(super) warnings: Vec<String>,
}

pub(super) fn probe(config: &Config, layers: &Layers) -> anyhow::Result<Probe> {
    let binary = sibling::find()?;
    let mut command = Command::new(&binary);
    command
        .args(["--probe", "--json"])
        .arg("--data-dir")
        .arg(&config.data_dir);
    if let Some(file) = &layers.file {
        command.arg("--config").arg(file);
    }
    for name in ["edge", "advertise"] {
        let text = &layers.setting(name).text;
        if !text.is_empty() {
            command.arg(format!("--{name}={text}"));
        }
    }
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", binary.display()))?;
    serde_json::from_slice(&output.stdout).with_context(|| {
        format!(
            "{} --probe ({}) says nothing readable",
            binary.display(),
            output.status
        )
    })
}

pub(super) fn host(config: &Config, probe: &Probe) -> Vec<Row> {
    vec![
        edge(config, probe),
        buffer("rmem_max", probe.rmem_max, RECEIVE_BUFFER_BYTES),
        buffer("wmem_max", probe.wmem_max, SEND_BUFFER_BYTES),
        nofile(probe.nofile),
        addresses(probe),
    ]
}

pub(super) fn edge(config: &Config, probe: &Probe) -> Row {
    match probe.edge.as_deref() {
        None => fail(
            "edge",
            probe.reason.clone(),
            "set edge to auto, or follow the reason",
        ),
        Some("mmsg") if config.edge == crate::config::Edge::Auto => warn(
            "edge",
            format!("mmsg: {}", probe.reason),
            "io_uring halves the cost of a packet: kernel 6.1 or newer, \
             `sysctl kernel.io_uring_disabled` 0, and a container profile that allows it",
        ),
        Some(edge) => ok("edge", format!("{edge}: {}", probe.reason)),
    }
}

pub(super) fn buffer(name: &'static str, found: Option<u64>, wanted: u64) -> Row {
    match found {
        Some(bytes) if bytes >= wanted => ok(name, format!("{bytes} bytes")),
        Some(bytes) => warn(
            name,
            format!("{bytes} bytes; bursts of a large class lose packets"),
            format!("sysctl -w net.core.{name}={wanted}"),
        ),
        None => warn(
            name,
            "cannot be read",
            format!("sysctl -w net.core.{name}={wanted}"),
        ),
    }
}

pub(super) fn nofile(found: Option<u64>) -> Row {
    match found {
        Some(count) if count >= NOFILE_MIN => ok("nofile", format!("{count} descriptors")),
        Some(count) => warn(
            "nofile",
            format!("{count} descriptors; as many connections at most"),
            format!("LimitNOFILE={NOFILE_MIN} or more in the systemd unit, `ulimit -n` in a shell"),
        ),
        None => warn("nofile", "cannot be read", "look at `ulimit -n`"),
    }
}

pub(super) fn addresses(probe: &Probe) -> Row {
    const NAME: &str = "addresses";
    let list: Vec<String> = probe.addresses.iter().map(ToString::to_string).collect();
    let list = list.join(" ");
    if probe.addresses.is_empty() {
        return fail(
            NAME,
            "clients are told no address",
            "set advertise to an address clients reach",
        );
    }
    if let Some(warning) = probe.warnings.first() {
        return warn(
            NAME,
            format!("{list}; {warning}"),
            "correct advertise or the name's DNS record",
        );
    }
    if probe.addresses.iter().all(IpAddr::is_loopback) {
        return warn(
            NAME,
            format!("{list}: this machine only"),
            "set advertise to an address others reach",
        );
    }
    ok(NAME, list)
}

/// Tokens live and die by the clock, so hosts must agree on the time.
pub(super) fn clock(now: SystemTime, run: &Path) -> Row {
    const NAME: &str = "clock";
    /// Below `/run`: what systemd-timesyncd, chrony and ntpd leave while they work.
    const SIGNS: [&str; 4] = [
        "systemd/timesync/synchronized",
        "chrony/chronyd.pid",
        "chronyd.pid",
        "ntpd.pid",
    ];
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    if since < CLOCK_MIN {
        return fail(
            NAME,
            "shows a year before 2026",
            "set it: `timedatectl set-time` or NTP",
        );
    }
    if SIGNS.iter().any(|sign| run.join(sign).exists()) {
        ok(NAME, "is synchronised")
    } else {
        warn(
            NAME,
            "no time service was found; tokens of other hosts are refused when clocks differ by over 30 s",
            "install systemd-timesyncd or chrony; in a container the host's clock counts",
        )
    }
}
