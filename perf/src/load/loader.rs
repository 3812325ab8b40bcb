//! The load generator: one thread that carries every client, with one beside it for each publisher.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tokio::sync::{Semaphore, mpsc as orders};
use tokio::task::{JoinSet, LocalSet};

use super::guest::{self, Guest};
use super::http::Http;
use super::patience::Patience;
use super::peer::{Join, Peer, Role, Seat};
use super::publisher::{Asked, Plan, Published, Publisher, Requests, Source};
use super::tally::{Counts, Tally};
use super::viewer::Viewer;
use crate::srtp::Profile;

/// Joins under way at once.
const JOINS_MAX: usize = 8;

/// What to load the node with.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) http: Http,
    pub(crate) rooms: Vec<Room>,
    pub(crate) burst: usize,
    pub(crate) profile: Profile,
    /// Between the frames that publishers send outside windows.
    pub(crate) idle: Duration,
    pub(crate) patience: Patience,
}

/// One publisher and its viewers.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub(crate) name: String,
    pub(crate) publish_token: String,
    pub(crate) view_token: String,
    /// The publisher's address, then one a viewer.
    pub(crate) publisher: IpAddr,
    pub(crate) viewers: Vec<IpAddr>,
}

impl Load {
    /// How somebody joins `room`.
    pub(crate) fn join(&self, room: &Room, role: Role, address: IpAddr) -> Join {
        Join {
            http: self.http.clone(),
            room: room.name.clone(),
            token: match role {
                Role::Publisher => room.publish_token.clone(),
                Role::Viewer => room.view_token.clone(),
            },
            role,
            address,
            profile: self.profile,
            patience: self.patience,
        }
    }
}

/// Clients that are connected and counting.
#[derive(Debug)]
pub(crate) struct Loader {
    orders: Option<orders::UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
    joined: Joined,
    http: Http,
}

#[derive(Debug)]
enum Order {
    Begin(u32, mpsc::Sender<()>),
    Collect(mpsc::Sender<Result<Counts, String>>),
    First(mpsc::Sender<Vec<Option<Duration>>>),
    Invite(Box<Join>, mpsc::Sender<anyhow::Result<Guest>>),
}

/// What the loader thread hands back when everyone is connected.
#[derive(Debug, Default)]
struct Joined {
    /// One a room.
    publishers: Vec<Publisher>,
    /// Each publisher's, then each viewer's, in the order of the rooms.
    seats: Vec<Seat>,
    /// URL and token of every session.
    sessions: Vec<(String, String)>,
}

