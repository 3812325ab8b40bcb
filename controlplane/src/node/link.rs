//! One connection after another to the data plane: the hello, the reader, the writer, who waits for what.

use std::collections::HashMap;
use std::future::pending;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dataplane_api::event::Hello;
use dataplane_api::ids::OrderId;
use dataplane_api::snapshot::Part;
use dataplane_api::wire::{FRAME_BYTES_MAX, Frame, FrameError};
use dataplane_api::{Command, Event, Reply};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_seqpacket::{UCred, UnixSeqpacket};

use super::client::{LinkError, LinkEvent};

/// Longest wait for `Hello` after connecting.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// First and longest pause between two attempts to connect. The first is short because the supervisor
/// starts both processes at once; the longest bounds the load of a node without a data plane.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Whether there is a data plane.
#[derive(Clone, Debug)]
pub(super) enum LinkState {
    /// Not connected; being tried again.
    Down,
    /// Connected, with what the data plane said of itself.
    Up(Arc<Hello>),
    /// A newer control plane took the link over. It is not tried again: this process should stop.
    Superseded,
}

/// The state with the number of the connection: an order of one connection never leaves by the next.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) number: u64,
    pub(super) state: LinkState,
}

#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) connection: u64,
    pub(super) order: OrderId,
    pub(super) command: Command,
    pub(super) waiter: Waiter,
}

/// Who wants the answer.
#[derive(Debug)]
pub(super) enum Waiter {
    Reply(oneshot::Sender<Result<Reply, LinkError>>),
    Parts(Vec<Part>, oneshot::Sender<Result<Vec<Part>, LinkError>>),
    /// Nobody; a refusal is logged.
    Nobody,
}

type Waiting = Mutex<HashMap<OrderId, Waiter>>;

/// Why a connection ended.
enum Ended {
    /// To be tried again.
    Lost(String),
    Superseded,
    /// Nobody reads the events any more.
    Unwanted,
}

/// Connects, and connects again, until nobody reads the events or a newer control plane takes over.
pub(super) async fn keep(
    path: PathBuf,
    mut orders: mpsc::UnboundedReceiver<Outgoing>,
    events: mpsc::UnboundedSender<LinkEvent>,
    state: watch::Sender<Connection>,
) {
    let mut boot_id = None;
    let mut backoff = BACKOFF.0;
    let mut complained = false;
    for number in 1.. {
        let (socket, hello) = match connect(&path).await {
            Ok(connected) => connected,
            Err(error) => {
                // Once an outage: the supervisor starts both processes, so the first tries may fail.
                if backoff == BACKOFF.1 && !complained {
                    complained = true;
                    tracing::warn!(link = %path.display(), %error, "no link to the data plane; trying on");
                }
                if events.is_closed() {
                    return;
                }
                sleep(backoff).await;
                backoff = BACKOFF.1.min(backoff * 2);
                continue;
            }
        };
        (backoff, complained) = (BACKOFF.0, false);
        let hello = Arc::new(hello);
        let same_boot = boot_id.replace(hello.boot_id) == Some(hello.boot_id);
        tracing::info!(
            version = hello.version,
            edge = hello.edge,
            shards = hello.shards.len(),
            same_boot,
            "link to the data plane is up"
        );
        state.send_replace(Connection {
            number,
            state: LinkState::Up(Arc::clone(&hello)),
        });
        if events.send(LinkEvent::Up { hello, same_boot }).is_err() {
            return;
        }
        let waiting = Waiting::default();
        let ended = tokio::select! {
            ended = read(&socket, &waiting, &events) => ended,
            ended = write(&socket, &waiting, number, &mut orders) => ended,
        };
        let next = match ended {
            Ended::Superseded => LinkState::Superseded,
            Ended::Lost(_) | Ended::Unwanted => LinkState::Down,
        };
        state.send_replace(Connection {
            number,
            state: next,
        });
        // Whoever waits learns it by the dropped sender; what is queued belongs to this connection.
        drop(waiting);
        while orders.try_recv().is_ok() {}
        match ended {
            Ended::Lost(reason) => {
                tracing::warn!(reason, "link to the data plane was lost");
                if events.send(LinkEvent::Down).is_err() {
                    return;
                }
            }
            Ended::Superseded => {
                tracing::warn!("a newer control plane took over the link");
                let _unread = events.send(LinkEvent::Down).is_err();
                return;
            }
            Ended::Unwanted => return,
        }
    }
}

async fn connect(path: &Path) -> Result<(UnixSeqpacket, Hello), String> {
    let socket = UnixSeqpacket::connect(path)
        .await
        .map_err(|error| error.to_string())?;
    let peer = socket.peer_cred().map_err(|error| error.to_string())?;
    let own = UCred::from_current_process();
    // Whoever can make the socket's file could be asked for media; it must be us or root.
    if peer.uid() != own.uid() && peer.uid() != 0 {
        return Err(format!(
            "it belongs to uid {}, not to {}",
            peer.uid(),
            own.uid()
        ));
    }
    let mut buffer = vec![0; FRAME_BYTES_MAX];
    let received = timeout(HELLO_TIMEOUT, socket.recv(&mut buffer))
        .await
        .map_err(|_| "it says no hello".to_owned())?
        .map_err(|error| error.to_string())?;
    let frame = buffer.get(..received.bytes_read()).unwrap_or_default();
    let Ok(Frame::Hello(hello)) = Frame::decode(frame) else {
        return Err("its first frame is no hello".to_owned());
    };
    if !compatible(env!("CARGO_PKG_VERSION"), &hello.version) {
        return Err(format!(
            "the data plane has version {}, this control plane {}: at most one minor apart work together",
            hello.version,
            env!("CARGO_PKG_VERSION")
        ));
    }
    Ok((socket, *hello))
}

