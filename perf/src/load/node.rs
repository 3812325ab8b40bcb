//! A node of our own: started for the run, asked where it listens, ended with it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;

use crate::cpu::{self, Affinity, CpuTime};

/// How long a node may take until it says that it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a node may take to end after SIGINT; it promises 2 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How to start it.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The program, when named on the command line.
    pub(crate) program: Option<PathBuf>,
    /// Address for HTTP and media.
    pub(crate) address: IpAddr,
    /// Processor of its one shard.
    pub(crate) cpu: usize,
    /// Processors of everything else in it.
    pub(crate) affinity: Affinity,
    /// `auto`, `uring` or `mmsg`.
    pub(crate) edge: String,
    /// Where its log goes; into its data when not named.
    pub(crate) log: Option<PathBuf>,
    pub(crate) log_level: &'static str,
}

/// A running node. Dropping it ends it and removes its data.
#[derive(Debug)]
pub(crate) struct Node {
    child: Child,
    program: PathBuf,
    data: TempDir,
    log: PathBuf,
    ready: Ready,
}

/// The line `lectern up --json` prints when it is ready; fields not used here are left out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Ready {
    version: String,
    http: String,
    /// Where the control plane's health is.
    ops: SocketAddr,
    /// Where the data plane's metrics are.
    media_ops: SocketAddr,
    pids: Pids,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
struct Pids {
    dataplane: u32,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    Publish,
    Subscribe,
    /// For somebody who is neither of these and may end anybody's session.
    Moderate,
}

impl Node {
    /// Starts a node with one shard and waits until it is ready.
    ///
    /// # Errors
    /// When there is no program, or it ends, or is not ready in time: with the last lines it wrote.
    pub(crate) fn start(options: &Options) -> anyhow::Result<Node> {
        let program = find_program(options.program.as_deref())?;
        let data = tempfile::Builder::new().prefix("lectern-perf-").tempdir()?;
        let log_path = options
            .log
            .clone()
            .unwrap_or_else(|| data.path().join("node.log"));
        let log = File::create(&log_path)
            .with_context(|| format!("cannot write {}", log_path.display()))?;
        let mut command = Command::new(&program);
        forget_settings(&mut command);
        command
            .args(arguments(options, data.path()))
            .current_dir(data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = spawn(&mut command, &options.affinity)
            .with_context(|| format!("cannot start {}", program.display()))?;
        let line = first_line(&mut child);
        let ready = line.and_then(|line| {
            serde_json::from_str(&line).with_context(|| format!("not a ready line: {line:?}"))
        });
        match ready {
            Ok(ready) => Ok(Node {
                child,
                program,
                data,
                log: log_path,
                ready,
            }),
            Err(error) => {
                stop(&mut child);
                Err(error.context(format!(
                    "{} up: {}",
                    program.display(),
                    last_lines(&log_path)
                )))
            }
        }
    }

    /// The base URL of its HTTP interface.
    pub(crate) fn url(&self) -> String {
        if self.ready.http.contains("://") {
            self.ready.http.clone()
        } else {
            format!("http://{}", self.ready.http)
        }
    }

    /// Its version.
    pub(crate) fn version(&self) -> &str {
        &self.ready.version
    }

    /// Where its data plane answers `/metrics`, as seen from beside it.
    pub(crate) fn metrics_url(&self) -> String {
        format!("http://{}/metrics", self.ready.media_ops)
    }

    /// The data plane's process.
    pub(crate) fn dataplane(&self) -> u32 {
        self.ready.pids.dataplane
    }

    /// The supervisor of both processes.
    pub(crate) fn supervisor(&self) -> u32 {
        self.child.id()
    }

    /// Where the control plane's health is.
    pub(crate) fn ops(&self) -> SocketAddr {
        self.ready.ops
    }

    /// Where the data plane's health is.
    pub(crate) fn media_ops(&self) -> SocketAddr {
        self.ready.media_ops
    }

    /// The file both processes log to.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// CPU time all threads of its data plane have used.
    ///
    /// # Errors
    /// When the process is gone.
    pub(crate) fn cpu(&self) -> anyhow::Result<CpuTime> {
        cpu::of_process(self.ready.pids.dataplane).context("the node's data plane")
    }

    /// A fresh room token.
    ///
    /// # Errors
    /// When the program refuses.
    pub(crate) fn token(&self, room: &str, grant: Grant) -> anyhow::Result<String> {
        token(&self.program, self.data.path(), room, grant, &[])
    }
}

/// A fresh room token of the keys in `data`, made in this environment.
///
/// # Errors
/// When the program refuses.
pub(crate) fn token(
    program: &Path,
    data: &Path,
    room: &str,
    grant: Grant,
    environment: &[(String, String)],
) -> anyhow::Result<String> {
    let (role, flag, who) = match grant {
        Grant::Publish => ("teacher", "--publish", "publisher"),
        Grant::Subscribe => ("viewer", "--subscribe", "viewer"),
        Grant::Moderate => ("teacher", "--subscribe", "moderator"),
    };
    let mut command = Command::new(program);
    forget_settings(&mut command);
    let output = command
        .arg("token")
        .arg("--data-dir")
        .arg(data)
        .args(["--role", role, "--room", room, flag])
        // The same person each time: a later token opens the sessions of an earlier one.
        .args(["--identity", &format!("{who}-of-{room}")])
        .envs(environment.iter().cloned())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {} token", program.display()))?;
    let token = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || token.is_empty() {
        bail!(
            "lectern token: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(token)
}

impl Drop for Node {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

fn arguments(options: &Options, data: &Path) -> Vec<OsString> {
    let address = options.address.to_string();
    let listen = SocketAddr::new(options.address, 0).to_string();
    let cpu = options.cpu.to_string();
    let settings: [(&str, &OsStr); 11] = [
        ("--data-dir", data.as_os_str()),
        ("--http", listen.as_ref()),
        ("--ops", "127.0.0.1:0".as_ref()),
        ("--media-ops", "127.0.0.1:0".as_ref()),
        ("--media-port", "0".as_ref()),
        ("--advertise", address.as_ref()),
        ("--shards", "1".as_ref()),
        ("--cpus", cpu.as_ref()),
        ("--edge", options.edge.as_ref()),
        ("--log-format", "text".as_ref()),
        ("--log-level", options.log_level.as_ref()),
    ];
    ["up", "--json"]
        .into_iter()
        .map(OsString::from)
        .chain(
            settings
                .iter()
                .flat_map(|(flag, value)| [OsString::from(flag), value.into()]),
        )
        .collect()
}

/// The caller's environment must not decide what is measured.
pub(crate) fn forget_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LECTERN_") {
            command.env_remove(name);
        }
    }
}

/// The program that was named, else the one beside this program, else the one in the PATH.
pub(crate) fn find_program(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(named) = named {
        return named
            .canonicalize()
            .with_context(|| format!("no program at {}", named.display()));
    }
    let beside = std::env::current_exe()?.with_file_name("lectern");
    let in_path = std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .map(|directory| directory.join("lectern"))
        .find(|candidate| candidate.is_file());
    Some(beside)
        .filter(|candidate| candidate.is_file())
        .or(in_path)
        .context("no `lectern` beside this program or in the PATH: build it (cargo build --release) or name it with --node")
}

/// Starts a process that may use the given processors: it inherits those of the thread that starts it.
pub(crate) fn spawn(command: &mut Command, affinity: &Affinity) -> anyhow::Result<Child> {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                affinity.restore()?;
                Ok(command.spawn()?)
            })
            .join()
            .unwrap_or_else(|_| bail!("the starting thread panicked"))
    })
}