impl Loader {
    /// Connects every publisher and every viewer.
    ///
    /// # Errors
    /// When one of them cannot join.
    pub(crate) fn start(load: Load) -> anyhow::Result<Loader> {
        let (sender, inbox) = orders::unbounded_channel();
        let (ready, joined) = mpsc::channel();
        let http = load.http.clone();
        let thread = std::thread::Builder::new()
            .name("loader".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                match runtime {
                    Ok(runtime) => {
                        let local = LocalSet::new();
                        runtime.block_on(local.run_until(carry(load, inbox, ready)));
                    }
                    Err(error) => {
                        let _caller_waits = ready.send(Err(anyhow!(error)));
                    }
                }
            })?;
        let joined: anyhow::Result<Joined> = joined.recv().context("the loader's thread ended")?;
        Ok(Loader {
            orders: Some(sender),
            thread: Some(thread),
            joined: joined?,
            http,
        })
    }

    /// All publishers carry out `plan`; their frames lie evenly between each other's.
    ///
    /// # Errors
    /// When packets cannot be sent.
    pub(crate) fn publish(&self, plan: Plan) -> anyhow::Result<Published> {
        self.begin_publishing(plan)?.end()
    }

    /// All publishers begin to carry out `plan`; their frames lie evenly between each other's.
    ///
    /// # Errors
    /// When a publisher's thread has ended.
    pub(crate) fn begin_publishing(&self, plan: Plan) -> anyhow::Result<Publishing> {
        let publishers = &self.joined.publishers;
        let rooms = u32::try_from(publishers.len()).unwrap_or(u32::MAX);
        let begun = (0..)
            .zip(publishers)
            .map(|(number, publisher)| publisher.begin(plan, plan.interval * number / rooms))
            .collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Publishing(begun))
    }

    /// URL and token of every session: the publishers' first.
    pub(crate) fn sessions(&self) -> &[(String, String)] {
        &self.joined.sessions
    }

    /// When the first packet came to each viewer, since the Unix epoch.
    ///
    /// # Errors
    /// When the loader has ended.
    pub(crate) fn first(&self) -> anyhow::Result<Vec<Option<Duration>>> {
        let (reply, first) = mpsc::channel();
        self.order(Order::First(reply))?;
        first.recv().context("the loader's thread ended")
    }

    /// The publishers, one a room.
    pub(crate) fn publishers(&self) -> &[Publisher] {
        &self.joined.publishers
    }

    /// What somebody on the path knows of every client: the publishers first.
    pub(crate) fn seats(&self) -> &[Seat] {
        &self.joined.seats
    }

    /// Somebody joins beside the load; the answer comes when the keys are there.
    ///
    /// # Errors
    /// When the loader has ended.
    pub(crate) fn invite(
        &self,
        join: Join,
    ) -> anyhow::Result<mpsc::Receiver<anyhow::Result<Guest>>> {
        self.visitors()?.invite(join)
    }

    /// A way in for another thread.
    ///
    /// # Errors
    /// When the loader has ended.
    pub(crate) fn visitors(&self) -> anyhow::Result<Visitors> {
        let orders = self.orders.clone();
        let orders = orders.context("invariant: the sender is taken only by drop")?;
        Ok(Visitors(orders))
    }

    /// Counts packets of `window` from now on.
    ///
    /// # Errors
    /// When the loader has ended.
    pub(crate) fn begin(&self, window: u32) -> anyhow::Result<()> {
        let (reply, done) = mpsc::channel();
        self.order(Order::Begin(window, reply))?;
        done.recv().context("the loader's thread ended")
    }

    /// What was counted since [`Loader::begin`].
    ///
    /// # Errors
    /// When a client lost its connection.
    pub(crate) fn collect(&self) -> anyhow::Result<Counts> {
        let (reply, counts) = mpsc::channel();
        self.order(Order::Collect(reply))?;
        counts
            .recv()
            .context("the loader's thread ended")?
            .map_err(|lost| anyhow!("void: {lost}"))
    }

    /// A job that ends every session at the node.
    pub(crate) fn leaving(&self) -> impl FnOnce() -> anyhow::Result<()> + Send + use<> {
        let (http, sessions) = (self.http.clone(), self.joined.sessions.clone());
        move || {
            sessions
                .iter()
                .try_for_each(|(session, token)| http.delete(session, token))
        }
    }

    fn order(&self, order: Order) -> anyhow::Result<()> {
        let Some(orders) = &self.orders else {
            bail!("invariant: the sender is taken only by drop");
        };
        orders.send(order).ok().context("the loader's thread ended")
    }
}

/// A way in beside the load.
#[derive(Clone, Debug)]
pub(crate) struct Visitors(orders::UnboundedSender<Order>);

impl Visitors {
    /// As [`Loader::invite`].
    ///
    /// # Errors
    /// When the loader has ended.
    pub(crate) fn invite(
        &self,
        join: Join,
    ) -> anyhow::Result<mpsc::Receiver<anyhow::Result<Guest>>> {
        let (reply, guest) = mpsc::channel();
        let invited = self.0.send(Order::Invite(Box::new(join), reply));
        invited.ok().context("the loader's thread ended")?;
        Ok(guest)
    }
}

/// What publishers are about to have published.
#[derive(Debug)]
pub(crate) struct Publishing(Vec<mpsc::Receiver<anyhow::Result<Published>>>);

