//! What an operator may set, from where, and with which defaults.
//!
//! A value comes from the command line, else from the environment (`LECTERN_...`), else from the
//! configuration file, else from the default. The file is the one that the control plane reads too:
//! keys that do not concern the media process are the control plane's to check.

#![allow(
    rustdoc::invalid_html_tags,
    reason = "doc comments here are the help texts of the command line, where <data-dir> is a placeholder"
)]

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use dataplane_net::EdgeChoice;
use dataplane_net::affinity::CpuSet;
use serde::Deserialize;

use crate::advertise::Advertise;

const MEDIA_OPS_DEFAULT: &str = "127.0.0.1:9601";
const MEDIA_PORT_DEFAULT: u16 = 40_000;
const ORPHAN_GRACE_S_DEFAULT: u64 = 21_600;
const DRAIN_DEADLINE_S_DEFAULT: u64 = 3_600;

/// Searched in this order when `--config` is not given.
const CONFIG_FILES: [&str; 2] = ["./lectern.toml", "/etc/lectern/lectern.toml"];

/// The media process of Lectern.
///
/// It is usually started by `lectern up` or by its systemd unit; the control plane reaches it
/// through the link socket.
#[derive(Debug, Parser)]
#[command(name = "lectern-dataplane", version)]
pub struct Args {
    /// Configuration file [default: ./lectern.toml, else /etc/lectern/lectern.toml]
    #[arg(long, value_name = "FILE", env = "LECTERN_CONFIG")]
    pub config: Option<PathBuf>,

    /// Where health and metrics are answered [default: 127.0.0.1:9601]
    #[arg(long, value_name = "ADDR:PORT", env = "LECTERN_MEDIA_OPS")]
    pub media_ops: Option<SocketAddr>,

    /// First UDP port for media, one a shard from here; 0 lets the kernel choose [default: 40000]
    #[arg(long, value_name = "PORT", env = "LECTERN_MEDIA_PORT")]
    pub media_port: Option<u16>,

    /// Number of shards [default: the processors this process may use, less one, at least one]
    #[arg(long, value_name = "N", env = "LECTERN_SHARDS", value_parser = parse_shards)]
    pub shards: Option<NonZeroU16>,

    /// Processors for the shards, such as 2-5,8 [default: all allowed]
    #[arg(long, value_name = "LIST", env = "LECTERN_CPUS")]
    pub cpus: Option<CpuSet>,

    /// The socket where the control plane is awaited [default: <data-dir>/link.sock]
    #[arg(long, value_name = "PATH", env = "LECTERN_LINK")]
    pub link: Option<PathBuf>,

    /// How UDP is spoken [default: auto]
    #[arg(long, value_name = "auto|uring|mmsg", env = "LECTERN_EDGE")]
    pub edge: Option<EdgeChoice>,

    /// Addresses or names that clients are told, comma-separated; `external/internal` behind a
    /// one-to-one NAT [default: every address of every interface that is up, loopback last]
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        env = "LECTERN_ADVERTISE"
    )]
    pub advertise: Option<Vec<Advertise>>,

    /// Where the node keeps its files [default: $STATE_DIRECTORY, else ./lectern-data]
    #[arg(long, value_name = "DIR", env = "LECTERN_DATA_DIR")]
    pub data_dir: Option<PathBuf>,

    /// Seconds without a control plane after which the node drains [default: 21600]
    #[arg(long, value_name = "S", env = "LECTERN_ORPHAN_GRACE_S")]
    pub orphan_grace_s: Option<u64>,

    /// Seconds that sessions have to end by themselves after SIGTERM [default: 3600]
    #[arg(long, value_name = "S", env = "LECTERN_DRAIN_DEADLINE_S")]
    pub drain_deadline_s: Option<u64>,

    /// How the log is written [default: auto: text on a terminal, JSON otherwise]
    #[arg(long, value_enum, value_name = "FORMAT", env = "LECTERN_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,

    /// Log level, or a filter such as info,dataplane::link=debug [default: info]
    #[arg(long, value_name = "LEVEL", env = "LECTERN_LOG_LEVEL")]
    pub log_level: Option<String>,

    /// Print one line of JSON on stdout once media is served (with --probe: the probe's result)
    #[arg(long)]
    pub json: bool,

    /// Say which edge, limits and addresses this host offers, and exit
    #[arg(long)]
    pub probe: bool,

    /// Stop when standard input reaches its end: the supervisor that held it is gone
    #[arg(long, hide = true)]
    pub exit_with_stdin: bool,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// The file's keys that concern the media process. A key may be written with `-` or `_`.