async fn read(
    socket: &UnixSeqpacket,
    waiting: &Waiting,
    events: &mpsc::UnboundedSender<LinkEvent>,
) -> Ended {
    let mut buffer = vec![0; FRAME_BYTES_MAX];
    loop {
        let length = match socket.recv(&mut buffer).await {
            Ok(received) if received.truncated() => {
                return Ended::Lost("a frame is too long".to_owned());
            }
            Ok(received) => received.bytes_read(),
            Err(error) => return Ended::Lost(error.to_string()),
        };
        if length == 0 {
            return Ended::Lost("the data plane closed it".to_owned());
        }
        match Frame::decode(buffer.get(..length).unwrap_or_default()) {
            Ok(Frame::Event(_, _, Event::Superseded(_))) => return Ended::Superseded,
            Ok(Frame::Event(shard, counter, event)) => {
                if events
                    .send(LinkEvent::Event {
                        shard,
                        counter,
                        event,
                    })
                    .is_err()
                {
                    return Ended::Unwanted;
                }
            }
            Ok(Frame::Reply(order, reply)) => answer(waiting, order, reply),
            Ok(Frame::Part(order, part)) => collect(waiting, order, part),
            Ok(Frame::Hello(_) | Frame::Order(..)) => {
                return Ended::Lost(
                    "the data plane sent what only a control plane sends".to_owned(),
                );
            }
            // A newer data plane may have news that this build does not know.
            Err(FrameError::UnknownKind { kind, .. } | FrameError::UnknownValue { kind, .. }) => {
                tracing::debug!(kind, "unknown frame ignored")
            }
            Err(error) => return Ended::Lost(error.to_string()),
        }
    }
}

fn answer(waiting: &Waiting, order: OrderId, reply: Reply) {
    let waiter = lock(waiting).remove(&order);
    match waiter {
        // The one who asked may have gone.
        Some(Waiter::Reply(sender)) => drop(sender.send(Ok(reply))),
        Some(Waiter::Parts(_, sender)) => drop(sender.send(Err(LinkError::Down))),
        Some(Waiter::Nobody) => match reply {
            Reply::Refused(refused) => {
                tracing::warn!(reason = ?refused.reason, detail = refused.detail, "an order was refused");
            }
            Reply::Unsupported(unsupported) => {
                tracing::warn!(
                    kind = unsupported.kind,
                    "the data plane is too old for an order"
                );
            }
            Reply::Done(_) | Reply::Admitted(_) | Reply::Inspected(_) | Reply::Pong(_) => {}
        },
        None => tracing::debug!(order = order.0, "an answer that nobody waits for"),
    }
}

fn collect(waiting: &Waiting, order: OrderId, part: Part) {
    let mut waiting = lock(waiting);
    if matches!(part, Part::End(_)) {
        if let Some(Waiter::Parts(parts, sender)) = waiting.remove(&order) {
            drop(sender.send(Ok(parts)));
        }
    } else if let Some(Waiter::Parts(parts, _)) = waiting.get_mut(&order) {
        parts.push(part);
    }
}

async fn write(
    socket: &UnixSeqpacket,
    waiting: &Waiting,
    number: u64,
    orders: &mut mpsc::UnboundedReceiver<Outgoing>,
) -> Ended {
    while let Some(outgoing) = orders.recv().await {
        if outgoing.connection != number {
            continue;
        }
        let bytes = match Frame::Order(outgoing.order, outgoing.command).encode() {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(%error, "an order was not sent");
                match outgoing.waiter {
                    Waiter::Reply(sender) => drop(sender.send(Err(LinkError::TooLarge))),
                    Waiter::Parts(_, sender) => drop(sender.send(Err(LinkError::TooLarge))),
                    Waiter::Nobody => {}
                }
                continue;
            }
        };
        lock(waiting).insert(outgoing.order, outgoing.waiter);
        match socket.send(&bytes).await {
            Ok(_) => {}
            // The other end is closed. What it said before may be why: the reader comes to its end.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return pending().await,
            Err(error) => return Ended::Lost(error.to_string()),
        }
    }
    Ended::Unwanted
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, HashMap<OrderId, Waiter>> {
    // Nothing panics while it is held; a poisoned map is as good as any.
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Same major, at most one minor apart.
fn compatible(own: &str, other: &str) -> bool {
    let parse = |version: &str| {
        let mut numbers = version.split('.').map(|number| number.parse::<u64>().ok());
        Some((numbers.next()??, numbers.next()??))
    };
    match (parse(own), parse(other)) {
        (Some((own_major, own_minor)), Some((major, minor))) => {
            own_major == major && own_minor.abs_diff(minor) <= 1
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::compatible;

    #[test]
    fn versions_one_minor_apart_work_together() {
        for (other, expected) in [
            ("1.4.0", true),
            ("1.4.9-rc1", true),
            ("1.3.7", true),
            ("1.5.0", true),
            ("1.6.0", false),
            ("1.2.0", false),
            ("2.4.0", false),
            ("1", false),
            ("", false),
        ] {
            assert_eq!(compatible("1.4.0", other), expected, "{other}");
        }
    }
}
