//! The types a setting can have and how each is read from text.
//!
//! Command line, environment and file give the same text for the same value, so there is one parser a
//! type and one way to be wrong.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// A setting's type.
pub trait Value: Sized {
    /// What the type looks like, to finish the sentence "expected ...".
    const EXPECTED: &'static str;

    /// Reads the text; `None` when it is not one.
    fn from_text(text: &str) -> Option<Self>;
}

/// Which edge of the data plane speaks UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// `uring` where the kernel allows it, else `mmsg`.
    Auto,
    /// io_uring.
    Uring,
    /// recvmmsg and sendmsg.
    Mmsg,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// The web origins that may use the API from a page of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigins {
    /// Every one. Safe because no answer depends on cookies: tokens are sent explicitly.
    Any,
    /// These, such as `https://school.example`.
    List(Vec<String>),
}

/// An IP network: `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Whether the address lies in it. An IPv4 address that arrived on an IPv6 socket counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.prefix_bits))
                    .unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.prefix_bits))
                    .unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

impl Value for SocketAddr {
    const EXPECTED: &'static str = "an IP address and a port, such as 127.0.0.1:8080 or [::]:8080";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| PathBuf::from(text))
    }
}

impl Value for String {
    const EXPECTED: &'static str = "text";

    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.to_owned())
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for u16 {
    const EXPECTED: &'static str = "a whole number from 0 to 65535";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for u32 {
    const EXPECTED: &'static str = "a whole number, 0 or more";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for u64 {
    const EXPECTED: &'static str = "a whole number of seconds";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for Edge {
    const EXPECTED: &'static str = "auto, uring or mmsg";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Edge::Auto),
            "uring" => Some(Edge::Uring),
            "mmsg" => Some(Edge::Mmsg),
            _ => None,
        }
    }
}

impl Value for LogFormat {
    const EXPECTED: &'static str = "auto, text or json";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(LogFormat::Auto),
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        }
    }
}

impl Value for Network {
    const EXPECTED: &'static str =
        "networks such as 10.0.0.0/8 or 2001:db8::1, separated by commas";

    fn from_text(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= bits_max)?,
            None => bits_max,
        };
        Some(Network {
            address,
            prefix_bits,
        })
    }
}

impl Value for CorsOrigins {
    const EXPECTED: &'static str =
        "* or origins such as https://school.example, separated by commas";

    fn from_text(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(CorsOrigins::Any);
        }
        let origins: Vec<String> = items(text).map(str::to_owned).collect();
        origins
            .iter()
            .all(|origin| is_origin(origin))
            .then_some(CorsOrigins::List(origins))
    }
}

impl<T: Value> Value for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_text(text: &str) -> Option<Self> {
        if text.is_empty() {
            Some(None)
        } else {
            T::from_text(text).map(Some)
        }
    }
}

impl<T: Value> Value for Vec<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_text(text: &str) -> Option<Self> {
        items(text).map(T::from_text).collect()
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// Scheme, host and perhaps port, nothing after (RFC 6454 section 6.2).
fn is_origin(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|host| {
        !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b'?' | b'#' | b'*'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_its_addresses_and_no_other_family() {
        let cases = [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("::/0", "2001:db8::1", true),
        ];
        for (network, address, inside) in cases {
            let network = Network::from_text(network).unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                inside,
                "{network} {address}"
            );
        }
        for text in ["10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "school"] {
            assert!(Network::from_text(text).is_none(), "{text}");
        }
    }

    #[test]
    fn an_origin_has_no_path_and_no_wildcard() {
        let list = |text: &str| CorsOrigins::from_text(text);
        assert_eq!(list("*"), Some(CorsOrigins::Any));
        assert_eq!(
            list("https://a.example, http://localhost:5173"),
            Some(CorsOrigins::List(vec![
                "https://a.example".into(),
                "http://localhost:5173".into()
            ]))
        );
        for text in [
            "a.example",
            "https://a.example/",
            "https://*.example",
            "https://a.example,*",
            "https://",
        ] {
            assert_eq!(list(text), None, "{text}");
        }
    }
}