#[derive(Debug, Default, Deserialize)]
struct File {
    #[serde(alias = "media-ops")]
    media_ops: Option<SocketAddr>,
    #[serde(alias = "media-port")]
    media_port: Option<u16>,
    shards: Option<NonZeroU16>,
    cpus: Option<String>,
    link: Option<PathBuf>,
    edge: Option<String>,
    advertise: Option<OneOrMany>,
    #[serde(alias = "data-dir")]
    data_dir: Option<PathBuf>,
    #[serde(alias = "orphan-grace-s")]
    orphan_grace_s: Option<u64>,
    #[serde(alias = "drain-deadline-s")]
    drain_deadline_s: Option<u64>,
    #[serde(alias = "log-format")]
    log_format: Option<LogFormat>,
    #[serde(alias = "log-level")]
    log_level: Option<String>,
}

/// `advertise = "a,b"` and `advertise = ["a", "b"]` mean the same.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn parse(&self) -> anyhow::Result<Vec<Advertise>> {
        let items: Vec<&str> = match self {
            OneOrMany::One(list) => list.split(',').collect(),
            OneOrMany::Many(items) => items.iter().map(String::as_str).collect(),
        };
        items.into_iter().map(|item| Ok(item.parse()?)).collect()
    }
}

/// The effective configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where health and metrics are answered.
    pub media_ops: SocketAddr,
    /// First UDP port for media; 0 gives every shard a port of the kernel's choice.
    pub media_port: u16,
    /// Number of shards, when the operator fixed it.
    pub shards: Option<NonZeroU16>,
    /// Processors of the shards, when the operator chose them.
    pub cpus: Option<CpuSet>,
    /// The link socket.
    pub link: PathBuf,
    /// Which edge speaks UDP.
    pub edge: EdgeChoice,
    /// What clients are told instead of the interfaces' addresses; empty: the interfaces' addresses.
    pub advertise: Vec<Advertise>,
    /// Without a control plane for this long, the node drains.
    pub orphan_grace: Duration,
    /// A drain ends after this long even with sessions left.
    pub drain_deadline: Duration,
    /// How the log is written.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_level: String,
}

