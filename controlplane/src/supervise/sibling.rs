//! Where `lectern-dataplane` is: beside `lectern`, else in `PATH`.

use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

const NAME: &str = "lectern-dataplane";

/// Finds the binary.
///
/// # Errors
/// When it is in neither place; the text says how to get it.
pub fn find() -> anyhow::Result<PathBuf> {
    let own = env::current_exe().context("cannot find this program's own file")?;
    find_from(&own, env::var_os("PATH").as_deref())
}

fn find_from(own: &Path, path: Option<&OsStr>) -> anyhow::Result<PathBuf> {
    let beside = own.parent().map(Path::to_owned);
    let in_path = path.into_iter().flat_map(env::split_paths);
    for dir in beside.into_iter().chain(in_path) {
        let candidate = dir.join(NAME);
        if is_executable(&candidate) {
            return Ok(candidate);
        }
    }
    bail!(
        "{NAME} is neither beside {} nor in PATH: install both binaries into one directory \
         (from source: `cargo build -p controlplane -p dataplane`)",
        own.display()
    )
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn place(dir: &Path, mode: u32) -> PathBuf {
        let path = dir.join(NAME);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn the_sibling_beside_wins_over_the_one_in_path() {
        let (here, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let own = here.path().join("lectern");
        let path = Some(elsewhere.path().as_os_str());
        let error = find_from(&own, path).unwrap_err().to_string();
        assert!(
            error.contains("cargo build -p controlplane -p dataplane"),
            "{error}"
        );
        let in_path = place(elsewhere.path(), 0o755);
        assert_eq!(find_from(&own, path).unwrap(), in_path);
        let beside = place(here.path(), 0o755);
        assert_eq!(find_from(&own, path).unwrap(), beside);
    }

    #[test]
    fn a_file_that_cannot_be_run_is_not_it() {
        let here = tempfile::tempdir().unwrap();
        place(here.path(), 0o644);
        assert!(find_from(&here.path().join("lectern"), None).is_err());
    }
}
