//! `lectern inspect`: what a running node holds, from its ops port.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::{ops, print};
use crate::auth::token::is_room_name;
use crate::config::{Config, Flags};

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    #[command(subcommand)]
    what: What,
    /// The control plane's ops port [default: 127.0.0.1:9600]
    #[arg(long, value_name = "ADDR:PORT", global = true)]
    ops: Option<String>,
    /// Configuration file [default: ./lectern.toml, else /etc/lectern/lectern.toml]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Every room
    Rooms,
    /// One room: who publishes, who watches, and each one's media as its shard sees it
    Room {
        /// Its name
        name: String,
    },
    /// One session: whose it is, and its media as its shard sees it
    Session {
        /// Its handle (`inspect room` shows it), its URL, or the last segment of that
        // One segment in 64 begins with a hyphen.
        #[arg(allow_hyphen_values = true)]
        session: String,
    },
    /// One shard
    Shard {
        /// Its number, from 0
        index: u16,
    },
}

impl What {
    fn path(&self) -> anyhow::Result<String> {
        Ok(match self {
            What::Rooms => "/debug/rooms".to_owned(),
            What::Room { name } if is_room_name(name) => format!("/debug/rooms/{name}"),
            What::Room { name } => bail!("`{name}` is no name of a room"),
            What::Session { session } => {
                let last = session.rsplit('/').next().unwrap_or_default();
                let last = last.split('?').next().unwrap_or_default();
                if !is_room_name(last) {
                    bail!("`{session}` is neither a session's handle nor its URL");
                }
                format!("/debug/sessions/{last}")
            }
            What::Shard { index } => format!("/debug/shards/{index}"),
        })
    }
}

/// Prints the answer, indented.
pub(super) fn run(args: &InspectArgs) -> anyhow::Result<()> {
    let mut flags = Flags {
        config: args.config.clone(),
        values: Vec::new(),
    };
    if let Some(address) = &args.ops {
        flags = flags.with("ops", address);
    }
    let (config, _) = Config::load(&flags)?;
    let (status, body) = ops::get(config.ops, &args.what.path()?)?;
    let Ok(answer) = serde_json::from_str::<Value>(&body) else {
        bail!("what listens at {} is no control plane", config.ops);
    };
    if status != 200 {
        let detail = answer
            .get("detail")
            .and_then(Value::as_str)
            .unwrap_or("no detail");
        bail!("the node answers {status}: {detail}");
    }
    print(&serde_json::to_string_pretty(&answer)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_by_handle_by_url_or_by_its_last_segment() {
        let path = |text: &str| {
            What::Session {
                session: text.to_owned(),
            }
            .path()
        };
        let id = "3q2-7wEjRWeJq83vEjRWeA";
        let of_id = format!("/debug/sessions/{id}");
        assert_eq!(path("17").unwrap(), "/debug/sessions/17");
        assert_eq!(path(id).unwrap(), of_id);
        let url = format!("https://live.school.example/whip/math-7/main/{id}?jwt=x.y.z");
        assert_eq!(path(&url).unwrap(), of_id);
        for strange in ["", "/", "a b", "..", "x/../%2e"] {
            assert!(path(strange).is_err(), "{strange}");
        }
    }
}