impl Publishing {
    /// Waits for the end of the plan.
    ///
    /// # Errors
    /// When packets cannot be sent.
    pub(crate) fn end(self) -> anyhow::Result<Published> {
        let mut all = Published::default();
        for published in self.0 {
            let published = published.recv().context("a publisher's thread ended")??;
            all.packets += published.packets;
            all.took = all.took.max(published.took);
        }
        Ok(all)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

async fn carry(
    load: Load,
    mut inbox: orders::UnboundedReceiver<Order>,
    ready: mpsc::Sender<anyhow::Result<Joined>>,
) {
    let runs: Vec<u64> = load.rooms.iter().map(|_| rand::random()).collect();
    let expected = load.rooms.iter().zip(&runs);
    let tally = Tally::new(expected.flat_map(|(room, &run)| room.viewers.iter().map(move |_| run)));
    let tally = Rc::new(RefCell::new(tally));
    let lost = Rc::new(RefCell::new(None));
    let joined = connect(&load, &runs, &tally, &lost).await;
    let failed = joined.is_err();
    if ready.send(joined).is_err() || failed {
        return;
    }
    while let Some(order) = inbox.recv().await {
        match order {
            Order::Begin(window, reply) => {
                tally.borrow_mut().begin(window);
                let _caller_waits = reply.send(());
            }
            Order::Collect(reply) => {
                let counts = match &*lost.borrow() {
                    Some(lost) => Err(String::clone(lost)),
                    None => Ok(tally.borrow().counts().clone()),
                };
                let _caller_waits = reply.send(counts);
            }
            Order::First(reply) => {
                let _caller_waits = reply.send(tally.borrow().first().to_vec());
            }
            Order::Invite(join, reply) => {
                tokio::task::spawn_local(guest::attend(*join, reply));
            }
        }
    }
}

type Lost = Rc<RefCell<Option<String>>>;

/// Connects everyone; their connections are served by local tasks from then on.
async fn connect(
    load: &Load,
    runs: &[u64],
    tally: &Rc<RefCell<Tally>>,
    lost: &Lost,
) -> anyhow::Result<Joined> {
    let mut joined = Joined::default();
    let mut joining = JoinSet::new();
    let room_to_join = Rc::new(Semaphore::new(JOINS_MAX));
    for (number, room) in load.rooms.iter().enumerate() {
        let join = load.join(room, Role::Publisher, room.publisher);
        let room_to_join = Rc::clone(&room_to_join);
        joining.spawn_local(async move {
            let _permit = room_to_join.acquire().await?;
            let peer = Peer::join(&join).await;
            let peer =
                peer.with_context(|| format!("the publisher of {} cannot join", join.room))?;
            anyhow::Ok((number, join.token, peer))
        });
    }
    let mut publishers = Vec::new();
    while let Some(publisher) = joining.join_next().await {
        publishers.push(publisher??);
    }
    publishers.sort_unstable_by_key(|(number, ..)| *number);
    for ((_, token, peer), (room, &run)) in publishers.into_iter().zip(load.rooms.iter().zip(runs))
    {
        joined.sessions.push((peer.session_url().to_owned(), token));
        publish(load, room, run, peer, lost, &mut joined)?;
    }
    let everyone = load.rooms.iter().flat_map(|room| {
        let joins = room.viewers.iter();
        joins.map(move |&address| load.join(room, Role::Viewer, address))
    });
    for (number, join) in everyone.enumerate() {
        let room_to_join = Rc::clone(&room_to_join);
        joining.spawn_local(async move {
            let _permit = room_to_join.acquire().await?;
            let peer = Peer::join(&join).await;
            let peer = peer.with_context(|| format!("viewer {number} cannot join"))?;
            anyhow::Ok((number, join.token, peer))
        });
    }
    let mut seats = Vec::new();
    while let Some(viewer) = joining.join_next().await {
        let (number, token, mut peer) = viewer??;
        joined.sessions.push((peer.session_url().to_owned(), token));
        seats.push((number, peer.seat()?));
        let mut viewer = Viewer::new(
            number,
            peer.take_keys()?,
            peer.payload_type(),
            Rc::clone(tally),
        );
        let lost = Rc::clone(lost);
        tokio::task::spawn_local(async move {
            let ended = peer.serve(&mut viewer).await;
            note(&lost, &format!("viewer {number}"), &ended);
        });
    }
    seats.sort_unstable_by_key(|(number, _)| *number);
    joined.seats.extend(seats.into_iter().map(|(_, seat)| seat));
    Ok(joined)
}

/// Starts the thread of a publisher that is connected.
fn publish(
    load: &Load,
    room: &Room,
    run: u64,
    mut peer: Peer,
    lost: &Lost,
    joined: &mut Joined,
) -> anyhow::Result<()> {
    let keys = peer.take_keys()?;
    let seat = peer.seat()?;
    let asked = Arc::new(Asked::default());
    let source = Source {
        socket: seat.socket.try_clone()?,
        node: seat.node,
        keys: keys.write,
        ssrc: peer.ssrc()?,
        payload_type: peer.payload_type(),
        burst: load.burst,
        idle: load.idle,
        run,
    };
    joined
        .publishers
        .push(Publisher::start(source, Arc::clone(&asked))?);
    joined.seats.push(seat);
    let mut requests = Requests::new(keys.read, asked);
    let lost = Rc::clone(lost);
    let who = format!("the publisher of {}", room.name);
    tokio::task::spawn_local(async move {
        let ended = peer.serve(&mut requests).await;
        note(&lost, &who, &ended);
    });
    Ok(())
}

/// Remembers the first connection that was lost.
fn note(lost: &Lost, who: &str, ended: &anyhow::Result<()>) {
    if let Err(error) = ended {
        lost.borrow_mut()
            .get_or_insert_with(|| format!("{who} lost its connection: {error:#}"));
    }
}
