//! What this host offers a media process, found out by trying, and what an operator should change.

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, ToSocketAddrs};

use dataplane_net::rlimit::{OpenFiles, raise_open_files};
use dataplane_net::{BufferSizes, Decision, SocketOptions, addresses, decide};
use serde_json::json;

use crate::advertise::{Advertised, advertised};
use crate::config::Config;

/// Open files below which an operator is warned: shards need few, but a node that cannot open its log,
/// its ops port and its link at once fails in ways nobody understands.
const OPEN_FILES_WANTED: u64 = 4_096;

/// The addresses clients are told now: interfaces are listed and names resolved, which may block.
#[must_use]
pub(crate) fn advertised_now(config: &Config) -> Advertised {
    let interfaces = addresses::advertised().unwrap_or_else(|error| {
        tracing::error!(%error, "cannot list the interfaces of this host");
        Vec::new()
    });
    advertised(&config.advertise, &interfaces, resolve)
}

fn resolve(name: &str) -> Option<Vec<IpAddr>> {
    let found = (name, 0).to_socket_addrs().ok()?;
    Some(found.map(|address| address.ip()).collect::<Vec<_>>()).filter(|list| !list.is_empty())
}

/// Raises the limit of open files as far as it goes, and says so when that is too little.
pub(crate) fn raise_limits() {
    match raise_open_files() {
        Ok(files) if files.soft < OPEN_FILES_WANTED => tracing::warn!(
            nofile = files.soft,
            wanted = OPEN_FILES_WANTED,
            "few open files allowed: raise `ulimit -n`, or LimitNOFILE in the systemd unit"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot raise the limit of open files"),
    }
}

/// What to set when the kernel granted smaller socket buffers than were asked for.
#[must_use]
pub(crate) fn buffer_advice(granted: BufferSizes, wanted: &SocketOptions) -> Vec<String> {
    let advice = |option: &str, sysctl: &str, granted: usize, wanted: usize| {
        (granted < wanted).then(|| {
            format!(
                "{option} is {granted} bytes, wanted {wanted}: packets are lost in bursts; set \
                 `sysctl -w net.core.{sysctl}={wanted}` or grant CAP_NET_ADMIN"
            )
        })
    };
    let receive = advice(
        "SO_RCVBUF",
        "rmem_max",
        granted.receive_bytes,
        wanted.receive_buffer_bytes,
    );
    let send = advice(
        "SO_SNDBUF",
        "wmem_max",
        granted.send_bytes,
        wanted.send_buffer_bytes,
    );
    receive.into_iter().chain(send).collect()
}

/// What `--probe` tells, for `lectern doctor` and for people.
#[derive(Debug)]
struct Probe {
    decision: Result<Decision, String>,
    rmem_max: Option<u64>,
    wmem_max: Option<u64>,
    open_files: Option<OpenFiles>,
    advertised: Advertised,
}

/// Prints what this host offers on standard output, as one line of JSON or as text.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn print_probe(config: &Config, json: bool) -> io::Result<()> {
    let probe = Probe {
        decision: decide(config.edge).map_err(|refused| refused.to_string()),
        rmem_max: sysctl("rmem_max"),
        wmem_max: sysctl("wmem_max"),
        open_files: raise_open_files().ok(),
        advertised: advertised_now(config),
    };
    let text = if json {
        probe.to_json()
    } else {
        probe.to_text()
    };
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

impl Probe {
    fn to_json(&self) -> String {
        let (edge, reason) = self.edge();
        json!({
            "edge": edge,
            "reason": reason,
            "rmem_max": self.rmem_max,
            "wmem_max": self.wmem_max,
            "nofile": self.open_files.map(|files| files.soft),
            "addresses": self.advertised.addresses,
            "warnings": self.advertised.warnings,
        })
        .to_string()
    }

    fn to_text(&self) -> String {
        let (edge, reason) = self.edge();
        let number = |value: Option<u64>| value.map_or("unknown".to_owned(), |v| v.to_string());
        let addresses: Vec<String> = self
            .advertised
            .addresses
            .iter()
            .map(ToString::to_string)
            .collect();
        let mut lines = vec![
            format!("edge       {}: {reason}", edge.unwrap_or("none")),
            format!("rmem_max   {}", number(self.rmem_max)),
            format!("wmem_max   {}", number(self.wmem_max)),
            format!(
                "nofile     {}",
                number(self.open_files.map(|files| files.soft))
            ),
            format!("addresses  {}", addresses.join(" ")),
        ];
        lines.extend(
            self.advertised
                .warnings
                .iter()
                .map(|warning| format!("warning    {warning}")),
        );
        lines.join("\n")
    }

    fn edge(&self) -> (Option<&'static str>, &str) {
        match &self.decision {
            Ok(decision) => (Some(decision.kind.label()), &decision.why),
            Err(refused) => (None, refused),
        }
    }
}

fn sysctl(name: &str) -> Option<u64> {
    fs::read_to_string(format!("/proc/sys/net/core/{name}"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_buffers_are_named_with_the_sysctl_that_raises_them() {
        let wanted = SocketOptions::default();
        let granted = BufferSizes {
            receive_bytes: 212_992,
            send_bytes: wanted.send_buffer_bytes,
        };
        let advice = buffer_advice(granted, &wanted);
        assert_eq!(advice.len(), 1);
        assert!(
            advice[0].contains("net.core.rmem_max=16777216"),
            "{advice:?}"
        );
        let enough = BufferSizes {
            receive_bytes: wanted.receive_buffer_bytes,
            send_bytes: wanted.send_buffer_bytes,
        };
        assert!(buffer_advice(enough, &wanted).is_empty());
    }

    #[test]
    fn a_numeric_name_resolves_without_a_server_and_nonsense_does_not() {
        assert_eq!(
            resolve("127.0.0.1"),
            Some(vec![IpAddr::from([127, 0, 0, 1])])
        );
        assert_eq!(resolve("no such name"), None);
    }
}
