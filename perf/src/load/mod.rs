//! Clients and a node to load: what every measurement of a running node is made of.
//!
//! Everything is real from the offer to the authentication tag: WHIP and WHEP, ICE, DTLS, SRTP. One thread
//! carries every client ([`loader`]), one thread a publisher sends ([`publisher`]); what arrives is opened,
//! and its stamp counted, at every viewer ([`viewer`], [`tally`]).

pub(crate) mod dtls;
pub(crate) mod guest;
pub(crate) mod http;
pub(crate) mod loader;
pub(crate) mod node;
pub(crate) mod patience;
pub(crate) mod peer;
pub(crate) mod publisher;
pub(crate) mod stamp;
pub(crate) mod tally;
pub(crate) mod viewer;
