//! Who may do what: the deployment's keys, room tokens, and the rights they grant.

pub mod keys;
pub mod permission;
pub mod token;

pub use keys::Keys;
pub use permission::{Rights, Role, Source, VideoGrant};
pub use token::{RoomClaims, VerifyError};
