//! `floor-tokio`: the loop most servers start from. One packet in, then seal and `send_to` for each
//! viewer, on a current-thread tokio runtime.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::{Cost, Viewer, Work, packet};
use crate::cpu;

/// Bursts the publisher may be ahead of the forwarder: enough to keep it busy, too few to overflow its
/// receive buffer.
const BURSTS_AHEAD: u64 = 4;

/// How long the publisher sleeps when it is ahead.
const AHEAD_SLEEP: Duration = Duration::from_micros(50);

/// Forwards a publisher's packets, which come as fast as they can be forwarded, for the window.
///
/// # Errors
/// When a socket fails, or packets stop coming.
pub(crate) fn run(socket: UdpSocket, work: &Work) -> anyhow::Result<Cost> {
    let publisher = UdpSocket::bind((socket.local_addr()?.ip(), 0))?;
    let forwarder = socket.local_addr()?;
    let forwarded = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let publishing =
            scope.spawn(|| publish(&publisher, forwarder, work.burst, &forwarded, &stop));
        let forwarding = std::thread::Builder::new()
            .name("floor-tokio".to_owned())
            .spawn_scoped(scope, || {
                let cost =
                    cpu::pin(work.cores.measured).and_then(|()| forward(socket, work, &forwarded));
                stop.store(true, Ordering::Relaxed);
                cost
            })?;
        let cost = forwarding
            .join()
            .unwrap_or_else(|_| bail!("the forwarding thread panicked"));
        stop.store(true, Ordering::Relaxed);
        let published = publishing
            .join()
            .unwrap_or_else(|_| bail!("the publishing thread panicked"));
        let cost = cost?;
        published?;
        Ok(cost)
    })
}

fn publish(
    socket: &UdpSocket,
    forwarder: SocketAddr,
    burst: usize,
    forwarded: &AtomicU64,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let packet = packet();
    let mut sent = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        if sent >= forwarded.load(Ordering::Relaxed) + BURSTS_AHEAD * burst as u64 {
            std::thread::sleep(AHEAD_SLEEP);
            continue;
        }
        for _ in 0..burst {
            socket
                .send_to(&packet, forwarder)
                .context("the publisher cannot send")?;
            sent += 1;
        }
    }
    Ok(())
}

fn forward(socket: UdpSocket, work: &Work, forwarded: &AtomicU64) -> anyhow::Result<Cost> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let viewers = Viewer::all(work);
    socket.set_nonblocking(true)?;
    runtime.block_on(async {
        let socket = tokio::net::UdpSocket::from_std(socket)?;
        let mut received = [0; 2048];
        let mut sealed = [0; 2048];
        let mut packets = 0_u64;
        let begin = cpu::this_thread();
        let end = Instant::now() + work.window;
        for index in 0.. {
            let (length, _publisher) = socket.recv_from(&mut received).await?;
            for viewer in &viewers {
                let length = viewer.seal(&mut received[..length], index, &mut sealed);
                socket
                    .send_to(&sealed[..length], viewer.destination)
                    .await
                    .context("cannot send to a viewer")?;
                packets += 1;
            }
            forwarded.store(index + 1, Ordering::Relaxed);
            if Instant::now() >= end {
                break;
            }
        }
        Ok(Cost {
            packets,
            refused: 0,
            messages: packets,
            cpu: cpu::this_thread().saturating_sub(begin),
        })
    })
}
