//! The scene: a node, its standing load, and windows in which something may go on beside it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use rustix::process::{Resource, getrlimit, setrlimit};

use super::attack::Attack;
use super::attack::foreign::Foreign;
use super::attack::forge::{
    BareBinding, ClientHello, DtlsInjection, Forge, ForgedMedia, Garbage, GuessedBinding,
};
use super::attack::member::{Flood, FullWindowNacks, KeyframeStorm, Member, RandomSsrcs, Reports};
use super::attack::onpath::OnPath;
use super::row::{Also, Kind, Row};
use super::spray::Spray;
use super::vitals::{Drops, Vitals};
use super::window::{Join, Window};
use crate::cli::AbuseArguments;
use crate::cpu::{self, Affinity, Cores};
use crate::interrupt;
use crate::load::guest::{Guest, Heard};
use crate::load::http::Http;
use crate::load::loader::{Load, Loader, Room};
use crate::load::node::{self, Grant, Node};
use crate::load::patience::Patience;
use crate::load::peer::Role;
use crate::load::publisher::{IDLE_PAUSE, Plan};
use crate::rig::Rig;

/// The attack runs this long before a window begins: what is measured is the attack, not its start.
const LEAD: Duration = Duration::from_millis(100);

/// What is still under way at the end of a window arrives within this.
const SETTLE: Duration = Duration::from_millis(250);

/// Packets that fill whatever a shard fills before it evicts, so that memory found later is an attack's.
const WARM_UP_PACKETS: u32 = 10_000;

/// They come at twice the usual rate, and for no longer than this.
const WARM_UP_MAX: Duration = Duration::from_secs(10);

/// Viewers of one room who ask for keyframes.
const STORM_MEMBERS: usize = 40;

/// Viewers who join each second where many do: an even rate, whatever becomes of those before.
const JOINS_PER_SECOND: u32 = 100;

/// Packets of a flood that make its stream live, so that somebody can watch it.
const FLOOD_BEGINNING: usize = 40;

/// Everything that stays for the run.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    arguments: &'a AbuseArguments,
    rig: Rig,
    node: Node,
    load: Load,
    loader: Loader,
    windows: Cell<u32>,
}

/// A row that is ready to attack.
#[derive(Debug)]
pub(crate) struct Armed {
    rate: u32,
    attack: Option<Box<dyn Attack>>,
    /// What comes to the attacker, where that is measured.
    heard: Option<Arc<Heard>>,
    /// Who is there because of the row, beside the attackers.
    audience: Vec<Guest>,
}

impl Armed {
    /// Packets a second it is to send.
    pub(crate) fn rate(&self) -> u32 {
        self.rate
    }
}

