//! Stream keys: what an encoder keeps in its settings to publish `main` of one room (domain.md row 9).
//!
//! ```json
//! { "keys": [ { "room": "math-7", "sub": "u-17", "sha256": "<32 bytes, hex>" } ] }
//! ```
//! `<data-dir>/stream-keys.json`, mode 0600. The key itself is 128 random bits, shown when it is made and
//! kept nowhere: a guess has nothing to try it against offline, so a plain hash is as good as a slow one.
//! A room has one key; a new one ends the old. The file is read again when it has changed.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::permission::{Role, VideoGrant};
use super::token::{RoomClaims, SUB_BYTES_MAX, VerifyError, is_room_name};
use crate::data_dir::{DataDirError, replace};

/// Name of the file in the data directory.
pub const FILE_NAME: &str = "stream-keys.json";

/// Held by whoever changes the file, so that two changes do not undo each other.
const LOCK_NAME: &str = ".stream-keys.lock";

/// How every key begins: whoever finds one in a log or a repository knows what it is.
pub const PREFIX: &str = "lsk_";

/// Length of a key without its prefix: 128 bits.
const SECRET_BYTES: usize = 16;

/// Longest text that is looked at: prefix and base64url of [`SECRET_BYTES`].
const KEY_BYTES_MAX: usize = PREFIX.len() + SECRET_BYTES.div_ceil(3) * 4;

/// Most keys of a node: every one is compared with each that is presented, 10 us in all.
const KEYS_MAX: usize = 10_000;

/// Longest file, bytes: [`KEYS_MAX`] keys with the longest names.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How long the claims of a key last: they are made anew for each request.
const CLAIMS_LIFETIME: Duration = Duration::from_secs(3600);

/// Why a stream key was not made, or the file is not read.
#[derive(Debug, thiserror::Error)]
pub enum StreamKeyError {
    /// The data directory or the file cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The file is not what the module's documentation shows.
    #[error("{path}: {what}", path = path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The room has a key already, which nobody can be shown again.
    #[error(
        "the room `{0}` has a stream key, which is shown only when it is made: --rotate makes a new one and ends the old"
    )]
    Exists(String),
    /// The file is full.
    #[error("the node has {KEYS_MAX} stream keys, its limit: remove some from {FILE_NAME}")]
    Full,
    /// The room or the identity cannot be one.
    #[error("{0}")]
    Names(&'static str),
    /// The system's random numbers failed.
    #[error("the system gives no random numbers")]
    Random,
}

/// What an existing key of the room means for a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and no new one is made.
    Keep,
    /// It ends.
    Rotate,
}

/// A new key, to be shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct NewKey {
    /// The key.
    pub key: String,
    /// Whom it publishes as.
    pub sub: String,
}

/// The stream keys in force; clones share them.
#[derive(Clone)]
pub struct StreamKeys {
    path: Option<PathBuf>,
    read: Arc<RwLock<Reading>>,
}

/// One reading of the file.
#[derive(Default)]
struct Reading {
    keys: Vec<Entry>,
    version: Option<FileVersion>,
}

/// What changes when a file does, without reading it.
#[derive(Clone, PartialEq, Eq)]
struct FileVersion {
    inode: u64,
    bytes: u64,
    modified: Option<SystemTime>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    keys: Vec<FileEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    room: String,
    sub: String,
    sha256: String,
}

struct Entry {
    room: String,
    sub: String,
    hash: [u8; 32],
}

impl StreamKeys {
    /// The keys of `<data_dir>/stream-keys.json`, which need not exist. A file that cannot be read is logged
    /// and has no keys.
    #[must_use]
    pub fn of(data_dir: &Path) -> StreamKeys {
        let keys = StreamKeys {
            path: Some(data_dir.join(FILE_NAME)),
            read: Arc::default(),
        };
        keys.refresh();
        keys
    }

    /// No keys and no file.
    #[must_use]
    pub fn none() -> StreamKeys {
        StreamKeys {
            path: None,
            read: Arc::default(),
        }
    }

