//! The data directory: writable, private, and with room left.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::statvfs;

use super::{Row, fail, ok, warn};
use crate::auth::{Keys, stream_key};
use crate::config::{Config, absolute};

/// Below this, keys and a log's last lines may not be written, bytes.
const FREE_BYTES_MIN: u64 = 16 << 20;
/// Below this somebody should look, bytes.
const FREE_BYTES_GOOD: u64 = 256 << 20;

pub(super) fn data_dir(config: &Config) -> Row {
    let dir = absolute(&config.data_dir);
    let shown = dir.display();
    if !dir.exists() {
        let parent = dir.parent().unwrap_or(Path::new("/"));
        return if fs::metadata(parent).is_ok_and(|parent| parent.is_dir()) {
            ok("data dir", format!("{shown} will be made"))
        } else {
            warn(
                "data dir",
                format!("{shown} and its parent do not exist"),
                format!("mkdir -p {}", parent.display()),
            )
        };
    }
    let probe = dir.join(format!(".doctor.{}", uuid::Uuid::new_v4().simple()));
    let written = fs::write(&probe, "").and_then(|()| fs::remove_file(&probe));
    if let Err(error) = written {
        return fail(
            "data dir",
            format!("{shown}: {error}"),
            "run as the user who owns it, or chown it",
        );
    }
    let keys = config.keys_file();
    let Ok(metadata) = fs::metadata(&keys) else {
        return ok(
            "data dir",
            format!("{shown} is writable; keys are made at the first start"),
        );
    };
    if let Err(error) = Keys::load(keys.clone()) {
        return fail(
            "data dir",
            error.to_string(),
            "repair the file, or move it away to get new keys",
        );
    }
    if let Err(error) = stream_key::check(&config.data_dir) {
        return fail(
            "data dir",
            error.to_string(),
            "repair the file, or remove it and make new stream keys",
        );
    }
    if metadata.permissions().mode() & 0o077 == 0 {
        ok("data dir", format!("{shown} is writable and has keys"))
    } else {
        warn(
            "data dir",
            "others may read the signing keys",
            format!("chmod 600 {}", keys.display()),
        )
    }
}

/// Room on the disk of the data directory, or of the nearest parent that exists.
pub(super) fn disk(config: &Config) -> Row {
    const NAME: &str = "disk";
    let dir = absolute(&config.data_dir);
    let existing = dir.ancestors().find(|dir| dir.exists());
    match existing.map(statvfs) {
        Some(Ok(space)) => free(space.f_bavail.saturating_mul(space.f_frsize)),
        Some(Err(error)) => warn(
            NAME,
            format!("{}: {error}", dir.display()),
            "look at `df` for the data directory",
        ),
        None => warn(NAME, "cannot be looked at", "look at `df`"),
    }
}

pub(super) fn free(bytes: u64) -> Row {
    const NAME: &str = "disk";
    const FIX: &str = "make room on the data directory's disk, or name another --data-dir";
    let says = format!("{} MiB free", bytes >> 20);
    if bytes < FREE_BYTES_MIN {
        fail(NAME, says, FIX)
    } else if bytes < FREE_BYTES_GOOD {
        warn(NAME, says, FIX)
    } else {
        ok(NAME, says)
    }
}
