//! One supervised process: started until it says it is ready, watched, restarted, stopped.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::Order;

/// Longest time from start to the ready line. A start takes a tenth of a second; names that are to be
/// resolved may take their resolver's timeout.
const READY_TIME_MAX: Duration = Duration::from_secs(20);

/// Longest time from the end of its standard input to its own end; then it is killed.
const STOP_TIME_MAX: Duration = Duration::from_millis(1_800);

/// Pause before a restart: none at first, because people are waiting, then longer and longer for a
/// process that dies at once each time.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(5));

/// A process that lived this long had not failed at its start.
const HEALTHY_TIME: Duration = Duration::from_secs(10);

/// Longest ready line, bytes: a thousand addresses.
const READY_BYTES_MAX: u64 = 64 * 1024;

/// What to run.
#[derive(Clone, Debug)]
pub struct Program {
    /// How messages call it.
    name: &'static str,
    binary: PathBuf,
    words: Vec<String>,
    settings: Vec<(String, String)>,
}

impl Program {
    /// This binary without settings.
    #[must_use]
    pub fn new(name: &'static str, binary: PathBuf) -> Program {
        Program {
            name,
            binary,
            words: Vec::new(),
            settings: Vec::new(),
        }
    }

    /// Adds a word before the settings.
    pub fn word(&mut self, word: &str) {
        self.words.push(word.to_owned());
    }

    /// Gives a setting this value, whatever it had before.
    pub fn set(&mut self, name: &str, text: &str) {
        let flag = name.replace('_', "-");
        self.settings.retain(|(other, _)| *other != flag);
        self.settings.push((flag, text.to_owned()));
    }

    /// The command line behind the binary.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let fixed = ["--json".to_owned(), "--exit-with-stdin".to_owned()];
        let settings = self
            .settings
            .iter()
            .map(|(flag, text)| format!("--{flag}={text}"));
        self.words
            .iter()
            .cloned()
            .chain(fixed)
            .chain(settings)
            .collect()
    }
}

/// A process that said it is ready.
#[derive(Debug)]
pub struct Child {
    program: Program,
    process: tokio::process::Child,
    /// Dropping it tells the process to end.
    stdin: Option<ChildStdin>,
    /// Held, so that a late word of the process does not meet a closed pipe.
    stdout: BufReader<ChildStdout>,
    started: Instant,
}

