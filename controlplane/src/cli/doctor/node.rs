//! The node that runs here, when one does: its two processes and the link between them.

use std::net::SocketAddr;

use serde_json::Value;

use super::super::ops;
use super::{Row, fail, ok, warn};
use crate::config::Config;

/// What a running node says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Running {
    /// Version of the control plane.
    pub(super) version: String,
    /// Version of the data plane; `None` when its ops port is silent.
    pub(super) media_version: Option<String>,
    /// The link is up.
    pub(super) link_up: bool,
    /// The data plane answers its orders.
    pub(super) media_answers: bool,
    /// It takes nobody new.
    pub(super) draining: bool,
}

/// Asks the ops ports. `None`: no node runs here.
pub(super) fn running(config: &Config) -> Option<Running> {
    let alive = |address| ops::get(address, "/healthz").is_ok_and(|(status, _)| status == 200);
    if !alive(config.ops) {
        return None;
    }
    let (_, ready) = ops::get(config.ops, "/readyz").ok()?;
    let ready: Value = serde_json::from_str(&ready).ok()?;
    let is = |name: &str| ready.get(name).and_then(Value::as_bool);
    Some(Running {
        version: version(config.ops)?,
        media_version: version(config.media_ops),
        link_up: is("link_up").unwrap_or(false),
        media_answers: is("media_answers").unwrap_or(true),
        draining: is("draining").unwrap_or(false),
    })
}

/// The version in `lectern_build_info{version="...",...}`.
fn version(address: SocketAddr) -> Option<String> {
    let (_, text) = ops::get(address, "/metrics").ok()?;
    let line = text
        .lines()
        .find(|line| line.starts_with("lectern_build_info{"))?;
    let (_, rest) = line.split_once("version=\"")?;
    rest.split('"').next().map(str::to_owned)
}

/// What to say of a node that runs, or of none.
pub(super) fn rows(running: Option<&Running>, config: &Config) -> Vec<Row> {
    let Some(node) = running else {
        return vec![
            ok("node", format!("none runs at --ops {}", config.ops)),
            socket(config),
        ];
    };
    let processes = match &node.media_version {
        None => warn(
            "node",
            format!(
                "control plane {}; nothing answers at --media-ops {}",
                node.version, config.media_ops
            ),
            "`systemctl status lectern-dataplane`; is --media-ops the node's?",
        ),
        Some(media) if *media != node.version => warn(
            "node",
            format!("control plane {}, data plane {media}", node.version),
            "they work together; drain and restart the older one when no class runs",
        ),
        Some(media) => ok("node", format!("both processes run, version {media}")),
    };
    let link = if !node.link_up {
        fail(
            "link",
            format!("{} is down: nobody can join", config.link.display()),
            "start the data plane as the same user, with the same --data-dir or --link",
        )
    } else if !node.media_answers {
        fail(
            "link",
            "is up, and the data plane does not answer",
            "its log says why; restart it if it stays so (running classes end)",
        )
    } else {
        ok("link", "is up, and the data plane answers")
    };
    let drain = node.draining.then(|| {
        warn(
            "drain",
            "the node drains: it takes nobody new",
            "it stops when the last session ends or at drain_deadline_s; start it again to serve",
        )
    });
    [processes, link].into_iter().chain(drain).collect()
}

/// Whether the link's socket can be made where it is wanted.
fn socket(config: &Config) -> Row {
    /// `sun_path` without its final zero (unix(7)).
    const PATH_BYTES_MAX: usize = 107;
    let path = crate::config::absolute(&config.link);
    if path.as_os_str().len() > PATH_BYTES_MAX {
        return fail(
            "link",
            format!("{} is too long for a socket", path.display()),
            format!("a --link or --data-dir of at most {PATH_BYTES_MAX} bytes"),
        );
    }
    ok("link", format!("{} will be made", path.display()))
}
