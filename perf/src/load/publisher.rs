//! The publisher: frames of a fixed number of packets at an even rate, whatever the node does with them
//! (an open loop: a slow node must show as loss and latency, not as less load).

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::peer::Service;
use super::stamp::{self, Stamp};
use crate::floor::PACKET_BYTES;
use crate::socket::BurstSocket;
use crate::srtp::{Keys, RTP_HEADER_BYTES};

/// A usual pause between the frames that keep the stream alive outside windows: longer than a window takes to
/// settle, so that none of them is charged to it; shorter than the 2 s after which a publisher is silent.
pub(crate) const IDLE_PAUSE: Duration = Duration::from_millis(500);

/// RTP clock of video (RFC 7741 section 4.1).
const CLOCK_HZ: f64 = 90_000.0;

/// VP8 payload descriptor with a 15-bit picture id (RFC 7741 section 4.2).
const DESCRIPTOR_BYTES: usize = 4;

/// RTCP payload-specific feedback, and its formats PLI and FIR (RFC 4585 section 6.1, RFC 5104 section
/// 4.3.1).
const RTCP_PAYLOAD_FEEDBACK: u8 = 206;
const FEEDBACK_PLI: u8 = 1;
const FEEDBACK_FIR: u8 = 4;

/// What a publisher sends.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) socket: UdpSocket,
    pub(crate) node: SocketAddr,
    pub(crate) keys: Keys,
    pub(crate) ssrc: u32,
    pub(crate) payload_type: u8,
    pub(crate) burst: usize,
    pub(crate) run: u64,
    /// Between the frames that keep the stream alive outside windows.
    pub(crate) idle: Duration,
}

/// Even frames for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) window: u32,
    pub(crate) frames: u64,
    pub(crate) interval: Duration,
}

/// What became of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) packets: u64,
    pub(crate) took: Duration,
}

/// A plan, how long to wait before it, and where the result goes.
type Order = (Plan, Duration, mpsc::Sender<anyhow::Result<Published>>);

/// A thread that publishes.
#[derive(Debug)]
pub(crate) struct Publisher {
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
    asked: Arc<Asked>,
    index: Arc<AtomicU64>,
    enough: Arc<AtomicBool>,
}

/// Keyframe requests that came from the node.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// One is to be answered.
    open: AtomicBool,
    times: Mutex<Vec<Instant>>,
}

impl Asked {
    fn note(&self) {
        self.open.store(true, Ordering::Relaxed);
        self.times
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Instant::now());
    }
}

impl Publisher {
    /// Starts with a keyframe, then keeps the stream alive until there is a plan.
    ///
    /// # Errors
    /// When the socket refuses segmented sends of a burst, or no thread can be started.
    pub(crate) fn start(source: Source, asked: Arc<Asked>) -> anyhow::Result<Publisher> {
        let idle = source.idle;
        let mut stream = Stream::new(source, Arc::clone(&asked))?;
        let index = Arc::clone(&stream.told);
        let enough = Arc::clone(&stream.enough);
        let (orders, plans) = mpsc::channel::<Order>();
        let thread = std::thread::Builder::new()
            .name("publisher".to_owned())
            .spawn(move || {
                loop {
                    match plans.recv_timeout(idle) {
                        Ok((plan, wait, reply)) => {
                            std::thread::sleep(wait);
                            let _caller_waits = reply.send(stream.follow(plan));
                        }
                        Err(mpsc::RecvTimeoutError::Timeout) => {
                            let _next_pause_tries_again = stream.frame(0, 0, idle);
                        }
                        Err(mpsc::RecvTimeoutError::Disconnected) => return,
                    }
                }
            })?;
        Ok(Publisher {
            orders: Some(orders),
            thread: Some(thread),
            asked,
            index,
            enough,
        })
    }

    /// Ends the plan that is carried out, whatever of it is left.
    pub(crate) fn finish(&self) {
        self.enough.store(true, Ordering::Relaxed);
    }

    /// Begins to carry out a plan after `wait`; the result comes at its end.
    ///
    /// # Errors
    /// When the thread has ended.
    pub(crate) fn begin(
        &self,
        plan: Plan,
        wait: Duration,
    ) -> anyhow::Result<mpsc::Receiver<anyhow::Result<Published>>> {
        self.enough.store(false, Ordering::Relaxed);
        let (reply, published) = mpsc::channel();
        self.orders
            .as_ref()
            .context("invariant: the sender is taken only by drop")?
            .send((plan, wait, reply))
            .ok()
            .context("the publisher's thread ended")?;
        Ok(published)
    }

    /// When the node has asked for keyframes since the last call.
    pub(crate) fn take_requests(&self) -> Vec<Instant> {
        let times = self.asked.times.lock();
        std::mem::take(&mut *times.unwrap_or_else(PoisonError::into_inner))
    }

