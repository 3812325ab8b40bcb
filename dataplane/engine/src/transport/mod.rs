//! ICE, DTLS and SRTP of one session.

mod association;
mod cipher;
mod consent;
mod dtls;
pub(crate) mod gate;
pub mod handshake;
pub(crate) mod ice;
mod identity;
pub mod keys;
mod nonce;
mod paths;
pub mod replay;
mod seen;
pub mod srtp;
pub(crate) mod ufrag;
mod windows;