/// Waits for the first line of the child's standard output, and keeps reading the rest away.
pub(crate) fn first_line(child: &mut Child) -> anyhow::Result<String> {
    let stdout = child
        .stdout
        .take()
        .context("the node's standard output is not piped")?;
    let (sender, line) = mpsc::channel();
    std::thread::Builder::new()
        .name("node-output".to_owned())
        .spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _only_the_first_is_awaited = sender.send(line);
            }
        })?;
    match line.recv_timeout(READY_TIMEOUT) {
        Ok(line) => Ok(line),
        Err(mpsc::RecvTimeoutError::Timeout) => bail!("not ready after {READY_TIMEOUT:?}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => bail!("it ended before it was ready"),
    }
}

/// SIGINT, patience, SIGKILL.
pub(crate) fn stop(child: &mut Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _gone_already = kill_process(pid, Signal::INT);
    }
    let deadline = Instant::now() + STOP_TIMEOUT;
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _gone_already = child.kill();
    let _status = child.wait();
}

pub(crate) fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// A script in place of the node.
    fn script(body: &str) -> (TempDir, Options) {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("lectern");
        std::fs::write(&program, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let options = Options {
            program: Some(program),
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            cpu: 0,
            affinity: Affinity::current().unwrap(),
            edge: "auto".to_owned(),
            log: None,
            log_level: "warn",
        };
        (directory, options)
    }

    const READY: &str = r#"{"version":"0.1.0","http":"127.0.0.1:8080","ops":"127.0.0.1:1","media_ops":"127.0.0.1:2","media":["127.0.0.1:40000"],"data_dir":"/x","pids":{"controlplane":1,"dataplane":$$},"links":{}}"#;

    #[test]
    fn a_node_is_started_asked_and_ended() {
        let body = format!(
            "[ \"$1\" = token ] && {{ echo \"tok-$5-$7-$8\"; exit 0; }}\necho \"{}\"\nexec sleep 60",
            READY.replace('"', "\\\"")
        );
        let (_directory, options) = script(&body);
        let node = Node::start(&options).unwrap();
        assert_eq!(node.url(), "http://127.0.0.1:8080");
        assert_eq!(node.version(), "0.1.0");
        assert_eq!(node.ready.pids.dataplane, node.child.id());
        assert!(node.cpu().is_ok());
        assert_eq!(
            node.token("r", Grant::Publish).unwrap(),
            "tok-teacher-r---publish"
        );
        let data = node.data.path().to_owned();
        let pid = node.child.id();
        drop(node);
        assert!(!data.exists());
        assert!(cpu::of_process(pid).is_err(), "it has ended");
    }

    #[test]
    fn a_node_that_fails_says_why() {
        let (_directory, options) = script("echo 'port 40000 is in use' >&2; exit 1");
        let error = format!("{:#}", Node::start(&options).unwrap_err());
        assert!(error.contains("ended before it was ready"), "{error}");
        assert!(error.contains("port 40000 is in use"), "{error}");
    }
}