impl<'a> Stage<'a> {
    /// Starts the node and fills the rooms.
    ///
    /// # Errors
    /// When the node cannot be started or joined.
    pub(crate) fn set_up(
        arguments: &'a AbuseArguments,
        cores: Cores,
        affinity: Affinity,
    ) -> anyhow::Result<Stage<'a>> {
        raise_open_files();
        let viewers = usize::from(arguments.rooms) * usize::from(arguments.viewers);
        let rig = Rig::set_up(arguments.path, viewers)?;
        let options = node::Options {
            program: arguments.node.clone(),
            address: rig.node_address(),
            cpu: cores.measured,
            affinity,
            edge: arguments.edge.clone(),
            log: arguments.node_log.clone(),
            // As an operator runs it: what an attack writes into the log is part of what is measured.
            log_level: "info",
        };
        let node = rig.at_node(move || Node::start(&options))?;
        let addresses = rig.viewer_addresses();
        let rooms = addresses
            .chunks(usize::from(arguments.viewers))
            .enumerate()
            .map(|(number, viewers)| {
                Ok(Room {
                    viewers: viewers.to_vec(),
                    ..room(&rig, &node, format!("room-{number}"))?
                })
            })
            .collect::<anyhow::Result<_>>()?;
        let load = Load {
            http: Http::new(&node.url()),
            rooms,
            burst: usize::from(arguments.burst),
            profile: arguments.rounds.profile,
            idle: IDLE_PAUSE,
            patience: Patience::Live,
        };
        let standing = load.clone();
        let loader = rig.at_loader(move || Loader::start(standing))?;
        loader.publish(warm_up(arguments))?;
        Ok(Stage {
            arguments,
            rig,
            node,
            load,
            loader,
            windows: Cell::new(0),
        })
    }

    /// What the node has dropped so far.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn drops(&self) -> anyhow::Result<Drops> {
        Drops::read(&self.rig, &self.node)
    }

    /// The rig.
    pub(crate) fn rig(&self) -> &Rig {
        &self.rig
    }

    /// The node's version.
    pub(crate) fn version(&self) -> &str {
        self.node.version()
    }

    /// Gets a row's attackers into place.
    ///
    /// # Errors
    /// When one of them cannot join, or a socket cannot be made.
    pub(crate) fn arm(&self, row: &'static Row) -> anyhow::Result<Armed> {
        let rate = self.arguments.rate.iter().find(|(id, _)| *id == row.id);
        let mut armed = Armed {
            rate: rate.map_or(row.rate, |(_, rate)| *rate),
            attack: None,
            heard: None,
            audience: Vec::new(),
        };
        let seats = self.loader.seats();
        let first = &seats[0];
        let index = self.loader.publishers()[0].index();
        let media = || {
            let ssrc = first.ssrc.context("invariant: a publisher has an SSRC")?;
            anyhow::Ok(ForgedMedia::new(ssrc, first.payload_type, index))
        };
        armed.attack = Some(match row.kind {
            Kind::Garbage => self.foreign(Garbage::new(ClientHello::new()?))?,
            Kind::ClientHello => self.foreign(ClientHello::new()?)?,
            Kind::ForeignMedia => self.foreign(media()?)?,
            Kind::BareBinding => self.foreign(BareBinding::new())?,
            Kind::GuessedBinding => {
                let usernames = seats.iter().map(|seat| seat.username.as_str());
                self.foreign(GuessedBinding::new(usernames))?
            }
            Kind::DtlsInjection => {
                let forge = DtlsInjection::new(&ClientHello::new()?);
                Box::new(OnPath::new(seats, Box::new(forge))?)
            }
            Kind::BadTag => Box::new(OnPath::new([first], Box::new(media()?))?),
            Kind::KeyframeStorm => {
                let members = self.members(STORM_MEMBERS)?;
                Box::new(KeyframeStorm::new(members))
            }
            Kind::FullWindowNacks => {
                let member = self.member()?;
                armed.heard = Some(member.heard());
                Box::new(FullWindowNacks::new(member))
            }
            Kind::Reports => Box::new(Reports::new(self.member()?)),
            Kind::RandomSsrcs => {
                let room = room(&self.rig, &self.node, row.id.to_owned())?;
                let member = Member::new(self.join(&room, Role::Publisher)?);
                Box::new(RandomSsrcs::new(member))
            }
            Kind::Flood => {
                let room = room(&self.rig, &self.node, row.id.to_owned())?;
                let member = Member::new(self.join(&room, Role::Publisher)?);
                let mut flood = Flood::new(member).context("invariant: a publisher has an SSRC")?;
                for _ in 0..FLOOD_BEGINNING {
                    flood.fire()?;
                }
                let viewer = self.join(&room, Role::Viewer)?;
                armed.heard = Some(Arc::clone(&viewer.heard));
                armed.audience.push(viewer);
                Box::new(flood)
            }
        });
        Ok(armed)
    }

    fn foreign(&self, forge: impl Forge + 'static) -> anyhow::Result<Box<dyn Attack>> {
        let addresses = self.rig.foreign_addresses(self.arguments.sources);
        let node = self.loader.seats()[0].node;
        let foreign = self
            .rig
            .at_loader(move || Foreign::new(&addresses, node, Box::new(forge)))?;
        Ok(Box::new(foreign))
    }

    fn member(&self) -> anyhow::Result<Member> {
        self.members(1)?.pop().context("invariant: one was asked")
    }

    /// Viewers of the first room, who have seen some of it.
    fn members(&self, count: usize) -> anyhow::Result<Vec<Member>> {
        let join = self.load.join(
            &self.load.rooms[0],
            Role::Viewer,
            self.rig.publisher_address(),
        );
        let asked = (0..count)
            .map(|_| self.loader.invite(join.clone()))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let members = asked
            .into_iter()
            .map(|guest| Ok(Member::new(admitted(&guest)?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        // A frame comes twice a second between windows, and nobody can ask for a stream not seen yet.
        std::thread::sleep(Duration::from_secs(1));
        Ok(members)
    }

    fn join(&self, room: &Room, role: Role) -> anyhow::Result<Guest> {
        let address = self.rig.publisher_address();
        admitted(&self.loader.invite(self.load.join(room, role, address))?)
    }

    /// One window of the standing load, with or without the attack.
    ///
    /// # Errors
    /// When a client of the standing load lost its connection, or the node is gone.
    pub(crate) fn window(
        &self,
        armed: &mut Armed,
        attack: bool,
        visitors: Visitors,
    ) -> anyhow::Result<Window> {
        interrupt::check()?;
        self.windows.set(self.windows.get() + 1);
        let window = self.windows.get();
        let before = Vitals::read(&self.rig, &self.node)?;
        let spray = match armed.attack.take() {
            Some(attacker) if attack => Some(Spray::start(attacker, armed.rate)?),
            idle => {
                armed.attack = idle;
                None
            }
        };
        std::thread::sleep(LEAD);
        self.loader.begin(window)?;
        for publisher in self.loader.publishers() {
            publisher.take_requests();
        }
        let heard = armed.heard.as_ref().map(|heard| heard.bytes());
        let (own, node) = (cpu::this_process(), self.node.cpu()?);

        let plan = self.plan(window);
        let until = Instant::now() + plan.interval * u32::try_from(plan.frames).unwrap_or(u32::MAX);
        let loader = &self.loader;
        let (published, joins) = std::thread::scope(|scope| {
            let publishing = scope.spawn(|| loader.publish(plan));
            let joins = self.receive(visitors, until);
            (publishing.join(), joins)
        });
        let published = published.map_err(|_| anyhow!("the publishing thread panicked"))??;
        let cpu = self.node.cpu()?.since(node);
        let own = cpu::this_process().saturating_sub(own);
        let heard = heard
            .zip(armed.heard.as_ref())
            .map(|(before, heard)| heard.bytes() - before);
        let requests = self.loader.publishers().iter();
        let requests = requests
            .map(|publisher| publisher.take_requests())
            .collect();
        let sprayed = match spray {
            Some(spray) => {
                let (attacker, sprayed) = spray.stop()?;
                armed.attack = Some(attacker);
                Some(sprayed)
            }
            None => None,
        };
        std::thread::sleep(SETTLE);
        let counts = self.loader.collect()?;
        let replies = armed.attack.as_mut().map_or(0, |attack| attack.replies());
        let vitals = Vitals::read(&self.rig, &self.node)?.since(&before);
        Ok(Window {
            counts,
            expected: published.packets * u64::from(self.arguments.viewers),
            planned: plan.interval.as_secs_f64() * (plan.frames as f64),
            took: published.took,
            cpu,
            loader: own,
            vitals,
            before: before.anonymous,
            sprayed: sprayed.map(|sprayed| super::spray::Sprayed { replies, ..sprayed }),
            requests,
            joins: joins?,
            heard,
        })
    }

    fn plan(&self, window: u32) -> Plan {
        let interval = Duration::from_secs(1) / self.arguments.fps;
        let seconds = self.arguments.rounds.seconds.as_secs_f64();
        let frames = (seconds / interval.as_secs_f64()).round().max(1.0);
        Plan {
            window,
            frames: Duration::from_secs_f64(frames).as_secs(),
            interval,
        }
    }

    /// Lets people join until `until`; each leaves as soon as everybody knows how it went.
    fn receive(&self, visitors: Visitors, until: Instant) -> anyhow::Result<Vec<Join>> {
        match visitors {
            Visitors::None => Ok(Vec::new()),
            Visitors::One => {
                let guest = self.visit(0)?.recv().context("the loader's thread ended")?;
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
                Ok(vec![Join::new(&guest)])
            }
            Visitors::Many => self.receive_many(until),
        }
    }

    fn receive_many(&self, until: Instant) -> anyhow::Result<Vec<Join>> {
        let mut joins = Vec::new();
        let mut waiting: VecDeque<Receiver<_>> = VecDeque::new();
        let mut due = Instant::now();
        for number in 0.. {
            // The first in line is awaited while nobody else is due.
            while due > Instant::now() {
                let pause = due.saturating_duration_since(Instant::now());
                match waiting.front().map(|guest| guest.recv_timeout(pause)) {
                    None => std::thread::sleep(pause),
                    Some(Err(RecvTimeoutError::Timeout)) => break,
                    Some(Err(RecvTimeoutError::Disconnected)) => {
                        bail!("the loader's thread ended");
                    }
                    Some(Ok(guest)) => {
                        joins.push(Join::new(&guest));
                        waiting.pop_front();
                    }
                }
            }
            if Instant::now() >= until {
                break;
            }
            waiting.push_back(self.visit(number)?);
            due += Duration::from_secs(1) / JOINS_PER_SECOND;
        }
        for guest in waiting {
            joins.push(Join::new(
                &guest.recv().context("the loader's thread ended")?,
            ));
        }
        Ok(joins)
    }

    /// Somebody comes to watch one of the rooms.
    fn visit(&self, number: usize) -> anyhow::Result<Receiver<anyhow::Result<Guest>>> {
        let room = &self.load.rooms[number % self.load.rooms.len()];
        let address = self.rig.publisher_address();
        self.loader
            .invite(self.load.join(room, Role::Viewer, address))
    }

    /// Everyone leaves.
    ///
    /// # Errors
    /// When the node refuses.
    pub(crate) fn leave(self) -> anyhow::Result<()> {
        let leave = self.loader.leaving();
        self.rig.at_loader(leave)
    }
}

/// Who joins during a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visitors {
    None,
    /// One viewer, of the first room, who stays to see a picture.
    One,
    /// A hundred a second.
    Many,
}

impl Visitors {
    /// Those of every window of a row.
    pub(crate) fn of(row: &Row) -> Visitors {
        match row.also {
            Also::TimedJoins => Visitors::Many,
            Also::Keyframes => Visitors::One,
            Also::Nothing | Also::Joins | Also::Egress { .. } | Also::Recovery => Visitors::None,
        }
    }
}

fn warm_up(arguments: &AbuseArguments) -> Plan {
    let interval = Duration::from_secs(1) / (2 * arguments.fps);
    let frames = WARM_UP_PACKETS.div_ceil(u32::from(arguments.rooms) * u32::from(arguments.burst));
    let most = 2 * arguments.fps * u32::try_from(WARM_UP_MAX.as_secs()).unwrap_or(u32::MAX);
    Plan {
        window: 0,
        frames: u64::from(frames.min(most)),
        interval,
    }
}

fn admitted(guest: &Receiver<anyhow::Result<Guest>>) -> anyhow::Result<Guest> {
    guest
        .recv()
        .context("the loader's thread ended")?
        .context("an attacker cannot join")
}

fn room(rig: &Rig, node: &Node, name: String) -> anyhow::Result<Room> {
    Ok(Room {
        publish_token: node.token(&name, Grant::Publish)?,
        view_token: node.token(&name, Grant::Subscribe)?,
        publisher: rig.publisher_address(),
        viewers: Vec::new(),
        name,
    })
}

/// A thousand strangers are a thousand sockets: as many as this process may have.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Refused: the attack says so when it cannot bind.
    let _refused = setrlimit(Resource::Nofile, limit);
}
