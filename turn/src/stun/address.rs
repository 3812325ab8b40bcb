//! XOR-encoded transport addresses (RFC 8489 section 14.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{MAGIC_COOKIE, TransactionId};
use crate::bytes::exact;

/// Address families (RFC 8489 section 14.1).
const FAMILY_IPV4: u8 = 0x01;
const FAMILY_IPV6: u8 = 0x02;
/// The port is masked with the upper half of the cookie.
const PORT_MASK: u16 = 0x2112;
/// The cookie where it masks the upper 32 bits of an IPv6 address; the transaction id masks the rest.
const COOKIE_MASK_V6: u128 = 0x2112_A442 << 96;

/// An IPv6 address is masked with the cookie and the transaction id.
fn mask_v6(id: TransactionId) -> u128 {
    let TransactionId([a, b, c, d, e, f, g, h, i, j, k, l]) = id;
    COOKIE_MASK_V6 | u128::from_be_bytes([0, 0, 0, 0, a, b, c, d, e, f, g, h, i, j, k, l])
}

/// Reads the value of an XOR-encoded address attribute. `None` for an unknown family or a wrong length.
pub(super) fn read_xor(value: &[u8], id: TransactionId) -> Option<SocketAddr> {
    let ([_, family, p0, p1], address) = value.split_first_chunk()?;
    let port = u16::from_be_bytes([*p0, *p1]) ^ PORT_MASK;
    let ip = match *family {
        FAMILY_IPV4 => {
            let bits = u32::from_be_bytes(exact(address)?) ^ MAGIC_COOKIE;
            IpAddr::V4(Ipv4Addr::from_bits(bits))
        }
        FAMILY_IPV6 => {
            let bits = u128::from_be_bytes(exact(address)?) ^ mask_v6(id);
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// An encoded address attribute value.
#[derive(Clone, Copy, Debug)]
pub(super) enum XorAddress {
    V4([u8; 8]),
    V6([u8; 20]),
}

impl XorAddress {
    /// An IPv4 address that a dual-stack socket shows as IPv4-mapped IPv6 is encoded as the IPv4 it is.
    pub(super) fn new(address: SocketAddr, id: TransactionId) -> XorAddress {
        let [p0, p1] = (address.port() ^ PORT_MASK).to_be_bytes();
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = (ip.to_bits() ^ MAGIC_COOKIE).to_be_bytes();
                XorAddress::V4([0, FAMILY_IPV4, p0, p1, a, b, c, d])
            }
            IpAddr::V6(ip) => {
                let mut value = [0; 20];
                let (head, tail) = value.split_at_mut(4);
                head.copy_from_slice(&[0, FAMILY_IPV6, p0, p1]);
                tail.copy_from_slice(&(ip.to_bits() ^ mask_v6(id)).to_be_bytes());
                XorAddress::V6(value)
            }
        }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            XorAddress::V4(value) => value,
            XorAddress::V6(value) => value,
        }
    }
}
