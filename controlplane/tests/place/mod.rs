//! A directory to run the binary in.
#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "each test file uses its part"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held while a program's file is written and while a process is started: a child that is forked in
/// between would hold the file open for writing, and the kernel runs no file that is (ETXTBSY).
static FORKING: Mutex<()> = Mutex::new(());

pub fn forking() -> MutexGuard<'static, ()> {
    FORKING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> Output {
    let started = {
        let _alone = forking();
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    started.wait_with_output().unwrap()
}

/// A directory of its own to run in, without a configuration but the test's.
pub struct Place {
    dir: tempfile::TempDir,
    binary: PathBuf,
}

impl Place {
    pub fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        Place {
            dir,
            binary: PathBuf::from(env!("CARGO_BIN_EXE_lectern")),
        }
    }

    /// With the binary itself in the directory, so that its sibling is the test's.
    pub fn with_own_binary() -> Place {
        let mut place = Place::new();
        let own = place.path().join("lectern");
        let _alone = forking();
        if fs::hard_link(&place.binary, &own).is_err() {
            fs::copy(&place.binary, &own).unwrap();
        }
        place.binary = own;
        place
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A `lectern-dataplane` of this shell text beside the binary.
    pub fn sibling(&self, body: &str) {
        let path = self.path().join("lectern-dataplane");
        let _alone = forking();
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .current_dir(self.path())
            .stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LECTERN_") {
                command.env_remove(name);
            }
        }
        command.env_remove("STATE_DIRECTORY");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        output(&mut self.command(arguments))
    }
}

pub fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a run that failed said; failures exit with 1.
pub fn stderr(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}
