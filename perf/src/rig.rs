//! Where the node, the load generator and the floors of one run stand, so that all send over the same
//! kind of path.
//!
//! ```text
//! loopback     node, loader and floors on 127.0.0.1
//!
//! namespaces   N (node, floors)                      L (loader)
//!              198.18.0.1 ---------- veth ---------- 198.18.0.2, and 198.19.0.0/16 on lo
//!                   |
//!                   +-- lectern-sink (ifb): 198.19.1.0/24 and up, once everyone has joined
//! ```
//!
//! In namespaces every viewer joins over the veth. Then all but a few are *sunk*: what the node sends
//! them goes to a device whose driver frees it, so that neither their receive cost nor their number
//! falls on this machine. The few that are *watched* check every packet. Sunk viewers keep sending.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::sync::Arc;

use anyhow::Context as _;

use crate::cli::PathChoice;
use crate::floor::sink::{self, Kind, Sink};
use crate::namespace::{Namespace, ip};

/// Addresses of the two ends of the veth.
const NODE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const LOADER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

/// Viewers that check every packet.
const WATCHED_MAX: usize = 8;

/// Viewers of one diverted network, 198.19.1.1 to 198.19.1.250 and so on.
const SUNK_PER_NETWORK: u32 = 250;

/// A place for a run.
#[derive(Debug)]
pub(crate) struct Rig {
    viewers: usize,
    /// Where clients send from when there are no namespaces.
    local: IpAddr,
    spaces: Option<Spaces>,
    sink: Sink,
}

#[derive(Debug)]
struct Spaces {
    node: Arc<Namespace>,
    loader: Arc<Namespace>,
}

impl Rig {
    /// Sets the place up. `auto` takes namespaces where they can be made.
    ///
    /// # Errors
    /// When the one asked for cannot be made.
    pub(crate) fn set_up(choice: PathChoice, viewers: usize) -> anyhow::Result<Rig> {
        let spaces = match choice {
            PathChoice::Loopback => return Rig::loopback(viewers, &[]),
            PathChoice::Ifb | PathChoice::Auto => Rig::namespaces(viewers),
        };
        match spaces {
            Err(error) if choice == PathChoice::Auto => {
                Rig::loopback(viewers, &[format!("no namespaces: {error:#}")])
            }
            set_up => set_up,
        }
    }

    fn loopback(viewers: usize, notes: &[String]) -> anyhow::Result<Rig> {
        Ok(Rig {
            viewers,
            local: Ipv4Addr::LOCALHOST.into(),
            spaces: None,
            sink: Sink::loopback(viewers, notes)?,
        })
    }

    /// For a node that runs already, wherever it is: clients send from the address that leads there, the
    /// floors stay on loopback.
    ///
    /// # Errors
    /// When the URL names no address, or no route leads to it.
    pub(crate) fn towards(url: &str, viewers: usize) -> anyhow::Result<Rig> {
        let authority = authority(url);
        let node = authority
            .to_socket_addrs()
            .with_context(|| format!("{url} names no address"))?
            .find(SocketAddr::is_ipv4)
            .with_context(|| format!("{url} has no IPv4 address"))?;
        let probe = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        probe
            .connect(node)
            .with_context(|| format!("no route to {node}"))?;
        let mut rig = Rig::loopback(viewers, &[])?;
        rig.local = probe.local_addr()?.ip();
        Ok(rig)
    }

