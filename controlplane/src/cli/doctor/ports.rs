//! The ports: free, or taken by the node itself.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use super::{Row, fail, ok};
use crate::config::Config;

pub(super) fn tcp_ports(config: &Config, running: bool) -> Vec<Row> {
    [
        ("http", config.http),
        ("ops", config.ops),
        ("media_ops", config.media_ops),
    ]
    .into_iter()
    .map(|(name, address)| match TcpListener::bind(address) {
        Ok(_) => ok(name, format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && running => {
            ok(name, format!("{address} is in use; a node runs here"))
        }
        Err(error) => {
            let port = address.port();
            fail(
                name,
                format!("{address}: {error}"),
                format!(
                    "`ss -ltnp 'sport = :{port}'` names who has it; or choose another with --{}",
                    name.replace('_', "-")
                ),
            )
        }
    })
    .collect()
}

pub(super) fn media_ports(config: &Config, running: bool) -> Row {
    const NAME: &str = "media ports";
    if config.media_port == 0 {
        return ok(
            NAME,
            "the kernel chooses; a firewall cannot be told in advance",
        );
    }
    let shards = config.shards.unwrap_or_else(|| {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        u16::try_from(cpus.saturating_sub(1))
            .unwrap_or(u16::MAX)
            .max(1)
    });
    let last = config.media_port.saturating_add(shards - 1);
    let range = if shards == 1 {
        format!("UDP {}", config.media_port)
    } else {
        format!("UDP {}-{last}", config.media_port)
    };
    let taken = (config.media_port..=last).find_map(|port| {
        let error = UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).err()?;
        Some((port, error))
    });
    match taken {
        None => ok(NAME, format!("{range} is free; open it in the firewall")),
        Some((_, error)) if error.kind() == io::ErrorKind::AddrInUse && running => {
            ok(NAME, format!("{range} is in use; a node runs here"))
        }
        Some((port, error)) => fail(
            NAME,
            format!("UDP {port}: {error}"),
            format!(
                "`ss -lunp 'sport = :{port}'` names who has it; or choose another --media-port"
            ),
        ),
    }
}
