//! What an operator may set: the effective configuration, typed and checked.
//!
//! The table of settings is [`table::KEYS`]; a value comes from its flag, else `LECTERN_...`, else the
//! file, else the default ([`layers`]). `lectern.example.toml` beside this crate explains each.

pub mod layers;
pub mod table;
pub mod values;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::auth::token::is_room_name;
pub use layers::{Flags, Layers, Origin};
pub use values::{CorsOrigins, Edge, LogFormat, Network};

/// Why there is no configuration. Every text names the place and what to write there.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {cause}", path = path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path} is not valid TOML: {message}", path = path.display())]
    NotToml {
        /// Which.
        path: PathBuf,
        /// The parser's words, with line and column.
        message: String,
    },
    /// The file has a key that does not exist.
    #[error(
        "{path}: unknown key `{name}`{}",
        nearest.map_or_else(
            || "; `lectern check` lists every key".to_owned(),
            |key| format!("; did you mean `{key}`?"),
        ),
        path = path.display()
    )]
    UnknownKey {
        /// Which file.
        path: PathBuf,
        /// What it says.
        name: String,
        /// The key most like it.
        nearest: Option<&'static str>,
    },
    /// A value is not of its type.
    #[error("{place} is `{text}`; expected {expected}")]
    Value {
        /// Where it stands.
        place: String,
        /// What stands there.
        text: String,
        /// What could stand there.
        expected: &'static str,
    },
    /// A value does not go with the rest.
    #[error("{place} is `{text}`, but {fix}")]
    Conflict {
        /// Where it stands.
        place: String,
        /// What stands there.
        text: String,
        /// Why it cannot be, and what to do.
        fix: String,
    },
}

/// The effective configuration of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where pages, WHIP, WHEP and the API are served.
    pub http: SocketAddr,
    /// Certificate chain and private key (PEM); `None`: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// How clients reach the node, without a trailing slash; `None`: as the Host header says.
    pub public_url: Option<String>,
    /// Proxies whose `X-Forwarded-*` headers count.
    pub trusted_proxies: Vec<Network>,
    /// Who may use the API from a web page.
    pub cors_origins: CorsOrigins,
    /// Health, metrics and debug of this process.
    pub ops: SocketAddr,
    /// Health and metrics of the data plane.
    pub media_ops: SocketAddr,
    /// First UDP port; 0: the kernel chooses.
    pub media_port: u16,
    /// Media threads; `None`: as many as the host bears.
    pub shards: Option<u16>,
    /// Processors of the media threads.
    pub cpus: Option<String>,
    /// The socket between the two processes.
    pub link: PathBuf,
    /// How UDP is spoken.
    pub edge: Edge,
    /// What clients are told; empty: every address of every interface that is up.
    pub advertise: Vec<String>,
    /// External STUN and TURN servers.
    pub ice_servers: Option<PathBuf>,
    /// Keys and database.
    pub data_dir: PathBuf,
    /// Everyone gets a token.
    pub open_tokens: bool,
    /// The room of a token request that names none.
    pub default_room: String,
    /// PATCH of a session is taken without `If-Match`.
    pub lenient_patch: bool,
    /// Most participants of a room; `None`: no limit.
    pub max_participants: Option<u32>,
    /// A publisher without a packet for this long is closed; 0: never.
    pub stream_timeout_s: u64,
    /// A room that is empty for this long ends its run.
    pub room_idle_s: u64,
    /// The data plane alone for this long drains.
    pub orphan_grace_s: u64,
    /// Longest drain.
    pub drain_deadline_s: u64,
    /// How the log is written.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_level: String,
}

/// The two files of HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

