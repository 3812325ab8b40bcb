//! Which addresses clients are told, and how they follow names that change.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// One entry of `--advertise`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advertise {
    /// This address.
    Address(IpAddr),
    /// Behind a one-to-one NAT: `external`, on the host that has `internal`. A list of such maps may
    /// be the same for a whole fleet, each host picks its own.
    Mapped {
        /// What clients are told.
        external: IpAddr,
        /// The address of this host that the NAT translates it to.
        internal: IpAddr,
    },
    /// Whatever this name resolves to, asked again each minute.
    Name(String),
}

/// Why text is not an entry.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotAdvertisable {
    /// Empty or with characters no name has.
    #[error("`{0}` is neither an address, a name nor external/internal")]
    Malformed(String),
    /// A side of a map is not an address.
    #[error("`{0}` is not an address: external/internal takes two addresses")]
    MapOfNames(String),
}

impl From<Infallible> for NotAdvertisable {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl FromStr for Advertise {
    type Err = NotAdvertisable;

    fn from_str(text: &str) -> Result<Advertise, NotAdvertisable> {
        let text = text.trim();
        if let Some((external, internal)) = text.split_once('/') {
            let address = |side: &str| {
                side.parse()
                    .map_err(|_| NotAdvertisable::MapOfNames(side.to_owned()))
            };
            return Ok(Advertise::Mapped {
                external: address(external)?,
                internal: address(internal)?,
            });
        }
        if let Ok(address) = text.parse() {
            return Ok(Advertise::Address(address));
        }
        let is_name = !text.is_empty()
            && text.len() <= 253
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        if is_name {
            Ok(Advertise::Name(text.to_owned()))
        } else {
            Err(NotAdvertisable::Malformed(text.to_owned()))
        }
    }
}

impl fmt::Display for Advertise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Advertise::Address(address) => address.fmt(f),
            Advertise::Mapped { external, internal } => write!(f, "{external}/{internal}"),
            Advertise::Name(name) => name.fmt(f),
        }
    }
}

/// The addresses clients are told now, best first, and what could not be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertised {
    /// Addresses without a port: each shard adds its own.
    pub addresses: Vec<IpAddr>,
    /// What an operator should know, with the fix.
    pub warnings: Vec<String>,
}

impl Advertised {
    /// The candidates of a shard that listens on `port`.
    #[must_use]
    pub fn on_port(&self, port: u16) -> Vec<SocketAddr> {
        self.addresses
            .iter()
            .map(|&address| SocketAddr::new(address, port))
            .collect()
    }
}

/// Applies the operator's list to the host's addresses. Without a list the host's own are told. A name
/// is looked up with `resolve`, which answers `None` when it does not resolve.
#[must_use]
pub fn advertised(
    list: &[Advertise],
    interfaces: &[IpAddr],
    resolve: impl Fn(&str) -> Option<Vec<IpAddr>>,
) -> Advertised {
    let mut result = Advertised::default();
    if list.is_empty() {
        result.addresses = interfaces.to_vec();
    }
    for entry in list {
        match entry {
            Advertise::Address(address) => result.addresses.push(*address),
            Advertise::Mapped { external, internal } if interfaces.contains(internal) => {
                result.addresses.push(*external);
            }
            Advertise::Mapped { internal, .. } => result.warnings.push(format!(
                "--advertise {entry} is left out: no interface of this host has {internal}"
            )),
            Advertise::Name(name) => match resolve(name) {
                Some(addresses) => result.addresses.extend(addresses),
                None => result.warnings.push(format!(
                    "--advertise {name} does not resolve: it is left out and asked again each minute"
                )),
            },
        }
    }
    let mut seen = Vec::new();
    result.addresses.retain(|address| {
        let first = !seen.contains(address);
        seen.push(*address);
        first
    });
    if result.addresses.is_empty() {
        result.warnings.push(
            "no address to tell clients, nobody can connect: set --advertise to an address of this \
             host"
            .to_owned(),
        );
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn no_names(name: &str) -> Option<Vec<IpAddr>> {
        panic!("nothing asks for {name}")
    }

    #[test]
    fn without_a_list_the_interfaces_speak_for_themselves() {
        let interfaces = [ip("192.0.2.1"), ip("2001:db8::1"), ip("127.0.0.1")];
        assert_eq!(advertised(&[], &interfaces, no_names).addresses, interfaces);
    }

    #[test]
    fn a_list_replaces_the_interfaces() {
        let list = ["198.51.100.1".parse().unwrap()];
        let told = advertised(&list, &[ip("192.0.2.1")], no_names);
        assert_eq!(told.addresses, [ip("198.51.100.1")]);
        assert_eq!(
            told.on_port(40_001),
            ["198.51.100.1:40001".parse().unwrap()]
        );
    }

    #[test]
    fn each_host_of_a_fleet_picks_its_own_map() {
        let list =
            ["203.0.113.1/10.0.0.1", "203.0.113.2/10.0.0.2"].map(|entry| entry.parse().unwrap());
        let told = advertised(&list, &[ip("10.0.0.2")], no_names);
        assert_eq!(told.addresses, [ip("203.0.113.2")]);
        assert!(told.warnings[0].contains("10.0.0.1"), "{:?}", told.warnings);
    }

    #[test]
    fn a_name_is_resolved_and_an_address_told_once() {
        let list = ["media.example.org", "192.0.2.1"].map(|entry| entry.parse().unwrap());
        let told = advertised(&list, &[], |name| {
            assert_eq!(name, "media.example.org");
            Some(vec![ip("192.0.2.1"), ip("2001:db8::1")])
        });
        assert_eq!(told.addresses, [ip("192.0.2.1"), ip("2001:db8::1")]);
        assert!(told.warnings.is_empty());
    }

    #[test]
    fn nothing_to_tell_is_said_with_the_fix() {
        let list = ["gone.example.org".parse().unwrap()];
        let told = advertised(&list, &[ip("192.0.2.1")], |_| None);
        assert!(told.addresses.is_empty());
        assert!(told.warnings[0].contains("gone.example.org"));
        assert!(told.warnings[1].contains("--advertise"));
    }

    #[test]
    fn only_addresses_names_and_maps_are_entries() {
        assert_eq!(
            " 192.0.2.1 ".parse(),
            Ok(Advertise::Address(ip("192.0.2.1")))
        );
        assert_eq!(
            "a-b.example".parse(),
            Ok(Advertise::Name("a-b.example".into()))
        );
        for text in ["", "http://x", "a b", "x/y", "1.2.3.4/", "[::1]:40000"] {
            assert!(text.parse::<Advertise>().is_err(), "{text:?}");
        }
    }
}
