//! One client of the node: a real offer, ICE, DTLS and SRTP keys. The handshake is str0m's; afterwards
//! media packets go past it, so that a hundred clients fit on one core.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcConfig};

use super::dtls::{Exported, Handshake};
use super::http::{Http, Refused, Session};
use super::patience::Patience;
use super::stamp;
use crate::socket::{COALESCED_BYTES_MAX, Received, Socket};
use crate::srtp::Profile;

/// How long ICE and DTLS may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a client has the chance to send something of its own.
const TICK: Duration = Duration::from_secs(1);

/// Receive calls on one socket before the other clients get their turn.
const RECEIVES_MAX: usize = 16;

/// What a client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Publisher,
    Viewer,
}

impl Role {
    fn direction(self) -> Direction {
        match self {
            Role::Publisher => Direction::SendOnly,
            Role::Viewer => Direction::RecvOnly,
        }
    }

    fn endpoint(self, room: &str) -> String {
        match self {
            Role::Publisher => format!("whip/{room}"),
            Role::Viewer => format!("whep/{room}"),
        }
    }
}

/// How clients join.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    pub(crate) http: Http,
    pub(crate) room: String,
    pub(crate) token: String,
    pub(crate) role: Role,
    pub(crate) address: IpAddr,
    pub(crate) profile: Profile,
    pub(crate) patience: Patience,
}

/// A connected client.
#[derive(Debug)]
pub(crate) struct Peer {
    rtc: Rtc,
    link: Link,
    deadline: Instant,
    session: Session,
    answered: Instant,
    keys: Option<Exported>,
    payload_type: u8,
    ssrc: Option<u32>,
    /// The node's, then ours.
    ufrags: (String, String),
}

/// What somebody who reads along on the path knows of a client, and a socket that sends as if from there.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) socket: UdpSocket,
    pub(crate) node: SocketAddr,
    /// USERNAME of the client's connectivity checks (RFC 8445 section 7.2.2).
    pub(crate) username: String,
    /// What it sends with; `None` of a viewer.
    pub(crate) ssrc: Option<u32>,
    pub(crate) payload_type: u8,
}

/// Where a client's packets come from and go to.
#[derive(Debug)]
struct Link {
    socket: Socket,
    /// A second handle on the same socket, for a thread that sends.
    sender: UdpSocket,
    /// Where the last DTLS record went: the path ICE chose.
    remote: Option<SocketAddr>,
    lost: bool,
}

/// What a connected client does.
pub(crate) trait Service {
    /// An SRTP or SRTCP packet came from the node; `at` counts from the Unix epoch.
    fn packet(&mut self, packet: &mut [u8], at: Duration);

    /// Once a second: an SRTCP packet to send.
    fn tick(&mut self) -> Option<Vec<u8>>;
}