impl Config {
    /// The configuration from the command line, this process's environment and the file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(flags: &Flags) -> Result<(Config, Layers), ConfigError> {
        Config::from_environment(
            flags,
            std::env::vars_os().filter_map(|(name, text)| {
                Some((name.into_string().ok()?, text.into_string().ok()?))
            }),
        )
    }

    /// [`Config::load`] with another environment than this process's.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn from_environment(
        flags: &Flags,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(Config, Layers), ConfigError> {
        let environment: Vec<(String, String)> = environment.into_iter().collect();
        let state_directory = environment
            .iter()
            .find(|(name, _)| name == "STATE_DIRECTORY")
            // systemd separates several state directories by `:`.
            .and_then(|(_, text)| text.split(':').next().filter(|dir| !dir.is_empty()))
            .map_or_else(|| PathBuf::from("./lectern-data"), PathBuf::from);
        let layers = Layers::gather(flags, environment)?;
        let config = Config::from_layers(&layers, state_directory)?;
        Ok((config, layers))
    }

    fn from_layers(layers: &Layers, state_directory: PathBuf) -> Result<Config, ConfigError> {
        let data_dir = layers
            .parse::<Option<PathBuf>>("data_dir")?
            .unwrap_or(state_directory);
        let config = Config {
            http: layers.parse("http")?,
            tls: tls_files(layers)?,
            public_url: public_url(layers)?,
            trusted_proxies: layers.parse("trusted_proxies")?,
            cors_origins: layers.parse("cors_origins")?,
            ops: layers.parse("ops")?,
            media_ops: layers.parse("media_ops")?,
            media_port: layers.parse("media_port")?,
            shards: layers.parse("shards")?,
            cpus: layers.parse("cpus")?,
            link: layers
                .parse::<Option<PathBuf>>("link")?
                .unwrap_or_else(|| data_dir.join("link.sock")),
            edge: layers.parse("edge")?,
            advertise: layers.parse("advertise")?,
            ice_servers: layers.parse("ice_servers")?,
            data_dir,
            open_tokens: layers.parse("open_tokens")?,
            default_room: layers.parse("default_room")?,
            lenient_patch: layers.parse("whip.lenient_patch")?,
            max_participants: Some(layers.parse("max_participants")?).filter(|limit| *limit > 0),
            stream_timeout_s: layers.parse("stream_timeout_s")?,
            room_idle_s: layers.parse("room_idle_s")?,
            orphan_grace_s: layers.parse("orphan_grace_s")?,
            drain_deadline_s: layers.parse("drain_deadline_s")?,
            log_format: layers.parse("log_format")?,
            log_level: layers.parse("log_level")?,
        };
        config.check(layers)?;
        Ok(config)
    }

    /// What types cannot say.
    fn check(&self, layers: &Layers) -> Result<(), ConfigError> {
        if self.open_tokens && !self.http.ip().is_loopback() {
            return Err(layers.conflict(
                "open_tokens",
                format!(
                    "`http` is {}: a token for everyone is only given on a loopback address. \
                     Set http to 127.0.0.1:{}, or open_tokens to false",
                    self.http,
                    self.http.port()
                ),
            ));
        }
        if self.shards == Some(0) {
            return Err(layers.conflict("shards", "media needs one shard at least"));
        }
        if let (1.., Some(shards)) = (self.media_port, self.shards)
            && self.media_port.checked_add(shards - 1).is_none()
        {
            return Err(layers.conflict(
                "media_port",
                format!(
                    "{shards} shards need as many ports below 65536: choose a lower media_port"
                ),
            ));
        }
        if !is_room_name(&self.default_room) {
            return Err(layers.conflict(
                "default_room",
                "a room's name has 1 to 64 of the characters A-Z a-z 0-9 _ -",
            ));
        }
        if let Err(error) = crate::log::filter(&self.log_level) {
            return Err(
                layers.conflict("log_level", format!("that is no level or filter: {error}"))
            );
        }
        Ok(())
    }

    /// `http` or `https`, as this node serves it.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The file of the signing keys.
    #[must_use]
    pub fn keys_file(&self) -> PathBuf {
        self.data_dir.join(crate::auth::keys::FILE_NAME)
    }
}

fn tls_files(layers: &Layers) -> Result<Option<TlsFiles>, ConfigError> {
    match (layers.parse("tls_cert")?, layers.parse("tls_key")?) {
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(layers.conflict("tls_cert", "`tls_key` is missing: HTTPS needs both"))
        }
        (None, Some(_)) => {
            Err(layers.conflict("tls_key", "`tls_cert` is missing: HTTPS needs both"))
        }
    }
}

fn public_url(layers: &Layers) -> Result<Option<String>, ConfigError> {
    let Some(url) = layers.parse::<Option<String>>("public_url")? else {
        return Ok(None);
    };
    let url = url.trim_end_matches('/');
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    if host.is_some_and(|host| !host.is_empty() && !host.contains(['?', '#', ' '])) {
        Ok(Some(url.to_owned()))
    } else {
        Err(layers.conflict(
            "public_url",
            "it begins with https:// or http:// and a host",
        ))
    }
}

/// The whole path: a relative one in a message would leave the reader guessing where it begins.
#[must_use]
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests;
