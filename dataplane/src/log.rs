//! The log: standard error, text for a terminal, one JSON object a line otherwise. Standard output is
//! left to what programs read.

use std::io::{self, IsTerminal};
use std::panic;
use std::thread;

use anyhow::Context;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::config::LogFormat;

/// Changes what is logged while the process runs.
#[derive(Debug)]
pub(crate) struct LevelHandle(reload::Handle<EnvFilter, Registry>);

/// Starts the log and makes a panic a line of it, naming its thread.
///
/// # Errors
/// When `level` is no level and no filter.
pub(crate) fn start(format: LogFormat, level: &str) -> anyhow::Result<LevelHandle> {
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let terminal = io::stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let output: Box<dyn Layer<_> + Send + Sync> = if json {
        Box::new(
            fmt::layer()
                .json()
                .flatten_event(true)
                .with_writer(io::stderr),
        )
    } else {
        Box::new(fmt::layer().with_ansi(terminal).with_writer(io::stderr))
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(output)
        .init();
    panic::set_hook(Box::new(|info| {
        let thread = thread::current();
        tracing::error!(
            thread = thread.name().unwrap_or("unnamed"),
            place = info.location().map(tracing::field::display),
            panic = info.payload_as_str().unwrap_or("not a text"),
            "panicked: this is a bug, please report it with the lines above"
        );
    }));
    Ok(LevelHandle(handle))
}

impl LevelHandle {
    /// Logs at another level from now on.
    ///
    /// # Errors
    /// When `level` is no level and no filter; the old one stays.
    pub(crate) fn set(&self, level: &str) -> anyhow::Result<()> {
        self.0.reload(filter(level)?).context("the log is gone")
    }
}

fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(level).with_context(|| {
        format!("--log-level {level} is neither error, warn, info, debug, trace nor a filter")
    })
}