    fn namespaces(viewers: usize) -> anyhow::Result<Rig> {
        let node = Arc::new(Namespace::new()?);
        let loader = Arc::new(Namespace::new()?);
        let tid = loader.tid().to_string();
        node.run(move || {
            ip([
                "link", "add", "perf-n", "type", "veth", "peer", "name", "perf-l", "netns", &tid,
            ])?;
            ip(["addr", "add", &format!("{NODE}/24"), "dev", "perf-n"])?;
            ip(["link", "set", "perf-n", "up"])?;
            sink::add_device(Kind::Ifb)?;
            accept_diverted_sources()
        })?;
        loader.run(|| {
            ip(["addr", "add", &format!("{LOADER}/24"), "dev", "perf-l"])?;
            ip(["link", "set", "perf-l", "up"])?;
            // An address on the loopback device makes its whole network local.
            ip(["addr", "add", "198.19.0.1/16", "dev", "lo"])
        })?;
        node.run(|| ip(["route", "add", "198.19.0.0/16", "via", &LOADER.to_string()]))?;
        let watched = watched(viewers);
        let receivers = loader.run(move || {
            viewer_addresses(watched, watched)
                .into_iter()
                .map(|address| Ok(UdpSocket::bind((address, 0))?))
                .collect::<anyhow::Result<Vec<_>>>()
        })?;
        let sunk = viewer_addresses(viewers, watched)
            .into_iter()
            .skip(watched)
            .map(|address| SocketAddr::new(address, 5004))
            .collect();
        let sink = Sink::in_namespace(Arc::clone(&node), NODE, receivers, sunk)?;
        Ok(Rig {
            viewers,
            local: LOADER.into(),
            spaces: Some(Spaces { node, loader }),
            sink,
        })
    }

    /// The path, in a word for reports.
    pub(crate) fn word(&self) -> &'static str {
        match self.spaces {
            Some(_) => "ifb",
            None => "loopback",
        }
    }

    /// Where the floors send: the same kind of path, the same share of it to receivers.
    pub(crate) fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Where the node listens.
    pub(crate) fn node_address(&self) -> IpAddr {
        match self.spaces {
            Some(_) => NODE.into(),
            None => Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// Where the publisher sends from.
    pub(crate) fn publisher_address(&self) -> IpAddr {
        self.local
    }

    /// One address a viewer, the watched ones first.
    pub(crate) fn viewer_addresses(&self) -> Vec<IpAddr> {
        match self.spaces {
            Some(_) => viewer_addresses(self.viewers, watched(self.viewers)),
            None => vec![self.local; self.viewers],
        }
    }

    /// Addresses of the load generator that no client has: attackers send from them.
    pub(crate) fn foreign_addresses(&self, count: u16) -> Vec<IpAddr> {
        let base = match self.spaces {
            Some(_) => Ipv4Addr::new(198, 19, 128, 0),
            None => Ipv4Addr::new(127, 19, 0, 0),
        };
        (1..=u32::from(count))
            .map(|host| Ipv4Addr::from(u32::from(base) + host).into())
            .collect()
    }

    /// How many viewers there are.
    pub(crate) fn viewers(&self) -> usize {
        self.viewers
    }

    /// How many viewers check what they get; the rest is sunk.
    pub(crate) fn watched(&self) -> usize {
        match self.spaces {
            Some(_) => watched(self.viewers),
            None => self.viewers,
        }
    }

    /// Sinks every viewer that is not watched. Nothing to do on loopback.
    ///
    /// # Errors
    /// When a route is refused.
    pub(crate) fn divert(&self) -> anyhow::Result<()> {
        let Some(spaces) = &self.spaces else {
            return Ok(());
        };
        let sunk = u32::try_from(self.viewers - self.watched())?;
        for number in 0..sunk.div_ceil(SUNK_PER_NETWORK) {
            let network = format!("198.19.{}.0/24", number + 1);
            spaces
                .node
                .run(move || ip(["route", "add", &network, "dev", sink::DEVICE]))?;
        }
        Ok(())
    }

    /// Runs `job` where the node stands.
    ///
    /// # Errors
    /// What the job returns.
    pub(crate) fn at_node<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        match &self.spaces {
            Some(spaces) => spaces.node.run(job),
            None => job(),
        }
    }

    /// Runs `job` where the load generator stands.
    ///
    /// # Errors
    /// What the job returns.
    pub(crate) fn at_loader<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        match &self.spaces {
            Some(spaces) => spaces.loader.run(job),
            None => job(),
        }
    }
}

