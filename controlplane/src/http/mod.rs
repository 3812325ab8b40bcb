//! The HTTP surface: thin handlers that parse, ask, answer.

pub mod capacity;
pub mod debug;
mod events;
pub mod farewell;
mod gate;
pub mod health;
pub mod idle;
mod json;
pub mod layers;
pub mod metrics;
pub mod openapi;
pub mod page;
pub mod problem;
pub mod public;
pub mod public_url;
pub mod server;
mod session;
mod signaling;
pub mod token;
mod whep;
mod whip;

pub use signaling::routes;