impl Peer {
    /// Joins and waits until the keys are there. Must run within a tokio runtime.
    ///
    /// # Errors
    /// When the node refuses the offer, or ICE or DTLS do not complete in time.
    pub(crate) async fn join(join: &Join) -> anyhow::Result<Peer> {
        let socket = UdpSocket::bind((join.address, 0)).with_context(|| {
            format!("cannot bind {}; is `ulimit -n` high enough?", join.address)
        })?;
        let sender = socket.try_clone()?;
        let socket = Socket::new(socket)?;
        let handshake = Handshake::new(join.profile);
        let mut rtc = RtcConfig::new()
            .set_crypto_provider(handshake.provider())
            .clear_codecs()
            .enable_vp8(true)
            .build(Instant::now());
        rtc.add_local_candidate(Candidate::host(socket.local(), "udp")?);

        let mut change = rtc.sdp_api();
        let mid = change.add_media(MediaKind::Video, join.role.direction(), None, None, None);
        let (offer, pending) = change
            .apply()
            .context("invariant: an added medium is a change to offer")?;
        let offer = offer.to_sdp_string();
        let own_ufrag = attribute(&offer, "ice-ufrag").context("invariant: str0m offers ICE")?;
        let session = post(join, offer.clone()).await?;
        let answered = Instant::now();
        let answer = SdpAnswer::from_sdp_string(&session.answer)
            .with_context(|| format!("the node's answer:\n{}", session.answer))?;
        rtc.sdp_api()
            .accept_answer(pending, answer)
            .with_context(|| format!("the node's answer:\n{}", session.answer))?;
        let payload_type = payload_type(&session.answer, "VP8")
            .context("the node's answer has no payload type for VP8")?;
        let ufrag =
            attribute(&session.answer, "ice-ufrag").context("the node's answer has no ICE")?;
        let ufrags = (ufrag.to_owned(), own_ufrag.to_owned());
        // A receiver has a stream too, for its reports; nobody is told of it.
        let ssrc = match join.role {
            Role::Viewer => None,
            Role::Publisher => rtc
                .direct_api()
                .stream_tx_by_mid(mid, None)
                .map(|stream| *stream.ssrc()),
        };

        let mut peer = Peer {
            rtc,
            link: Link {
                socket,
                sender,
                remote: None,
                lost: false,
            },
            deadline: Instant::now(),
            session,
            answered,
            keys: None,
            payload_type,
            ssrc,
            ufrags,
        };
        tokio::time::timeout(CONNECT_TIMEOUT, peer.connect(&handshake))
            .await
            .unwrap_or_else(|_| {
                bail!("ICE and DTLS did not complete within {CONNECT_TIMEOUT:?}")
            })?;
        Ok(peer)
    }

    async fn connect(&mut self, handshake: &Handshake) -> anyhow::Result<()> {
        let mut buffer = vec![0; COALESCED_BYTES_MAX];
        self.drain()?;
        loop {
            if let Some(keys) = handshake.take()? {
                self.keys = Some(keys);
            }
            if self.keys.is_some() && self.rtc.is_connected() {
                return Ok(());
            }
            if self.link.lost {
                bail!("ICE failed");
            }
            tokio::select! {
                received = self.link.socket.receive(&mut buffer) => {
                    let received = received?;
                    for packet in buffer[..received.len].chunks(received.stride) {
                        self.control(packet, received.from)?;
                    }
                }
                () = tokio::time::sleep_until(self.deadline.into()) => self.timeout()?,
            }
        }
    }

    /// The keys of the session.
    ///
    /// # Errors
    /// The second time.
    pub(crate) fn take_keys(&mut self) -> anyhow::Result<Exported> {
        self.keys.take().context("the keys were taken already")
    }

    /// The session's URL, to end it with.
    pub(crate) fn session_url(&self) -> &str {
        &self.session.url
    }

    /// The session as the node answered it, and when it did.
    pub(crate) fn session(&self) -> (&Session, Instant) {
        (&self.session, self.answered)
    }

    /// The negotiated payload type of VP8.
    pub(crate) fn payload_type(&self) -> u8 {
        self.payload_type
    }

    /// The SSRC that was offered for sending.
    ///
    /// # Errors
    /// On a viewer.
    pub(crate) fn ssrc(&self) -> anyhow::Result<u32> {
        self.ssrc.context("this client offered nothing to send")
    }

    /// A second handle on this client's socket, with what can be seen of the client from outside.
    ///
    /// # Errors
    /// When the handle cannot be duplicated.
    pub(crate) fn seat(&self) -> anyhow::Result<Seat> {
        let node = self
            .link
            .remote
            .context("invariant: connected peers have sent DTLS")?;
        Ok(Seat {
            socket: self.link.sender.try_clone()?,
            node,
            username: format!("{}:{}", self.ufrags.0, self.ufrags.1),
            ssrc: self.ssrc,
            payload_type: self.payload_type,
        })
    }

