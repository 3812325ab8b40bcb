//! A node whose processes can be done something to: as `lectern up` runs them, or one by one as the units of
//! an operating system do.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;

use crate::cpu::{Affinity, Cores};
use crate::load::node::{self, Grant, Node};

/// How long a process may take to be gone after SIGKILL, or after another took over from it.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Which of the two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Controlplane,
    Dataplane,
}

/// How the node is started.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) program: Option<PathBuf>,
    pub(crate) edge: String,
    pub(crate) log: Option<PathBuf>,
    pub(crate) cores: Cores,
    pub(crate) affinity: Affinity,
    /// What its processes find in their environment.
    pub(crate) environment: Vec<(String, String)>,
}

/// A running node.
#[derive(Debug)]
pub(crate) enum Host {
    /// A supervisor restarts what dies.
    Supervised(Box<Node>),
    /// Nobody does.
    Units(Box<Units>),
}

/// Processes started one by one.
#[derive(Debug)]
pub(crate) struct Units {
    options: Options,
    program: PathBuf,
    dataplane: Unit,
    media_ops: SocketAddr,
    controlplane: Unit,
    web: WebReady,
    /// Of the present control plane; the link stays in the first.
    data: PathBuf,
    dirs: Vec<TempDir>,
}

/// A process that ends with this.
#[derive(Debug)]
struct Unit(Child);

impl Drop for Unit {
    fn drop(&mut self) {
        node::stop(&mut self.0);
    }
}

#[derive(Clone, Debug, Deserialize)]
struct WebReady {
    http: SocketAddr,
    ops: SocketAddr,
}

#[derive(Clone, Debug, Deserialize)]
struct MediaReady {
    media_ops: SocketAddr,
}

impl Host {
    /// `lectern up`.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) fn supervised(options: &Options) -> anyhow::Result<Host> {
        let options = node::Options {
            program: options.program.clone(),
            address: Ipv4Addr::LOCALHOST.into(),
            cpu: options.cores.measured,
            affinity: options.affinity.clone(),
            edge: options.edge.clone(),
            log: options.log.clone(),
            log_level: "info",
        };
        Ok(Host::Supervised(Box::new(Node::start(&options)?)))
    }

    /// A data plane, and a control plane whose data is in `data`, or in a directory of its own.
    ///
    /// # Errors
    /// When one of them is not ready in time.
    pub(crate) fn units(options: &Options, data: Option<&Path>) -> anyhow::Result<Host> {
        let program = node::find_program(options.program.as_deref())?;
        let own = tempfile::Builder::new().prefix("lectern-perf-").tempdir()?;
        let data = data.unwrap_or(own.path()).to_owned();
        let dirs = vec![own];
        let link = dirs[0].path().join("link.sock");
        let cpu = options.cores.measured.to_string();
        let settings: [(&str, &OsStr); 9] = [
            ("--data-dir", data.as_os_str()),
            ("--link", link.as_os_str()),
            ("--media-ops", "127.0.0.1:0".as_ref()),
            ("--media-port", "0".as_ref()),
            ("--advertise", "127.0.0.1".as_ref()),
            ("--shards", "1".as_ref()),
            ("--cpus", cpu.as_ref()),
            ("--edge", options.edge.as_ref()),
            ("--log-format", "text".as_ref()),
        ];
        let media = program.with_file_name("lectern-dataplane");
        let mut command = Command::new(&media);
        command.arg("--json").args(flags(&settings));
        let (dataplane, ready) = start::<MediaReady>(command, options, &dirs[0])?;
        let (controlplane, web) = web(&program, &data, &link, options, &dirs[0])?;
        Ok(Host::Units(Box::new(Units {
            options: options.clone(),
            program,
            dataplane,
            media_ops: ready.media_ops,
            controlplane,
            web,
            data,
            dirs,
        })))
    }

    /// The base URL of its HTTP interface, which a take-over changes.
    pub(crate) fn url(&self) -> String {
        match self {
            Host::Supervised(node) => node.url(),
            Host::Units(units) => format!("http://{}", units.web.http),
        }
    }

    /// Where a process tells how it is.
    pub(crate) fn ops(&self, of: Life) -> String {
        let address = match (self, of) {
            (Host::Supervised(node), Life::Controlplane) => node.ops(),
            (Host::Supervised(node), Life::Dataplane) => node.media_ops(),
            (Host::Units(units), Life::Controlplane) => units.web.ops,
            (Host::Units(units), Life::Dataplane) => units.media_ops,
        };
        format!("http://{address}")
    }

    /// The process now.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn pid(&self, of: Life) -> anyhow::Result<u32> {
        match (self, of) {
            (Host::Units(units), Life::Controlplane) => Ok(units.controlplane.0.id()),
            (Host::Units(units), Life::Dataplane) => Ok(units.dataplane.0.id()),
            (Host::Supervised(node), of) => child_of(node.supervisor(), of),
        }
    }

    /// Sends a signal to one of the processes.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn signal(&self, of: Life, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid(of)?)?;
        let pid = Pid::from_raw(pid).context("invariant: a process has a number")?;
        Ok(kill_process(pid, signal)?)
    }

    /// A fresh room token.
    ///
    /// # Errors
    /// When the program refuses.
    pub(crate) fn token(&self, room: &str, grant: Grant) -> anyhow::Result<String> {
        match self {
            Host::Supervised(node) => node.token(room, grant),
            Host::Units(units) => {
                let (program, data) = (&units.program, &units.data);
                node::token(program, data, room, grant, &units.options.environment)
            }
        }
    }

    /// The units, where there are some.
    ///
    /// # Errors
    /// Under a supervisor.
    pub(crate) fn as_units(&mut self) -> anyhow::Result<&mut Units> {
        match self {
            Host::Units(units) => Ok(units),
            Host::Supervised(_) => bail!("invariant: this chapter has units"),
        }
    }
}

