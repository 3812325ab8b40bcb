//! What every WHIP and WHEP handler shares.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use crate::auth::Keys;
use crate::http::health::Health;
use crate::node::NodeClient;
use crate::rooms::Registry;

/// The shared state; clones share it.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

/// See [`AppState`].
pub struct Shared {
    /// The deployment's keys.
    pub keys: Keys,
    /// The link.
    pub node: NodeClient,
    /// The rooms.
    pub registry: Registry,
    /// Whether new sessions are taken.
    pub health: Health,
    /// PATCH of a session is taken without `If-Match` (`whip.lenient_patch`).
    pub lenient_patch: bool,
    /// External STUN and TURN servers, told to every client.
    pub ice_servers: Vec<IceServer>,
    /// This node's uuid: the origin of what is published here (contracts.md 2).
    pub node_id: [u8; 16],
}

impl AppState {
    /// The shared state.
    #[must_use]
    pub fn new(shared: Shared) -> AppState {
        AppState(Arc::new(shared))
    }
}

impl std::ops::Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl fmt::Debug for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppState")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

/// One entry of an `iceServers` list, as `RTCPeerConnection` takes it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct IceServer {
    /// `stun:`, `turn:` and `turns:` URLs.
    pub urls: Urls,
    /// For TURN.
    #[serde(default)]
    pub username: Option<String>,
    /// For TURN.
    #[serde(default)]
    pub credential: Option<String>,
}

/// One URL or a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Urls {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl IceServer {
    /// The values of its `Link` headers (RFC 9725 section 4.6), one a URL: OBS splits at commas, so they
    /// are never joined.
    #[must_use]
    pub fn links(&self) -> Vec<String> {
        let urls = match &self.urls {
            Urls::One(url) => std::slice::from_ref(url),
            Urls::Many(urls) => urls.as_slice(),
        };
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let credentials = match (&self.username, &self.credential) {
            (Some(username), Some(credential)) => format!(
                "; username=\"{}\"; credential=\"{}\"; credential-type=\"password\"",
                quoted(username),
                quoted(credential)
            ),
            _ => String::new(),
        };
        urls.iter()
            .map(|url| format!("<{url}>; rel=\"ice-server\"{credentials}"))
            .collect()
    }
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ice_servers_file_becomes_links() {
        let servers: Vec<IceServer> = serde_json::from_str(
            r#"[{"urls":"stun:stun.example.net"},
                {"urls":["turn:t.example.net?transport=udp","turns:t.example.net"],"username":"u","credential":"p\"w"}]"#,
        )
        .unwrap();
        let links: Vec<String> = servers.iter().flat_map(IceServer::links).collect();
        assert_eq!(
            links,
            [
                r#"<stun:stun.example.net>; rel="ice-server""#,
                r#"<turn:t.example.net?transport=udp>; rel="ice-server"; username="u"; credential="p\"w"; credential-type="password""#,
                r#"<turns:t.example.net>; rel="ice-server"; username="u"; credential="p\"w"; credential-type="password""#,
            ]
        );
        assert!(
            !format!("{servers:?}").contains("p\\\"w"),
            "credentials stay out of logs"
        );
    }
}