    /// The packet index it sends next, which an observer on the path can tell; it goes on while media does.
    pub(crate) fn index(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.index)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// The state of the one outgoing stream.
struct Stream {
    source: Source,
    socket: BurstSocket,
    asked: Arc<Asked>,
    packet: Vec<u8>,
    sealed: Vec<u8>,
    index: u64,
    /// The same, for [`Publisher::index`].
    told: Arc<AtomicU64>,
    /// Set by [`Publisher::finish`].
    enough: Arc<AtomicBool>,
    timestamp: f64,
    picture: u16,
}

impl Stream {
    fn new(source: Source, asked: Arc<Asked>) -> anyhow::Result<Stream> {
        let socket = BurstSocket::new(source.socket.try_clone()?)?;
        if socket.segments_max() < source.burst {
            bail!(
                "this kernel sends {} packets at once, not {}",
                socket.segments_max(),
                source.burst
            );
        }
        asked.open.store(true, Ordering::Relaxed);
        Ok(Stream {
            socket,
            asked,
            packet: vec![0x5a; PACKET_BYTES],
            sealed: vec![0; source.burst * (PACKET_BYTES + 16)],
            source,
            index: 1,
            told: Arc::new(AtomicU64::new(1)),
            enough: Arc::default(),
            timestamp: 0.0,
            picture: 0,
        })
    }

    fn follow(&mut self, plan: Plan) -> anyhow::Result<Published> {
        let begin = Instant::now();
        let mut due = begin;
        let mut sequence = 0;
        for _ in 0..plan.frames {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if self.enough.load(Ordering::Relaxed) {
                break;
            }
            sequence += self.frame(plan.window, sequence, plan.interval)?;
            due += plan.interval;
        }
        Ok(Published {
            packets: sequence,
            took: begin.elapsed(),
        })
    }

    /// Sends one frame and returns how many packets it had.
    fn frame(&mut self, window: u32, sequence: u64, interval: Duration) -> anyhow::Result<u64> {
        let key = self.asked.open.swap(false, Ordering::Relaxed);
        let sent = stamp::now();
        let burst = self.source.burst;
        let mut length = 0;
        let mut segment = 0;
        for (number, offset) in (0..burst).zip(0_u64..) {
            self.header(number + 1 == burst);
            describe(
                &mut self.packet[RTP_HEADER_BYTES..],
                self.picture,
                number == 0,
                key,
            );
            Stamp {
                window,
                run: self.source.run,
                sequence: sequence + offset,
                sent,
            }
            .write(&mut self.packet[RTP_HEADER_BYTES..]);
            segment = self.source.keys.seal(
                &self.packet,
                RTP_HEADER_BYTES,
                self.index,
                &mut self.sealed[length..],
            );
            length += segment;
            self.index += 1;
        }
        self.told.store(self.index, Ordering::Relaxed);
        self.picture = (self.picture + 1) & 0x7fff;
        self.timestamp = (self.timestamp + interval.as_secs_f64() * CLOCK_HZ) % 2_f64.powi(32);
        self.socket
            .send(&self.sealed[..length], segment, self.source.node)
            .context("the publisher cannot send")?;
        Ok(burst as u64)
    }

    fn header(&mut self, marker: bool) {
        // The timestamp is kept below 2^32, so its whole part is four bytes.
        let timestamp = Duration::from_secs_f64(self.timestamp).as_secs();
        Header {
            marker,
            payload_type: self.source.payload_type,
            index: self.index,
            timestamp,
            ssrc: self.source.ssrc,
        }
        .write(&mut self.packet);
    }
}

/// What of an RTP header differs between packets (RFC 3550 section 5.1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    /// Its low 16 bits are the sequence number.
    pub(crate) index: u64,
    /// Its low 32 bits are used.
    pub(crate) timestamp: u64,
    pub(crate) ssrc: u32,
}

impl Header {
    /// Writes it over the first [`RTP_HEADER_BYTES`] of `packet`.
    pub(crate) fn write(self, packet: &mut [u8]) {
        let header = &mut packet[..RTP_HEADER_BYTES];
        header[0] = 0x80;
        header[1] = self.payload_type | if self.marker { 0x80 } else { 0 };
        header[2..4].copy_from_slice(&self.index.to_be_bytes()[6..]);
        header[4..8].copy_from_slice(&self.timestamp.to_be_bytes()[4..]);
        header[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
    }
}

/// Makes `payload` look like a packet of a VP8 frame: the descriptor (RFC 7741 section 4.2) and, in the
/// first packet, the frame's header (RFC 6386 section 9.1).
pub(crate) fn describe(payload: &mut [u8], picture: u16, first: bool, key: bool) {
    let [high, low] = picture.to_be_bytes();
    let start = if first { 0x10 } else { 0 };
    payload[..DESCRIPTOR_BYTES].copy_from_slice(&[0x80 | start, 0x80, 0x80 | high, low]);
    let frame = &mut payload[DESCRIPTOR_BYTES..];
    match (first, key) {
        // Shown, 640x360, with the start code of a keyframe.
        (true, true) => {
            frame[..10].copy_from_slice(&[0x10, 2, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]);
        }
        (true, false) => frame[..3].copy_from_slice(&[0x11, 2, 0]),
        (false, _) => {}
    }
}

/// The publisher's connection: listens for keyframe requests.
#[derive(Debug)]
pub(crate) struct Requests {
    keys: Keys,
    asked: Arc<Asked>,
}

impl Requests {
    /// `keys` are the node's; a request is noted in `asked`.
    pub(crate) fn new(keys: Keys, asked: Arc<Asked>) -> Requests {
        Requests { keys, asked }
    }
}

impl Service for Requests {
    fn packet(&mut self, packet: &mut [u8], _at: Duration) {
        if let Some(compound) = self.keys.open_rtcp(packet)
            && asks_for_keyframe(compound)
        {
            self.asked.note();
        }
    }

