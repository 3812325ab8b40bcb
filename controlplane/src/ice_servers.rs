//! The file of external STUN and TURN servers (`--ice-servers`).

use std::path::Path;

use anyhow::{Context, ensure};

use crate::state::{IceServer, Urls};

/// Reads a JSON array as `RTCPeerConnection` takes it.
///
/// # Errors
/// When the file cannot be read, is no such array, or holds a URL that is not `stun:`, `turn:` or
/// `turns:`.
pub fn load(path: &Path) -> anyhow::Result<Vec<IceServer>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read --ice-servers {}", path.display()))?;
    let servers: Vec<IceServer> = serde_json::from_str(&text).map_err(|error| {
        // The parser's words could quote a credential; the place is enough to find the mistake.
        anyhow::anyhow!(
            "{}, line {}: expected a list such as [{{\"urls\": [\"turn:turn.example:3478\"], \
             \"username\": \"u\", \"credential\": \"p\"}}]",
            path.display(),
            error.line()
        )
    })?;
    for server in &servers {
        let urls = match &server.urls {
            Urls::One(url) => std::slice::from_ref(url),
            Urls::Many(urls) => urls.as_slice(),
        };
        for url in urls {
            ensure!(
                ["stun:", "turn:", "turns:"]
                    .iter()
                    .any(|scheme| url.starts_with(scheme)),
                "{}: `{url}` does not begin with stun:, turn: or turns:",
                path.display()
            );
        }
    }
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<usize, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ice.json");
        std::fs::write(&path, text).unwrap();
        load(&path)
            .map(|servers| servers.len())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_browser_takes_is_taken_and_what_is_wrong_is_said_without_credentials() {
        let good =
            r#"[{"urls":"stun:a"},{"urls":["turn:b","turns:b"],"username":"u","credential":"p"}]"#;
        assert_eq!(read(good), Ok(2));
        assert_eq!(read("[]"), Ok(0));
        assert!(
            read(r#"[{"urls":"http://a"}]"#)
                .unwrap_err()
                .contains("`http://a` does not begin")
        );
        let error = read("[\n{\"urls\":[1],\"credential\":\"hunter2\"}]").unwrap_err();
        assert!(
            error.contains("line 2") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
