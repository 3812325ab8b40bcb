//! Where segmented sends (`UDP_SEGMENT`) are switched off: a pure state machine that is told of
//! failures and asked before each run.
//!
//! A segmented send can fail where single packets pass: EMSGSIZE when the route's MTU is smaller than a
//! segment, EINVAL on some devices, EIO where the device cannot checksum. One viewer behind a small MTU
//! must not cost all others their segmentation, so EMSGSIZE and EINVAL mark only the *path*; EIO, or
//! EINVAL on three paths within a second, marks the *interface*, which is known here by its local
//! address.

use std::collections::HashMap;
use std::net::IpAddr;

use dataplane_engine::limits::RUN_SEGMENTS_MAX;
use dataplane_engine::packet::Path;
use dataplane_engine::time::Micros;

/// How long a path stays without segmentation. Routes change, so it is tried again.
const PATH_MARK_US: u64 = 60_000_000;

/// How long an interface stays without segmentation. Offloads are switched by hand, so it is tried again
/// at the price of one failed send.
const INTERFACE_MARK_US: u64 = 600_000_000;

/// Within this time refusals on [`REFUSED_PATHS`] paths blame the interface.
const REFUSAL_WINDOW_US: u64 = 1_000_000;

/// How many paths must be refused (EINVAL) within the window.
const REFUSED_PATHS: usize = 3;

/// Most paths marked at once. Beyond it a failing path is not remembered: it fails, and is sent
/// unsegmented, each time.
const PATHS_MAX: usize = 4_096;

/// Refusals remembered for the window. Three paths suffice, the rest covers several interfaces.
const REFUSALS_MAX: usize = 32;

/// Whether a failed segmented send is worth repeating packet by packet.
pub(crate) fn is_segmentation_failure(errno: i32) -> bool {
    matches!(errno, libc::EMSGSIZE | libc::EINVAL | libc::EIO)
}

/// What a failure switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marked {
    /// This path.
    Path,
    /// Every path of this local address; `first` when it was on until now.
    Interface {
        /// Whether this is news.
        first: bool,
    },
}

/// The memory of failed segmentation.
#[derive(Debug)]
pub(crate) struct Segmentation {
    /// Marked paths, and until when.
    paths: HashMap<Path, Micros>,
    /// Marked local addresses, and until when.
    interfaces: Vec<(IpAddr, Micros)>,
    /// Recent EINVALs.
    refusals: Vec<(Path, Micros)>,
}

impl Segmentation {
    pub(crate) fn new() -> Segmentation {
        Segmentation {
            paths: HashMap::with_capacity(PATHS_MAX),
            interfaces: Vec::with_capacity(8),
            refusals: Vec::with_capacity(REFUSALS_MAX),
        }
    }

    /// Longest run for `path`, in packets.
    pub(crate) fn segments_max(&self, path: &Path, now: Micros) -> usize {
        if self.is_off(path, now) {
            1
        } else {
            RUN_SEGMENTS_MAX
        }
    }

    /// Remembers that a segmented send on `path` failed with `errno` while its first packet alone
    /// passed.
    pub(crate) fn mark(&mut self, path: &Path, errno: i32, now: Micros) -> Marked {
        if errno == libc::EIO || (errno == libc::EINVAL && self.refused_widely(path, now)) {
            return self.mark_interface(path.local, now);
        }
        if self.paths.len() >= PATHS_MAX {
            self.paths.retain(|_, until| *until > now);
        }
        if self.paths.len() < PATHS_MAX {
            self.paths.insert(*path, now.plus_us(PATH_MARK_US));
        }
        Marked::Path
    }

