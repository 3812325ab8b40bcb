//! ICE, DTLS and SRTP of one session.

mod association;
mod cipher;
mod dtls;
pub(crate) mod gate;
pub mod handshake;
pub(crate) mod ice;
mod identity;
pub mod keys;
pub mod replay;
pub mod srtp;
pub(crate) mod ufrag;
