//! RTP (RFC 3550 section 5.1): reading a packet in place, writing and patching a header, header extensions
//! (RFC 8285), sequence numbers that wrap, and what a retransmission carries (RFC 4588).

mod ext;
pub mod rtx;
pub mod seq;
pub mod view;
pub mod write;

pub use ext::{EXTENSION_ID_MAX, Extensions, extension_range};
pub use seq::{ExtSeq, Seq, SeqUnwrapper, TimestampUnwrapper};
pub use view::{RtpError, RtpView};
pub use write::{Header, HeaderWriter};

/// Octets of the fixed header (RFC 3550 section 5.1).
pub const FIXED_HEADER_LEN: usize = 12;
