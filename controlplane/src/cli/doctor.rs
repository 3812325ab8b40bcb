//! `lectern doctor`: can this host serve with this configuration, and what to do where it cannot.

mod certificate;
mod host;
mod node;
mod ports;
mod storage;

use std::path::Path;
use std::time::SystemTime;

use serde::Serialize;

use super::print;
use crate::config::{Config, Flags};

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

/// Runs every test and prints the table; the result is the worst verdict.
pub(super) fn run(flags: &Flags, json: bool) -> anyhow::Result<Verdict> {
    let (config, layers) = Config::load(flags)?;
    let mut rows = vec![storage::data_dir(&config), storage::disk(&config)];
    let running = node::running(&config);
    rows.extend(node::rows(running.as_ref(), &config));
    rows.extend(ports::tcp_ports(&config, running.is_some()));
    rows.push(ports::media_ports(&config, running.is_some()));
    match host::probe(&config, &layers) {
        Ok(probe) => rows.extend(host::host(&config, &probe)),
        Err(error) => rows.push(fail(
            "data plane",
            format!("{error:#}"),
            "install lectern-dataplane of the same version beside lectern",
        )),
    }
    rows.push(host::clock(SystemTime::now(), Path::new("/run")));
    rows.push(certificate::https(&config, SystemTime::now()));
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

#[cfg(test)]
mod tests;
