//! The load generator: one thread that carries every client, with a publisher beside it.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::{Context as _, anyhow, bail};
use tokio::sync::{Semaphore, mpsc as orders};
use tokio::task::{JoinSet, LocalSet};

use super::http::Http;
use super::peer::{Join, Peer, Role};
use super::publisher::{Publisher, Requests, Source};
use super::tally::{Counts, Tally};
use super::viewer::Viewer;
use crate::srtp::Profile;

/// Joins under way at once.
const JOINS_MAX: usize = 8;

/// What to load the node with.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) http: Http,
    pub(crate) room: String,
    pub(crate) publish_token: String,
    pub(crate) view_token: String,
    /// The publisher's address, then one a viewer.
    pub(crate) publisher: IpAddr,
    pub(crate) viewers: Vec<IpAddr>,
    pub(crate) burst: usize,
    pub(crate) profile: Profile,
}

/// Clients that are connected and counting.
#[derive(Debug)]
pub(crate) struct Loader {
    orders: Option<orders::UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
    publisher: Publisher,
    sessions: Vec<(String, String)>,
    http: Http,
}

#[derive(Debug)]
enum Order {
    Begin(u32, mpsc::Sender<()>),
    Collect(mpsc::Sender<Result<Counts, String>>),
}

/// What the loader thread hands back when everyone is connected.
type Joined = (Publisher, Vec<(String, String)>);

impl Loader {
    /// Connects the publisher and every viewer.
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
        let (publisher, sessions) = joined?;
        Ok(Loader {
            orders: Some(sender),
            thread: Some(thread),
            publisher,
            sessions,
            http,
        })
    }

    /// The publisher.
    pub(crate) fn publisher(&self) -> &Publisher {
        &self.publisher
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
        let (http, sessions) = (self.http.clone(), self.sessions.clone());
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
    let run = rand::random();
    let tally = Rc::new(RefCell::new(Tally::new(run, load.viewers.len())));
    let lost = Rc::new(RefCell::new(None));
    let joined = connect(&load, run, &tally, &lost).await;
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
        }
    }
}

type Lost = Rc<RefCell<Option<String>>>;

/// Connects everyone; their connections are served by local tasks from then on.
async fn connect(
    load: &Load,
    run: u64,
    tally: &Rc<RefCell<Tally>>,
    lost: &Lost,
) -> anyhow::Result<Joined> {
    let mut sessions = Vec::new();
    let join = Join {
        http: load.http.clone(),
        room: load.room.clone(),
        token: load.publish_token.clone(),
        role: Role::Publisher,
        address: load.publisher,
        profile: load.profile,
    };
    let mut peer = Peer::join(&join)
        .await
        .context("the publisher cannot join")?;
    sessions.push((peer.session_url().to_owned(), join.token.clone()));
    let keys = peer.take_keys()?;
    let (socket, node) = peer.sender()?;
    let keyframe = Arc::new(AtomicBool::new(false));
    let source = Source {
        socket,
        node,
        keys: keys.write,
        ssrc: peer.ssrc()?,
        payload_type: peer.payload_type(),
        burst: load.burst,
        run,
    };
    let publisher = Publisher::start(source, Arc::clone(&keyframe))?;
    let mut requests = Requests::new(keys.read, keyframe);
    let lost_by_publisher = Rc::clone(lost);
    tokio::task::spawn_local(async move {
        let ended = peer.serve(&mut requests).await;
        note(&lost_by_publisher, "the publisher", &ended);
    });

    let mut joining = JoinSet::new();
    let room_to_join = Rc::new(Semaphore::new(JOINS_MAX));
    for (number, &address) in load.viewers.iter().enumerate() {
        let join = Join {
            token: load.view_token.clone(),
            role: Role::Viewer,
            address,
            ..join.clone()
        };
        let room_to_join = Rc::clone(&room_to_join);
        joining.spawn_local(async move {
            let _permit = room_to_join.acquire().await?;
            let peer = Peer::join(&join).await;
            anyhow::Ok((
                number,
                peer.with_context(|| format!("viewer {number} cannot join"))?,
            ))
        });
    }
    while let Some(joined) = joining.join_next().await {
        let (number, mut peer) = joined??;
        sessions.push((peer.session_url().to_owned(), load.view_token.clone()));
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
    Ok((publisher, sessions))
}

/// Remembers the first connection that was lost.
fn note(lost: &Lost, who: &str, ended: &anyhow::Result<()>) {
    if let Err(error) = ended {
        lost.borrow_mut()
            .get_or_insert_with(|| format!("{who} lost its connection: {error:#}"));
    }
}
