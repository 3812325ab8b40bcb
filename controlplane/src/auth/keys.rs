//! The deployment's signing keys: `<data-dir>/keys.json`, mode 0600, made once, its secrets never printed.
//!
//! ```json
//! {
//!   "deployment": "lectern",
//!   "keys": [
//!     { "kid": "k-5d0c7a12", "alg": "HS256", "state": "active", "secret": "..." },
//!     { "kid": "platform-1", "alg": "EdDSA", "state": "active", "public": "<32 bytes, base64url>" }
//!   ]
//! }
//! ```
//! The secret's UTF-8 bytes are the HMAC key, as every JWT library takes it. Several active keys verify
//! side by side; the last active HS256 key signs what this node issues. To rotate: append a key, send
//! SIGHUP, wait out the longest token (6 h), set the old key's `state` to `retired`, send SIGHUP. A
//! retired key verifies nothing.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde::{Deserialize, Serialize};

use super::stream_key::StreamKeys;
use crate::data_dir::{DataDirError, make_once};

/// Name of the file in the data directory.
pub const FILE_NAME: &str = "keys.json";

/// The deployment (`aud`) of a file that names none.
pub const DEPLOYMENT_DEFAULT: &str = "lectern";

/// Shortest HS256 secret, bytes: the hash's own length (RFC 7518 section 3.2).
const SECRET_BYTES_MIN: usize = 32;

/// Longest `kid`, bytes.
const KID_BYTES_MAX: usize = 64;

/// Length of an Ed25519 public key, bytes (RFC 8032 section 5.1.5).
const ED25519_PUBLIC_BYTES: usize = 32;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The data directory or the file cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The file is not what the module's documentation shows.
    #[error("{path}: {what}", path = path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong; never a secret.
        what: String,
    },
    /// The system's random numbers failed.
    #[error("the system gives no random numbers")]
    Random,
}

/// The keys in force; clones share them, and [`Keys::reload`] changes all clones.
#[derive(Clone)]
pub struct Keys {
    inner: Arc<Inner>,
}

struct Inner {
    path: Option<PathBuf>,
    set: RwLock<Arc<KeySet>>,
    audience: String,
    stream_keys: StreamKeys,
}

/// What may be told of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeySummary {
    /// Its id.
    pub kid: String,
    /// Its algorithm.
    pub algorithm: &'static str,
    /// Whether this node signs with it.
    pub signs: bool,
}

/// One reading of `keys.json`.
pub(super) struct KeySet {
    keys: Vec<Key>,
    decoy: DecodingKey,
}

