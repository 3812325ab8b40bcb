//! `lectern dataplane`: becomes the sibling binary.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context;

use crate::supervise::sibling;

/// Replaces this process by `lectern-dataplane` with these arguments; returns only to say why not.
pub(super) fn run(args: &[OsString]) -> anyhow::Result<()> {
    let binary = sibling::find()?;
    let error = Command::new(&binary).args(args).exec();
    Err(error).with_context(|| format!("cannot run {}", binary.display()))
}
