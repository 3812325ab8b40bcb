//! What a supervisor runs: a binary with the settings it is given.

use std::path::{Path, PathBuf};

/// What an order to drain means to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDrain {
    /// It gets SIGTERM, ends in its own time, and is not started again.
    End,
    /// It goes on: the processes that drain need it to their end.
    GoOn,
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Program {
    /// How messages call it.
    name: &'static str,
    binary: PathBuf,
    words: Vec<String>,
    settings: Vec<(String, String)>,
    on_drain: OnDrain,
}

impl Program {
    /// This binary without settings; a drain ends it.
    #[must_use]
    pub fn new(name: &'static str, binary: PathBuf) -> Program {
        Program {
            name,
            binary,
            words: Vec::new(),
            settings: Vec::new(),
            on_drain: OnDrain::End,
        }
    }

    /// How messages call it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The file to run.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// What an order to drain means to it.
    #[must_use]
    pub fn on_drain(&self) -> OnDrain {
        self.on_drain
    }

    /// Changes what an order to drain means to it.
    pub fn set_on_drain(&mut self, on_drain: OnDrain) {
        self.on_drain = on_drain;
    }

    /// Adds a word before the settings.
    pub fn word(&mut self, word: &str) {
        self.words.push(word.to_owned());
    }

    /// Gives a setting this value, whatever it had before.
    pub fn set(&mut self, name: &str, text: &str) {
        let flag = name.replace(['_', '.'], "-");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_setting_replaces_the_first_one() {
        let mut program = Program::new("x", PathBuf::from("x"));
        program.word("controlplane");
        program.set("http", "127.0.0.1:0");
        program.set("http", "127.0.0.1:8080");
        program.set("log_level", "info");
        program.set("whip.lenient_patch", "true");
        assert_eq!(
            program.arguments(),
            [
                "controlplane",
                "--json",
                "--exit-with-stdin",
                "--http=127.0.0.1:8080",
                "--log-level=info",
                "--whip-lenient-patch=true"
            ]
        );
    }
}
