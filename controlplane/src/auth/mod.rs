//! Who may do what: the deployment's keys, room tokens, stream keys, and the rights they grant.

pub mod bearer;
pub mod keys;
pub mod permission;
pub mod stream_key;
pub mod token;

pub use keys::Keys;
pub use permission::{Rights, Role, Source, VideoGrant};
pub use stream_key::StreamKeys;
pub use token::{RoomClaims, VerifyError};
