//! SDP, whole: no other module of the node knows it.
//!
//! ```text
//! body -> caps -> parse: Offer -> negotiate: PublishPlan | WatchPlan -> (Admit, Publish, Subscribe)
//!                                                      `-> answer: text, once ufrag, pwd, candidates are known
//! formats -> offer: OfferPlan -> Admit, text;  body -> acceptance -> Accept      (the node offers)
//! ```
//! webrtc-sdp reads the lines whose meaning we use; the answer is written by ourselves. A peer's bytes
//! never panic and never pass a cap: every refusal is an [`SdpError`] that names the line or the section.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

mod acceptance;
mod answer;
mod attributes;
mod caps;
mod codec;
mod extension;
mod fragment;
mod layers;
mod negotiate;
mod offer;
mod parse;

pub use acceptance::Acceptance;
pub use answer::Local;
pub use caps::{LINES_MAX, SDP_BYTES_MAX, SECTIONS_MAX};
pub use codec::Format;
pub use fragment::Fragment;
pub use negotiate::{IceSection, PlannedTrack, PublishPlan, WatchPlan, publish, watch};
pub use offer::{OfferPlan, Wish, offer};
pub use parse::{Direction, Media, Offer, Section};

/// Why an offer gets no answer. Each maps to one row of the problem catalogue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// 413: a cap is passed.
    #[error("more than {limit} {what}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many are read.
        limit: usize,
    },
    /// 400: not SDP, or SDP that contradicts itself.
    #[error("line {line}: {what}")]
    Bad {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// 422: valid, but asks for something this node does not do.
    #[error("{section}: {what}")]
    Unsupported {
        /// Which media section, in words.
        section: String,
        /// What it asks for, and what would work.
        what: String,
    },
    /// 422: nothing both sides know.
    #[error("{section}: {what}")]
    NoCommonCodec {
        /// Which media section, in words.
        section: String,
        /// What it offers and what is needed.
        what: String,
    },
}

#[cfg(test)]
mod tests;
