//! Somebody who joins a loaded node: to see how joining goes, or to abuse what a member may do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::http::Session;
use super::peer::{Join, Peer, Seat, Service};
use super::publisher::begins_keyframe;
use crate::srtp::{Indices, Keys, identity};

/// A client that is connected until this is dropped; then it ends its session as a browser would.
#[derive(Debug)]
pub(crate) struct Guest {
    /// To write with as this client does.
    pub(crate) keys: Keys,
    pub(crate) seat: Seat,
    /// From the offer to the keys.
    pub(crate) took: Duration,
    pub(crate) heard: Arc<Heard>,
    /// When the node answered the offer.
    pub(crate) answered: Instant,
    pub(crate) session: Session,
    pub(crate) token: String,
    stays: oneshot::Sender<Vanished>,
}

/// Says that a guest is gone without a word.
#[derive(Debug)]
struct Vanished;

/// What came to a guest.
#[derive(Debug)]
pub(crate) struct Heard {
    begin: Instant,
    bytes: AtomicU64,
    /// SSRC in the upper half, sequence number in the lower, of the last media packet.
    last: AtomicU64,
    /// Nanoseconds from the keys to the last media packet; 0 before the first.
    last_after: AtomicU64,
    /// Nanoseconds from the keys to the first keyframe; 0 before it.
    keyframe: AtomicU64,
}

impl Guest {
    /// Where its packets go.
    pub(crate) fn node(&self) -> SocketAddr {
        self.seat.node
    }

    /// Is gone at once and tells nobody: a battery that is empty, or a session that was ended already.
    pub(crate) fn vanish(self) {
        let _gone_already = self.stays.send(Vanished);
    }
}

impl Heard {
    fn new() -> Heard {
        Heard {
            begin: Instant::now(),
            bytes: AtomicU64::new(0),
            last: AtomicU64::new(0),
            last_after: AtomicU64::new(0),
            keyframe: AtomicU64::new(0),
        }
    }

    /// Bytes of SRTP and SRTCP that came so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// SSRC and sequence number of the last media packet.
    pub(crate) fn last(&self) -> (u32, u16) {
        let last = self.last.load(Ordering::Relaxed).to_be_bytes();
        (
            u32::from_be_bytes([last[0], last[1], last[2], last[3]]),
            u16::from_be_bytes([last[6], last[7]]),
        )
    }

    /// When the last media packet came.
    pub(crate) fn last_at(&self) -> Option<Instant> {
        match self.last_after.load(Ordering::Relaxed) {
            0 => None,
            nanoseconds => Some(self.begin + Duration::from_nanos(nanoseconds)),
        }
    }

    /// How long after the keys the first keyframe came.
    pub(crate) fn keyframe(&self) -> Option<Duration> {
        match self.keyframe.load(Ordering::Relaxed) {
            0 => None,
            nanoseconds => Some(Duration::from_nanos(nanoseconds)),
        }
    }
}

/// Joins, hands the guest out, and serves its connection until it leaves.
pub(super) async fn attend(join: Join, reply: mpsc::Sender<anyhow::Result<Guest>>) {
    let begin = Instant::now();
    let mut peer = match Peer::join(&join).await {
        Ok(peer) => peer,
        Err(error) => {
            let _caller_waits = reply.send(Err(error));
            return;
        }
    };
    let took = begin.elapsed();
    let heard = Arc::new(Heard::new());
    let (stays, left) = oneshot::channel();
    let exported = peer.take_keys().and_then(|keys| Ok((keys, peer.seat()?)));
    let (guest, read) = match exported {
        Ok((keys, seat)) => {
            let guest = Guest {
                keys: keys.write,
                seat,
                took,
                heard: Arc::clone(&heard),
                answered: peer.session().1,
                session: peer.session().0.clone(),
                token: join.token.clone(),
                stays,
            };
            (Ok(guest), keys.read)
        }
        Err(error) => {
            let _caller_waits = reply.send(Err(error));
            return;
        }
    };
    let payload_type = peer.payload_type();
    let _caller_waits = reply.send(guest);
    let mut listener = Listener {
        keys: read,
        payload_type,
        indices: Indices::default(),
        heard,
    };
    tokio::select! {
        _ended = peer.serve(&mut listener) => {}
        left = left => if left.is_ok() {
            return;
        },
    }
    let (http, session, token) = (join.http, peer.session_url().to_owned(), join.token);
    let ended = tokio::task::spawn_blocking(move || http.delete(&session, &token));
    let _ended_by_the_node_before = ended.await;
}

/// A guest's ears: counts, and opens packets only until it has seen a keyframe.
#[derive(Debug)]
struct Listener {
    keys: Keys,
    payload_type: u8,
    indices: Indices,
    heard: Arc<Heard>,
}

impl Service for Listener {
    fn packet(&mut self, packet: &mut [u8], _at: Duration) {
        let heard = &self.heard;
        let length = u64::try_from(packet.len()).unwrap_or(0);
        heard.bytes.fetch_add(length, Ordering::Relaxed);
        let is_media = packet
            .get(1)
            .is_some_and(|kind| kind & 0x7f == self.payload_type);
        let Some((ssrc, sequence)) = identity(packet).filter(|_| is_media) else {
            return;
        };
        let last = u64::from(ssrc) << 32 | u64::from(sequence);
        heard.last.store(last, Ordering::Relaxed);
        let after = u64::try_from(heard.begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        heard.last_after.store(after.max(1), Ordering::Relaxed);
        if heard.keyframe().is_some() {
            return;
        }
        let Some(index) = self.indices.guess(packet) else {
            return;
        };
        if let Some(rtp) = self.keys.open(packet, index) {
            self.indices.confirm(ssrc, index);
            if begins_keyframe(rtp.payload) {
                heard.keyframe.store(after.max(1), Ordering::Relaxed);
            }
        }
    }

    fn tick(&mut self) -> Option<Vec<u8>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::publisher::describe;
    use crate::srtp::Profile;

    #[test]
    fn a_guest_notices_the_first_keyframe_and_what_came_last() {
        let material = [7; 56];
        let keys = || Keys::exported(Profile::Gcm128, &material, crate::srtp::Writer::Server);
        let mut listener = Listener {
            keys: keys().unwrap(),
            payload_type: 96,
            indices: Indices::default(),
            heard: Arc::new(Heard::new()),
        };
        let mut plain = vec![0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
        plain.extend([0; 40]);
        for (sequence, first, key, found) in [
            (5_u16, true, false, false),
            (6, false, true, false),
            (7, true, true, true),
            (8, true, false, true),
        ] {
            plain[2..4].copy_from_slice(&sequence.to_be_bytes());
            describe(&mut plain[12..], 3, first, key);
            let mut sealed = vec![0; plain.len() + 16];
            keys()
                .unwrap()
                .seal(&plain, 12, sequence.into(), &mut sealed);
            listener.packet(&mut sealed, Duration::ZERO);
            assert_eq!(listener.heard.keyframe().is_some(), found, "{sequence}");
            assert_eq!(listener.heard.last(), (9, sequence));
        }
        assert_eq!(listener.heard.bytes(), 4 * 68);
    }
}
