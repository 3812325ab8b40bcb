//! Where a node runs that is to lose its disk or its clock.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use super::Chapter;

/// A disk that is soon full.
const DISK: &str = "size=16m";

/// What a chapter needs around its node.
#[derive(Debug)]
pub(crate) enum Place {
    Anywhere,
    SmallDisk(Mount),
    OtherTime {
        library: PathBuf,
        directory: TempDir,
    },
}

/// A file system in memory that is unmounted in the end.
#[derive(Debug)]
pub(crate) struct Mount(TempDir);

impl Drop for Mount {
    fn drop(&mut self) {
        let _busy = Command::new("umount").arg(self.0.path()).status();
    }
}

impl Place {
    /// What the chapter needs.
    ///
    /// # Errors
    /// When this machine has it not, with what is missing.
    pub(crate) fn prepare(chapter: Chapter) -> anyhow::Result<Place> {
        let directory = || tempfile::Builder::new().prefix("lectern-perf-").tempdir();
        match chapter {
            Chapter::Disk => {
                let mount = Mount(directory()?);
                let mounted = Command::new("mount")
                    .args(["-t", "tmpfs", "-o", DISK, "lectern-perf"])
                    .arg(mount.0.path())
                    .status();
                if !mounted.is_ok_and(|status| status.success()) {
                    bail!("a small disk needs the right to mount one: run as root");
                }
                Ok(Place::SmallDisk(mount))
            }
            Chapter::Clock => {
                let place = Place::OtherTime {
                    library: library().context(
                        "clocks are moved by libfaketime: install it (apt-get install faketime)",
                    )?,
                    directory: directory()?,
                };
                place.set_clock("+0")?;
                Ok(place)
            }
            Chapter::Kill
            | Chapter::Freeze
            | Chapter::Media
            | Chapter::Takeover
            | Chapter::Upgrade
            | Chapter::Descriptors
            | Chapter::Kick => Ok(Place::Anywhere),
        }
    }

    /// Where the control plane's data is to be; `None`: wherever.
    pub(crate) fn data(&self) -> Option<&Path> {
        match self {
            Place::SmallDisk(mount) => Some(mount.0.path()),
            Place::Anywhere | Place::OtherTime { .. } => None,
        }
    }

    /// What processes find in their environment. Their monotonic clocks stay what they are.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let Place::OtherTime { library, directory } = self else {
            return Vec::new();
        };
        let clock = directory.path().join("clock");
        [
            ("LD_PRELOAD", library.as_path()),
            ("FAKETIME_TIMESTAMP_FILE", &clock),
            ("FAKETIME_NO_CACHE", Path::new("1")),
            ("FAKETIME_DONT_FAKE_MONOTONIC", Path::new("1")),
            ("DONT_FAKE_MONOTONIC", Path::new("1")),
        ]
        .map(|(name, value)| (name.to_owned(), value.display().to_string()))
        .into()
    }

    /// From now on the clock shows this much more or less: `+1h`, `-1d`.
    ///
    /// # Errors
    /// When its file cannot be written.
    pub(crate) fn set_clock(&self, offset: &str) -> anyhow::Result<()> {
        let Place::OtherTime { directory, .. } = self else {
            bail!("invariant: the clock is moved where it can be");
        };
        // Renamed into place: nobody reads half of it.
        let clock = directory.path().join("clock");
        let next = directory.path().join("clock.next");
        fs::write(&next, format!("{offset}\n"))?;
        Ok(fs::rename(next, clock)?)
    }

    /// Fills the disk to the last byte.
    ///
    /// # Errors
    /// When it does not get full.
    pub(crate) fn fill(&self) -> anyhow::Result<()> {
        let Place::SmallDisk(mount) = self else {
            bail!("invariant: the disk that is filled is a small one");
        };
        let block = vec![0_u8; 64 << 10];
        let mut file = fs::File::create(mount.0.path().join("ballast"))?;
        for size in [block.len(), 512, 1] {
            let full = (0..1 << 20).any(|_| {
                let written = std::io::Write::write_all(&mut file, &block[..size]);
                written.is_err_and(|error| error.kind() == std::io::ErrorKind::StorageFull)
            });
            if !full {
                bail!("the disk does not get full");
            }
        }
        Ok(())
    }
}

/// libfaketime for programs with threads, in the directory of Debian's architecture.
fn library() -> Option<PathBuf> {
    let directories = fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    directories
        .map(|directory| directory.path().join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.is_file())
}
