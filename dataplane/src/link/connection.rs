//! One connection of the link: reads orders, writes what waits for it.

use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dataplane_api::event::Superseded;
use dataplane_api::ids::{OrderId, ShardIndex};
use dataplane_api::reply::Refusal;
use dataplane_api::snapshot::Part;
use dataplane_api::wire::{FRAME_BYTES_MAX, Frame, FrameError};
use dataplane_api::{Command, Event};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::sleep;
use tokio_seqpacket::UnixSeqpacket;

use super::outgoing::{Outgoing, Queued, Waiting};
use crate::mesh::ConnectionId;
use crate::route::refused;

/// Orders of one connection that may be unanswered: no more are read until the control plane has read
/// answers. Two shards' worth.
const ORDERS_UNANSWERED_MAX: usize = 1_024;

/// How long whoever is closed has to read its last frames, unless it was superseded.
const CLOSING_GRACE: Duration = Duration::from_secs(1);

/// What a connection tells the server.
#[derive(Debug)]
pub enum Incoming {
    /// An order.
    Order(ConnectionId, OrderId, Box<Command>),
    /// An order of a kind that this build does not know, or that names something it does not know.
    Unknown(ConnectionId, OrderId, u8),
    /// The connection is gone.
    Closed(ConnectionId),
}

/// The server's side of a connection.
#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    id: ConnectionId,
    outgoing: Mutex<Outgoing>,
    /// Something waits in `outgoing`, or `closing` is set.
    ready: Notify,
    closing: AtomicBool,
    /// Wakes the clock of a closing connection.
    close: Notify,
    /// One for each order that may be read; given back when its answer is written.
    orders: Semaphore,
}

impl Connection {
    /// Serves `socket` on a task of its own until either side ends it. `Closed` is the last message to
    /// `inbox`.
    pub(super) fn start(
        id: ConnectionId,
        socket: UnixSeqpacket,
        inbox: mpsc::Sender<Incoming>,
    ) -> Connection {
        let shared = Arc::new(Shared {
            id,
            outgoing: Mutex::default(),
            ready: Notify::new(),
            closing: AtomicBool::new(false),
            close: Notify::new(),
            orders: Semaphore::new(ORDERS_UNANSWERED_MAX),
        });
        tokio::spawn(run(Arc::clone(&shared), socket, inbox));
        Connection { shared }
    }

    /// Queues a frame that must arrive.
    pub(super) fn push(&self, frame: Frame) {
        self.shared.with_outgoing(|outgoing| outgoing.push(frame));
        self.shared.ready.notify_one();
    }

    /// Queues an event, or what stands for it. Whoever was superseded hears of nothing any more.
    pub(super) fn push_event(&self, shard: ShardIndex, counter: u64, event: Event) -> Queued {
        if self.shared.closing.load(Ordering::Acquire) {
            return Queued::Covered;
        }
        let queued = self
            .shared
            .with_outgoing(|outgoing| outgoing.push_event(shard, counter, event));
        self.shared.ready.notify_one();
        queued
    }

    /// How much waits to be written.
    pub(super) fn waiting(&self) -> Waiting {
        self.shared.with_outgoing(|outgoing| outgoing.waiting())
    }

    /// Says that a newer control plane has the link, and closes the connection once the peer has, however
    /// long it takes: one that hangs now would take a link that is merely lost back when it wakes.
    pub(super) fn supersede(&self) {
        if self.shared.closing.load(Ordering::Acquire) {
            return;
        }
        self.push_event(ShardIndex(0), 0, Event::Superseded(Superseded {}));
        self.shared.closing.store(true, Ordering::Release);
        self.shared.ready.notify_one();
    }

    /// Closes the connection once what waits is written, or after a second.
    pub(super) fn close(&self) {
        self.shared.closing.store(true, Ordering::Release);
        self.shared.ready.notify_one();
        self.shared.close.notify_one();
    }
}