    /// Keeps the connection alive and hands media packets to `service`, until the node ends it.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(crate) async fn serve(&mut self, service: &mut impl Service) -> anyhow::Result<()> {
        let mut buffer = vec![0; COALESCED_BYTES_MAX];
        let mut tick = Instant::now() + TICK;
        loop {
            let wake = self.deadline.min(tick);
            tokio::select! {
                received = self.link.socket.receive(&mut buffer) => {
                    let mut received = received?;
                    for _ in 1..RECEIVES_MAX {
                        self.take(service, received, &mut buffer)?;
                        match self.link.socket.try_receive(&mut buffer) {
                            Ok(more) => received = more,
                            Err(_none) => { received.len = 0; break; }
                        }
                    }
                    self.take(service, received, &mut buffer)?;
                    tokio::task::yield_now().await;
                }
                () = tokio::time::sleep_until(wake.into()) => {
                    let now = Instant::now();
                    if now >= self.deadline {
                        self.timeout()?;
                    }
                    if now >= tick {
                        tick = now + TICK;
                        if let (Some(report), Some(remote)) = (service.tick(), self.link.remote) {
                            let _lost_like_any_packet = self.link.socket.send(&report, remote);
                        }
                    }
                }
            }
        }
    }

    fn take(
        &mut self,
        service: &mut impl Service,
        received: Received,
        buffer: &mut [u8],
    ) -> anyhow::Result<()> {
        let at = received.at.unwrap_or_else(stamp::now);
        for packet in buffer[..received.len].chunks_mut(received.stride) {
            // RFC 7983: 128 to 191 is RTP or RTCP.
            if matches!(packet.first(), Some(128..=191)) {
                service.packet(packet, at);
            } else {
                self.control(packet, received.from)?;
            }
        }
        Ok(())
    }

    /// A STUN or DTLS packet.
    fn control(&mut self, packet: &[u8], from: SocketAddr) -> anyhow::Result<()> {
        let local = self.link.socket.local();
        // What str0m cannot parse is not for it; before the keys are taken media may come early.
        if let Ok(receive) = Receive::new(Protocol::Udp, from, local, packet) {
            self.rtc
                .handle_input(Input::Receive(Instant::now(), receive))?;
            self.drain()?;
        }
        Ok(())
    }

    fn timeout(&mut self) -> anyhow::Result<()> {
        self.rtc.handle_input(Input::Timeout(Instant::now()))?;
        self.drain()
    }

    fn drain(&mut self) -> anyhow::Result<()> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(deadline) => {
                    self.deadline = deadline;
                    return Ok(());
                }
                Output::Transmit(transmit) => {
                    // RFC 7983: 20 to 63 is DTLS.
                    if matches!(transmit.contents.first(), Some(20..=63)) {
                        self.link.remote = Some(transmit.destination);
                    }
                    let _lost_like_any_packet = self
                        .link
                        .socket
                        .send(&transmit.contents, transmit.destination);
                }
                Output::Event(Event::IceConnectionStateChange(state)) => {
                    self.link.lost = state == IceConnectionState::Disconnected;
                }
                Output::Event(_) => {}
            }
        }
    }
}

/// Posts the offer, again and again as patiently as the client is.
async fn post(join: &Join, offer: String) -> anyhow::Result<Session> {
    let begun = Instant::now();
    for attempt in 0.. {
        let (client, offer) = (join.clone(), offer.clone());
        let posted = tokio::task::spawn_blocking(move || {
            let endpoint = client.role.endpoint(&client.room);
            client.http.offer(&endpoint, &client.token, &offer)
        });
        let refused = match posted.await? {
            Ok(session) => return Ok(session),
            Err(refused) => refused,
        };
        match (
            join.patience.pause(&refused, attempt, begun.elapsed()),
            refused,
        ) {
            (Some(pause), _) => tokio::time::sleep(pause).await,
            (None, Refused::Later(error, _) | Refused::Gone(error) | Refused::Never(error)) => {
                return Err(error);
            }
        }
    }
    bail!("invariant: attempts are counted further than anybody waits")
}

/// The value of the first `a=name:` line of an SDP.
fn attribute<'a>(sdp: &'a str, name: &str) -> Option<&'a str> {
    sdp.lines().find_map(|line| {
        let (found, value) = line.strip_prefix("a=")?.split_once(':')?;
        (found == name).then_some(value)
    })
}