impl Config {
    /// Puts the layers together.
    ///
    /// # Errors
    /// When the file cannot be read or a value of it does not parse, with the file's name; when the
    /// last shard's port would exceed 65535.
    pub fn from_args(args: &Args) -> anyhow::Result<Config> {
        let (file, origin) = read_file(args.config.as_deref())?;
        let from_file = |what: &str| format!("`{what}` in {}", origin.display());
        let data_dir = args
            .data_dir
            .clone()
            .or(file.data_dir)
            .or_else(|| std::env::var_os("STATE_DIRECTORY").and_then(first_state_directory))
            .unwrap_or_else(|| PathBuf::from("./lectern-data"));
        let advertise = match (&args.advertise, &file.advertise) {
            (Some(list), _) => list.clone(),
            (None, Some(list)) => list.parse().with_context(|| from_file("advertise"))?,
            (None, None) => Vec::new(),
        };
        let cpus = match (&args.cpus, &file.cpus) {
            (Some(cpus), _) => Some(cpus.clone()),
            (None, Some(list)) => Some(list.parse().with_context(|| from_file("cpus"))?),
            (None, None) => None,
        };
        let edge = match (args.edge, &file.edge) {
            (Some(edge), _) => edge,
            (None, Some(edge)) => edge.parse().with_context(|| from_file("edge"))?,
            (None, None) => EdgeChoice::default(),
        };
        let default_ops = || {
            MEDIA_OPS_DEFAULT
                .parse()
                .expect("invariant: the default of --media-ops is an address")
        };
        let config = Config {
            media_ops: args
                .media_ops
                .or(file.media_ops)
                .unwrap_or_else(default_ops),
            media_port: args
                .media_port
                .or(file.media_port)
                .unwrap_or(MEDIA_PORT_DEFAULT),
            shards: args.shards.or(file.shards),
            cpus,
            link: args
                .link
                .clone()
                .or(file.link)
                .unwrap_or_else(|| data_dir.join("link.sock")),
            edge,
            advertise,
            orphan_grace: Duration::from_secs(
                args.orphan_grace_s
                    .or(file.orphan_grace_s)
                    .unwrap_or(ORPHAN_GRACE_S_DEFAULT),
            ),
            drain_deadline: Duration::from_secs(
                args.drain_deadline_s
                    .or(file.drain_deadline_s)
                    .unwrap_or(DRAIN_DEADLINE_S_DEFAULT),
            ),
            log_format: args.log_format.or(file.log_format).unwrap_or_default(),
            log_level: args
                .log_level
                .clone()
                .or(file.log_level)
                .unwrap_or_else(|| "info".to_owned()),
        };
        if let Some(shards) = config.shards {
            config.check_ports(shards)?;
        }
        Ok(config)
    }

    /// Number of shards on a host where `cpus` processors may be used: the workers, the link and the
    /// control plane get the rest (contracts.md 37).
    #[must_use]
    pub fn shards_on(&self, cpus: usize) -> NonZeroU16 {
        self.shards.unwrap_or_else(|| {
            let spare_one = u16::try_from(cpus.saturating_sub(1)).unwrap_or(u16::MAX);
            NonZeroU16::new(spare_one).unwrap_or(NonZeroU16::MIN)
        })
    }

    /// The UDP port of one shard; 0 when the kernel chooses.
    #[must_use]
    pub fn port_of(&self, shard: u16) -> u16 {
        if self.media_port == 0 {
            0
        } else {
            self.media_port.saturating_add(shard)
        }
    }

    /// # Errors
    /// When the last shard's port would exceed 65535.
    pub fn check_ports(&self, shards: NonZeroU16) -> anyhow::Result<()> {
        if self.media_port != 0 && self.media_port.checked_add(shards.get() - 1).is_none() {
            bail!(
                "--media-port {} leaves no room for {shards} shards below port 65536: choose a lower \
                 --media-port or fewer --shards",
                self.media_port
            );
        }
        Ok(())
    }
}

fn parse_shards(text: &str) -> Result<NonZeroU16, String> {
    text.parse()
        .map_err(|_| format!("a whole number from 1 to {}", u16::MAX))
}

/// systemd separates several state directories by `:`.
fn first_state_directory(value: std::ffi::OsString) -> Option<PathBuf> {
    let value = value.into_string().ok()?;
    value
        .split(':')
        .next()
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
}

