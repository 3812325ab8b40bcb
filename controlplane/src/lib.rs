//! The control plane: people, rooms, HTTP. It knows the media process only by `dataplane-api`.
#![forbid(unsafe_code)]

pub mod auth;
pub mod cli;
pub mod config;
pub mod data_dir;
pub mod http;
pub mod ice_servers;
pub mod log;
pub mod node;
pub mod rooms;
pub mod sdp;
pub mod state;
pub mod supervise;

/// `major.minor.patch` of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit this build was made from, `unknown` outside a repository.
pub const COMMIT: &str = env!("LECTERN_COMMIT");