/// The first payload type of a codec in an SDP (RFC 8866 section 6.6).
fn payload_type(sdp: &str, codec: &str) -> Option<u8> {
    sdp.lines().find_map(|line| {
        let (number, format) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
        let (name, _clock) = format.split_once('/')?;
        name.eq_ignore_ascii_case(codec)
            .then(|| number.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use str0m::change::SdpOffer;

    /// Answers one offer with a plain str0m peer and serves it until it is connected.
    fn answerer(listener: &TcpListener) -> anyhow::Result<SocketAddr> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let local = socket.local_addr()?;
        let mut rtc = RtcConfig::new().set_ice_lite(true).build(Instant::now());
        rtc.add_local_candidate(Candidate::host(local, "udp")?);

        let (mut stream, _) = listener.accept()?;
        let mut request = Vec::new();
        let mut chunk = [0; 4096];
        let offer = loop {
            let read = stream.read(&mut chunk)?;
            request.extend_from_slice(&chunk[..read]);
            let text = String::from_utf8(request.clone())?;
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length: usize = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length: ")?
                        .parse()
                        .ok()
                })
                .context("no length")?;
            if body.len() == length {
                break SdpOffer::from_sdp_string(body)?;
            }
        };
        let answer = rtc.sdp_api().accept_offer(offer)?.to_sdp_string();
        write!(
            stream,
            "HTTP/1.1 201 Created\r\nLocation: /whip/r/main/x\r\nContent-Length: {}\r\n\r\n{answer}",
            answer.len()
        )?;

        let mut buffer = [0; 2048];
        loop {
            let deadline = loop {
                match rtc.poll_output()? {
                    Output::Timeout(deadline) => break deadline,
                    Output::Transmit(transmit) => {
                        socket.send_to(&transmit.contents, transmit.destination)?;
                    }
                    Output::Event(_) => {}
                }
            };
            if rtc.is_connected() {
                return Ok(local);
            }
            let wait = deadline.saturating_duration_since(Instant::now());
            socket.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
            match socket.recv_from(&mut buffer) {
                Ok((length, from)) => {
                    let receive = Receive::new(Protocol::Udp, from, local, &buffer[..length])?;
                    rtc.handle_input(Input::Receive(Instant::now(), receive))?;
                }
                Err(_timed_out) => rtc.handle_input(Input::Timeout(Instant::now()))?,
            }
        }
    }

    #[test]
    fn a_client_joins_and_has_keys_an_address_and_a_stream_to_send() {
        for (role, profile) in [
            (Role::Publisher, Profile::Gcm128),
            (Role::Viewer, Profile::Cm),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let base = format!("http://{}", listener.local_addr().unwrap());
            let server = std::thread::spawn(move || answerer(&listener));
            let join = Join {
                http: Http::new(&base),
                room: "r".to_owned(),
                token: "t".to_owned(),
                role,
                address: std::net::Ipv4Addr::LOCALHOST.into(),
                profile,
                patience: Patience::Live,
            };
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut peer = Peer::join(&join).await.unwrap();
                assert!(peer.take_keys().is_ok());
                assert_eq!(peer.session_url(), format!("{base}/whip/r/main/x"));
                assert!(peer.ssrc().is_ok() == (role == Role::Publisher));
                let seat = peer.seat().unwrap();
                assert_eq!(seat.node, server.join().unwrap().unwrap());
                assert_eq!(seat.ssrc.is_some(), role == Role::Publisher);
                assert!(seat.username.contains(':'));
            });
        }
    }

    #[test]
    fn the_payload_type_is_that_of_the_codec_whatever_else_is_mapped() {
        let sdp = "v=0\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:97 rtx/90000\r\na=rtpmap:96 vp8/90000\r\n";
        assert_eq!(payload_type(sdp, "VP8"), Some(96));
        assert_eq!(payload_type(sdp, "AV1"), None);
    }
}
