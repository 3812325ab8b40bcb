//! `lectern doctor`: can this host serve with this configuration, and what to do where it cannot.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use x509_parser::pem::Pem;

use super::{controlplane, ops, print};
use crate::auth::Keys;
use crate::config::{Config, Flags, Layers, TlsFiles, absolute};
use crate::http::server::Tls;
use crate::supervise::sibling;

/// What the data plane asks the kernel for, bytes: bursts of a keyframe to a thousand viewers.
const SEND_BUFFER_BYTES: u64 = 32 * 1024 * 1024;
/// The same for receiving.
const RECEIVE_BUFFER_BYTES: u64 = 16 * 1024 * 1024;

/// Descriptors for 9,000 connections and the rest of the node.
const NOFILE_MIN: u64 = 10_240;

/// A certificate that ends sooner should be renewed now.
const CERTIFICATE_TIME_MIN: Duration = Duration::from_secs(14 * 24 * 3600);

/// 2026-01-01: a clock before this build existed is wrong.
const CLOCK_MIN: Duration = Duration::from_secs(1_767_225_600);

/// How a test went; worse is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// Nothing to do.
    Ok,
    /// The node serves, but something should be better.
    Warn,
    /// The node cannot serve.
    Fail,
}

/// One test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Row {
    name: &'static str,
    verdict: Verdict,
    says: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

fn ok(name: &'static str, says: impl Into<String>) -> Row {
    Row {
        name,
        verdict: Verdict::Ok,
        says: says.into(),
        fix: None,
    }
}

fn warn(name: &'static str, says: impl Into<String>, fix: impl Into<String>) -> Row {
    Row {
        name,
        verdict: Verdict::Warn,
        says: says.into(),
        fix: Some(fix.into()),
    }
}

fn fail(name: &'static str, says: impl Into<String>, fix: impl Into<String>) -> Row {
    Row {
        name,
        verdict: Verdict::Fail,
        says: says.into(),
        fix: Some(fix.into()),
    }
}

/// What `lectern-dataplane --probe --json` says of this host.
#[derive(Debug, Deserialize)]
struct Probe {
    edge: Option<String>,
    reason: String,
    rmem_max: Option<u64>,
    wmem_max: Option<u64>,
    nofile: Option<u64>,
    addresses: Vec<IpAddr>,
    #[serde(default)]
    warnings: Vec<String>,
}

/// Runs every test and prints the table; the result is the worst verdict.
pub(super) fn run(flags: &Flags, json: bool) -> anyhow::Result<Verdict> {
    let (config, layers) = Config::load(flags)?;
    let mut rows = vec![data_dir(&config)];
    let running = is_running(&config);
    rows.extend(tcp_ports(&config, running));
    rows.push(media_ports(&config, running));
    match probe(&config, &layers) {
        Ok(probe) => rows.extend(host(&config, &probe)),
        Err(error) => rows.push(fail(
            "data plane",
            format!("{error:#}"),
            "install lectern-dataplane of the same version beside lectern",
        )),
    }
    rows.push(clock(SystemTime::now(), Path::new("/run")));
    rows.push(https(&config, SystemTime::now()));
    let worst = rows
        .iter()
        .map(|row| row.verdict)
        .max()
        .unwrap_or(Verdict::Ok);
    if json {
        let document = serde_json::json!({"verdict": worst, "rows": rows});
        print(&serde_json::to_string_pretty(&document)?)?;
    } else {
        print(&table(&rows))?;
    }
    Ok(worst)
}

fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let lines = rows.iter().flat_map(|row| {
        let mark = match row.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warn => "WARN",
            Verdict::Fail => "FAIL",
        };
        let line = format!("{mark}  {:width$}  {}", row.name, row.says);
        let fix = row
            .fix
            .as_ref()
            .map(|fix| format!("{:6}{:width$}  -> {fix}", "", ""));
        std::iter::once(line).chain(fix)
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn data_dir(config: &Config) -> Row {
    let dir = absolute(&config.data_dir);
    let shown = dir.display();
    if !dir.exists() {
        let parent = dir.parent().unwrap_or(Path::new("/"));
        return if fs::metadata(parent).is_ok_and(|parent| parent.is_dir()) {
            ok("data dir", format!("{shown} will be made"))
        } else {
            warn(
                "data dir",
                format!("{shown} and its parent do not exist"),
                format!("mkdir -p {}", parent.display()),
            )
        };
    }
    let probe = dir.join(format!(".doctor.{}", uuid::Uuid::new_v4().simple()));
    let written = fs::write(&probe, "").and_then(|()| fs::remove_file(&probe));
    if let Err(error) = written {
        return fail(
            "data dir",
            format!("{shown}: {error}"),
            "run as the user who owns it, or chown it",
        );
    }
    let keys = config.keys_file();
    let Ok(metadata) = fs::metadata(&keys) else {
        return ok(
            "data dir",
            format!("{shown} is writable; keys are made at the first start"),
        );
    };
    if let Err(error) = Keys::load(keys.clone()) {
        return fail(
            "data dir",
            error.to_string(),
            "repair the file, or move it away to get new keys",
        );
    }
    if metadata.permissions().mode() & 0o077 == 0 {
        ok("data dir", format!("{shown} is writable and has keys"))
    } else {
        warn(
            "data dir",
            "others may read the signing keys",
            format!("chmod 600 {}", keys.display()),
        )
    }
}

/// Whether the ports are taken by the node itself.
fn is_running(config: &Config) -> bool {
    ops::get(config.ops, "/healthz").is_ok_and(|(status, _)| status == 200)
}

fn tcp_ports(config: &Config, running: bool) -> Vec<Row> {
    [
        ("http", config.http),
        ("ops", config.ops),
        ("media_ops", config.media_ops),
    ]
    .into_iter()
    .map(|(name, address)| match TcpListener::bind(address) {
        Ok(_) => ok(name, format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && running => {
            ok(name, format!("{address} is in use; a node runs here"))
        }
        Err(error) => {
            let port = address.port();
            fail(
                name,
                format!("{address}: {error}"),
                format!(
                    "`ss -ltnp 'sport = :{port}'` names who has it; or choose another with --{}",
                    name.replace('_', "-")
                ),
            )
        }
    })
    .collect()
}

fn media_ports(config: &Config, running: bool) -> Row {
    const NAME: &str = "media ports";
    if config.media_port == 0 {
        return ok(
            NAME,
            "the kernel chooses; a firewall cannot be told in advance",
        );
    }
    let shards = config.shards.unwrap_or_else(|| {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        u16::try_from(cpus.saturating_sub(1))
            .unwrap_or(u16::MAX)
            .max(1)
    });
    let last = config.media_port.saturating_add(shards - 1);
    let range = if shards == 1 {
        format!("UDP {}", config.media_port)
    } else {
        format!("UDP {}-{last}", config.media_port)
    };
    let taken = (config.media_port..=last).find_map(|port| {
        let error = UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).err()?;
        Some((port, error))
    });
    match taken {
        None => ok(NAME, format!("{range} is free; open it in the firewall")),
        Some((_, error)) if error.kind() == io::ErrorKind::AddrInUse && running => {
            ok(NAME, format!("{range} is in use; a node runs here"))
        }
        Some((port, error)) => fail(
            NAME,
            format!("UDP {port}: {error}"),
            format!(
                "`ss -lunp 'sport = :{port}'` names who has it; or choose another --media-port"
            ),
        ),
    }
}

fn probe(config: &Config, layers: &Layers) -> anyhow::Result<Probe> {
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

fn host(config: &Config, probe: &Probe) -> Vec<Row> {
    vec![
        edge(config, probe),
        buffer("rmem_max", probe.rmem_max, RECEIVE_BUFFER_BYTES),
        buffer("wmem_max", probe.wmem_max, SEND_BUFFER_BYTES),
        nofile(probe.nofile),
        addresses(probe),
    ]
}

fn edge(config: &Config, probe: &Probe) -> Row {
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

fn buffer(name: &'static str, found: Option<u64>, wanted: u64) -> Row {
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

fn nofile(found: Option<u64>) -> Row {
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

fn addresses(probe: &Probe) -> Row {
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
fn clock(now: SystemTime, run: &Path) -> Row {
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

fn https(config: &Config, now: SystemTime) -> Row {
    const NAME: &str = "certificate";
    if let Some(files) = &config.tls {
        if let Err(error) = load_tls(files) {
            return fail(
                NAME,
                format!("{error:#}"),
                "give --tls-cert a chain and --tls-key its key, both PEM",
            );
        }
        return match fs::read(&files.cert)
            .map_err(anyhow::Error::from)
            .and_then(|pem| expiry(&pem))
        {
            Ok(end) => certificate(end, now),
            Err(error) => fail(
                NAME,
                format!("{error:#}"),
                "give --tls-cert a chain in PEM, the node's own first",
            ),
        };
    }
    let elsewhere = config
        .public_url
        .as_deref()
        .is_some_and(|url| url.starts_with("https://"));
    if elsewhere {
        ok(NAME, "none here; public_url says that a proxy speaks HTTPS")
    } else if config.http.ip().is_loopback() {
        ok(NAME, "none; not needed on localhost")
    } else {
        warn(
            NAME,
            "none: browsers give pages a camera only over https:// or on localhost",
            "set tls_cert and tls_key, or put an HTTPS proxy in front and set public_url",
        )
    }
}

/// The certificate and its key, as the node would take them.
fn load_tls(files: &TlsFiles) -> anyhow::Result<Tls> {
    controlplane::install_crypto();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(Tls::load(files.clone()))
}

/// When the first certificate of a chain ends.
fn expiry(pem: &[u8]) -> anyhow::Result<SystemTime> {
    let (pem, _) = Pem::read(io::Cursor::new(pem)).context("no certificate in PEM")?;
    let certificate = pem.parse_x509().context("not an X.509 certificate")?;
    let end_s = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    Ok(UNIX_EPOCH + Duration::from_secs(end_s))
}

fn certificate(end: SystemTime, now: SystemTime) -> Row {
    const NAME: &str = "certificate";
    const RENEW: &str = "renew it, then SIGHUP: the node rereads it without a restart";
    match end.duration_since(now) {
        Err(_) => fail(NAME, "has expired", RENEW),
        Ok(left) => {
            let says = format!("ends in {} days", left.as_secs() / 86_400);
            if left < CERTIFICATE_TIME_MIN {
                warn(NAME, says, RENEW)
            } else {
                ok(NAME, says)
            }
        }
    }
}

#[cfg(test)]
mod tests;
