//! One supervised process: started until it says it is ready, watched, restarted, drained, stopped.
//!
//! What is watched is its end. A process that hangs is left alone: whoever stopped it may be looking at
//! it with a debugger, and to kill a data plane that hangs would end the classes that it may still save.

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
use super::pause::Pause;
use super::program::{OnDrain, Program};

/// Longest time from start to the ready line. A start takes a tenth of a second; names that are to be
/// resolved may take their resolver's timeout.
const READY_TIME_MAX: Duration = Duration::from_secs(20);

/// Longest time from the end of its standard input to its own end; then it is killed.
const STOP_TIME_MAX: Duration = Duration::from_millis(1_800);

/// Longest ready line, bytes: a thousand addresses.
const READY_BYTES_MAX: u64 = 64 * 1024;

/// A process that said it is ready.
#[derive(Debug)]
pub struct Child {
    program: Program,
    process: tokio::process::Child,
    /// Dropping it tells the process to end.
    stdin: Option<ChildStdin>,
    /// Held, so that a late word of the process does not meet a closed pipe.
    stdout: BufReader<ChildStdout>,
    ready_at: Instant,
}

impl Child {
    /// Starts the program and waits for its ready line; `None` when an order to end came first. In that
    /// case, and after an error, the process is gone.
    ///
    /// # Errors
    /// When it cannot be run, ends before it is ready, or takes longer than 20 s.
    pub async fn start<R: DeserializeOwned>(
        program: Program,
        orders: &mut watch::Receiver<Order>,
    ) -> anyhow::Result<Option<(Child, R)>> {
        let name = program.name();
        let on_drain = program.on_drain();
        let mut process = Command::new(program.binary())
            .args(program.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Its own group: Ctrl-C reaches this process only, which then stops both in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", program.binary().display()))?;
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
            ready_at: Instant::now(),
        };
        let line = tokio::select! {
            line = timeout(READY_TIME_MAX, child.read_line()) => line,
            () = unwanted(orders, on_drain) => {
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
            child.ready_at = Instant::now();
            return Ok(Some((child, ready)));
        }
        let binary = child.program.binary().to_owned();
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

    /// Changes what an order to drain means from now on.
    pub fn set_on_drain(&mut self, on_drain: OnDrain) {
        self.program.set_on_drain(on_drain);
    }

    /// Watches the process and restarts it when it dies, until it is told to stop or has ended by a
    /// drain.
    pub async fn keep<R: DeserializeOwned>(mut self, mut orders: watch::Receiver<Order>) {
        let mut pause = Pause::default();
        let mut restarts: u64 = 0;
        let mut told = Order::Run { hangups: 0 };
        loop {
            tokio::select! {
                status = self.process.wait() => {
                    let reason = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                    if self.ends_by_drain(told) {
                        tracing::info!(reason, "the {} has drained", self.program.name());
                        return;
                    }
                    pause.on_end(self.ready_at.elapsed());
                    restarts += 1;
                    match restart::<R>(self.program, &mut pause, &mut orders, &reason, restarts).await {
                        Some(child) => self = child,
                        None => return,
                    }
                }
                order = next(&mut orders) => {
                    if order == Order::Stop {
                        self.stop().await;
                        return;
                    }
                    self.tell(told, order);
                    told = order;
                }
            }
        }
    }

    fn ends_by_drain(&self, told: Order) -> bool {
        matches!(told, Order::Drain { .. }) && self.program.on_drain() == OnDrain::End
    }

    /// Passes on what is new in an order by the signal that says it.
    fn tell(&self, before: Order, now: Order) {
        if now.hangups() != before.hangups() {
            self.signal(Signal::HUP);
        }
        if self.ends_by_drain(now) && !self.ends_by_drain(before) {
            self.signal(Signal::TERM);
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = self
            .process
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid
            && let Err(error) = kill_process(pid, signal)
        {
            let name = self.program.name();
            tracing::warn!(%error, "cannot send signal {} to the {name}", signal.as_raw());
        }
    }

    /// Ends the process, by its standard input, else by force; how it ended.
    pub(super) async fn stop(mut self) -> Option<ExitStatus> {
        drop(self.stdin.take());
        if let Ok(status) = timeout(STOP_TIME_MAX, self.process.wait()).await {
            return status.ok();
        }
        let name = self.program.name();
        tracing::warn!("the {name} does not stop; killing it");
        if let Err(error) = self.process.kill().await {
            tracing::error!(%error, "cannot kill the {name}");
        }
        None
    }
}

/// Tries until the process is ready again; `None` when it is no longer wanted. `reason` is how it ended,
/// `restarts` how often it has by now.
async fn restart<R: DeserializeOwned>(
    program: Program,
    pause: &mut Pause,
    orders: &mut watch::Receiver<Order>,
    reason: &str,
    restarts: u64,
) -> Option<Child> {
    let name = program.name();
    let ended = Instant::now();
    tracing::error!(
        reason,
        restarts,
        "the {name} ended by itself; starting it again"
    );
    loop {
        tokio::select! {
            () = sleep(pause.before_start()) => {}
            () = unwanted(orders, program.on_drain()) => return None,
        }
        match Child::start::<R>(program.clone(), orders).await {
            Ok(None) => return None,
            Ok(Some((child, _))) => {
                let took_ms = millis(ended.elapsed());
                tracing::info!(reason, restarts, took_ms, "the {name} is ready again");
                return Some(child);
            }
            Err(error) => {
                let again_ms = millis(pause.coming());
                tracing::error!(again_ms, "{error:#}");
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The next order; a supervisor that is gone means to stop.
pub(super) async fn next(orders: &mut watch::Receiver<Order>) -> Order {
    match orders.changed().await {
        Ok(()) => *orders.borrow_and_update(),
        Err(_) => Order::Stop,
    }
}

/// Returns when a process that is not ready need not become so.
async fn unwanted(orders: &mut watch::Receiver<Order>, on_drain: OnDrain) {
    // An error means that the supervisor is gone, which is a stop too.
    let _ended = orders
        .wait_for(|order| match order {
            Order::Run { .. } => false,
            Order::Drain { .. } => on_drain == OnDrain::End,
            Order::Stop => true,
        })
        .await
        .is_err();
}

#[cfg(test)]
pub(super) mod tests;
