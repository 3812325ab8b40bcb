//! A client with an MTU of its own, driven without our machine around it.

use dataplane_api::command::{Fingerprint, FingerprintHash};
use dataplane_api::event::CloseReason;
use dataplane_engine::time::Micros;
use dataplane_engine::transport::handshake::{HandshakeInput, HandshakeOutput, Handshakes, Role};
use dataplane_engine::transport::keys::{Profile, SrtpKeys};
use dimpl::{Dtls, DtlsCertificate, Output};

use super::{SESSION, base};

/// The client.
pub(crate) struct RawClient {
    pub(crate) dtls: Dtls,
    base: std::time::Instant,
    pub(crate) certificate: DtlsCertificate,
    pub(crate) keys: Option<SrtpKeys>,
}

impl RawClient {
    #[expect(clippy::disallowed_types, reason = "the signature of Dtls::new_12")]
    pub(crate) fn new(mtu: usize) -> RawClient {
        let config = dimpl::Config::builder()
            .mtu(mtu)
            .max_queue_tx(64)
            .build()
            .unwrap();
        let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
        let base = base();
        let mut dtls = Dtls::new_12(std::sync::Arc::new(config), certificate.clone(), base);
        dtls.set_active(true);
        RawClient {
            dtls,
            base,
            certificate,
            keys: None,
        }
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint {
            hash: FingerprintHash::Sha256,
            digest: self.certificate.fingerprint(),
        }
    }

    pub(crate) fn on_time(&mut self, now: Micros) -> Vec<Box<[u8]>> {
        let now = self.base + std::time::Duration::from_micros(now.0);
        self.dtls.handle_timeout(now).unwrap();
        self.drain()
    }

    pub(crate) fn on_datagram(&mut self, bytes: &[u8]) -> Vec<Box<[u8]>> {
        self.dtls.handle_packet(bytes).unwrap();
        self.drain()
    }

    pub(crate) fn drain(&mut self) -> Vec<Box<[u8]>> {
        let mut buffer = vec![0; 16 * 1_024];
        let mut datagrams = Vec::new();
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(bytes) => datagrams.push(bytes.into()),
                Output::KeyingMaterial(material, profile) => {
                    let profile = Profile::from_dtls(profile).unwrap();
                    self.keys = SrtpKeys::from_keying_material(profile, Role::Client, &material);
                }
                Output::Timeout(_) => return datagrams,
                Output::BufferTooSmall { needed } => panic!("{needed} bytes"),
                Output::PeerCert(_) | Output::Connected | Output::CloseNotify => {}
                Output::ApplicationData(_) => {}
                _ => {}
            }
        }
    }
}

/// Carries datagrams between the two, at one instant, until nobody has more to say. The server's keys, or
/// why there are none.
pub(crate) fn join(
    server: &mut Handshakes,
    client: &mut RawClient,
    hello: Vec<Box<[u8]>>,
) -> Result<SrtpKeys, CloseReason> {
    let mut to_server = hello;
    let mut server_keys = None;
    while !to_server.is_empty() {
        for bytes in std::mem::take(&mut to_server) {
            let record = HandshakeInput::Record {
                session: SESSION,
                bytes,
            };
            server.on_input(Micros(0), record);
        }
        while let Some(output) = server.poll_output() {
            let (datagrams, keys) = datagrams_of(output)?;
            server_keys = server_keys.or(keys);
            for datagram in datagrams {
                to_server.extend(client.on_datagram(&datagram));
            }
        }
    }
    server_keys.ok_or(CloseReason::HandshakeFailed)
}

pub(crate) type Sent = (Vec<Box<[u8]>>, Option<SrtpKeys>);

pub(crate) fn datagrams_of(output: HandshakeOutput) -> Result<Sent, CloseReason> {
    match output {
        HandshakeOutput::Flight { datagrams, .. } => Ok((datagrams, None)),
        HandshakeOutput::Keyed { keys, flight, .. } => Ok((flight, Some(keys))),
        HandshakeOutput::Failed { reason, .. } => Err(reason),
        HandshakeOutput::PeerClosed { .. } => Err(CloseReason::PeerClosed),
    }
}