    /// Whether this is a stream key rather than a JWT.
    #[must_use]
    pub fn is_one(token: &str) -> bool {
        token.starts_with(PREFIX)
    }

    /// What the holder of `key` may do: publish `main` of its room as its owner, and nothing else.
    ///
    /// # Errors
    /// [`VerifyError::Invalid`] for whatever is no key of this node.
    pub fn claims(&self, key: &str) -> Result<RoomClaims, VerifyError> {
        if key.len() > KEY_BYTES_MAX {
            return Err(VerifyError::Invalid("stream key"));
        }
        self.refresh();
        let presented = sha256(key);
        let reading = self.read.read().unwrap_or_else(PoisonError::into_inner);
        // Every entry is compared, whole, so that time tells nothing of what is kept.
        let found = reading.keys.iter().fold(None, |found, entry| {
            let equal = bool::from(entry.hash.ct_eq(&presented));
            if equal { Some(entry) } else { found }
        });
        let entry = found.ok_or(VerifyError::Invalid("stream key"))?;
        let grant = VideoGrant {
            room: Some(entry.room.clone()),
            can_publish: Some(true),
            can_subscribe: Some(false),
            can_publish_data: Some(false),
            room_admin: Some(false),
            ..VideoGrant::default()
        };
        Ok(RoomClaims::new(
            entry.sub.clone(),
            Role::Teacher,
            grant,
            SystemTime::now(),
            CLAIMS_LIFETIME,
        ))
    }

    /// Reads the file again when it is another than at the last reading. After an error the old keys stay
    /// in force.
    pub fn refresh(&self) {
        let Some(path) = &self.path else {
            return;
        };
        let version = file_version(path);
        {
            let reading = self.read.read().unwrap_or_else(PoisonError::into_inner);
            if reading.version == version {
                return;
            }
        }
        let keys = match &version {
            None => Ok(Vec::new()),
            Some(_) => read(path),
        };
        let mut reading = self.read.write().unwrap_or_else(PoisonError::into_inner);
        // Also after an error: it is logged once a change, not once a request.
        reading.version = version;
        match keys {
            Ok(keys) => {
                tracing::info!(count = keys.len(), "read the stream keys");
                reading.keys = keys;
            }
            Err(error) => tracing::error!(%error, "the old stream keys stay in force"),
        }
    }

    /// How many keys are in force.
    #[must_use]
    pub fn count(&self) -> usize {
        let reading = self.read.read().unwrap_or_else(PoisonError::into_inner);
        reading.keys.len()
    }
}

impl fmt::Debug for StreamKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamKeys")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey")
            .field("sub", &self.sub)
            .finish_non_exhaustive()
    }
}

/// Makes a key for `room` and remembers its hash in `<data_dir>/stream-keys.json`. It publishes as `sub`;
/// without one, as the old key did, else as somebody new.
///
/// # Errors
/// [`StreamKeyError`]; the file is as before then.
pub fn make(
    data_dir: &Path,
    room: &str,
    sub: Option<&str>,
    existing: Existing,
) -> Result<NewKey, StreamKeyError> {
    if !is_room_name(room) {
        return Err(StreamKeyError::Names(
            "a room's name has 1 to 64 of the characters A-Z a-z 0-9 _ -",
        ));
    }
    if sub.is_some_and(|sub| !(1..=SUB_BYTES_MAX).contains(&sub.len())) {
        return Err(StreamKeyError::Names("an identity has 1 to 128 bytes"));
    }
    let lock = data_dir.join(LOCK_NAME);
    let _locked = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&lock)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(DataDirError::of("cannot lock", &lock))?;
    let path = data_dir.join(FILE_NAME);
    let mut entries = if path.exists() {
        read(&path)?
    } else {
        Vec::new()
    };
    let old = entries.iter().position(|entry| entry.room == room);
    if old.is_some() && existing == Existing::Keep {
        return Err(StreamKeyError::Exists(room.to_owned()));
    }
    let old = old.map(|at| entries.remove(at));
    if entries.len() >= KEYS_MAX {
        return Err(StreamKeyError::Full);
    }
    let mut secret = [0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| StreamKeyError::Random)?;
    let key = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(secret));
    let sub = sub
        .map(str::to_owned)
        .or_else(|| old.map(|old| old.sub))
        .unwrap_or_else(|| format!("teacher-{}", uuid::Uuid::now_v7()));
    entries.push(Entry {
        room: room.to_owned(),
        sub: sub.clone(),
        hash: sha256(&key),
    });
    let file = KeyFile {
        keys: entries.into_iter().map(FileEntry::from).collect(),
    };
    let mut text =
        serde_json::to_vec_pretty(&file).expect("invariant: a struct of strings always serialises");
    text.push(b'\n');
    replace(data_dir, FILE_NAME, &text)?;
    Ok(NewKey { key, sub })
}

