//! A shard with its handshake machine inline, and an edge that keeps what leaves.

use std::collections::BTreeSet;

use dataplane_api::command::{
    Accept, Admit, Command, Fingerprint, Publish, RemoteTransport, RestartIce, SessionPolicy,
    Setup, Slot, Source, Subscribe,
};
use dataplane_api::event::Event;
use dataplane_api::ids::{RoomId, SessionId, ShardIndex, SlotId, TrackId};
use dataplane_api::media::{CodecId, Encoding, Extensions, MediaKind, PayloadType};
use dataplane_api::reply::{Admitted, Reply};
use dataplane_engine::outbox::{Egress, Outbox, Run, RunId, Sent};
use dataplane_engine::packet::{Datagram, Path, PathKind};
use dataplane_engine::time::Micros;
use dataplane_engine::transport::handshake::{HandshakeOutput, Handshakes, Identity};
use dataplane_engine::{Shard, ShardConfig, ShardLimits};

pub(crate) const SHARD: ShardIndex = ShardIndex(3);
/// SSRC of every published camera.
pub(crate) const CAMERA: u32 = 0xca;
/// SSRC of every viewer's slot.
pub(crate) const SCREEN: u32 = 0x5c;

/// A shard, its handshake machine, and what they said.
pub(crate) struct Node {
    pub(crate) shard: Shard,
    pub(crate) handshakes: Handshakes,
    pub(crate) events: Vec<Event>,
    /// The handshake worker loses what it is told.
    pub(crate) worker_is_lost: bool,
    /// Sessions in which the node is the server and has not given its keys.
    unkeyed: BTreeSet<SessionId>,
    sent: Sink,
}

impl Node {
    pub(crate) fn new() -> Node {
        Node::on(SHARD)
    }

    pub(crate) fn on(index: ShardIndex) -> Node {
        let config = ShardConfig {
            index,
            seed: [5; 32],
            candidates: Vec::new(),
            limits: ShardLimits::default(),
        };
        Node {
            shard: Shard::new(config),
            handshakes: Handshakes::new(Identity::generate().unwrap(), base()),
            events: Vec::new(),
            worker_is_lost: false,
            unkeyed: BTreeSet::new(),
            sent: Sink::default(),
        }
    }

    pub(crate) fn order(&mut self, now: Micros, command: Command) -> Reply {
        self.shard.on_command(now, command)
    }

    /// A session whose peer has `fingerprint`, with one video slot.
    pub(crate) fn admit(
        &mut self,
        now: Micros,
        session: SessionId,
        fingerprint: Fingerprint,
        setup: Setup,
    ) -> Reply {
        if setup != Setup::Passive {
            self.unkeyed.insert(session);
        }
        self.admit_as(now, session, Some(remote(fingerprint, setup)))
    }

    /// A session that the node offers: nothing is known of its peer.
    pub(crate) fn offer(&mut self, now: Micros, session: SessionId) -> Reply {
        self.admit_as(now, session, None)
    }

    /// The answer of a peer that was offered a session.
    pub(crate) fn accept(
        &mut self,
        now: Micros,
        session: SessionId,
        remote: RemoteTransport,
        tag: Option<Vec<u8>>,
    ) -> Reply {
        if remote.setup == Setup::Active {
            self.unkeyed.insert(session);
        }
        let order = Accept {
            session,
            remote,
            tag,
            codecs: Vec::new(),
            extensions: None,
        };
        self.order(now, Command::Accept(order))
    }

    fn admit_as(
        &mut self,
        now: Micros,
        session: SessionId,
        remote: Option<RemoteTransport>,
    ) -> Reply {
        self.order(
            now,
            Command::Admit(Admit {
                session,
                room: RoomId(1),
                tag: Vec::new(),
                shard_hint: None,
                remote,
                extensions: Extensions::default(),
                slots: vec![Slot {
                    slot: SlotId(0),
                    kind: MediaKind::Video,
                    mid: "v".into(),
                    ssrc: SCREEN,
                    rtx_ssrc: None,
                    codecs: vec![vp8()],
                }],
                policy: SessionPolicy::default(),
            }),
        )
    }

    pub(crate) fn restart_ice(
        &mut self,
        now: Micros,
        session: SessionId,
        generation: u32,
    ) -> Admitted {
        let [ufrag, pwd] = remote_credentials(generation);
        let order = RestartIce {
            session,
            ufrag,
            pwd,
            tag: None,
        };
        admitted(self.order(now, Command::RestartIce(order)))
    }

    pub(crate) fn publish(&mut self, now: Micros, session: SessionId) {
        let reply = self.order(
            now,
            Command::Publish(Publish {
                track: TrackId(session.0),
                session,
                uid: [0; 16],
                origin_node: [0; 16],
                hops: 0,
                kind: MediaKind::Video,
                mid: "v".into(),
                codecs: vec![vp8()],
                encodings: vec![Encoding {
                    rid: None,
                    ssrc: Some(CAMERA),
                    rtx_ssrc: None,
                }],
                opaque: false,
                tag: Vec::new(),
            }),
        );
        assert!(matches!(reply, Reply::Done(_)), "{reply:?}");
    }

    pub(crate) fn subscribe(&mut self, now: Micros, viewer: SessionId, publisher: SessionId) {
        let order = Subscribe {
            session: viewer,
            slot: SlotId(0),
            source: Source::Track(TrackId(publisher.0)),
        };
        let reply = self.order(now, Command::Subscribe(order));
        assert!(matches!(reply, Reply::Done(_)), "{reply:?}");
    }