struct Key {
    kid: String,
    algorithm: Algorithm,
    verify: DecodingKey,
    /// Only of HS256 keys: the node mints with no other.
    sign: Option<EncodingKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    #[serde(default = "deployment_default")]
    deployment: String,
    keys: Vec<KeyEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    kid: String,
    alg: KeyAlgorithm,
    state: KeyState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public: Option<String>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum KeyAlgorithm {
    #[serde(rename = "HS256")]
    Hs256,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KeyState {
    Active,
    Retired,
}

fn deployment_default() -> String {
    DEPLOYMENT_DEFAULT.to_owned()
}

impl Keys {
    /// Reads `<data_dir>/keys.json`; makes directory and file first where they are missing. Processes
    /// that start together agree on one file.
    ///
    /// # Errors
    /// [`KeysError`]; every text names the file and what to do.
    pub fn load_or_create(data_dir: &Path) -> Result<Keys, KeysError> {
        let path = data_dir.join(FILE_NAME);
        if !path.exists() && make_once(data_dir, FILE_NAME, &first_file()?)? {
            tracing::info!(path = %path.display(), "made a signing key");
        }
        Keys::load(path)
    }

    /// Reads an existing file.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn load(path: PathBuf) -> Result<Keys, KeysError> {
        let (set, audience) = read(&path)?;
        let stream_keys = path.parent().map_or_else(StreamKeys::none, StreamKeys::of);
        Ok(Keys {
            inner: Arc::new(Inner {
                stream_keys,
                path: Some(path),
                set: RwLock::new(Arc::new(set)),
                audience,
            }),
        })
    }

    /// One HS256 key that stands in no file.
    ///
    /// # Errors
    /// [`KeysError::Malformed`] when the secret has under 32 bytes or the `kid` cannot be one.
    pub fn from_secret(kid: &str, secret: &str, deployment: &str) -> Result<Keys, KeysError> {
        let file = KeysFile {
            deployment: deployment.to_owned(),
            keys: vec![KeyEntry {
                kid: kid.to_owned(),
                alg: KeyAlgorithm::Hs256,
                state: KeyState::Active,
                secret: Some(secret.to_owned()),
                public: None,
            }],
        };
        let set = KeySet::new(&file).map_err(|what| KeysError::Malformed {
            path: PathBuf::new(),
            what,
        })?;
        Ok(Keys {
            inner: Arc::new(Inner {
                stream_keys: StreamKeys::none(),
                path: None,
                set: RwLock::new(Arc::new(set)),
                audience: file.deployment,
            }),
        })
    }

    /// Reads the file again (SIGHUP) and returns how many keys are active. After an error the old keys
    /// stay in force. A changed `deployment` needs a restart.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn reload(&self) -> Result<usize, KeysError> {
        self.inner.stream_keys.refresh();
        let Some(path) = &self.inner.path else {
            return Ok(self.current().keys.len());
        };
        let (set, audience) = read(path)?;
        if audience != self.inner.audience {
            return Err(KeysError::Malformed {
                path: path.clone(),
                what: format!(
                    "`deployment` changed from `{}` to `{audience}`: restart the node for that",
                    self.inner.audience
                ),
            });
        }
        let active = set.keys.len();
        *self
            .inner
            .set
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
        Ok(active)
    }

    /// The stream keys beside the file.
    #[must_use]
    pub fn stream_keys(&self) -> &StreamKeys {
        &self.inner.stream_keys
    }

    /// The deployment: the `aud` a token must carry.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.inner.audience
    }

    /// The active keys, for people.
    #[must_use]
    pub fn list(&self) -> Vec<KeySummary> {
        let set = self.current();
        let signing = set.signing().map(|(kid, _)| kid.to_owned());
        set.keys
            .iter()
            .map(|key| KeySummary {
                kid: key.kid.clone(),
                algorithm: if key.sign.is_some() { "HS256" } else { "EdDSA" },
                signs: signing.as_deref() == Some(&key.kid),
            })
            .collect()
    }

    pub(super) fn current(&self) -> Arc<KeySet> {
        Arc::clone(
            &self
                .inner
                .set
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.current();
        f.debug_struct("Keys")
            .field("deployment", &self.inner.audience)
            .field(
                "active",
                &set.keys.iter().map(|key| &key.kid).collect::<Vec<_>>(),
            )
            .finish_non_exhaustive()
    }
}

impl KeySet {
    fn new(file: &KeysFile) -> Result<KeySet, String> {
        let mut keys: Vec<Key> = Vec::with_capacity(file.keys.len());
        for entry in &file.keys {
            check_kid(&entry.kid)?;
            if keys.iter().any(|key| key.kid == entry.kid) {
                return Err(format!("the kid `{}` stands there twice", entry.kid));
            }
            let key = entry.key()?;
            if entry.state == KeyState::Active {
                keys.push(key);
            }
        }
        if file.deployment.is_empty() {
            return Err("`deployment` is empty".to_owned());
        }
        let mut decoy = [0; SECRET_BYTES_MIN];
        aws_lc_rs::rand::fill(&mut decoy)
            .map_err(|_| "the system gives no random numbers".to_owned())?;
        Ok(KeySet {
            keys,
            decoy: DecodingKey::from_secret(&decoy),
        })
    }

    /// The key that verifies what `kid` signed, with its one algorithm.
    pub(super) fn verifying(&self, kid: &str) -> Option<(Algorithm, &DecodingKey)> {
        let key = self.keys.iter().find(|key| key.kid == kid)?;
        Some((key.algorithm, &key.verify))
    }

    /// A key nobody has.
    pub(super) fn decoy(&self) -> (Algorithm, &DecodingKey) {
        (Algorithm::HS256, &self.decoy)
    }

