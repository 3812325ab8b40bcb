//! A whole node in the foreground: two processes that are started, watched, restarted and stopped
//! together.
//!
//! ```text
//! lectern up --+-- stdin pipe --> lectern-dataplane       ready line on stdout, log on the shared stderr
//!              `-- stdin pipe --> lectern controlplane
//! ```
//! The pipes are how nothing is left behind: a child ends when its standard input does, and the kernel
//! closes the pipe when this process ends, however it ends.
//!
//! A drain ends the data plane, which knows when its last session is gone; the control plane serves on
//! until then, because the people in the running classes still need it.

pub mod child;
pub mod pause;
pub mod program;
pub mod sibling;

use std::collections::BTreeSet;
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
use child::Child;
use program::{OnDrain, Program};

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
    /// when an order to end came first: before the first session there is nothing to drain. In that case,
    /// and after an error, nothing runs.
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
        if let Some(port) = first_port(&media.media) {
            dataplane.pin("media_port", &port.to_string());
        }
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
        controlplane.set_on_drain(OnDrain::GoOn);
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

    /// Watches both, restarting what dies, until the order is to stop or a drain has ended the data plane;
    /// nothing runs then.
    ///
    /// At a stop the control plane goes a moment earlier, so that it does not take the end of the media
    /// for an accident.
    pub async fn keep(self, mut orders: watch::Receiver<Order>) {
        let Node {
            dataplane,
            controlplane,
            ready: _,
        } = self;
        let run = Order::Run { hangups: 0 };
        let (to_dataplane, of_dataplane) = watch::channel(run);
        let (to_controlplane, of_controlplane) = watch::channel(run);
        let relay = async {
            loop {
                let order = child::next(&mut orders).await;
                to_controlplane.send_replace(order);
                if order == Order::Stop {
                    sleep(HEAD_START).await;
                    to_dataplane.send_replace(order);
                    // The children end now, and with them what waits beside this.
                    return std::future::pending::<()>().await;
                }
                to_dataplane.send_replace(order);
            }
        };
        let media = async {
            dataplane.keep::<DataplaneReady>(of_dataplane).await;
            // Without media there is nothing left to control.
            to_controlplane.send_replace(Order::Stop);
        };
        let children = async {
            let web = controlplane.keep::<ControlplaneReady>(of_controlplane);
            tokio::join!(media, web);
        };
        tokio::select! {
            () = children => {}
            () = relay => {}
        }
    }
}

/// What a supervised process is told. Hangups are the SIGHUPs so far; each new one is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Go on.
    Run {
        /// SIGHUPs so far.
        hangups: u64,
    },
    /// Let nobody in, end with the last session.
    Drain {
        /// SIGHUPs so far.
        hangups: u64,
    },
    /// End now.
    Stop,
}

impl Order {
    /// The order after this one when SIGTERM comes: the first drains, the second stops.
    #[must_use]
    pub fn after_sigterm(self) -> Order {
        match self {
            Order::Run { hangups } => Order::Drain { hangups },
            Order::Drain { .. } | Order::Stop => Order::Stop,
        }
    }

    /// The order after this one when SIGHUP comes.
    #[must_use]
    pub fn after_sighup(self) -> Order {
        match self {
            Order::Run { hangups } => Order::Run {
                hangups: hangups + 1,
            },
            Order::Drain { hangups } => Order::Drain {
                hangups: hangups + 1,
            },
            Order::Stop => Order::Stop,
        }
    }

    /// SIGHUPs so far; who is to end need not hear of them.
    #[must_use]
    pub fn hangups(self) -> Option<u64> {
        match self {
            Order::Run { hangups } | Order::Drain { hangups } => Some(hangups),
            Order::Stop => None,
        }
    }
}

/// The setting that gives a restarted data plane the UDP ports it has now, where one does: shards take
/// their ports upwards from it. Ports that the kernel scattered cannot be asked for again.
fn first_port(media: &[SocketAddr]) -> Option<u16> {
    let ports: BTreeSet<u16> = media.iter().map(SocketAddr::port).collect();
    let (first, last) = (*ports.first()?, *ports.last()?);
    (usize::from(last - first) + 1 == ports.len()).then_some(first)
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
mod tests;