    pub(crate) fn receive(&mut self, now: Micros, path: Path, bytes: &mut [u8]) {
        let datagram = Datagram {
            path,
            bytes,
            arrival: now,
        };
        self.shard.on_datagram(now, datagram);
    }

    /// One turn; what it sent.
    pub(crate) fn turn(&mut self, now: Micros) -> Vec<(Path, Vec<u8>)> {
        self.shard.on_tick(now);
        loop {
            while let Some(input) = self.shard.poll_handshake() {
                if !self.worker_is_lost {
                    self.handshakes.on_input(now, input);
                }
            }
            if self.handshakes.next_deadline().is_some_and(|at| at <= now) {
                self.handshakes.on_timeout(now);
            }
            let Some(output) = self.handshakes.poll_output() else {
                break;
            };
            self.assert_keys_come_first(&output);
            self.shard.on_handshake(now, output);
        }
        self.sent.now = now;
        self.shard.flush(now, &mut self.sent);
        self.events
            .extend(std::iter::from_fn(|| self.shard.poll_event()));
        std::mem::take(&mut self.sent.datagrams)
    }

    /// Contracts.md 8: keys and last flight are one message. Were any part of the flight to go ahead, the peer's
    /// first media would find no keys.
    fn assert_keys_come_first(&mut self, output: &HandshakeOutput) {
        match output {
            HandshakeOutput::Flight { session, datagrams } => assert!(
                !self.unkeyed.contains(session)
                    || !datagrams.iter().any(|d| has_record(d, CHANGE_CIPHER_SPEC)),
                "the last flight went ahead of the keys"
            ),
            HandshakeOutput::Keyed {
                session, flight, ..
            } => {
                let is_server = self.unkeyed.remove(session);
                let is_last = |datagram: &[u8]| datagram.first() == Some(&CHANGE_CIPHER_SPEC);
                let with_keys = flight.first().is_some_and(|datagram| is_last(datagram));
                assert_eq!(
                    is_server, with_keys,
                    "the keys come with the last flight alone"
                );
            }
            HandshakeOutput::Failed { .. } | HandshakeOutput::PeerClosed { .. } => {}
        }
    }

    pub(crate) fn is_due(&self, now: Micros) -> bool {
        let deadlines = [self.shard.next_deadline(), self.handshakes.next_deadline()];
        deadlines.into_iter().flatten().any(|at| at <= now)
    }
}

/// A DTLS content type.
pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;

/// Whether a record of this content type stands in the datagram.
pub(crate) fn has_record(datagram: &[u8], content_type: u8) -> bool {
    let mut rest = datagram;
    while rest.len() >= 13 && (20..=63).contains(&rest[0]) {
        if rest[0] == content_type {
            return true;
        }
        let len = 13 + usize::from(u16::from_be_bytes([rest[11], rest[12]]));
        rest = rest.get(len..).unwrap_or(&[]);
    }
    false
}

/// What the SDP of every peer says at first.
pub(crate) fn remote(fingerprint: Fingerprint, setup: Setup) -> RemoteTransport {
    let [ufrag, pwd] = remote_credentials(0);
    RemoteTransport {
        ufrag,
        pwd,
        fingerprint,
        setup,
    }
}

/// Ufrag and password of every peer, by how often it restarted.
pub(crate) fn remote_credentials(generation: u32) -> [String; 2] {
    [
        format!("peer{generation}"),
        format!("a password of two dozen {generation}"),
    ]
}

pub(crate) fn admitted(reply: Reply) -> Admitted {
    let Reply::Admitted(admitted) = reply else {
        panic!("{reply:?}")
    };
    admitted
}

fn vp8() -> PayloadType {
    PayloadType {
        codec: CodecId::VP8,
        pt: 96,
        rtx_pt: None,
        clock_hz: 90_000,
        nack: true,
        pli: true,
        transport_cc: false,
        form: 0,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do, and there is no other way to make one"
)]
pub(crate) fn base() -> std::time::Instant {
    std::time::Instant::now()
}

#[derive(Default)]
struct Sink {
    now: Micros,
    datagrams: Vec<(Path, Vec<u8>)>,
    runs: u64,
}

impl Outbox for Sink {
    type Run<'a> = SinkRun<'a>;

    fn egress(&self, _path: &Path) -> Egress {
        Egress {
            segments_max: 48,
            run_bytes_max: 65_507,
            overhead_bytes: 28,
            kind: PathKind::Datagram,
        }
    }

    fn run(&mut self, path: &Path, _segment_len: usize, _count: usize) -> Option<SinkRun<'_>> {
        Some(SinkRun {
            path: *path,
            packets: Vec::new(),
            sink: self,
        })
    }
}

struct SinkRun<'a> {
    path: Path,
    packets: Vec<Vec<u8>>,
    sink: &'a mut Sink,
}

impl Run for SinkRun<'_> {
    fn slot(&mut self, len: usize) -> &mut [u8] {
        self.packets.push(vec![0; len]);
        self.packets.last_mut().unwrap()
    }

    fn commit(self) -> Sent {
        let path = self.path;
        let packets = self.packets.into_iter().map(|packet| (path, packet));
        self.sink.datagrams.extend(packets);
        self.sink.runs += 1;
        Sent {
            run: RunId(self.sink.runs),
            at: self.sink.now,
        }
    }
}
