//! STUN (RFC 8489) with the attributes of ICE (RFC 8445) and the numbers of TURN (RFC 8656).

mod address;
mod attribute;
mod binding;
mod builder;
mod fingerprint;
mod integrity;
mod message;

pub use attribute::{Attribute, attribute_type};
pub use binding::{
    BINDING_SUCCESS_LEN_MAX, BindingRequest, Role, write_binding_indication, write_binding_request,
    write_binding_success, write_error, write_role_conflict, write_unknown_attributes,
};
pub use builder::{BuildError, Builder};
pub use integrity::IntegrityKey;
pub use message::{Message, StunError};

/// Octets of the header (RFC 8489 section 5).
pub const HEADER_LEN: usize = 20;
/// The magic cookie (RFC 8489 section 5).
pub const MAGIC_COOKIE: u32 = 0x2112_A442;
/// The longest USERNAME in octets: fewer than 509 (RFC 8489 section 14.3).
pub const USERNAME_LEN_MAX: usize = 508;

/// The 96 bits that pair a response with its request (RFC 8489 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub [u8; 12]);

/// What kind of message it is (RFC 8489 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Wants a response.
    Request,
    /// Wants none.
    Indication,
    /// Answers a request.
    Success,
    /// Refuses a request.
    Error,
}

/// What a message is about: an open 12-bit number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Method(pub u16);

impl Method {
    /// Binding (RFC 8489 section 18.2).
    pub const BINDING: Method = Method(0x001);
    /// Allocate (RFC 8656 section 17).
    pub const ALLOCATE: Method = Method(0x003);
    /// Refresh (RFC 8656 section 17).
    pub const REFRESH: Method = Method(0x004);
    /// Send (RFC 8656 section 17).
    pub const SEND: Method = Method(0x006);
    /// Data (RFC 8656 section 17).
    pub const DATA: Method = Method(0x007);
    /// CreatePermission (RFC 8656 section 17).
    pub const CREATE_PERMISSION: Method = Method(0x008);
    /// ChannelBind (RFC 8656 section 17).
    pub const CHANNEL_BIND: Method = Method(0x009);
}

/// Class and method interleaved in the 14-bit message type: M11..M7 C1 M6..M4 C0 M3..M0 (RFC 8489 figure 3).
fn pack_type(class: Class, method: Method) -> u16 {
    let class = match class {
        Class::Request => 0x000,
        Class::Indication => 0x010,
        Class::Success => 0x100,
        Class::Error => 0x110,
    };
    let Method(m) = method;
    class | (m & 0x000F) | ((m & 0x0070) << 1) | ((m & 0x0F80) << 2)
}

/// The inverse of [`pack_type`].
fn unpack_type(message_type: u16) -> (Class, Method) {
    let class = match message_type & 0x0110 {
        0x000 => Class::Request,
        0x010 => Class::Indication,
        0x100 => Class::Success,
        _ => Class::Error,
    };
    let method =
        (message_type & 0x000F) | ((message_type & 0x00E0) >> 1) | ((message_type & 0x3E00) >> 2);
    (class, Method(method))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_type_survives_the_interleaving() {
        for number in 0..0x4000_u16 {
            let (class, method) = unpack_type(number);
            assert_eq!(pack_type(class, method), number);
        }
        assert_eq!(pack_type(Class::Success, Method::BINDING), 0x0101);
        assert_eq!(pack_type(Class::Error, Method::ALLOCATE), 0x0113);
        assert_eq!(pack_type(Class::Indication, Method::DATA), 0x0017);
    }
}