/// Whether the file, if there is one, can be read; how many keys it has.
///
/// # Errors
/// [`StreamKeyError`].
pub fn check(data_dir: &Path) -> Result<usize, StreamKeyError> {
    let path = data_dir.join(FILE_NAME);
    if path.exists() {
        Ok(read(&path)?.len())
    } else {
        Ok(0)
    }
}

fn read(path: &Path) -> Result<Vec<Entry>, StreamKeyError> {
    let malformed = |what: String| StreamKeyError::Malformed {
        path: path.to_owned(),
        what,
    };
    let unreadable = || DataDirError::of("cannot read", path);
    let file = File::open(path).map_err(unreadable())?;
    let mode = file.metadata().map_err(unreadable())?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            "others may read the hashes of the stream keys: chmod 600 this file",
        );
    }
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(unreadable())?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(malformed(format!("is longer than {FILE_BYTES_MAX} bytes")));
    }
    let file: KeyFile = serde_json::from_slice(&text).map_err(|error| {
        malformed(format!(
            "not the expected shape at line {}, column {}",
            error.line(),
            error.column()
        ))
    })?;
    if file.keys.len() > KEYS_MAX {
        return Err(malformed(format!("has more than {KEYS_MAX} keys")));
    }
    file.keys
        .into_iter()
        .map(|entry| Entry::try_from(entry).map_err(|what| malformed(what.to_owned())))
        .collect()
}

fn file_version(path: &Path) -> Option<FileVersion> {
    let metadata = fs::metadata(path).ok()?;
    Some(FileVersion {
        inode: metadata.ino(),
        bytes: metadata.len(),
        modified: metadata.modified().ok(),
    })
}

fn sha256(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

impl From<Entry> for FileEntry {
    fn from(entry: Entry) -> FileEntry {
        FileEntry {
            room: entry.room,
            sub: entry.sub,
            sha256: entry
                .hash
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        }
    }
}

impl TryFrom<FileEntry> for Entry {
    type Error = &'static str;

    fn try_from(entry: FileEntry) -> Result<Entry, &'static str> {
        if !is_room_name(&entry.room) {
            return Err("a `room` is [A-Za-z0-9_-]{1,64}");
        }
        if !(1..=SUB_BYTES_MAX).contains(&entry.sub.len()) {
            return Err("a `sub` has 1 to 128 bytes");
        }
        let mut hash = [0; 32];
        let digits = entry.sha256.as_bytes();
        let valid = digits.len() == 64
            && hash
                .iter_mut()
                .zip(digits.chunks_exact(2))
                .all(|(byte, pair)| {
                    let parsed = std::str::from_utf8(pair)
                        .ok()
                        .and_then(|pair| u8::from_str_radix(pair, 16).ok());
                    parsed.map(|parsed| *byte = parsed).is_some()
                });
        if !valid {
            return Err("a `sha256` is 64 hexadecimal digits");
        }
        Ok(Entry {
            room: entry.room,
            sub: entry.sub,
            hash,
        })
    }
}

#[cfg(test)]
mod tests;