/// Host and port of a URL; port 80 when it names none.
fn authority(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    }
}

fn watched(viewers: usize) -> usize {
    viewers.min(WATCHED_MAX)
}

/// Watched viewers in 198.19.0.0/24, sunk ones in the networks after it.
fn viewer_addresses(viewers: usize, watched: usize) -> Vec<IpAddr> {
    let base = u32::from(Ipv4Addr::new(198, 19, 0, 0));
    let of_watched = (1_u32..).map(|host| base + host).take(watched);
    let of_sunk = (0_u32..)
        .map(|number| base + 256 * (number / SUNK_PER_NETWORK + 1) + number % SUNK_PER_NETWORK + 1)
        .take(viewers - watched);
    of_watched
        .chain(of_sunk)
        .map(|address| Ipv4Addr::from(address).into())
        .collect()
}

/// Packets of sunk viewers come over the veth while the way back is the sink: not a forgery here.
fn accept_diverted_sources() -> anyhow::Result<()> {
    for device in ["all", "default", "perf-n"] {
        let path = format!("/proc/sys/net/ipv4/conf/{device}/rp_filter");
        std::fs::write(&path, "0").with_context(|| format!("cannot write {path}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn watched_viewers_stay_reachable_and_sunk_ones_never_share_their_network() {
        let addresses = viewer_addresses(600, 8);
        assert_eq!(addresses.len(), 600);
        assert_eq!(addresses[0].to_string(), "198.19.0.1");
        assert_eq!(addresses[7].to_string(), "198.19.0.8");
        assert_eq!(addresses[8].to_string(), "198.19.1.1");
        assert_eq!(addresses[257].to_string(), "198.19.1.250");
        assert_eq!(addresses[258].to_string(), "198.19.2.1");
        let distinct: std::collections::HashSet<_> = addresses.iter().collect();
        assert_eq!(distinct.len(), 600);
        assert_eq!(viewer_addresses(3, watched(3)).len(), 3);
    }

    #[test]
    fn a_running_node_is_approached_from_the_address_that_leads_there() {
        assert_eq!(authority("http://127.0.0.1:8080/x"), "127.0.0.1:8080");
        assert_eq!(authority("http://host"), "host:80");
        assert_eq!(authority("http://[::1]"), "[::1]:80");
        let rig = Rig::towards("http://127.0.0.1:1/", 2).unwrap();
        assert_eq!(rig.publisher_address(), Ipv4Addr::LOCALHOST);
        assert_eq!(rig.viewer_addresses().len(), 2);
    }

    #[test]
    fn diverted_viewers_are_sunk_but_still_heard() {
        let Ok(rig) = Rig::set_up(PathChoice::Ifb, 10) else {
            // Without the right to make namespaces there is nothing to test.
            return;
        };
        let bind = |address: IpAddr| {
            let socket = UdpSocket::bind((address, 0)).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_millis(200)))
                .unwrap();
            socket
        };
        let node_address = rig.node_address();
        let node = rig.at_node(move || Ok(bind(node_address))).unwrap();
        let addresses = rig.viewer_addresses();
        let (watched, sunk) = rig
            .at_loader(move || Ok((bind(addresses[0]), bind(addresses[9]))))
            .unwrap();
        let told = |to: &UdpSocket| {
            node.send_to(b"media", to.local_addr().unwrap()).unwrap();
            to.recv(&mut [0; 16]).is_ok()
        };
        // A device that has just come up drops packets until the kernel has noticed its carrier.
        let soon = |to: &UdpSocket| (0..20).any(|_attempt| told(to));
        assert!(soon(&watched) && soon(&sunk), "before: everyone is reached");
        rig.divert().unwrap();
        assert!(told(&watched), "watched viewers still are");
        assert!(!told(&sunk), "sunk ones are not");
        sunk.send_to(b"report", node.local_addr().unwrap()).unwrap();
        assert!(node.recv(&mut [0; 16]).is_ok(), "but they are heard");
    }
}
