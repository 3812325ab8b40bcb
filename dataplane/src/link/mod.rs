//! The link to the control plane: a `SOCK_SEQPACKET` Unix socket on which the data plane listens
//! (contracts.md 27).
//!
//! ```text
//! accept -> peer's uid -> Hello, events --> candidate -- first order, or 50 ms --> the control plane
//!                                                                                   |
//!                                                     the one before gets Superseded
//! ```
//! A connection becomes *the* control plane by giving an order or by staying, and not by connecting: a
//! second data plane that only asks whether somebody listens takes nothing over. Every connection hears
//! the events, so none is lost between the two.

mod connection;
mod listener;
mod outgoing;
mod server;

pub use connection::Incoming;
pub use listener::{LinkListener, may_connect};
pub use outgoing::{Outgoing, Waiting};
pub use server::{Server, Surroundings};
