//! Which addresses a node advertises when it is not told.

use std::io;
use std::net::IpAddr;

/// Every address of every interface that is up: IPv4, global and unique-local IPv6; loopback last,
/// link-local never.
///
/// # Errors
/// The kernel's interface list cannot be read.
pub fn advertised() -> io::Result<Vec<IpAddr>> {
    let interfaces = if_addrs::get_if_addrs()?;
    let up = interfaces.iter().filter(|interface| interface.is_oper_up());
    Ok(arrange(up.map(if_addrs::Interface::ip)))
}

/// The advertisable ones of `addresses`, each once, in their order, loopback last.
fn arrange(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut arranged: Vec<IpAddr> = Vec::new();
    for address in addresses.filter(is_advertisable) {
        if !arranged.contains(&address) {
            arranged.push(address);
        }
    }
    arranged.sort_by_key(IpAddr::is_loopback);
    arranged
}

/// Whether a peer could use the address without knowing an interface of ours.
fn is_advertisable(address: &IpAddr) -> bool {
    if address.is_unspecified() || address.is_multicast() {
        return false;
    }
    match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_broadcast(),
        // A mapped address never leaves an IPv6 socket that is V6ONLY; fec0::/10 was withdrawn by
        // RFC 3879.
        IpAddr::V6(v6) => {
            !v6.is_unicast_link_local()
                && v6.to_ipv4_mapped().is_none()
                && v6.segments()[0] & 0xffc0 != 0xfec0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_comes_last_and_link_local_not_at_all() {
        let found = [
            "127.0.0.1",
            "::1",
            "192.0.2.2",
            "169.254.10.1",
            "fd00::2",
            "fe80::1",
            "2001:db8::7",
            "fec0::1",
            "192.0.2.2",
            "::ffff:192.0.2.9",
            "0.0.0.0",
            "ff02::1",
        ];
        let arranged = arrange(found.iter().map(|text| text.parse().unwrap()));
        let text: Vec<String> = arranged.iter().map(IpAddr::to_string).collect();
        assert_eq!(
            text,
            ["192.0.2.2", "fd00::2", "2001:db8::7", "127.0.0.1", "::1"]
        );
    }

    #[test]
    fn this_host_has_at_least_its_loopback() {
        let addresses = advertised().unwrap();
        assert!(addresses.iter().any(IpAddr::is_loopback), "{addresses:?}");
        assert!(
            addresses.is_sorted_by_key(IpAddr::is_loopback),
            "{addresses:?}"
        );
    }
}
