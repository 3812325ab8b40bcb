//! The link's socket file: who may connect, and who may replace whom.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tokio_seqpacket::{UCred, UnixSeqpacket, UnixSeqpacketListener};

/// Longest path of a Unix socket: `sun_path` less its terminator (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The listening socket. Its file goes when this goes, unless another process has replaced it.
#[derive(Debug)]
pub struct LinkListener {
    listener: UnixSeqpacketListener,
    path: PathBuf,
    inode: u64,
}

impl LinkListener {
    /// Listens on `path`, mode 0600. A socket file that nobody answers on is replaced.
    ///
    /// # Errors
    /// When somebody answers there, when something that is not a socket is there, or when the path is
    /// too long or its directory cannot be written.
    pub async fn bind(path: &Path) -> anyhow::Result<LinkListener> {
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            fs::create_dir_all(dir).with_context(|| {
                format!("cannot make the directory {} of --link", dir.display())
            })?;
        }
        make_way(path).await?;
        // The socket is named only when its mode is right: bound under another name, closed to others,
        // then renamed, which also replaces a stale file in one step.
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{}", std::process::id()));
        let draft = PathBuf::from(draft);
        let length = draft.as_os_str().len();
        if length > SOCKET_PATH_BYTES_MAX {
            bail!(
                "--link {} is too long for a socket: {length} bytes with the process id, at most \
                 {SOCKET_PATH_BYTES_MAX}; choose a shorter --link or --data-dir",
                path.display()
            );
        }
        let listener = UnixSeqpacketListener::bind(&draft)
            .with_context(|| format!("cannot listen on --link {}", path.display()))?;
        let named = fs::set_permissions(&draft, Permissions::from_mode(0o600))
            .and_then(|()| fs::rename(&draft, path))
            .and_then(|()| fs::metadata(path));
        match named {
            Ok(metadata) => Ok(LinkListener {
                listener,
                path: path.to_owned(),
                inode: metadata.ino(),
            }),
            Err(error) => {
                let _ = fs::remove_file(&draft);
                Err(error).with_context(|| format!("cannot name the socket {}", path.display()))
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next connection of somebody who may connect; others are closed with a line in the log.
    ///
    /// # Errors
    /// When the process has no descriptor left, or the kernel fails.
    pub async fn accept(&mut self) -> io::Result<UnixSeqpacket> {
        loop {
            let socket = self.listener.accept().await?;
            let peer = socket.peer_cred()?;
            if may_connect(peer.uid(), UCred::from_current_process().uid()) {
                tracing::debug!(pid = peer.pid(), "link connection");
                return Ok(socket);
            }
            tracing::warn!(
                uid = peer.uid(),
                pid = peer.pid(),
                "link connection of another user closed: run the control plane as the user of the data \
                 plane"
            );
        }
    }
}

impl Drop for LinkListener {
    fn drop(&mut self) {
        let is_ours = fs::metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if is_ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether a process of user `peer` may give orders to one of user `own`: the same user, or root. The
/// file's mode says the same; this holds where a mode does not, as when the file was made readable.
#[must_use]
pub fn may_connect(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

/// Refuses to replace anything but a socket that nobody answers on.
async fn make_way(path: &Path) -> anyhow::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot look at --link {}", path.display()));
        }
    };
    if !found.file_type().is_socket() {
        bail!(
            "--link {} exists and is not a socket: choose another path",
            path.display()
        );
    }
    match UnixSeqpacket::connect(path).await {
        Ok(_) => bail!(
            "a data plane already answers on --link {}: stop it, or choose another --link or --data-dir",
            path.display()
        ),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "replacing the socket of a data plane that is gone");
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| {
            format!(
                "cannot tell whether a data plane answers on --link {}",
                path.display()
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_user_and_root_may_give_orders() {
        assert!(may_connect(1_000, 1_000));
        assert!(may_connect(0, 1_000));
        assert!(!may_connect(1_001, 1_000));
        assert!(!may_connect(1_000, 0));
    }

    #[tokio::test]
    async fn the_socket_is_closed_to_others_and_goes_with_its_listener() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/for/it/link.sock");
        let listener = LinkListener::bind(&path).await.unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "no draft is left"
        );
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("link.sock");
        drop(UnixSeqpacketListener::bind(&path).unwrap());
        assert!(path.exists(), "a killed data plane leaves its file");
        let first = LinkListener::bind(&path).await.unwrap();
        let error = LinkListener::bind(&path).await.unwrap_err().to_string();
        assert!(
            error.contains("already answers") && error.contains("--link"),
            "{error}"
        );
        drop(first);
    }

    #[tokio::test]
    async fn a_replaced_file_is_left_to_its_new_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("link.sock");
        let first = LinkListener::bind(&path).await.unwrap();
        fs::remove_file(&path).unwrap();
        let second = LinkListener::bind(&path).await.unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn nothing_but_a_socket_is_ever_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("link.sock");
        fs::write(&path, "a database").unwrap();
        let error = LinkListener::bind(&path).await.unwrap_err().to_string();
        assert!(error.contains("not a socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "a database");
    }

    #[tokio::test]
    async fn a_path_too_long_is_named_with_the_fix() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x".repeat(100));
        let error = LinkListener::bind(&path).await.unwrap_err().to_string();
        assert!(
            error.contains("too long") && error.contains("--data-dir"),
            "{error}"
        );
    }
}
