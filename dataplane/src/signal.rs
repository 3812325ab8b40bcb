//! Signals and the supervisor's pipe, as requests for a later phase.

use std::io::Read;
use std::thread;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::lifetime::Phase;

/// What arrives from outside the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Go on to this phase.
    Phase(Phase),
    /// SIGHUP: read the log level again.
    Reload,
}

/// The process's signal handlers.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    stdin: Option<mpsc::Receiver<()>>,
    terminated: bool,
}

impl Signals {
    /// Installs the handlers. With `exit_with_stdin`, the end of standard input counts as SIGINT: the
    /// kernel closes the pipe when the supervisor dies, however it dies.
    ///
    /// # Errors
    /// When the kernel refuses a handler.
    pub(crate) fn install(exit_with_stdin: bool) -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            stdin: exit_with_stdin.then(watch_stdin).transpose()?,
            terminated: false,
        })
    }

    /// The next request. The first SIGTERM drains, the second stops; SIGINT stops at once.
    pub(crate) async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => {
                let phase = if self.terminated { Phase::Stopping } else { Phase::Draining };
                self.terminated = true;
                tracing::info!(?phase, "SIGTERM");
                Request::Phase(phase)
            }
            _ = self.interrupt.recv() => {
                tracing::info!("SIGINT: stopping");
                Request::Phase(Phase::Stopping)
            }
            _ = self.hangup.recv() => Request::Reload,
            () = ended(&mut self.stdin) => {
                tracing::info!("standard input has ended: stopping with the supervisor");
                Request::Phase(Phase::Stopping)
            }
        }
    }
}

/// Resolves once when the watcher of standard input is gone, never without one.
async fn ended(stdin: &mut Option<mpsc::Receiver<()>>) {
    match stdin {
        Some(receiver) => {
            receiver.recv().await;
            *stdin = None;
        }
        None => std::future::pending().await,
    }
}

/// Reads standard input to its end on a thread of its own: a pipe or a terminal cannot be polled
/// portably. The sender's drop is the message.
fn watch_stdin() -> std::io::Result<mpsc::Receiver<()>> {
    let (held, receiver) = mpsc::channel(1);
    thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            let _held = held;
            let mut buffer = [0; 256];
            let mut stdin = std::io::stdin().lock();
            while !matches!(stdin.read(&mut buffer), Ok(0) | Err(_)) {}
        })?;
    Ok(receiver)
}