    /// The key this node signs with.
    pub(super) fn signing(&self) -> Option<(&str, &EncodingKey)> {
        self.keys
            .iter()
            .rev()
            .find_map(|key| Some((key.kid.as_str(), key.sign.as_ref()?)))
    }
}

impl KeyEntry {
    fn key(&self) -> Result<Key, String> {
        let kid = &self.kid;
        match (self.alg, &self.secret, &self.public) {
            (KeyAlgorithm::Hs256, Some(secret), None) => {
                if secret.len() < SECRET_BYTES_MIN {
                    return Err(format!(
                        "the secret of `{kid}` is too short: HS256 needs {SECRET_BYTES_MIN} characters or more"
                    ));
                }
                Ok(Key {
                    kid: kid.clone(),
                    algorithm: Algorithm::HS256,
                    verify: DecodingKey::from_secret(secret.as_bytes()),
                    sign: Some(EncodingKey::from_secret(secret.as_bytes())),
                })
            }
            (KeyAlgorithm::EdDsa, None, Some(public)) => {
                let bytes = BASE64_URL_SAFE_NO_PAD
                    .decode(public)
                    .ok()
                    .filter(|bytes| bytes.len() == ED25519_PUBLIC_BYTES)
                    .ok_or_else(|| {
                        format!("`public` of `{kid}` is not an Ed25519 key: 32 bytes in base64url without `=`")
                    })?;
                Ok(Key {
                    kid: kid.clone(),
                    algorithm: Algorithm::EdDSA,
                    verify: DecodingKey::from_ed_der(&bytes),
                    sign: None,
                })
            }
            (KeyAlgorithm::Hs256, ..) => Err(format!(
                "`{kid}` is HS256: give it `secret` and nothing else"
            )),
            (KeyAlgorithm::EdDsa, ..) => Err(format!(
                "`{kid}` is EdDSA: give it `public` and nothing else"
            )),
        }
    }
}

fn check_kid(kid: &str) -> Result<(), String> {
    let valid = (1..=KID_BYTES_MAX).contains(&kid.len())
        && kid
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if valid {
        Ok(())
    } else {
        Err(format!("a kid is [A-Za-z0-9._-]{{1,{KID_BYTES_MAX}}}"))
    }
}

fn read(path: &Path) -> Result<(KeySet, String), KeysError> {
    let malformed = |what| KeysError::Malformed {
        path: path.to_owned(),
        what,
    };
    let text = fs::read(path).map_err(DataDirError::of("cannot read", path))?;
    let mode = fs::metadata(path)
        .map_err(DataDirError::of("cannot read", path))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            "others may read the signing keys: chmod 600 this file",
        );
    }
    let file: KeysFile =
        serde_json::from_slice(&text).map_err(|error| malformed(without_values(&error)))?;
    let set = KeySet::new(&file).map_err(malformed)?;
    Ok((set, file.deployment))
}

/// serde_json quotes the value it did not expect, which may be a secret: of such errors only the place is
/// told. Names of fields are no secrets.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let harmless = !error.is_data()
        || ["unknown field", "missing field"]
            .iter()
            .any(|start| text.starts_with(start));
    if harmless {
        text
    } else {
        format!(
            "not the expected shape at line {}, column {}",
            error.line(),
            error.column()
        )
    }
}

/// A file with one new key.
fn first_file() -> Result<Vec<u8>, KeysError> {
    let mut random = [0; SECRET_BYTES_MIN + 4];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| KeysError::Random)?;
    let (secret, kid) = random.split_at(SECRET_BYTES_MIN);
    let file = KeysFile {
        deployment: deployment_default(),
        keys: vec![KeyEntry {
            kid: format!("k-{}", hex(kid)),
            alg: KeyAlgorithm::Hs256,
            state: KeyState::Active,
            secret: Some(BASE64_URL_SAFE_NO_PAD.encode(secret)),
            public: None,
        }],
    };
    let mut text =
        serde_json::to_vec_pretty(&file).expect("invariant: a struct of strings always serialises");
    text.push(b'\n');
    Ok(text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