fn read_file(chosen: Option<&Path>) -> anyhow::Result<(File, PathBuf)> {
    let path = match chosen {
        Some(path) => path.to_owned(),
        None => match CONFIG_FILES
            .iter()
            .map(Path::new)
            .find(|path| path.is_file())
        {
            Some(path) => path.to_owned(),
            None => return Ok((File::default(), PathBuf::new())),
        },
    };
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
    let file = toml::from_str(&text)
        .with_context(|| format!("the configuration file {} is not valid", path.display()))?;
    Ok((file, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(args: &[&str]) -> anyhow::Result<Config> {
        let args = Args::try_parse_from([&["lectern-dataplane"], args].concat())?;
        Config::from_args(&args)
    }

    fn file(text: &str) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lectern.toml");
        std::fs::write(&path, text).unwrap();
        let path = path.to_str().unwrap().to_owned();
        (dir, path)
    }

    #[test]
    fn nothing_set_gives_the_documented_defaults() {
        let (_dir, path) = file("");
        let config = config(&["--config", &path, "--data-dir", "d"]).unwrap();
        assert_eq!(config.media_ops, "127.0.0.1:9601".parse().unwrap());
        assert_eq!(config.media_port, 40_000);
        assert_eq!(config.link, PathBuf::from("d/link.sock"));
        assert_eq!(config.edge, EdgeChoice::Auto);
        assert_eq!(config.orphan_grace, Duration::from_secs(6 * 3_600));
        assert_eq!(config.drain_deadline, Duration::from_secs(3_600));
        assert_eq!(config.log_level, "info");
        assert!(config.advertise.is_empty());
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let (_dir, path) = file(
            "media_port = 50000\nedge = \"mmsg\"\ndata-dir = \"/srv/lectern\"\nopen_tokens = true\n\
             advertise = [\"203.0.113.7/10.0.0.5\", \"media.example.org\"]\ncpus = \"2-3\"\n",
        );
        let config = config(&["--config", &path, "--media-port", "41000"]).unwrap();
        assert_eq!(config.media_port, 41_000);
        assert_eq!(config.edge, EdgeChoice::Mmsg);
        assert_eq!(config.link, PathBuf::from("/srv/lectern/link.sock"));
        assert_eq!(config.advertise.len(), 2);
        assert_eq!(config.cpus.unwrap().as_slice(), [2, 3]);
    }

    #[test]
    fn a_list_on_the_command_line_is_split_at_commas() {
        let (_dir, path) = file("advertise = \"192.0.2.9\"");
        let config = config(&["--config", &path, "--advertise", "192.0.2.1,2001:db8::1"]).unwrap();
        assert_eq!(
            config.advertise,
            ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()]
        );
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_place() {
        let (_dir, path) = file("edge = \"dpdk\"");
        let error = format!("{:#}", config(&["--config", &path]).unwrap_err());
        assert!(
            error.contains("lectern.toml") && error.contains("edge"),
            "{error}"
        );

        let (_dir, path) = file("advertise = [\"10.0.0.5/not-an-address\"]");
        let error = format!("{:#}", config(&["--config", &path]).unwrap_err());
        assert!(
            error.contains("`advertise`") && error.contains("not-an-address"),
            "{error}"
        );

        let (_dir, path) = file("cpus = \"3-1\"");
        let error = format!("{:#}", config(&["--config", &path]).unwrap_err());
        assert!(
            error.contains("`cpus`") && error.contains("backwards"),
            "{error}"
        );

        let error = format!(
            "{:#}",
            config(&["--config", "/nowhere/lectern.toml"]).unwrap_err()
        );
        assert!(error.contains("/nowhere/lectern.toml"), "{error}");
    }

    #[test]
    fn one_processor_is_left_to_the_rest_of_the_node() {
        let (_dir, path) = file("");
        let free = config(&["--config", &path]).unwrap();
        let shards: Vec<u16> = [0, 1, 2, 8].map(|cpus| free.shards_on(cpus).get()).into();
        assert_eq!(shards, [1, 1, 1, 7]);
        let fixed = config(&["--config", &path, "--shards", "4"]).unwrap();
        assert_eq!(fixed.shards_on(2).get(), 4);
    }

    #[test]
    fn every_shard_has_a_port_or_the_start_is_refused() {
        let (_dir, path) = file("");
        let two = config(&["--config", &path, "--media-port", "65534", "--shards", "2"]).unwrap();
        assert_eq!((two.port_of(0), two.port_of(1)), (65_534, 65_535));
        let three = config(&["--config", &path, "--media-port", "65534", "--shards", "3"]);
        assert!(format!("{:#}", three.unwrap_err()).contains("--media-port 65534"));
        let ephemeral = config(&["--config", &path, "--media-port", "0", "--shards", "3"]).unwrap();
        assert_eq!(ephemeral.port_of(2), 0);
    }
}
