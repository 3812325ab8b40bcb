//! A viewer: authenticates every packet the node sends, counts stamps, reports back like a receiver.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::dtls::Exported;
use super::peer::Service;
use super::tally::Tally;
use crate::srtp::{Indices, identity};

/// RTCP packet types of RFC 3550 section 12.1 and their kin begin at 192 (RFC 5761 section 4).
const RTCP_KINDS: std::ops::RangeInclusive<u8> = 192..=223;

/// One viewer's end of the connection.
#[derive(Debug)]
pub(crate) struct Viewer {
    number: usize,
    keys: Exported,
    payload_type: u8,
    indices: Indices,
    /// What to report on: the stream and index of the last media packet since the report before.
    media: Option<(u32, u64)>,
    reports: u32,
    tally: Rc<RefCell<Tally>>,
}

impl Viewer {
    pub(crate) fn new(
        number: usize,
        keys: Exported,
        payload_type: u8,
        tally: Rc<RefCell<Tally>>,
    ) -> Viewer {
        Viewer {
            number,
            keys,
            payload_type,
            indices: Indices::default(),
            media: None,
            reports: 0,
            tally,
        }
    }

    fn media(&mut self, packet: &mut [u8], at: Duration) -> Option<()> {
        let (ssrc, _sequence) = identity(packet)?;
        let index = self.indices.guess(packet)?;
        let length = packet.len();
        let rtp = self.keys.read.open(packet, index)?;
        self.indices.confirm(ssrc, index);
        // Retransmissions come on another payload type, probes without payload.
        if rtp.payload_type == self.payload_type && !rtp.payload.is_empty() {
            self.media = Some((ssrc, index));
            self.tally
                .borrow_mut()
                .payload(self.number, rtp.payload, length, at);
        }
        Some(())
    }
}

impl Service for Viewer {
    fn packet(&mut self, packet: &mut [u8], at: Duration) {
        let authentic = match packet.get(1) {
            Some(kind) if RTCP_KINDS.contains(kind) => self.keys.read.open_rtcp(packet).map(|_| ()),
            Some(_) | None => self.media(packet, at),
        };
        if authentic.is_none() {
            self.tally.borrow_mut().forged();
        }
    }

    /// A receiver report (RFC 3550 section 6.4.2): nothing is missing of what came since the one before.
    /// Without anything new it has no block, and only says that the viewer is there.
    fn tick(&mut self) -> Option<Vec<u8>> {
        let sender = u32::try_from(self.number + 1).ok()?.to_be_bytes();
        let mut report = match self.media.take() {
            None => [&[0x80, 201, 0, 1], sender.as_slice()].concat(),
            Some((ssrc, index)) => {
                let highest = &index.to_be_bytes()[4..];
                [
                    &[0x81, 201, 0, 7],
                    sender.as_slice(),
                    &ssrc.to_be_bytes(),
                    &[0; 4],
                    highest,
                    &[0; 12],
                ]
                .concat()
            }
        };
        // A compound packet names its sender (RFC 3550 section 6.1): a CNAME of two characters.
        report.extend([0x81, 202, 0, 3]);
        report.extend(sender);
        report.extend([1, 2, b'p', b'v', 0, 0, 0, 0]);
        self.reports += 1;
        Some(self.keys.write.seal_rtcp(&report, self.reports))
    }
}

#[cfg(test)]
mod tests {
    use super::super::stamp::{STAMP_BYTES, Stamp};
    use super::*;
    use crate::srtp::{Keys, Profile, Writer};

    const MATERIAL: [u8; 56] = [3; 56];

    fn keys(writer: Writer) -> Keys {
        Keys::exported(Profile::Gcm128, &MATERIAL, writer).unwrap()
    }

    fn packet(payload_type: u8, sequence: u16, payload: &[u8]) -> Vec<u8> {
        let mut plain = vec![0x80, payload_type];
        plain.extend(sequence.to_be_bytes());
        plain.extend([0, 0, 0, 0, 0, 0, 0, 5]);
        plain.extend(payload);
        let mut sealed = vec![0; plain.len() + 16];
        keys(Writer::Server).seal(&plain, 12, sequence.into(), &mut sealed);
        sealed
    }

    fn stamped(sequence: u64) -> Vec<u8> {
        let mut payload = vec![0; STAMP_BYTES + 4];
        Stamp {
            window: 1,
            run: 1,
            sequence,
            sent: Duration::ZERO,
        }
        .write(&mut payload);
        payload
    }

    #[test]
    fn media_is_counted_retransmissions_are_not_and_forgeries_are_told() {
        let tally = Rc::new(RefCell::new(Tally::new([1])));
        tally.borrow_mut().begin(1);
        let exported = Exported {
            write: keys(Writer::Client),
            read: keys(Writer::Server),
        };
        let mut viewer = Viewer::new(0, exported, 96, Rc::clone(&tally));
        let opened = |mut report: Vec<u8>| {
            let plain = keys(Writer::Client).open_rtcp(&mut report).unwrap();
            plain.to_vec()
        };
        let first = opened(viewer.tick().unwrap());
        assert_eq!(
            (first[0], first.len()),
            (0x80, 8 + 16),
            "nothing to report on yet"
        );

        viewer.packet(&mut packet(96, 1, &stamped(0)), Duration::ZERO);
        viewer.packet(&mut packet(97, 2, &stamped(0)), Duration::ZERO);
        let mut forged = packet(96, 3, &stamped(1));
        forged[20] ^= 1;
        viewer.packet(&mut forged, Duration::ZERO);
        viewer.packet(&mut [0x80], Duration::ZERO);
        viewer.packet(&mut packet(96, 4, b"not stamped"), Duration::ZERO);

        let tally = tally.borrow();
        let counts = tally.counts();
        assert_eq!(
            (
                counts.delivered,
                counts.duplicate,
                counts.forged,
                counts.foreign
            ),
            (1, 0, 2, 1)
        );
        let report = opened(viewer.tick().unwrap());
        assert_eq!((report[0], report.len()), (0x81, 32 + 16));
        assert_eq!(report[8..12], [0, 0, 0, 5]);
        assert_eq!(
            report[16..20],
            [0, 0, 0, 4],
            "the highest that authenticated as media"
        );
    }
}
