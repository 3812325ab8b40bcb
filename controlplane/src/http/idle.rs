//! Connections that have not asked for anything yet: they are few per address and do not last.
//!
//! A connection costs memory and a descriptor from its first packet on, and a slow or silent one could
//! keep them for ever. So until its first request a connection is counted against its address and has a
//! deadline; the first request lifts both. What stays for its whole life is its seat ([`Capacity`]) and that
//! it must take what is written to it.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tower::Service;

use super::capacity::{Capacity, Seat};
use crate::config::Network;

/// Connections of one address that may wait with their first request. A school behind one address opens
/// 300 in ten seconds, each with its request at once; only those in flight count here.
pub const IDLE_PER_ADDRESS_MAX: u32 = 64;

/// Longest time from the connection to its first request, TLS handshake included.
pub const FIRST_REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

/// Longest time in which a connection takes nothing of what is written to it.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(10);

/// Who waits, by address; clones share the counts.
#[derive(Clone, Debug)]
pub struct Idles {
    counts: Arc<Mutex<HashMap<IpAddr, u32>>>,
    exempt: Arc<[Network]>,
}

impl Idles {
    /// Nobody waits; connections from `exempt` never count.
    #[must_use]
    pub fn new(exempt: Vec<Network>) -> Idles {
        Idles {
            counts: Arc::default(),
            exempt: exempt.into(),
        }
    }

    /// Counts one connection, or refuses it because its address has too many.
    fn enter(&self, address: IpAddr) -> Option<Waiting> {
        let address = address.to_canonical();
        if self.exempt.iter().any(|network| network.contains(address)) {
            return Some(Waiting {
                idles: None,
                address,
            });
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_insert(0);
        if *count >= IDLE_PER_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some(Waiting {
            idles: Some(self.clone()),
            address,
        })
    }
}

/// One counted connection; dropping it uncounts.
#[derive(Debug)]
struct Waiting {
    idles: Option<Idles>,
    address: IpAddr,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(idles) = &self.idles else {
            return;
        };
        let mut counts = idles.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                // What is kept is bounded by who waits now, not by who ever came.
                counts.remove(&self.address);
            }
        }
    }
}

/// The acceptor that counts.
#[derive(Clone, Debug)]
pub struct IdleGuard {
    idles: Idles,
    capacity: Capacity,
}

impl IdleGuard {
    /// Counts in `idles` who has not asked yet, and in `capacity` everyone.
    #[must_use]
    pub fn new(idles: Idles, capacity: Capacity) -> IdleGuard {
        IdleGuard { idles, capacity }
    }
}

impl<S> Accept<TcpStream, S> for IdleGuard {
    type Stream = GuardedStream<TcpStream>;
    type Service = GuardedService<S>;
    type Future = std::future::Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        std::future::ready(self.admit(stream, service))
    }
}

impl IdleGuard {
    fn admit<S>(
        &self,
        stream: TcpStream,
        service: S,
    ) -> io::Result<(GuardedStream<TcpStream>, GuardedService<S>)> {
        let seat = self
            .capacity
            .take()
            .ok_or_else(|| io::Error::other("the process holds all the connections it can"))?;
        let waiting = self
            .idles
            .enter(stream.peer_addr()?.ip())
            .ok_or_else(|| io::Error::other("too many connections of this address wait"))?;
        // An answer is a few small writes; waiting to join them only delays it.
        stream.set_nodelay(true)?;
        Ok(guard(stream, service, waiting, seat))
    }
}

fn guard<T, S>(
    stream: T,
    service: S,
    waiting: Waiting,
    seat: Seat,
) -> (GuardedStream<T>, GuardedService<S>) {
    let asked = Arc::new(AtomicBool::new(false));
    let deadline = Some(Box::pin(tokio::time::sleep(FIRST_REQUEST_TIME_MAX)));
    let first = Arc::new(Mutex::new(Some(waiting)));
    (
        GuardedStream {
            inner: stream,
            asked: Arc::clone(&asked),
            deadline,
            stall: None,
            _seat: seat,
        },
        GuardedService {
            inner: service,
            asked,
            first,
        },
    )
}

