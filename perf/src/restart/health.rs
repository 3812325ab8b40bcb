//! Asking a process how it is, a few hundred times a second.

use std::time::{Duration, Instant};

use anyhow::bail;
use ureq::Agent;

/// Pause between two questions.
const PAUSE: Duration = Duration::from_millis(2);

/// A process that hangs does not hold up who asks.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// Somebody who asks one ops port.
#[derive(Debug)]
pub(crate) struct Health {
    agent: Agent,
    url: String,
}

impl Health {
    /// Of the process whose ops port is at `base`.
    pub(crate) fn new(base: &str) -> Health {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_idle_connections(0)
            .timeout_global(Some(ANSWER_TIMEOUT));
        Health {
            agent: config.build().new_agent(),
            url: format!("{base}/readyz"),
        }
    }

    /// Whether it says now that it is ready.
    pub(crate) fn is_ready(&self) -> bool {
        let answer = self.agent.get(&self.url).call();
        answer.is_ok_and(|answer| answer.status().as_u16() == 200)
    }

    /// Waits until it is ready, or is not; when that was.
    ///
    /// # Errors
    /// When `patience` ends before.
    pub(crate) fn wait(&self, ready: bool, patience: Duration) -> anyhow::Result<Instant> {
        let deadline = Instant::now() + patience;
        loop {
            if self.is_ready() == ready {
                return Ok(Instant::now());
            }
            if Instant::now() > deadline {
                let word = if ready { "not ready" } else { "still ready" };
                bail!("{} is {word} after {patience:?}", self.url);
            }
            std::thread::sleep(PAUSE);
        }
    }
}
