//! The data directory: files that are made once and then stay, whichever process comes first.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// Name of the file that holds the node's id.
const NODE_ID: &str = "node-id";

/// Why a file of the data directory is not there.
#[derive(Debug, thiserror::Error)]
#[error("{action} {path}: {cause}. Give `--data-dir` a directory that this user may write", path = path.display())]
pub struct DataDirError {
    /// What was tried, such as `cannot read`.
    pub action: &'static str,
    /// Which file or directory.
    pub path: PathBuf,
    /// What the system said. It stands in the text, so it is no `source`: a chain would say it twice.
    pub cause: io::Error,
}

impl DataDirError {
    /// For `map_err`.
    pub(crate) fn of(action: &'static str, path: &Path) -> impl Fn(io::Error) -> DataDirError {
        let path = path.to_owned();
        move |cause| DataDirError {
            action,
            path: path.clone(),
            cause,
        }
    }
}

/// Makes `<data_dir>/<name>` with this content, mode 0600, unless it exists; the directory (mode 0700)
/// too. Returns whether this call made it.
///
/// The content is complete before the name exists (`link` never replaces), so a reader sees all of it or
/// none, and of two processes that start together one loses and reads the other's.
///
/// # Errors
/// [`DataDirError`].
pub fn make_once(data_dir: &Path, name: &str, content: &[u8]) -> Result<bool, DataDirError> {
    let path = data_dir.join(name);
    if path.exists() {
        return Ok(false);
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .map_err(DataDirError::of("cannot make", data_dir))?;
    let draft = data_dir.join(format!(".{name}.{}", Uuid::new_v4().simple()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        })
        .map_err(DataDirError::of("cannot write", &draft));
    let linked = written.and_then(|()| match fs::hard_link(&draft, &path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(DataDirError::of("cannot make", &path)(error)),
    });
    // The draft goes in every case; what stays behind would be a second copy of a secret.
    let removed = fs::remove_file(&draft);
    let made = linked?;
    removed.map_err(DataDirError::of("cannot remove", &draft))?;
    File::open(data_dir)
        .and_then(|dir| dir.sync_all())
        .map_err(DataDirError::of("cannot sync", data_dir))?;
    Ok(made)
}

/// Puts this content in place of `<data_dir>/<name>`, mode 0600. A reader sees the old file or the new one,
/// never a part, and after a power cut one of the two is there.
///
/// # Errors
/// [`DataDirError`]; the old file is untouched then.
pub fn replace(data_dir: &Path, name: &str, content: &[u8]) -> Result<(), DataDirError> {
    let path = data_dir.join(name);
    let draft = data_dir.join(format!(".{name}.{}", Uuid::new_v4().simple()));
    let replaced = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        })
        .map_err(DataDirError::of("cannot write", &path));
    if replaced.is_err() {
        // The draft may not even exist; what counts is the first error.
        let _removed = fs::remove_file(&draft);
    }
    replaced?;
    File::open(data_dir)
        .and_then(|dir| dir.sync_all())
        .map_err(DataDirError::of("cannot sync", data_dir))
}

/// The node's uuid, made at the first start.
///
/// # Errors
/// When the file cannot be made or read, or holds something else.
pub fn node_id(data_dir: &Path) -> Result<Uuid, DataDirError> {
    make_once(
        data_dir,
        NODE_ID,
        format!("{}\n", Uuid::new_v4()).as_bytes(),
    )?;
    let path = data_dir.join(NODE_ID);
    let text = fs::read_to_string(&path).map_err(DataDirError::of("cannot read", &path))?;
    text.trim().parse().map_err(|error| {
        DataDirError::of("no uuid in", &path)(io::Error::new(io::ErrorKind::InvalidData, error))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_made_once_for_its_owner_only_and_leaves_no_draft() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("new/data");
        assert!(make_once(&data_dir, "x", b"first").unwrap());
        assert!(!make_once(&data_dir, "x", b"second").unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(fs::read(data_dir.join("x")).unwrap(), b"first");
        assert_eq!((mode(&data_dir), mode(&data_dir.join("x"))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&data_dir).unwrap().count(), 1);
    }

    #[test]
    fn a_replaced_file_is_whole_private_and_alone() {
        let dir = tempfile::tempdir().unwrap();
        for content in ["first", "second"] {
            replace(dir.path(), "x", content.as_bytes()).unwrap();
            let path = dir.path().join("x");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
                0o600
            );
        }
        assert!(replace(&dir.path().join("none"), "x", b"third").is_err());
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "no draft stays"
        );
    }

    #[test]
    fn a_node_keeps_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let id = node_id(dir.path()).unwrap();
        assert_eq!(node_id(dir.path()).unwrap(), id);
        fs::write(dir.path().join(NODE_ID), "x").unwrap();
        assert!(
            node_id(dir.path())
                .unwrap_err()
                .to_string()
                .starts_with("no uuid in")
        );
    }
}
