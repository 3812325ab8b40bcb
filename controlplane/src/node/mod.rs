//! The data plane as the control plane sees it: one link, orders down, events up.

pub mod client;
pub mod heartbeat;
mod link;

pub use client::{LinkError, LinkEvent, NodeClient, Pending};