impl Child {
    /// Starts the program and waits for its ready line; `None` when the order to stop came first. In that
    /// case, and after an error, the process is gone.
    ///
    /// # Errors
    /// When it cannot be run, ends before it is ready, or takes longer than 20 s.
    pub async fn start<R: DeserializeOwned>(
        program: Program,
        orders: &mut watch::Receiver<Order>,
    ) -> anyhow::Result<Option<(Child, R)>> {
        let name = program.name;
        let mut process = Command::new(&program.binary)
            .args(program.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Its own group: Ctrl-C reaches this process only, which then stops both in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", program.binary.display()))?;
        let stdin = process.stdin.take();
        let stdout = process
            .stdout
            .take()
            .context("invariant: standard output is a pipe")?;
        let mut child = Child {
            program,
            process,
            stdin,
            stdout: BufReader::new(stdout),
            started: Instant::now(),
        };
        let line = tokio::select! {
            line = timeout(READY_TIME_MAX, child.read_line()) => line,
            () = stopped(orders) => {
                child.stop().await;
                return Ok(None);
            }
        };
        let Ok(line) = line else {
            child.stop().await;
            bail!(
                "the {name} is not ready after {} s",
                READY_TIME_MAX.as_secs()
            );
        };
        if let Ok(ready) = serde_json::from_str(&line) {
            return Ok(Some((child, ready)));
        }
        let binary = child.program.binary.clone();
        match child.stop().await {
            // An empty line is the end of the output: it ended by itself.
            Some(status) if line.is_empty() => {
                bail!("the {name} did not start ({status}); its own message stands above")
            }
            _ => bail!(
                "{} is no {name} of this version: it does not say that it is ready",
                binary.display()
            ),
        }
    }

    /// One line of bounded length; empty when the process ended without one.
    async fn read_line(&mut self) -> String {
        let mut line = String::new();
        let mut bounded = (&mut self.stdout).take(READY_BYTES_MAX);
        if let Err(error) = bounded.read_line(&mut line).await {
            tracing::debug!(%error, "no ready line");
        }
        line
    }

    /// Gives a setting this value in every later start: a port that the kernel chose stays.
    pub fn pin(&mut self, name: &str, text: &str) {
        self.program.set(name, text);
    }

    /// Watches the process until the order is to stop; restarts it when it dies.
    pub async fn keep<R: DeserializeOwned>(mut self, mut orders: watch::Receiver<Order>) {
        let mut pause = PAUSE.0;
        loop {
            tokio::select! {
                status = self.process.wait() => {
                    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                    if self.started.elapsed() >= HEALTHY_TIME {
                        pause = PAUSE.0;
                    }
                    tracing::error!(
                        status,
                        "the {} ended by itself; starting it again", self.program.name
                    );
                    match restart::<R>(self.program, &mut pause, &mut orders).await {
                        Some(child) => self = child,
                        None => return,
                    }
                }
                order = next(&mut orders) => match order {
                    Order::Run { .. } => self.hang_up(),
                    Order::Stop => {
                        self.stop().await;
                        return;
                    }
                },
            }
        }
    }

    /// Passes SIGHUP on.
    fn hang_up(&self) {
        let pid = self
            .process
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid
            && let Err(error) = kill_process(pid, Signal::HUP)
        {
            tracing::warn!(%error, "cannot pass SIGHUP on to the {}", self.program.name);
        }
    }

    /// Ends the process, by its standard input, else by force; how it ended.
    pub(super) async fn stop(mut self) -> Option<ExitStatus> {
        drop(self.stdin.take());
        if let Ok(status) = timeout(STOP_TIME_MAX, self.process.wait()).await {
            return status.ok();
        }
        tracing::warn!("the {} does not stop; killing it", self.program.name);
        if let Err(error) = self.process.kill().await {
            tracing::error!(%error, "cannot kill the {}", self.program.name);
        }
        None
    }
}

/// Tries until the process is ready again; `None` when the order is to stop.
async fn restart<R: DeserializeOwned>(
    program: Program,
    pause: &mut Duration,
    orders: &mut watch::Receiver<Order>,
) -> Option<Child> {
    loop {
        tokio::select! {
            () = sleep(*pause) => {}
            () = stopped(orders) => return None,
        }
        *pause = PAUSE.1.min(*pause * 4);
        match Child::start::<R>(program.clone(), orders).await {
            Ok(None) => return None,
            Ok(Some((child, _))) => {
                tracing::info!("the {} is ready again", program.name);
                return Some(child);
            }
            Err(error) => {
                let again_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                tracing::error!(again_ms, "{error:#}");
            }
        }
    }
}

/// The next order; a supervisor that is gone means to stop.
pub(super) async fn next(orders: &mut watch::Receiver<Order>) -> Order {
    match orders.changed().await {
        Ok(()) => *orders.borrow_and_update(),
        Err(_) => Order::Stop,
    }
}

async fn stopped(orders: &mut watch::Receiver<Order>) {
    // An error means that the supervisor is gone, which is a stop too.
    let _ended = orders
        .wait_for(|order| *order == Order::Stop)
        .await
        .is_err();
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    struct Said {
        start: u32,
    }

    /// A program of a few lines that counts its starts in `n` and in a file.
    fn script(dir: &tempfile::TempDir, body: &str) -> Program {
        let count = dir.path().join("count");
        let text = format!(
            "n=$(($(cat {count} 2>/dev/null || echo 0) + 1)); echo $n > {count}\n{body}",
            count = count.display()
        );
        let mut program = Program::new("test program", PathBuf::from("/bin/sh"));
        for word in ["-c", &text, "sh"] {
            program.word(word);
        }
        program
    }

    async fn start(program: Program) -> (Child, Said) {
        let (_orders, mut receiver) = watch::channel(Order::Run { hangups: 0 });
        Child::start(program, &mut receiver).await.unwrap().unwrap()
    }

    fn starts(dir: &tempfile::TempDir) -> u32 {
        let text = std::fs::read_to_string(dir.path().join("count")).unwrap();
        // Empty in the moment in which the program writes it.
        text.trim().parse().unwrap_or(0)
    }

    #[tokio::test]
    async fn a_process_is_ready_when_it_says_so_and_ends_with_its_standard_input() {
        let dir = tempfile::tempdir().unwrap();
        let program = script(&dir, "echo \"{\\\"start\\\":$n}\"; cat >/dev/null");
        let (child, said) = start(program).await;
        assert_eq!(said.start, 1);
        let (orders, receiver) = watch::channel(Order::Run { hangups: 0 });
        let kept = tokio::spawn(child.keep::<Said>(receiver));
        orders.send_replace(Order::Stop);
        timeout(Duration::from_secs(5), kept)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(starts(&dir), 1);
    }

    #[tokio::test]
    async fn a_process_that_dies_is_started_again() {
        let dir = tempfile::tempdir().unwrap();
        // Dies at its first two starts, right after it said that it is ready.
        let program = script(
            &dir,
            "echo \"{\\\"start\\\":$n}\"; [ $n -lt 3 ] && exit 7; cat >/dev/null",
        );
        let (child, _) = start(program).await;
        let (orders, receiver) = watch::channel(Order::Run { hangups: 0 });
        let kept = tokio::spawn(child.keep::<Said>(receiver));
        timeout(Duration::from_secs(5), async {
            while starts(&dir) < 3 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        orders.send_replace(Order::Stop);
        timeout(Duration::from_secs(5), kept)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(starts(&dir), 3);
    }

    #[tokio::test]
    async fn a_process_that_ends_before_it_is_ready_is_an_error_with_its_status() {
        let dir = tempfile::tempdir().unwrap();
        let (_orders, mut receiver) = watch::channel(Order::Run { hangups: 0 });
        let failed = Child::start::<Said>(script(&dir, "exit 3"), &mut receiver).await;
        let error = failed.unwrap_err().to_string();
        assert_eq!(
            error,
            "the test program did not start (exit status: 3); its own message stands above"
        );
    }

    #[tokio::test]
    async fn a_stop_during_the_start_leaves_no_process() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let program = script(
            &dir,
            &format!("echo $$ > {}; cat >/dev/null", pid.display()),
        );
        let (orders, mut receiver) = watch::channel(Order::Run { hangups: 0 });
        let starting = Child::start::<Said>(program, &mut receiver);
        let stopping = async {
            while std::fs::read_to_string(&pid).map_or(true, |text| text.is_empty()) {
                tokio::task::yield_now().await;
            }
            orders.send_replace(Order::Stop);
        };
        let (started, ()) = tokio::join!(starting, stopping);
        assert!(started.unwrap().is_none());
        let pid = std::fs::read_to_string(&pid).unwrap();
        assert!(
            !std::path::Path::new("/proc").join(pid.trim()).exists(),
            "reaped, not a zombie"
        );
    }

    #[test]
    fn a_pinned_setting_replaces_the_first_one() {
        let mut program = Program::new("x", PathBuf::from("x"));
        program.word("controlplane");
        program.set("http", "127.0.0.1:0");
        program.set("http", "127.0.0.1:8080");
        program.set("log_level", "info");
        assert_eq!(
            program.arguments(),
            [
                "controlplane",
                "--json",
                "--exit-with-stdin",
                "--http=127.0.0.1:8080",
                "--log-level=info"
            ]
        );
    }
}
