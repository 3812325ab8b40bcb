//! The log: stderr, text on a terminal, JSON otherwise; its level can change while the process runs.

use std::io::IsTerminal;

use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::LogFormat;

/// Changes the level of the running process.
#[derive(Clone, Debug)]
pub struct Level {
    handle: reload::Handle<EnvFilter, Registry>,
}

impl Level {
    /// Applies another level or filter (SIGHUP).
    ///
    /// # Errors
    /// When the text is no filter; the old one stays.
    pub fn set(&self, level: &str) -> anyhow::Result<()> {
        self.handle.reload(filter(level)?)?;
        Ok(())
    }
}

/// Starts the log of this process.
///
/// # Errors
/// When `level` is no filter or the process logs already.
pub fn start(format: LogFormat, level: &str) -> anyhow::Result<Level> {
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let text = match format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if text {
        lines.with_ansi(std::io::stderr().is_terminal()).boxed()
    } else {
        lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed()
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()?;
    Ok(Level { handle })
}

/// The filter that a level, or a list such as `info,controlplane=debug`, means.
///
/// # Errors
/// When it means none.
pub fn filter(level: &str) -> Result<EnvFilter, ParseError> {
    // A bare word that is no level would be taken for a module's name and silence everything else.
    let is_word = level
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_word {
        level
            .parse::<tracing_subscriber::filter::LevelFilter>()
            .map_err(|_| bare_word(level))?;
    }
    EnvFilter::try_new(level)
}

/// The crate has no public way to make its error, so one is provoked.
fn bare_word(level: &str) -> ParseError {
    EnvFilter::try_new(format!("controlplane={level}"))
        .expect_err("invariant: a word that is no level is no level of a module either")
}

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn levels_and_filters_are_taken_and_words_that_mean_nothing_are_not() {
        for level in [
            "info",
            "DEBUG",
            "off",
            "trace",
            "info,controlplane=debug",
            "warn,hyper=error",
        ] {
            filter(level).unwrap_or_else(|error| panic!("{level}: {error}"));
        }
        for level in ["verbose", "loud", "controlplane=loud", "info,,=,"] {
            assert!(filter(level).is_err(), "{level}");
        }
    }
}
