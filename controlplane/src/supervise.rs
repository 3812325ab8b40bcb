//! A whole node in the foreground: two processes that are started, watched, restarted and stopped
//! together.
//!
//! ```text
//! lectern up --+-- stdin pipe --> lectern-dataplane       ready line on stdout, log on the shared stderr
//!              `-- stdin pipe --> lectern controlplane
//! ```
//! The pipes are how nothing is left behind: a child ends when its standard input does, and the kernel
//! closes the pipe when this process ends, however it ends.

pub mod child;
pub mod sibling;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::auth::{Keys, Role, RoomClaims, VideoGrant};
use crate::config::{Config, Layers, absolute};
use crate::http::public_url::PublicUrl;
use child::{Child, Program};

/// Life of the printed links: the longest a token may have.
pub const LINK_LIFETIME: Duration = Duration::from_secs(crate::auth::token::LIFETIME_S_MAX);

/// How much earlier the control plane is stopped: it needs a few milliseconds.
const HEAD_START: Duration = Duration::from_millis(100);

/// The settings that the data plane takes; it reads no others.
const DATAPLANE_KEYS: [&str; 10] = [
    "media_ops",
    "media_port",
    "shards",
    "cpus",
    "edge",
    "advertise",
    "orphan_grace_s",
    "drain_deadline_s",
    "log_format",
    "log_level",
];

/// What `lectern controlplane --json` prints once it serves and the data plane is linked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlplaneReady {
    /// `major.minor.patch`.
    pub version: String,
    /// Where pages and the API are served.
    pub http: SocketAddr,
    /// Where health and metrics are.
    pub ops: SocketAddr,
    /// The process.
    pub pid: u32,
}

/// What `lectern-dataplane --json` prints once media is served; it says more than is read here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct DataplaneReady {
    /// Where health and metrics are.
    pub media_ops: SocketAddr,
    /// What clients are told.
    pub media: Vec<SocketAddr>,
    /// The process.
    pub pid: u32,
}

/// The ready line of `lectern up --json`.
#[derive(Clone, Debug, Serialize)]
pub struct Ready {
    /// `major.minor.patch`.
    pub version: String,
    /// Where pages and the API are served.
    pub http: SocketAddr,
    /// Health and metrics of the control plane.
    pub ops: SocketAddr,
    /// Health and metrics of the data plane.
    pub media_ops: SocketAddr,
    /// Where media is sent to.
    pub media: Vec<SocketAddr>,
    /// Keys and database.
    pub data_dir: PathBuf,
    /// The processes.
    pub pids: Pids,
    /// Pages with fresh tokens.
    pub links: Links,
}

/// See [`Ready::pids`].
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Pids {
    /// `lectern controlplane`.
    pub controlplane: u32,
    /// `lectern-dataplane`.
    pub dataplane: u32,
}

/// See [`Ready::links`]. The token stands behind `#`: a browser sends it to nobody.
#[derive(Clone, Debug, Serialize)]
pub struct Links {
    /// To publish, as a teacher.
    pub publish: String,
    /// To watch.
    pub watch: String,
}

/// Both processes, ready.
#[derive(Debug)]
pub struct Node {
    dataplane: Child,
    controlplane: Child,
    /// What to tell.
    pub ready: Ready,
}

impl Node {
    /// Starts the data plane, then the control plane, and returns when both serve and are linked; `None`
    /// when the order to stop came first. In that case, and after an error, nothing runs.
    ///
    /// # Errors
    /// When a binary is missing or a process ends before it is ready; what it said of itself stands in
    /// the log.
    pub async fn start(
        config: &Config,
        layers: &Layers,
        orders: &mut watch::Receiver<Order>,
    ) -> anyhow::Result<Option<Node>> {
        // Made here, so that the links below are signed by the keys that the children read.
        let keys = Keys::load_or_create(&config.data_dir)?;
        let media_program = dataplane_program(config, layers)?;
        let web_program = controlplane_program(config, layers)?;
        let started = Child::start::<DataplaneReady>(media_program, orders).await?;
        let Some((mut dataplane, media)) = started else {
            return Ok(None);
        };
        dataplane.pin("media_ops", &media.media_ops.to_string());
        let (mut controlplane, web) =
            match Child::start::<ControlplaneReady>(web_program, orders).await {
                Ok(Some(started)) => started,
                Ok(None) => {
                    dataplane.stop().await;
                    return Ok(None);
                }
                Err(error) => {
                    dataplane.stop().await;
                    return Err(error);
                }
            };
        controlplane.pin("http", &web.http.to_string());
        controlplane.pin("ops", &web.ops.to_string());
        let ready = Ready {
            links: links(config, &keys, web.http)?,
            version: web.version,
            http: web.http,
            ops: web.ops,
            media_ops: media.media_ops,
            media: media.media,
            data_dir: absolute(&config.data_dir),
            pids: Pids {
                controlplane: web.pid,
                dataplane: media.pid,
            },
        };
        Ok(Some(Node {
            dataplane,
            controlplane,
            ready,
        }))
    }

