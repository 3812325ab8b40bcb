//! The class that must not notice: rooms of one publisher and some viewers, and windows in which every packet
//! is counted while something happens to the node.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;

use super::host::{Host, Life};
use super::place::Place;
use crate::cli::RestartArguments;
use crate::cpu;
use crate::interrupt;
use crate::load::guest::Guest;
use crate::load::http::{Answer, Http};
use crate::load::loader::{Load, Loader, Room};
use crate::load::node::Grant;
use crate::load::patience::Patience;
use crate::load::peer::Role;
use crate::load::publisher::Plan;
use crate::srtp::Profile;

/// What is still under way at the end of a window arrives within this, and is looked for this often.
const SETTLE_MAX: Duration = Duration::from_secs(3);
const SETTLE: Duration = Duration::from_millis(20);

/// Everybody who has joined sees something within this.
const PICTURE_MAX: Duration = Duration::from_secs(10);

/// A window lasts as long as what happens in it, and no longer than this.
const WINDOW_MAX: Duration = Duration::from_secs(300);

/// Everyone, for as long as a chapter lasts.
#[derive(Debug)]
pub(crate) struct Hall {
    pub(crate) host: Host,
    pub(crate) load: Load,
    pub(crate) loader: Loader,
    viewers: u64,
    interval: Duration,
    windows: Cell<u32>,
}

/// What the viewers saw of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) expected: u64,
    pub(crate) lost: u64,
    pub(crate) duplicate: u64,
    pub(crate) foreign: u64,
    pub(crate) forged: u64,
    /// Longest time without a packet at one viewer, milliseconds.
    pub(crate) gap_ms: f64,
    /// What of a gap the publisher had not left itself.
    pub(crate) held_ms: f64,
    /// How long threads of the data plane stood in line for a processor, all together.
    pub(crate) waited_ms: f64,
}

/// A node that everybody has left, and somebody who watches it.
#[derive(Debug)]
pub(crate) struct Emptied(JoinHandle<anyhow::Result<Duration>>);

impl Hall {
    /// Fills the rooms of a node.
    ///
    /// # Errors
    /// When somebody cannot join.
    pub(crate) fn fill(host: Host, arguments: &RestartArguments) -> anyhow::Result<Hall> {
        let here: IpAddr = Ipv4Addr::LOCALHOST.into();
        let rooms = (0..arguments.rooms)
            .map(|number| {
                let name = format!("room-{number}");
                Ok(Room {
                    publish_token: host.token(&name, Grant::Publish)?,
                    view_token: host.token(&name, Grant::Subscribe)?,
                    publisher: here,
                    viewers: vec![here; arguments.viewers.into()],
                    name,
                })
            })
            .collect::<anyhow::Result<_>>()?;
        let interval = Duration::from_secs(1) / arguments.fps;
        let load = Load {
            http: Http::unpooled(&host.url()),
            rooms,
            burst: arguments.burst.into(),
            profile: Profile::Gcm128,
            idle: interval,
            patience: Patience::Outage,
        };
        let loader = Loader::start(load.clone())?;
        let hall = Hall {
            host,
            load,
            loader,
            viewers: arguments.viewers.into(),
            interval,
            windows: Cell::new(0),
        };
        let waiting = Instant::now();
        while !hall.loader.first()?.iter().all(Option::is_some) {
            anyhow::ensure!(waiting.elapsed() < PICTURE_MAX, "somebody sees nothing");
            std::thread::sleep(SETTLE);
        }
        Ok(hall)
    }

    /// Counts every packet while `happening` goes on.
    ///
    /// # Errors
    /// Those of `happening`; or when a client of the standing load lost its connection.
    pub(crate) fn window<T>(
        &mut self,
        happening: impl FnOnce(&mut Hall) -> anyhow::Result<T>,
    ) -> anyhow::Result<(Seen, T)> {
        interrupt::check()?;
        self.windows.set(self.windows.get() + 1);
        let plan = Plan {
            window: self.windows.get(),
            frames: u64::try_from(WINDOW_MAX.as_nanos() / self.interval.as_nanos())?,
            interval: self.interval,
        };
        self.loader.begin(plan.window)?;
        let node = self.host.pid(Life::Dataplane)?;
        let before = cpu::of_process(node)?;
        let publishing = self.loader.begin_publishing(plan)?;
        let happened = happening(self);
        for publisher in self.loader.publishers() {
            publisher.finish();
        }
        let published = publishing.end()?;
        let happened = happened?;
        let expected = published.packets * self.viewers;
        // Whoever reads the packets may be short of a processor: only what never comes is lost.
        let settling = Instant::now();
        let counts = loop {
            let counts = self.loader.collect()?;
            if counts.delivered >= expected || settling.elapsed() > SETTLE_MAX {
                break counts;
            }
            std::thread::sleep(SETTLE);
        };
        let waited = cpu::of_process(node)?.since(before).wait;
        let seen = Seen {
            expected,
            lost: expected.saturating_sub(counts.delivered),
            duplicate: counts.duplicate,
            foreign: counts.foreign,
            forged: counts.forged,
            gap_ms: counts.gap.as_secs_f64() * 1000.0,
            held_ms: counts.held.as_secs_f64() * 1000.0,
            waited_ms: waited.as_secs_f64() * 1000.0,
        };
        Ok((seen, happened))
    }