    fn tick(&mut self) -> Option<Vec<u8>> {
        None
    }
}

/// Whether a VP8 payload begins a keyframe, by the same two sections as [`describe`].
pub(crate) fn begins_keyframe(payload: &[u8]) -> bool {
    matches!(payload.first(), Some(first) if first & 0x10 != 0)
        && matches!(payload.get(DESCRIPTOR_BYTES), Some(frame) if frame & 1 == 0)
}

/// Whether a compound packet holds a PLI or FIR.
fn asks_for_keyframe(mut compound: &[u8]) -> bool {
    while let [first, kind, high, low, ..] = *compound {
        if kind == RTCP_PAYLOAD_FEEDBACK && matches!(first & 0x1f, FEEDBACK_PLI | FEEDBACK_FIR) {
            return true;
        }
        let length = 4 * (usize::from(u16::from_be_bytes([high, low])) + 1);
        let Some(rest) = compound.get(length..) else {
            return false;
        };
        compound = rest;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::stamp::STAMP_BYTES;
    use super::*;
    use crate::srtp::Profile;

    #[test]
    fn a_keyframe_request_is_found_anywhere_in_a_compound_packet() {
        let report = [0x80, 201, 0, 1, 0, 0, 0, 1];
        let pli = [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
        let remb = [0x8f, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
        assert!(asks_for_keyframe(&pli));
        assert!(asks_for_keyframe(
            &[report.as_slice(), &remb, &pli].concat()
        ));
        assert!(!asks_for_keyframe(&[report.as_slice(), &remb].concat()));
        assert!(!asks_for_keyframe(&[0x80, 201, 0xff, 0xff, 0, 0, 0, 0]));
        assert!(!asks_for_keyframe(&[]));
    }

    #[test]
    fn frames_look_like_vp8_and_the_stamp_stays_free() {
        let mut payload = vec![0; PACKET_BYTES - RTP_HEADER_BYTES];
        describe(&mut payload, 0x1234, true, true);
        assert_eq!(payload[..4], [0x90, 0x80, 0x92, 0x34]);
        assert_eq!(payload[4] & 1, 0, "P bit: 0 is a keyframe");
        assert!(begins_keyframe(&payload));
        assert_eq!(payload[7..10], [0x9d, 0x01, 0x2a]);
        describe(&mut payload, 1, true, false);
        assert_eq!(payload[4] & 1, 1);
        assert!(!begins_keyframe(&payload) && !begins_keyframe(&[]));
        describe(&mut payload, 1, false, false);
        assert_eq!(
            payload[0], 0x80,
            "a continuation does not start a partition"
        );
        assert!(payload.len() - STAMP_BYTES > DESCRIPTOR_BYTES + 10);
    }

    #[test]
    fn a_plan_is_sent_whole_stamped_and_in_order() {
        let node = UdpSocket::bind("127.0.0.1:0").unwrap();
        node.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let keys = Keys::random(Profile::Gcm128);
        let source = Source {
            socket: UdpSocket::bind("127.0.0.1:0").unwrap(),
            node: node.local_addr().unwrap(),
            keys,
            ssrc: 7,
            payload_type: 96,
            burst: 3,
            run: 9,
            idle: IDLE_PAUSE,
        };
        let mut stream = Stream::new(source, Arc::default()).unwrap();
        let plan = Plan {
            window: 4,
            frames: 5,
            interval: Duration::from_micros(100),
        };
        assert_eq!(stream.follow(plan).unwrap().packets, 15);
        let mut buffer = [0; 2048];
        for number in 0..15 {
            let length = node.recv(&mut buffer).unwrap();
            let marker = buffer[1] & 0x80 != 0;
            let rtp = stream
                .source
                .keys
                .open(&mut buffer[..length], number + 1)
                .unwrap();
            let stamp = Stamp::read(rtp.payload).unwrap();
            assert_eq!((stamp.window, stamp.run, stamp.sequence), (4, 9, number));
            assert_eq!(marker, number % 3 == 2, "the last packet of a frame");
            if number % 3 == 0 {
                let key = rtp.payload[4] & 1 == 0;
                assert_eq!(key, number == 0, "a keyframe first, and only there");
            }
        }
    }
}
