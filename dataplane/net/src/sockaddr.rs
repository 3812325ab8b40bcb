//! Socket addresses as the kernel lays them out, written and read without `unsafe`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Length of a `sockaddr_in`.
const V4_BYTES: usize = 16;

/// Length of a `sockaddr_in6`, the longest address these sockets meet.
pub(crate) const SOCKADDR_BYTES_MAX: usize = 28;

/// An address ready for the kernel.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(crate) struct SockAddr {
    bytes: [u8; SOCKADDR_BYTES_MAX],
    len: u8,
}

impl SockAddr {
    /// Room for an address, empty.
    pub(crate) const EMPTY: SockAddr = SockAddr {
        bytes: [0; SOCKADDR_BYTES_MAX],
        len: 0,
    };

    /// Lays `address` out as `sockaddr_in` or `sockaddr_in6`.
    pub(crate) fn new(address: SocketAddr) -> SockAddr {
        let mut laid = SockAddr::EMPTY;
        let bytes = &mut laid.bytes;
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        match address {
            SocketAddr::V4(v4) => {
                bytes[..2].copy_from_slice(&family(libc::AF_INET));
                bytes[4..8].copy_from_slice(&v4.ip().octets());
                laid.len = 16;
            }
            SocketAddr::V6(v6) => {
                bytes[..2].copy_from_slice(&family(libc::AF_INET6));
                bytes[4..8].copy_from_slice(&v6.flowinfo().to_be_bytes());
                bytes[8..24].copy_from_slice(&v6.ip().octets());
                bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                laid.len = 28;
            }
        }
        laid
    }

    /// The bytes in use.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Reads the address the kernel wrote. IPv6 flow information is dropped, so that one peer is one path.
/// `None` for another family or a short address.
pub(crate) fn read(bytes: &[u8]) -> Option<SocketAddr> {
    let family_bytes: [u8; 2] = bytes.first_chunk().copied()?;
    let port = u16::from_be_bytes(field(bytes, 2)?);
    if family_bytes == family(libc::AF_INET) && bytes.len() >= V4_BYTES {
        let ip = Ipv4Addr::from(field::<4>(bytes, 4)?);
        return Some(SocketAddr::V4(SocketAddrV4::new(ip, port)));
    }
    if family_bytes == family(libc::AF_INET6) {
        let ip = Ipv6Addr::from(field::<16>(bytes, 8)?);
        let scope = u32::from_ne_bytes(field(bytes, 24)?);
        return Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope)));
    }
    None
}

/// An `in_pktinfo` or `in6_pktinfo` that asks for `local` as the source address of a datagram. Its
/// interface index is zero: the routing table chooses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PacketInfo {
    V4([u8; 12]),
    V6([u8; 20]),
}

impl PacketInfo {
    pub(crate) fn new(local: IpAddr) -> PacketInfo {
        match local {
            IpAddr::V4(v4) => {
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&v4.octets());
                PacketInfo::V4(info)
            }
            IpAddr::V6(v6) => {
                let mut info = [0; 20];
                info[..16].copy_from_slice(&v6.octets());
                PacketInfo::V6(info)
            }
        }
    }
}

/// The local address in a received `in_pktinfo`: `ipi_spec_dst`, the address to answer from.
pub(crate) fn read_pktinfo_v4(info: &[u8]) -> Option<IpAddr> {
    Some(IpAddr::V4(Ipv4Addr::from(field::<4>(info, 4)?)))
}

/// The local address in a received `in6_pktinfo`.
pub(crate) fn read_pktinfo_v6(info: &[u8]) -> Option<IpAddr> {
    Some(IpAddr::V6(Ipv6Addr::from(field::<16>(info, 0)?)))
}

/// `N` bytes at `offset`, if they are there.
pub(crate) fn field<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

fn family(family: libc::c_int) -> [u8; 2] {
    u16::try_from(family)
        .expect("invariant: address families are small numbers")
        .to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_the_kernel_layout() {
        for text in ["192.0.2.7:40000", "[2001:db8::5]:65535", "[fe80::1%3]:9"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(read(SockAddr::new(address).as_bytes()), Some(address));
        }
    }

    #[test]
    fn flow_information_is_dropped_and_short_addresses_are_refused() {
        let flow = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 5, 0xabcde, 0));
        let bytes = SockAddr::new(flow);
        assert_eq!(read(bytes.as_bytes()), Some("[::1]:5".parse().unwrap()));
        for len in 0..bytes.as_bytes().len() {
            assert_eq!(read(&bytes.as_bytes()[..len]), None, "{len} bytes");
        }
        assert_eq!(read(&[0; 28]), None);
    }

    #[test]
    fn the_layout_is_libcs() {
        assert_eq!(size_of::<libc::sockaddr_in>(), V4_BYTES);
        assert_eq!(size_of::<libc::sockaddr_in6>(), SOCKADDR_BYTES_MAX);
        assert_eq!(std::mem::offset_of!(libc::sockaddr_in6, sin6_addr), 8);
        assert_eq!(std::mem::offset_of!(libc::sockaddr_in6, sin6_scope_id), 24);
        assert_eq!(std::mem::offset_of!(libc::in_pktinfo, ipi_spec_dst), 4);
        assert_eq!(size_of::<libc::in_pktinfo>(), 12);
        assert_eq!(std::mem::offset_of!(libc::in6_pktinfo, ipi6_addr), 0);
        assert_eq!(size_of::<libc::in6_pktinfo>(), 20);
    }
}
