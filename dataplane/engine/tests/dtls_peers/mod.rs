//! Two handshake machines and the wire between them, in virtual time.

#![allow(dead_code, reason = "each test file uses another part of the world")]

pub(crate) mod raw_client;

use std::collections::VecDeque;
use std::time::Instant;

use dataplane_api::command::Fingerprint;
use dataplane_api::event::CloseReason;
use dataplane_api::ids::SessionId;
use dataplane_engine::time::Micros;
use dataplane_engine::transport::handshake::{
    HandshakeInput, HandshakeOutput, Handshakes, Identity, Role,
};
use dataplane_engine::transport::keys::SrtpKeys;

pub(crate) const SESSION: SessionId = SessionId(7);

/// Who sent a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Client,
    Server,
}

/// What an end has come to.
#[derive(Debug, Default)]
pub(crate) struct End {
    pub(crate) keys: Option<SrtpKeys>,
    pub(crate) failed: Option<CloseReason>,
    pub(crate) peer_closed: bool,
    pub(crate) flights: usize,
}

pub(crate) struct World {
    pub(crate) now: Micros,
    pub(crate) server: Handshakes,
    pub(crate) client: Handshakes,
    pub(crate) at_server: End,
    pub(crate) at_client: End,
    wire: VecDeque<(From, Box<[u8]>)>,
}

impl World {
    /// Both ends know the other's fingerprint and have started; nothing is delivered yet.
    pub(crate) fn started() -> World {
        let mut world = World::idle();
        let (server, client) = (world.server.fingerprint(), world.client.fingerprint());
        world.start(client, server);
        world
    }

    pub(crate) fn idle() -> World {
        World {
            now: Micros(1_000_000),
            server: machine(),
            client: machine(),
            at_server: End::default(),
            at_client: End::default(),
            wire: VecDeque::new(),
        }
    }

    /// Starts both ends with what each believes of the other.
    pub(crate) fn start(&mut self, of_client: Fingerprint, of_server: Fingerprint) {
        self.server
            .on_input(self.now, start(Role::Server, of_client));
        self.client
            .on_input(self.now, start(Role::Client, of_server));
        self.collect();
    }

    /// Lets time and datagrams pass until `end`. `wire` says what becomes of each datagram: as it is,
    /// nothing, or something else.
    pub(crate) fn run(
        &mut self,
        end: Micros,
        mut wire: impl FnMut(From, Box<[u8]>) -> Vec<Box<[u8]>>,
    ) {
        loop {
            while let Some((from, datagram)) = self.wire.pop_front() {
                for bytes in wire(from, datagram) {
                    self.deliver(from, bytes);
                }
            }
            let next = [self.server.next_deadline(), self.client.next_deadline()];
            let Some(next) = next.into_iter().flatten().min().filter(|&next| next <= end) else {
                self.now = self.now.max(end);
                return;
            };
            assert!(
                next > self.now,
                "a deadline that does not move is a busy loop"
            );
            self.now = next;
            self.server.on_timeout(next);
            self.client.on_timeout(next);
            self.collect();
        }
    }

    pub(crate) fn deliver(&mut self, from: From, bytes: Box<[u8]>) {
        let record = HandshakeInput::Record {
            session: SESSION,
            bytes,
        };
        match from {
            From::Client => self.server.on_input(self.now, record),
            From::Server => self.client.on_input(self.now, record),
        }
        self.collect();
    }

    pub(crate) fn close(&mut self, end: From) {
        let close = HandshakeInput::Close { session: SESSION };
        match end {
            From::Client => self.client.on_input(self.now, close),
            From::Server => self.server.on_input(self.now, close),
        }
        self.collect();
    }

    pub(crate) fn seconds(&self, seconds: u64) -> Micros {
        self.now.plus_ms(1_000 * seconds)
    }

    fn collect(&mut self) {
        while let Some(output) = self.server.poll_output() {
            self.at_server.take(output, From::Server, &mut self.wire);
        }
        while let Some(output) = self.client.poll_output() {
            self.at_client.take(output, From::Client, &mut self.wire);
        }
    }
}

impl End {
    fn take(
        &mut self,
        output: HandshakeOutput,
        from: From,
        wire: &mut VecDeque<(From, Box<[u8]>)>,
    ) {
        assert_eq!(output.session(), SESSION);
        match output {
            HandshakeOutput::Flight { datagrams, .. } => {
                self.flights += 1;
                wire.extend(datagrams.into_iter().map(|bytes| (from, bytes)));
            }
            HandshakeOutput::Keyed { keys, flight, .. } => {
                assert!(self.keys.is_none(), "keyed once");
                self.keys = Some(keys);
                wire.extend(flight.into_iter().map(|bytes| (from, bytes)));
            }
            HandshakeOutput::Failed { reason, .. } => self.failed = Some(reason),
            HandshakeOutput::PeerClosed { .. } => self.peer_closed = true,
        }
    }
}

pub(crate) fn machine() -> Handshakes {
    Handshakes::new(Identity::generate().unwrap(), base())
}

#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do, and there is no other way to make one"
)]
pub(crate) fn base() -> Instant {
    Instant::now()
}

pub(crate) fn start(role: Role, fingerprint: Fingerprint) -> HandshakeInput {
    HandshakeInput::Start {
        session: SESSION,
        role,
        fingerprint,
    }
}

/// A wire that delivers everything.
pub(crate) fn perfect(_: From, datagram: Box<[u8]>) -> Vec<Box<[u8]>> {
    vec![datagram]
}
