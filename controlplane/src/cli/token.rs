//! `lectern token`: a room token from the command line.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;

use super::print;
use crate::auth::stream_key::{self, Existing};
use crate::auth::token::{LIFETIME_S_MAX, is_room_name};
use crate::auth::{Keys, Role, RoomClaims, VideoGrant};
use crate::config::{Config, Flags};

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    /// What the person is in the room; the role decides what the token grants
    #[arg(long, value_enum, default_value_t = Role::Viewer)]
    role: Role,
    /// The room, [A-Za-z0-9_-]{1,64}; only an admin's token may leave it out, and then opens every room
    #[arg(long, value_name = "ROOM")]
    room: Option<String>,
    /// Grant publishing, whatever the role
    #[arg(long)]
    publish: bool,
    /// Grant watching, whatever the role
    #[arg(long)]
    subscribe: bool,
    /// Name to show to others
    #[arg(long)]
    name: Option<String>,
    /// Who this is to your platform: one person, however many connections [default: a new one]
    #[arg(long, visible_alias = "sub", value_name = "SUB")]
    identity: Option<String>,
    /// Make a stream key instead: what an encoder (OBS) sends as bearer token to publish `main` of --room,
    /// for as long as it is not rotated. It is printed once and kept as a hash
    #[arg(long, requires = "room", conflicts_with_all = ["role", "publish", "subscribe", "name", "ttl"])]
    stream_key: bool,
    /// Replace the room's stream key; the old one opens nothing from then on
    #[arg(long, requires = "stream_key")]
    rotate: bool,
    /// How long the token opens things: 45s, 30m, 1h; at most 6h. A running connection is never cut
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_ttl)]
    ttl: Duration,
    /// Print token, identity and lifetime as JSON
    #[arg(long)]
    json: bool,
    /// Directory of the node's keys.json [default: $STATE_DIRECTORY, else ./lectern-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Configuration file [default: ./lectern.toml, else /etc/lectern/lectern.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Prints the token and nothing else.
pub(super) fn run(args: &TokenArgs) -> anyhow::Result<()> {
    let mut flags = Flags {
        config: args.config.clone(),
        values: Vec::new(),
    };
    if let Some(dir) = &args.data_dir {
        flags = flags.with("data_dir", dir);
    }
    let (config, _) = Config::load(&flags)?;
    match &args.room {
        Some(room) if !is_room_name(room) => {
            bail!("`{room}` is no room: a name has 1 to 64 of the characters A-Z a-z 0-9 _ -")
        }
        None if args.role != Role::Admin => bail!("name the room with --room ROOM"),
        Some(_) | None => {}
    }
    let made_before = config.keys_file().exists();
    let keys = Keys::load_or_create(&config.data_dir)?;
    if !made_before {
        // A token from the wrong directory looks right and opens nothing.
        eprintln!(
            "lectern: made new keys in {}; a node needs this --data-dir to accept the token",
            crate::config::absolute(&config.data_dir).display()
        );
    }
    if let (true, Some(room)) = (args.stream_key, &args.room) {
        return stream_key(args, &config, room);
    }
    let claims = claims(args);
    let token = keys
        .mint_room(claims.clone())
        .context("cannot make the token")?;
    if args.json {
        let line = json!({
            "token": token,
            "identity": claims.sub,
            "role": claims.role,
            "room": claims.video.room,
            "expires_in": args.ttl.as_secs(),
        });
        print(&line.to_string())
    } else {
        print(&token)
    }
}

/// Prints a new stream key and nothing else.
fn stream_key(args: &TokenArgs, config: &Config, room: &str) -> anyhow::Result<()> {
    let existing = if args.rotate {
        Existing::Rotate
    } else {
        Existing::Keep
    };
    let made = stream_key::make(&config.data_dir, room, args.identity.as_deref(), existing)?;
    if args.json {
        let line = json!({ "stream_key": made.key, "identity": made.sub, "room": room });
        print(&line.to_string())
    } else {
        print(&made.key)
    }
}

fn claims(args: &TokenArgs) -> RoomClaims {
    let video = VideoGrant {
        room: args.room.clone(),
        can_publish: args.publish.then_some(true),
        can_subscribe: args.subscribe.then_some(true),
        ..VideoGrant::default()
    };
    let identity = args
        .identity
        .clone()
        .unwrap_or_else(|| format!("{}-{}", args.role, uuid::Uuid::now_v7()));
    let mut claims = RoomClaims::new(identity, args.role, video, SystemTime::now(), args.ttl);
    claims.name.clone_from(&args.name);
    claims
}

fn parse_ttl(text: &str) -> Result<Duration, String> {
    let refused = || {
        format!(
            "a time such as 45s, 30m or 1h, at most {}h",
            LIFETIME_S_MAX / 3600
        )
    };
    let (number, unit_s) = match text.as_bytes() {
        [number @ .., b's'] => (number, 1),
        [number @ .., b'm'] => (number, 60),
        [number @ .., b'h'] => (number, 3600),
        _ => return Err(refused()),
    };
    let number: u64 = std::str::from_utf8(number)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(refused)?;
    let seconds = number
        .checked_mul(unit_s)
        .filter(|s| (1..=LIFETIME_S_MAX).contains(s));
    seconds.map(Duration::from_secs).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_has_a_unit_and_ends_at_six_hours() {
        assert_eq!(parse_ttl("45s"), Ok(Duration::from_secs(45)));
        assert_eq!(parse_ttl("30m"), Ok(Duration::from_secs(1800)));
        assert_eq!(parse_ttl("6h"), Ok(Duration::from_secs(6 * 3600)));
        for text in [
            "",
            "h",
            "1",
            "0s",
            "7h",
            "361m",
            "-1h",
            "1.5h",
            "99999999999999999999h",
            "1d",
        ] {
            assert!(parse_ttl(text).is_err(), "{text}");
        }
    }
}