    /// The local addresses that are marked now.
    pub(crate) fn interfaces(&self, now: Micros) -> impl Iterator<Item = IpAddr> + '_ {
        let marked = self.interfaces.iter();
        marked
            .filter(move |(_, until)| *until > now)
            .map(|&(local, _)| local)
    }

    fn is_off(&self, path: &Path, now: Micros) -> bool {
        let interface_off = self.interfaces(now).any(|local| local == path.local);
        // Most nodes never mark anything, and then no path is hashed.
        let path_off = !self.paths.is_empty() && self.paths.get(path).is_some_and(|&t| t > now);
        interface_off || path_off
    }

    /// Notes an EINVAL, and answers whether enough paths of the same local address met one.
    fn refused_widely(&mut self, path: &Path, now: Micros) -> bool {
        self.refusals
            .retain(|&(other, at)| other != *path && now.since(at) < REFUSAL_WINDOW_US);
        if self.refusals.len() == REFUSALS_MAX {
            self.refusals.remove(0);
        }
        self.refusals.push((*path, now));
        let same_interface = self.refusals.iter();
        same_interface
            .filter(|(other, _)| other.local == path.local)
            .count()
            >= REFUSED_PATHS
    }

    fn mark_interface(&mut self, local: IpAddr, now: Micros) -> Marked {
        let until = now.plus_us(INTERFACE_MARK_US);
        let known = self.interfaces.iter_mut().find(|(ip, _)| *ip == local);
        match known {
            Some(mark) => {
                let first = mark.1 <= now;
                mark.1 = until;
                Marked::Interface { first }
            }
            None => {
                self.interfaces.push((local, until));
                Marked::Interface { first: true }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dataplane_engine::packet::SocketIndex;

    use super::*;

    const START: Micros = Micros(1_000_000_000);

    fn path(local: &str, port: u16) -> Path {
        Path {
            local: local.parse().unwrap(),
            remote: (std::net::Ipv4Addr::new(198, 51, 100, 1), port).into(),
            socket: SocketIndex::UDP_V4,
        }
    }

    #[test]
    fn a_small_mtu_costs_one_path_one_minute() {
        let (near, far) = (path("192.0.2.1", 1), path("192.0.2.1", 2));
        let mut segmentation = Segmentation::new();
        assert_eq!(segmentation.segments_max(&far, START), RUN_SEGMENTS_MAX);
        assert_eq!(segmentation.mark(&far, libc::EMSGSIZE, START), Marked::Path);
        assert_eq!(segmentation.segments_max(&far, START), 1);
        assert_eq!(segmentation.segments_max(&near, START), RUN_SEGMENTS_MAX);
        let last = START.plus_us(PATH_MARK_US - 1);
        assert_eq!(segmentation.segments_max(&far, last), 1);
        let over = START.plus_us(PATH_MARK_US);
        assert_eq!(segmentation.segments_max(&far, over), RUN_SEGMENTS_MAX);
    }

    #[test]
    fn emsgsize_never_marks_the_interface_however_many_viewers_have_it() {
        let mut segmentation = Segmentation::new();
        for port in 1..=100 {
            let viewer = path("192.0.2.1", port);
            assert_eq!(
                segmentation.mark(&viewer, libc::EMSGSIZE, START),
                Marked::Path
            );
        }
        let other = path("192.0.2.1", 999);
        assert_eq!(segmentation.segments_max(&other, START), RUN_SEGMENTS_MAX);
    }

    #[test]
    fn eio_marks_the_interface_at_once_and_is_news_once() {
        let (a, b) = (path("192.0.2.1", 1), path("192.0.2.1", 2));
        let elsewhere = path("192.0.2.200", 1);
        let mut segmentation = Segmentation::new();
        let first = Marked::Interface { first: true };
        let again = Marked::Interface { first: false };
        assert_eq!(segmentation.mark(&a, libc::EIO, START), first);
        assert_eq!(segmentation.mark(&a, libc::EIO, START), again);
        assert_eq!(segmentation.segments_max(&b, START), 1);
        assert_eq!(
            segmentation.segments_max(&elsewhere, START),
            RUN_SEGMENTS_MAX
        );
        let marked: Vec<IpAddr> = segmentation.interfaces(START).collect();
        assert_eq!(marked, [a.local]);
        let later = START.plus_us(INTERFACE_MARK_US);
        assert_eq!(segmentation.segments_max(&b, later), RUN_SEGMENTS_MAX);
        assert_eq!(segmentation.mark(&a, libc::EIO, later), first);
    }

    #[test]
    fn einval_marks_the_interface_only_on_three_paths_within_a_second() {
        let mark = |steps: &[(u16, u64)]| {
            let mut segmentation = Segmentation::new();
            let marks = steps.iter().map(|&(port, after_us)| {
                let viewer = path("192.0.2.1", port);
                segmentation.mark(&viewer, libc::EINVAL, START.plus_us(after_us))
            });
            marks.last()
        };
        let interface = Some(Marked::Interface { first: true });
        assert_eq!(mark(&[(1, 0), (2, 500_000), (3, 999_999)]), interface);
        assert_eq!(
            mark(&[(1, 0), (2, 500_000), (3, 1_000_000)]),
            Some(Marked::Path)
        );
        assert_eq!(
            mark(&[(1, 0), (2, 10), (1, 20), (2, 30)]),
            Some(Marked::Path)
        );
    }

    #[test]
    fn einval_of_different_interfaces_does_not_add_up() {
        let mut segmentation = Segmentation::new();
        segmentation.mark(&path("192.0.2.1", 1), libc::EINVAL, START);
        segmentation.mark(&path("192.0.2.2", 2), libc::EINVAL, START);
        let third = segmentation.mark(&path("192.0.2.3", 3), libc::EINVAL, START);
        assert_eq!(third, Marked::Path);
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_what_expired() {
        let mut segmentation = Segmentation::new();
        let numbered = |number: u16| path("192.0.2.1", number);
        for number in 0..u16::try_from(PATHS_MAX).unwrap() + 10 {
            segmentation.mark(&numbered(number), libc::EMSGSIZE, START);
        }
        assert_eq!(segmentation.paths.len(), PATHS_MAX);
        let later = START.plus_us(PATH_MARK_US);
        segmentation.mark(&numbered(9_999), libc::EMSGSIZE, later);
        assert_eq!(segmentation.paths.len(), 1);
        assert_eq!(segmentation.segments_max(&numbered(9_999), later), 1);
    }
}
