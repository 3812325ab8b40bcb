//! How the node is called from outside: as configured, else as the request says.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};

use crate::config::{Config, Network};

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Makes absolute URLs of this node.
#[derive(Clone, Debug)]
pub struct PublicUrl {
    fixed: Option<String>,
    scheme: &'static str,
    /// For requests that carry no usable Host.
    address: SocketAddr,
    trusted: Vec<Network>,
}

impl PublicUrl {
    /// As configured; `address` is where the node listens in fact.
    #[must_use]
    pub fn new(config: &Config, address: SocketAddr) -> PublicUrl {
        PublicUrl {
            fixed: config.public_url.clone(),
            scheme: config.scheme(),
            address: reachable(address),
            trusted: config.trusted_proxies.clone(),
        }
    }

    /// The node's URL for somebody on this machine, without a trailing slash.
    #[must_use]
    pub fn here(&self) -> String {
        self.fixed
            .clone()
            .unwrap_or_else(|| format!("{}://{}", self.scheme, self.address))
    }

    /// The node's URL for whoever sent this request, without a trailing slash.
    #[must_use]
    pub fn of_request(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> String {
        if let Some(fixed) = &self.fixed {
            return fixed.clone();
        }
        let trusted = peer.is_some_and(|peer| self.trusted.iter().any(|net| net.contains(peer)));
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let forwarded = |name: &HeaderName| text(name).filter(|_| trusted);
        let scheme = match forwarded(&FORWARDED_PROTO) {
            Some("https") => "https",
            Some("http") => "http",
            Some(_) | None => self.scheme,
        };
        match forwarded(&FORWARDED_HOST)
            .or_else(|| text(&header::HOST))
            .filter(|host| is_host(host))
        {
            Some(host) => format!("{scheme}://{host}"),
            None => format!("{scheme}://{}", self.address),
        }
    }
}

/// The same URL for WebSockets.
#[must_use]
pub fn websocket(url: &str) -> String {
    match url.strip_prefix("http") {
        Some(rest) => format!("ws{rest}"),
        None => url.to_owned(),
    }
}

/// A listener on every address is reached by loopback from here.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => ([127, 0, 0, 1], address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            (std::net::Ipv6Addr::LOCALHOST, address.port()).into()
        }
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    }
}

/// A host and perhaps a port: no user, no path.
fn is_host(text: &str) -> bool {
    text.parse::<axum::http::uri::Authority>()
        .is_ok_and(|authority| !authority.as_str().contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    fn url(flags: Flags) -> PublicUrl {
        let (config, _) = Config::from_environment(&flags, []).unwrap();
        PublicUrl::new(&config, "0.0.0.0:8080".parse().unwrap())
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_configured_url_wins_over_everything() {
        let url = url(Flags::default().with("public_url", "https://live.example/"));
        assert_eq!(url.here(), "https://live.example");
        assert_eq!(
            url.of_request(&headers(&[("host", "10.0.0.1")]), None),
            "https://live.example"
        );
    }

    #[test]
    fn forwarded_headers_count_only_from_a_trusted_proxy() {
        let url = url(Flags::default().with("trusted_proxies", "10.0.0.0/8"));
        let sent = headers(&[
            ("host", "node-3:8080"),
            ("x-forwarded-host", "live.example"),
            ("x-forwarded-proto", "https"),
        ]);
        let from = |peer: &str| url.of_request(&sent, Some(peer.parse().unwrap()));
        assert_eq!(from("10.1.2.3"), "https://live.example");
        assert_eq!(from("192.0.2.1"), "http://node-3:8080");
    }

    #[test]
    fn a_host_that_is_none_is_replaced_by_the_listener() {
        for host in ["", "user@evil.example", "a b", "evil.example/path"] {
            let sent = headers(&[("host", host)]);
            assert_eq!(
                url(Flags::default()).of_request(&sent, None),
                "http://127.0.0.1:8080",
                "{host}"
            );
        }
    }

    #[test]
    fn websockets_keep_host_and_security() {
        assert_eq!(websocket("https://a.example"), "wss://a.example");
        assert_eq!(websocket("http://a.example:8080"), "ws://a.example:8080");
    }
}