/// A connection whose reads fail once the deadline passes without a request, and whose writes fail once the
/// peer has taken nothing for [`WRITE_STALL_MAX`].
#[derive(Debug)]
pub struct GuardedStream<T> {
    inner: T,
    asked: Arc<AtomicBool>,
    deadline: Option<Pin<Box<Sleep>>>,
    stall: Option<Pin<Box<Sleep>>>,
    _seat: Seat,
}

impl<T> GuardedStream<T> {
    /// The result of a write, unless the peer has stood still for too long.
    fn unless_stalled<R>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if result.is_ready() {
            self.stall = None;
            return result;
        }
        let stall = self
            .stall
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_STALL_MAX)));
        match stall.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for GuardedStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.deadline.is_some() && self.asked.load(Ordering::Relaxed) {
            self.deadline = None;
        }
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for GuardedStream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.unless_stalled(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.unless_stalled(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.unless_stalled(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

/// The service behind a connection; its first request lifts the guard.
#[derive(Clone, Debug)]
pub struct GuardedService<S> {
    inner: S,
    asked: Arc<AtomicBool>,
    first: Arc<Mutex<Option<Waiting>>>,
}

impl<S: Service<R>, R> Service<R> for GuardedService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        if !self.asked.swap(true, Ordering::Relaxed) {
            drop(
                self.first
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take(),
            );
        }
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tower::service_fn;

    fn seat() -> Seat {
        Capacity::of(1).take().unwrap()
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn an_address_may_have_64_waiting_connections_and_others_do_not_suffer() {
        let idles = Idles::new(Vec::new());
        let waiting: Vec<_> = (0..IDLE_PER_ADDRESS_MAX)
            .map(|_| idles.enter(address(1)).unwrap())
            .collect();
        assert!(idles.enter(address(1)).is_none());
        assert!(idles.enter(address(2)).is_some());
        drop(waiting);
        assert!(idles.enter(address(1)).is_some());
        assert!(
            idles.counts.lock().unwrap().is_empty(),
            "nobody waits, nothing is kept"
        );
    }

    #[test]
    fn a_trusted_proxy_is_not_counted() {
        use crate::config::values::Value;
        let idles = Idles::new(vec![Network::from_text("192.0.2.0/24").unwrap()]);
        let waiting: Vec<_> = (0..=IDLE_PER_ADDRESS_MAX)
            .map(|_| idles.enter(address(1)))
            .collect();
        assert!(waiting.iter().all(Option::is_some));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_asks_for_nothing_ends_at_the_deadline() {
        let idles = Idles::new(Vec::new());
        let (_client, server) = duplex(64);
        let (mut stream, _service) = guard(server, (), idles.enter(address(1)).unwrap(), seat());
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_request_lifts_count_and_deadline() {
        let idles = Idles::new(Vec::new());
        let (mut client, server) = duplex(64);
        let echo = service_fn(|request: u8| async move { Ok::<_, io::Error>(request) });
        let (mut stream, mut service) =
            guard(server, echo, idles.enter(address(1)).unwrap(), seat());
        assert_eq!(service.call(7).await.unwrap(), 7);
        assert!(idles.counts.lock().unwrap().is_empty());
        let later = tokio::spawn(async move { stream.read_u8().await });
        tokio::time::sleep(FIRST_REQUEST_TIME_MAX * 10).await;
        client.write_u8(9).await.unwrap();
        assert_eq!(later.await.unwrap().unwrap(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up_and_a_slow_one_is_not() {
        let idles = Idles::new(Vec::new());
        let (mut client, server) = duplex(64);
        let waiting = idles.enter(address(1)).unwrap();
        let (mut stream, _service) = guard(server, (), waiting, seat());
        let writing = tokio::spawn(async move { stream.write_all(&[0; 1024]).await });
        // Slowly, but it takes something each time.
        for _ in 0..4 {
            tokio::time::sleep(WRITE_STALL_MAX * 9 / 10).await;
            client.read_exact(&mut [0; 64]).await.unwrap();
        }
        assert!(!writing.is_finished());
        let error = writing.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
