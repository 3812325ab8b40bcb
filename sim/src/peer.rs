//! A peer that is not our code: str0m, publishing or watching, with the answers of a real client to loss,
//! keyframe requests and feedback.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dataplane_api::command::{Fingerprint, FingerprintHash, RemoteTransport, Setup};
use dataplane_api::media::MediaKind;
use dataplane_api::reply::Admitted;
use str0m::config::Fingerprint as PeerFingerprint;
use str0m::ice::IceCreds;
use str0m::media::{KeyframeRequestKind, MediaKind as PeerKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{Extension, Ssrc};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use crate::network::Delivery;
use crate::received::Received;
use crate::source::{Camera, MID, Microphone, TRANSPORT_CC, mid};
use crate::stamp::Stamp;

/// What a peer does.
#[derive(Debug)]
enum Part {
    Publisher {
        ssrc: Ssrc,
        frames: Option<Camera>,
        /// A microphone beside the camera.
        voice: Option<Microphone>,
    },
    Viewer {
        ssrc: Ssrc,
        /// The slot of the voice.
        voice: Option<Ssrc>,
        last_request: Option<Instant>,
    },
}

/// One simulated client.
#[derive(Debug)]
pub struct Peer {
    rtc: Rtc,
    address: SocketAddr,
    id: u32,
    part: Part,
    next_timeout: Instant,
    outgoing: VecDeque<Delivery>,
    /// What a viewer received, by SSRC.
    received: BTreeMap<u32, Received>,
    /// Keyframes a publisher was asked for.
    pub keyframe_requests: u64,
    connected: bool,
}

impl Peer {
    /// A peer at `address` that will publish video with `ssrc`, and audio with `voice`.
    #[must_use]
    pub fn publisher(
        now: Instant,
        id: u32,
        address: SocketAddr,
        ssrc: u32,
        voice: Option<u32>,
    ) -> Peer {
        Peer::new(
            now,
            id,
            address,
            Part::Publisher {
                ssrc: ssrc.into(),
                frames: None,
                voice: voice.map(|ssrc| Microphone::new(ssrc.into())),
            },
        )
    }

    /// A peer at `address` that will watch the slot that sends with `ssrc`, and hear that of `voice`.
    #[must_use]
    pub fn viewer(
        now: Instant,
        id: u32,
        address: SocketAddr,
        ssrc: u32,
        voice: Option<u32>,
    ) -> Peer {
        Peer::new(
            now,
            id,
            address,
            Part::Viewer {
                ssrc: ssrc.into(),
                voice: voice.map(Ssrc::from),
                last_request: None,
            },
        )
    }

    fn new(now: Instant, id: u32, address: SocketAddr, part: Part) -> Peer {
        let mut rtc = RtcConfig::new()
            .clear_codecs()
            .enable_vp8(true)
            .enable_opus(true, false)
            .clear_extension_map()
            .set_extension(TRANSPORT_CC, Extension::TransportSequenceNumber)
            .set_extension(MID, Extension::RtpMid)
            .set_rtp_mode(true)
            .set_reordering_size_video(1)
            .set_reordering_size_audio(1)
            .build(now);
        let candidate = Candidate::host(address, "udp").expect("a host candidate");
        rtc.add_local_candidate(candidate);
        Peer {
            rtc,
            address,
            id,
            part,
            next_timeout: now,
            outgoing: VecDeque::new(),
            received: BTreeMap::new(),
            keyframe_requests: 0,
            connected: false,
        }
    }

    /// What its SDP would say of ICE and DTLS.
    #[must_use]
    pub fn remote_transport(&mut self, setup: Setup) -> RemoteTransport {
        let direct = self.rtc.direct_api();
        let credentials = direct.local_ice_credentials();
        let fingerprint = direct.local_dtls_fingerprint();
        RemoteTransport {
            ufrag: credentials.ufrag,
            pwd: credentials.pass,
            fingerprint: Fingerprint {
                hash: FingerprintHash::Sha256,
                digest: fingerprint.bytes.clone(),
            },
            setup,
        }
    }

    /// Acts on what our SDP said, in the role of DTLS that its own SDP says.
    ///
    /// # Panics
    /// When str0m refuses it.
    pub fn answer(&mut self, admitted: &Admitted, fingerprint: &Fingerprint, setup: Setup) {
        for &address in &admitted.candidates {
            let candidate = Candidate::host(address, "udp").expect("a host candidate");
            self.rtc.add_remote_candidate(candidate);
        }
        let mut direct = self.rtc.direct_api();
        direct.set_ice_controlling(true);
        direct.set_remote_ice_credentials(IceCreds {
            ufrag: admitted.ufrag.clone(),
            pass: admitted.pwd.clone(),
        });
        direct.set_remote_fingerprint(PeerFingerprint {
            hash_func: "sha-256".into(),
            bytes: fingerprint.digest.clone(),
        });
        let (video, audio): (Mid, Mid) =
            (mid(MediaKind::Video).into(), mid(MediaKind::Audio).into());
        direct.declare_media(video, PeerKind::Video);
        direct.declare_media(audio, PeerKind::Audio);
        match &self.part {
            Part::Publisher { ssrc, voice, .. } => {
                direct.declare_stream_tx(*ssrc, None, video, None);
                if let Some(voice) = voice {
                    direct.declare_stream_tx(voice.ssrc, None, audio, None);
                }
            }
            Part::Viewer { ssrc, voice, .. } => {
                direct.expect_stream_rx(*ssrc, None, video, None);
                if let Some(voice) = voice {
                    direct.expect_stream_rx(*voice, None, audio, None);
                }
            }
        }
        let is_client = setup != Setup::Passive;
        direct.start_dtls(is_client).expect("DTLS starts");
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// ICE and DTLS are through.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// What it received on its video slot's SSRC.
    ///
    /// # Panics
    /// For a publisher.
    #[must_use]
    pub fn received(&self) -> &Received {
        match self.part {
            Part::Viewer { ssrc, .. } => self.received_on(ssrc),
            Part::Publisher { .. } => panic!("a publisher receives nothing"),
        }
    }

    /// What it received on its audio slot's SSRC.
    ///
    /// # Panics
    /// For a peer without one.
    #[must_use]
    pub fn heard(&self) -> &Received {
        match self.part {
            Part::Viewer {
                voice: Some(ssrc), ..
            } => self.received_on(ssrc),
            Part::Viewer { voice: None, .. } | Part::Publisher { .. } => {
                panic!("a peer without an audio slot hears nothing")
            }
        }
    }

    fn received_on(&self, ssrc: Ssrc) -> &Received {
        static NOTHING: Received = Received::nothing();
        self.received.get(&*ssrc).unwrap_or(&NOTHING)
    }

    /// Whether it publishes or hears audio.
    #[must_use]
    pub fn has_voice(&self) -> bool {
        match &self.part {
            Part::Publisher { voice, .. } => voice.is_some(),
            Part::Viewer { voice, .. } => voice.is_some(),
        }
    }

    /// The encoder of a connected publisher begins anew: another SSRC, another sequence number, another time,
    /// and a keyframe only when it is asked for one.
    ///
    /// # Panics
    /// For a viewer, or before it is connected.
    pub fn restart_encoder(&mut self, ssrc: u32, first_seq: u16) {
        let Part::Publisher {
            ssrc: current,
            frames: Some(frames),
            ..
        } = &mut self.part
        else {
            panic!("not a connected publisher");
        };
        let mut direct = self.rtc.direct_api();
        direct.remove_stream_tx(*current);
        *current = ssrc.into();
        direct.declare_stream_tx(*current, None, mid(MediaKind::Video).into(), None);
        frames.seq = first_seq.into();
        frames.timestamp = frames.timestamp.wrapping_add(0x7654_3210);
        frames.keyframe_wanted = false;
    }

    /// A connected publisher leaves out sequence numbers, as if that many packets were lost before the node.
    ///
    /// # Panics
    /// For a viewer, or before it is connected.
    pub fn leave_out(&mut self, numbers: u64) {
        match &mut self.part {
            Part::Publisher {
                frames: Some(frames),
                ..
            } => frames.seq += numbers,
            Part::Publisher { frames: None, .. } | Part::Viewer { .. } => {
                panic!("not a connected publisher")
            }
        }
    }

    /// How many packets it has sent.
    #[must_use]
    pub fn packets_sent(&self) -> u64 {
        match &self.part {
            Part::Publisher {
                frames: Some(frames),
                ..
            } => frames.number,
            Part::Publisher { frames: None, .. } | Part::Viewer { .. } => 0,
        }
    }

    /// One datagram.
    pub fn receive(&mut self, now: Instant, delivery: &Delivery) {
        let Ok(receive) = Receive::new(Protocol::Udp, delivery.from, self.address, &delivery.bytes)
        else {
            return;
        };
        let input = Input::Receive(now, receive);
        if self.rtc.accepts(&input) {
            // What a damaged datagram makes of the peer is the peer's business.
            let _ = self.rtc.handle_input(input);
        }
        self.poll(now);
    }

    /// Whatever was due.
    pub fn on_timeout(&mut self, now: Instant) {
        let _ = self.rtc.handle_input(Input::Timeout(now));
        self.poll(now);
        // str0m wants to be polled between two frames.
        while self.send_media(now) {
            self.poll(now);
        }
        self.want_keyframe(now);
        self.poll(now);
    }

    /// When it wants to be called.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        match &self.part {
            Part::Publisher {
                frames: Some(frames),
                voice,
                ..
            } => {
                let voice_at = voice.as_ref().and_then(|voice| voice.next_at);
                let media_at = frames.next_at.min(voice_at.unwrap_or(frames.next_at));
                self.next_timeout.min(media_at)
            }
            Part::Publisher { .. } | Part::Viewer { .. } => self.next_timeout,
        }
    }

    /// Takes what it sent.
    pub fn poll_outgoing(&mut self) -> Option<Delivery> {
        self.outgoing.pop_front()
    }

    fn poll(&mut self, now: Instant) {
        while self.rtc.is_alive() {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.next_timeout = at;
                    return;
                }
                Ok(Output::Transmit(transmit)) => self.outgoing.push_back(Delivery {
                    from: transmit.source,
                    to: transmit.destination,
                    bytes: transmit.contents.to_vec(),
                }),
                Ok(Output::Event(event)) => self.on_event(now, event),
                Err(_) => break,
            }
        }
        self.next_timeout = now + Duration::from_secs(3_600);
    }

    fn on_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Connected => {
                self.connected = true;
                if let Part::Publisher { frames, voice, .. } = &mut self.part {
                    if let Some(voice) = voice {
                        voice.next_at = Some(now);
                    }
                    *frames = Some(Camera::new(now));
                }
            }
            Event::RtpPacket(packet) => {
                let ssrc = *packet.header.ssrc;
                let kind = match &self.part {
                    Part::Viewer { voice, .. } if *voice == Some(packet.header.ssrc) => {
                        MediaKind::Audio
                    }
                    Part::Viewer { .. } | Part::Publisher { .. } => MediaKind::Video,
                };
                if let Some(stamp) = Stamp::read(&packet.payload, kind) {
                    self.received.entry(ssrc).or_default().note(
                        *packet.seq_no,
                        packet.header.timestamp,
                        stamp,
                    );
                }
            }
            Event::KeyframeRequest(_) => {
                self.keyframe_requests += 1;
                if let Part::Publisher {
                    frames: Some(frames),
                    ..
                } = &mut self.part
                {
                    frames.keyframe_wanted = true;
                }
            }
            // The rest concerns an application that decodes.
            _ => {}
        }
    }

    /// Sends what is due of camera and microphone, one frame at a time.
    fn send_media(&mut self, now: Instant) -> bool {
        let Part::Publisher {
            ssrc,
            frames: Some(frames),
            voice,
        } = &mut self.part
        else {
            return false;
        };
        frames.send(&mut self.rtc, self.id, *ssrc, now)
            || voice
                .as_mut()
                .is_some_and(|voice| voice.send(&mut self.rtc, self.id, now))
    }

    /// A viewer that sees nothing asks for a keyframe each second, as a decoder would.
    fn want_keyframe(&mut self, now: Instant) {
        let Part::Viewer {
            ssrc, last_request, ..
        } = &mut self.part
        else {
            return;
        };
        let sees = self
            .received
            .get(&**ssrc)
            .is_some_and(|received| received.packets() > 0);
        let waited = last_request.is_none_or(|at| now - at > Duration::from_secs(1));
        if self.connected && !sees && waited {
            *last_request = Some(now);
            let ssrc = *ssrc;
            if let Some(stream) = self.rtc.direct_api().stream_rx(&ssrc) {
                stream.request_keyframe(KeyframeRequestKind::Pli);
            }
        }
    }
}