impl Units {
    /// Starts a control plane with a data directory that holds nothing but the keys, and waits until the one
    /// before it has ended: of `before`, or because the new one took over.
    ///
    /// # Errors
    /// When the new one does not become ready, or the old one stays.
    pub(crate) fn replace(
        &mut self,
        program: Option<&Path>,
        before: Option<Signal>,
    ) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let fresh = tempfile::Builder::new().prefix("lectern-perf-").tempdir()?;
        fs::copy(self.data.join("keys.json"), fresh.path().join("keys.json"))
            .context("cannot copy the keys")?;
        let data = fresh.path().to_owned();
        self.dirs.push(fresh);
        self.start_again(program, data, before)?;
        Ok(begun.elapsed())
    }

    /// The same with the data directory of before.
    ///
    /// # Errors
    /// As [`Units::replace`].
    pub(crate) fn restart(&mut self, before: Option<Signal>) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.start_again(None, self.data.clone(), before)?;
        Ok(begun.elapsed())
    }

    fn start_again(
        &mut self,
        program: Option<&Path>,
        data: PathBuf,
        before: Option<Signal>,
    ) -> anyhow::Result<()> {
        if let Some(signal) = before {
            let pid = Pid::from_child(&self.controlplane.0);
            kill_process(pid, signal)?;
        }
        let link = self.dirs[0].path().join("link.sock");
        let program = program.unwrap_or(&self.program);
        let (mut unit, web) = web(program, &data, &link, &self.options, &self.dirs[0])?;
        std::mem::swap(&mut unit, &mut self.controlplane);
        (self.web, self.data) = (web, data);
        let deadline = Instant::now() + END_TIMEOUT;
        while matches!(unit.0.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                bail!("the control plane of before did not end although another took over");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

fn web(
    program: &Path,
    data: &Path,
    link: &Path,
    options: &Options,
    logs: &TempDir,
) -> anyhow::Result<(Unit, WebReady)> {
    let settings: [(&str, &OsStr); 5] = [
        ("--data-dir", data.as_os_str()),
        ("--link", link.as_os_str()),
        ("--http", "127.0.0.1:0".as_ref()),
        ("--ops", "127.0.0.1:0".as_ref()),
        ("--log-format", "text".as_ref()),
    ];
    let mut command = Command::new(program);
    command
        .args(["controlplane", "--json"])
        .args(flags(&settings));
    start(command, options, logs)
}

fn flags<'a>(settings: &'a [(&str, &'a OsStr)]) -> impl Iterator<Item = &'a OsStr> {
    settings
        .iter()
        .flat_map(|(flag, value)| [OsStr::new(*flag), *value])
}

fn start<R: for<'a> Deserialize<'a>>(
    mut command: Command,
    options: &Options,
    logs: &TempDir,
) -> anyhow::Result<(Unit, R)> {
    let path = options
        .log
        .clone()
        .unwrap_or_else(|| logs.path().join("units.log"));
    let log = File::options().create(true).append(true).open(&path)?;
    node::forget_settings(&mut command);
    command
        .envs(options.environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    let child = node::spawn(&mut command, &options.affinity)
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let mut unit = Unit(child);
    let line = node::first_line(&mut unit.0)
        .with_context(|| format!("{:?}: {}", command.get_program(), node::last_lines(&path)))?;
    let ready =
        serde_json::from_str(&line).with_context(|| format!("not a ready line: {line:?}"))?;
    Ok((unit, ready))
}

/// The child of a supervisor that is one of the two; it changes with every restart.
fn child_of(supervisor: u32, life: Life) -> anyhow::Result<u32> {
    let threads = fs::read_dir(format!("/proc/{supervisor}/task"))?;
    for thread in threads {
        let children = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace() {
            let line = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            let is_media = line
                .split('\0')
                .next()
                .is_some_and(|program| program.ends_with("lectern-dataplane"));
            let found = match life {
                Life::Controlplane => line.contains("\0controlplane\0"),
                Life::Dataplane => is_media,
            };
            if found {
                return Ok(child.parse()?);
            }
        }
    }
    bail!("the supervisor has no such child now: {life:?}")
}