impl Shared {
    fn with_outgoing<T>(&self, f: impl FnOnce(&mut Outgoing) -> T) -> T {
        f(&mut self.outgoing.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn run(shared: Arc<Shared>, socket: UnixSeqpacket, inbox: mpsc::Sender<Incoming>) {
    tokio::select! {
        () = read(&shared, &socket, &inbox) => {}
        () = async { write(&shared, &socket).await; take_leave(&socket).await } => {}
        () = async { shared.close.notified().await; sleep(CLOSING_GRACE).await } => {
            tracing::warn!("a link connection does not read its last frames: closed");
        }
    }
    drop(socket);
    // Without a server nobody needs to know.
    let _ = inbox.send(Incoming::Closed(shared.id)).await;
}

/// Reads frames until the connection ends or breaks the protocol.
async fn read(shared: &Shared, socket: &UnixSeqpacket, inbox: &mpsc::Sender<Incoming>) {
    let mut buffer = vec![0; FRAME_BYTES_MAX];
    loop {
        let Ok(permit) = shared.orders.acquire().await else {
            return;
        };
        let info = match socket.recv(&mut buffer).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "link connection lost");
                return;
            }
        };
        // An empty packet cannot be told from the end of the connection, and no frame is empty.
        let len = info.bytes_read();
        if len == 0 {
            return;
        }
        if info.truncated() {
            tracing::warn!(
                bytes_max = FRAME_BYTES_MAX,
                "link frame too long: connection closed"
            );
            return;
        }
        let incoming = match Frame::decode(&buffer[..len]) {
            Ok(Frame::Order(order, command)) => {
                Incoming::Order(shared.id, order, Box::new(command))
            }
            Err(
                FrameError::UnknownKind {
                    kind,
                    order: Some(order),
                }
                | FrameError::UnknownValue {
                    kind,
                    order: Some(order),
                },
            ) => Incoming::Unknown(shared.id, order, kind),
            Ok(Frame::Hello(_) | Frame::Reply(..) | Frame::Part(..) | Frame::Event(..)) => {
                tracing::warn!("link frame that only a data plane sends: connection closed");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "link frame refused: connection closed");
                return;
            }
        };
        permit.forget();
        if inbox.send(incoming).await.is_err() {
            return;
        }
    }
}

/// Writes what waits until the connection breaks or, when closing, nothing waits.
async fn write(shared: &Shared, socket: &UnixSeqpacket) {
    loop {
        let Some(frame) = shared.with_outgoing(Outgoing::pop) else {
            if shared.closing.load(Ordering::Acquire) {
                return;
            }
            shared.ready.notified().await;
            continue;
        };
        let Some(bytes) = encode(&frame) else {
            continue;
        };
        if let Err(error) = socket.send(&bytes).await {
            tracing::debug!(%error, "link connection lost");
            return;
        }
        if answers_an_order(&frame) {
            shared.orders.add_permits(1);
        }
    }
}

/// Nothing more is said, and the peer gets the time to read it all: until it leaves, or the clock of
/// [`Connection::close`] runs out. What it still orders is read away: an order that nobody read when the socket is
/// closed, or one that it gives afterwards, would be an error to it before it has read its last frames.
async fn take_leave(socket: &UnixSeqpacket) {
    if socket.shutdown(Shutdown::Write).is_err() {
        return;
    }
    let mut order = [0; 1];
    while matches!(socket.recv(&mut order).await, Ok(info) if info.bytes_read() > 0) {}
}

/// Whether an order is answered once this frame is written.
fn answers_an_order(frame: &Frame) -> bool {
    matches!(frame, Frame::Reply(..) | Frame::Part(_, Part::End(_)))
}

/// A frame's bytes. An answer that no frame can carry is refused instead; a part that none can carry is
/// left out, loudly.
fn encode(frame: &Frame) -> Option<Vec<u8>> {
    let error = match frame.encode() {
        Ok(bytes) => return Some(bytes),
        Err(error) => error,
    };
    tracing::error!(%error, "a frame cannot be sent");
    let Frame::Reply(order, _) = frame else {
        return None;
    };
    Frame::Reply(*order, refused(Refusal::Invalid, error.to_string()))
        .encode()
        .ok()
}
