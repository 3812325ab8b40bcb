//! How a node is, seen from outside: its counters, its memory, its log, and what its kernel threw away.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use ureq::Agent;

use crate::load::node::Node;
use crate::rig::Rig;

/// A node that takes longer to tell its counters is not well.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(5);

/// After this long what has happened is in the counters.
const SAMPLED_WITHIN: Duration = Duration::from_millis(1100);

/// One reading; counts since the node began, but for the memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vitals {
    /// Datagrams the kernel found no room for in the node's socket.
    pub(crate) overflowed: u64,
    /// Bytes of memory of the data plane that are no file's: exact, from its page tables.
    pub(crate) anonymous: u64,
    pub(crate) log_lines: u64,
    /// Lines of the log that tell of a panic.
    pub(crate) panics: u64,
}

impl Vitals {
    /// Reads them now.
    ///
    /// # Errors
    /// When the node is gone.
    pub(crate) fn read(rig: &Rig, node: &Node) -> anyhow::Result<Vitals> {
        let snmp = rig.at_node(|| Ok(fs::read_to_string("/proc/thread-self/net/snmp")?))?;
        let smaps = format!("/proc/{}/smaps_rollup", node.dataplane());
        let smaps = fs::read_to_string(&smaps).with_context(|| format!("cannot read {smaps}"))?;
        let mut vitals = Vitals {
            overflowed: overflowed(&snmp).context("no UDP counters of the kernel")?,
            anonymous: anonymous(&smaps).context("no anonymous memory in smaps_rollup")?,
            ..Vitals::default()
        };
        vitals.read_log(node.log())?;
        Ok(vitals)
    }

    fn read_log(&mut self, log: &Path) -> anyhow::Result<()> {
        let text = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
        let text = String::from_utf8_lossy(&text);
        for line in text.lines() {
            self.log_lines += 1;
            self.panics += u64::from(line.contains("panicked"));
        }
        Ok(())
    }

    /// What has been counted since `earlier`; the memory stays what it is.
    pub(crate) fn since(&self, earlier: &Vitals) -> Vitals {
        Vitals {
            overflowed: self.overflowed.saturating_sub(earlier.overflowed),
            anonymous: self.anonymous,
            log_lines: self.log_lines.saturating_sub(earlier.log_lines),
            panics: self.panics.saturating_sub(earlier.panics),
        }
    }
}

/// Packets the data plane has dropped since it began, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drops(BTreeMap<String, u64>);

impl Drops {
    /// Reads its counters, once all that has happened until now is in them: a shard tells once a second.
    ///
    /// # Errors
    /// When the node does not answer.
    pub(crate) fn read(rig: &Rig, node: &Node) -> anyhow::Result<Drops> {
        std::thread::sleep(SAMPLED_WITHIN);
        let url = node.metrics_url();
        let metrics = rig.at_node(move || {
            let agent: Agent = Agent::config_builder()
                .timeout_global(Some(SCRAPE_TIMEOUT))
                .build()
                .into();
            Ok(agent.get(&url).call()?.body_mut().read_to_string()?)
        });
        Ok(Drops::of(&metrics.context("the data plane's metrics")?))
    }

    fn of(metrics: &str) -> Drops {
        let mut drops = Drops::default();
        for (name, labels, value) in metrics.lines().filter_map(sample) {
            let counts = matches!(
                name,
                "lectern_shard_dropped_total" | "lectern_dtls_dropped_total"
            );
            if let Some(reason) = label(labels, "reason").filter(|_| counts) {
                *drops.0.entry(reason.to_owned()).or_default() += value;
            }
        }
        drops
    }

    /// What has been dropped since `earlier`; reasons of nothing are left out.
    pub(crate) fn since(&self, earlier: &Drops) -> Drops {
        let dropped = self.0.iter().map(|(reason, &count)| {
            let before = earlier.0.get(reason).copied().unwrap_or(0);
            (reason.clone(), count.saturating_sub(before))
        });
        Drops(dropped.filter(|(_, count)| *count > 0).collect())
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The reason most packets were dropped for.
    pub(crate) fn main_reason(&self) -> Option<&str> {
        let most = self.0.iter().max_by_key(|(_, count)| **count)?;
        Some(most.0)
    }

    /// As it stands in the report.
    pub(crate) fn figures(&self) -> Value {
        self.0
            .iter()
            .map(|(reason, count)| (reason.clone(), json!(count)))
            .collect()
    }
}

/// Name, labels and value of a line of OpenMetrics text; fractions and comments are none.
fn sample(line: &str) -> Option<(&str, &str, u64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    Some((name, labels, value.parse().ok()?))
}

fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = labels.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

/// `RcvbufErrors` of the two `Udp:` lines, names and then values.
fn overflowed(snmp: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (lines.next()?, lines.next()?);
    names
        .split(' ')
        .zip(values.split(' '))
        .find(|(name, _)| *name == "RcvbufErrors")
        .and_then(|(_, value)| value.parse().ok())
}

pub(crate) fn anonymous(smaps: &str) -> Option<u64> {
    let line = smaps
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "\
# HELP lectern_shard_packets Datagrams received and sent.
lectern_shard_packets_total{shard=\"0\",direction=\"in\"} 40
lectern_shard_packets_total{shard=\"1\",direction=\"in\"} 2
lectern_shard_packets_total{shard=\"0\",direction=\"out\"} 900
lectern_shard_dropped_total{shard=\"0\",reason=\"unknown_path\"} 7
lectern_shard_dropped_total{shard=\"1\",reason=\"unknown_path\"} 1
lectern_shard_dropped_total{shard=\"0\",reason=\"srtp_auth\"} 3
lectern_dtls_dropped_total{reason=\"ignored\"} 2
lectern_shard_turn_seconds_sum 0.5
# EOF
";

    #[test]
    fn counters_are_added_over_shards_and_compared_with_the_reading_before() {
        let before = Drops::of(METRICS);
        assert_eq!(before.main_reason(), Some("unknown_path"));
        assert_eq!(before.total(), 13);
        let later = METRICS.replace("\"srtp_auth\"} 3", "\"srtp_auth\"} 103");
        let since = Drops::of(&later).since(&before);
        assert_eq!(since.figures(), json!({"srtp_auth": 100}));
        assert_eq!(Drops::default().main_reason(), None);
    }

    #[test]
    fn the_kernel_and_the_log_are_read_too() {
        let snmp = "Ip: A\nIp: 1\nUdp: InDatagrams RcvbufErrors SndbufErrors\nUdp: 5 17 0\n";
        assert_eq!(overflowed(snmp), Some(17));
        assert_eq!(overflowed("Tcp: x\n"), None);
        assert_eq!(
            anonymous("Rss:  99 kB\nAnonymous:       12 kB\n"),
            Some(12 << 10)
        );
        let log = tempfile::NamedTempFile::new().unwrap();
        fs::write(log.path(), "a\nthread 'shard-0' panicked at x\n").unwrap();
        let mut vitals = Vitals::default();
        vitals.read_log(log.path()).unwrap();
        assert_eq!((vitals.log_lines, vitals.panics), (2, 1));
    }
}