    /// A window in which nothing happens.
    ///
    /// # Errors
    /// As [`Hall::window`].
    pub(crate) fn calm(&mut self, length: Duration) -> anyhow::Result<Seen> {
        let (seen, ()) = self.window(|_| {
            std::thread::sleep(length);
            Ok(())
        })?;
        Ok(seen)
    }

    /// From now on the node is spoken to where it listens now.
    pub(crate) fn follow(&mut self) {
        self.load.http = Http::unpooled(&self.host.url());
    }

    /// Somebody comes to watch; the answer comes when they are connected, or cannot be.
    ///
    /// # Errors
    /// When the loader has ended.
    pub(crate) fn visit(
        &self,
        room: usize,
        patience: Patience,
    ) -> anyhow::Result<std::sync::mpsc::Receiver<anyhow::Result<Guest>>> {
        let room = &self.load.rooms[room % self.load.rooms.len()];
        let mut join = self
            .load
            .join(room, Role::Viewer, Ipv4Addr::LOCALHOST.into());
        join.patience = patience;
        self.loader.invite(join)
    }

    /// Asks the node about one of its sessions, wherever it listens now.
    ///
    /// # Errors
    /// When nobody answers.
    pub(crate) fn ask(
        &self,
        method: &str,
        session: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> anyhow::Result<Answer> {
        let http = &self.load.http;
        http.request(method, &http.here(session), token, headers, body)
    }

    /// Everybody leaves, as a page that is closed: publishers and viewers end their sessions. How many could
    /// not.
    pub(crate) fn leave(&self) -> usize {
        let sessions = self.loader.sessions().iter();
        sessions
            .filter(|(session, token)| {
                let ended = self.ask("DELETE", session, token, &[], "");
                ended.map_or(true, |answer| answer.status != 200)
            })
            .count()
    }

    /// Who is there when nobody visits.
    pub(crate) fn standing(&self) -> usize {
        self.loader.sessions().len()
    }

    /// Rooms the control plane knows, and connections in them; sessions of the data plane.
    ///
    /// # Errors
    /// When it does not say.
    pub(crate) fn census(&self) -> anyhow::Result<Census> {
        Census::take(&self.host, &self.load.http)
    }

    /// Waits until `expected` holds of the census, at most `patience`; how long it took.
    ///
    /// # Errors
    /// With the last census, when it does not come true.
    pub(crate) fn wait_for(
        &self,
        patience: Duration,
        expected: impl Fn(&Census) -> bool,
    ) -> anyhow::Result<Duration> {
        Census::wait(&self.host, &self.load.http, patience, expected)
    }

    /// Nobody is here any more: the node is watched until nothing remains of the class, at most `patience`,
    /// and ends; then its place may go.
    pub(crate) fn empty(self, patience: Duration, place: Place) -> Emptied {
        Emptied(std::thread::spawn(move || {
            let nothing = |census: &Census| *census == Census::default();
            drop(self.loader);
            let took = Census::wait(&self.host, &self.load.http, patience, nothing);
            drop(self.host);
            drop(place);
            took
        }))
    }
}

impl Emptied {
    /// How long it took.
    ///
    /// # Errors
    /// With what remains.
    pub(crate) fn wait(self) -> anyhow::Result<Duration> {
        let took = self.0.join();
        took.map_err(|_| anyhow::anyhow!("the watching thread panicked"))?
    }
}

/// What both processes hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) rooms: usize,
    pub(crate) connections: usize,
    pub(crate) sessions: usize,
}

impl Census {
    /// Takes it now.
    ///
    /// # Errors
    /// When the control plane does not say.
    fn take(host: &Host, http: &Http) -> anyhow::Result<Census> {
        let debug = |path: &str| -> anyhow::Result<Value> {
            let url = format!("{}{path}", host.ops(Life::Controlplane));
            let answer = http.request("GET", &url, "", &[], "")?;
            serde_json::from_str(&answer.body)
                .with_context(|| format!("GET {url}: {}", answer.status))
        };
        let rooms = debug("/debug/rooms")?;
        let rooms = rooms.as_array().context("/debug/rooms is no list")?;
        let connections = rooms
            .iter()
            .map(|room| room["connections"].as_array().map_or(0, Vec::len));
        let shard = debug("/debug/shards/0")?;
        Ok(Census {
            rooms: rooms.len(),
            connections: connections.sum(),
            sessions: usize::try_from(shard["sessions"].as_u64().context("no sessions")?)?,
        })
    }

    fn wait(
        host: &Host,
        http: &Http,
        patience: Duration,
        expected: impl Fn(&Census) -> bool,
    ) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        loop {
            interrupt::check()?;
            let census = Census::take(host, http);
            if census.as_ref().is_ok_and(&expected) {
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > patience {
                anyhow::bail!("after {patience:?} there are still {:?}", census?);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