    /// Watches both until the order is to stop, restarting what dies; then stops both, the control plane
    /// a moment earlier, so that it does not take the end of the media for an accident.
    pub async fn keep(self, orders: watch::Receiver<Order>) {
        let mut media_orders = orders.clone();
        let (to_dataplane, of_dataplane) = watch::channel(*orders.borrow());
        let relay = async {
            loop {
                let order = child::next(&mut media_orders).await;
                if order == Order::Stop {
                    sleep(HEAD_START).await;
                }
                to_dataplane.send_replace(order);
                if order == Order::Stop {
                    return;
                }
            }
        };
        tokio::join!(
            self.controlplane.keep::<ControlplaneReady>(orders),
            self.dataplane.keep::<DataplaneReady>(of_dataplane),
            relay,
        );
    }
}

/// What a supervised process is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Go on. The number changes with each SIGHUP that is to be passed on.
    Run {
        /// SIGHUPs so far.
        hangups: u64,
    },
    /// End.
    Stop,
}

fn dataplane_program(config: &Config, layers: &Layers) -> anyhow::Result<Program> {
    let mut program = Program::new("data plane", sibling::find()?);
    place(&mut program, config, layers);
    for name in DATAPLANE_KEYS {
        set(&mut program, layers, name);
    }
    Ok(program)
}

fn controlplane_program(config: &Config, layers: &Layers) -> anyhow::Result<Program> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let mut program = Program::new("control plane", own);
    program.word("controlplane");
    place(&mut program, config, layers);
    for setting in layers.settings() {
        set(&mut program, layers, setting.key.name);
    }
    Ok(program)
}

/// What both need to find the same files.
fn place(program: &mut Program, config: &Config, layers: &Layers) {
    if let Some(file) = &layers.file {
        program.set("config", &file.display().to_string());
    }
    program.set("data_dir", &config.data_dir.display().to_string());
    program.set("link", &config.link.display().to_string());
}

/// Passes a value on, whoever set it: a flag wins over all that a child may read elsewhere.
fn set(program: &mut Program, layers: &Layers, name: &str) {
    let text = &layers.setting(name).text;
    if !text.is_empty() {
        program.set(name, text);
    }
}

fn links(config: &Config, keys: &Keys, http: SocketAddr) -> anyhow::Result<Links> {
    let base = PublicUrl::new(config, http).here();
    let room = &config.default_room;
    let link = |page: &str, role: Role| -> anyhow::Result<String> {
        let video = VideoGrant {
            room: Some(room.clone()),
            ..VideoGrant::default()
        };
        let sub = format!("{role}-{}", uuid::Uuid::now_v7());
        let claims = RoomClaims::new(sub, role, video, SystemTime::now(), LINK_LIFETIME);
        let token = keys.mint_room(claims).context("cannot make the links")?;
        Ok(format!("{base}/{page}/{room}#token={token}"))
    };
    Ok(Links {
        publish: link("publish", Role::Teacher)?,
        watch: link("watch", Role::Viewer)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    #[test]
    fn the_printed_links_open_their_pages_and_hide_the_token_from_the_server() {
        let flags = Flags::default().with("default_room", "math-7");
        let (config, _) = Config::from_environment(&flags, []).unwrap();
        let keys = Keys::from_secret("k", "0123456789abcdef0123456789abcdef", "lectern").unwrap();
        let links = links(&config, &keys, "0.0.0.0:8080".parse().unwrap()).unwrap();
        for (link, page, publishes) in [
            (links.publish, "publish", true),
            (links.watch, "watch", false),
        ] {
            let (url, token) = link.split_once("#token=").unwrap();
            assert_eq!(url, format!("http://127.0.0.1:8080/{page}/math-7"));
            let claims = keys.verify_room(token).unwrap();
            assert!(claims.opens("math-7"));
            assert_eq!(claims.rights().may_publish(), publishes);
        }
    }

    #[test]
    fn the_control_plane_gets_every_value_and_the_data_plane_its_own() {
        let flags = Flags::default()
            .with("http", "127.0.0.1:0")
            .with("open_tokens", "true")
            .with("media_port", "41000")
            .with("data_dir", "d");
        let (config, layers) = Config::from_environment(&flags, []).unwrap();
        let program = controlplane_program(&config, &layers).unwrap();
        let arguments = program.arguments();
        for expected in [
            "controlplane",
            "--http=127.0.0.1:0",
            "--open-tokens=true",
            "--link=d/link.sock",
        ] {
            assert!(
                arguments.iter().any(|argument| argument == expected),
                "{arguments:?}"
            );
        }
        let mut program = Program::new("data plane", PathBuf::from("lectern-dataplane"));
        place(&mut program, &config, &layers);
        for name in DATAPLANE_KEYS {
            set(&mut program, &layers, name);
        }
        let arguments = program.arguments();
        assert!(
            arguments
                .iter()
                .any(|argument| argument == "--media-port=41000")
        );
        assert!(
            arguments
                .iter()
                .all(|argument| !argument.starts_with("--shards")),
            "unset stays unset"
        );
        assert!(
            arguments
                .iter()
                .all(|argument| !argument.starts_with("--http"))
        );
    }
}
