//! DTLS 1.2 records and handshake fragments (RFC 6347 section 4), as far as they can be judged without
//! keys: what stands in front of the handshake machine and bounds what it is made to remember.

/// `ChangeCipherSpec`, the content types of RFC 5246 section 6.2.1.
pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
/// `Alert`.
pub(crate) const ALERT: u8 = 21;
/// `Handshake`.
pub(crate) const HANDSHAKE: u8 = 22;
/// `ApplicationData`.
pub(crate) const APPLICATION_DATA: u8 = 23;

/// The handshake type of ClientKeyExchange (RFC 5246 section 7.4), which only a client's last flight has.
pub(crate) const CLIENT_KEY_EXCHANGE: u8 = 16;

/// Type, version, epoch, sequence number, length (RFC 6347 section 4.1).
const RECORD_HEADER_BYTES: usize = 13;
/// Type, length, message sequence, fragment offset, fragment length (RFC 6347 section 4.2.2).
const FRAGMENT_HEADER_BYTES: usize = 12;

/// Longest handshake message. A certificate chain of three is below 5 KiB (security.md D3).
const MESSAGE_BYTES_MAX: u32 = 16 * 1_024;
/// Messages of one peer in a handshake: a server sends seven, a client five.
const MESSAGE_SEQ_MAX: u16 = 15;
/// Fragments an association remembers before it completes (security.md D3).
const FRAGMENTS_MAX: usize = 64;
/// Bytes an association remembers before it completes (security.md D3).
const ASSOCIATION_BYTES_MAX: usize = 32 * 1_024;
/// Records other than plaintext handshake ones: one ChangeCipherSpec, one Finished and their repetitions.
const OTHER_RECORDS_MAX: usize = 64;
/// Longest datagram the machine reads; the engine's edge is stricter.
const DATAGRAM_BYTES_MAX: usize = 2 * 1_024;

/// The most datagrams [`Intake`] lets through to be remembered: each has a fragment or another record.
pub(crate) const DATAGRAMS_MAX: usize = FRAGMENTS_MAX + OTHER_RECORDS_MAX;

/// Bytes that are no DTLS 1.2 record, or a handshake fragment that contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// One record of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) content_type: u8,
    pub(crate) epoch: u16,
    pub(crate) body: &'a [u8],
    /// Header and body.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// The handshake fragments of a plaintext handshake record; none of any other.
    pub(crate) fn fragments(&self) -> Fragments<'a> {
        let plaintext = self.content_type == HANDSHAKE && self.epoch == 0;
        Fragments {
            rest: if plaintext { self.body } else { &[] },
        }
    }
}

/// The records of a datagram, up to the first malformed one.
#[derive(Clone, Debug)]
pub(crate) struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    pub(crate) fn of(datagram: &'a [u8]) -> Records<'a> {
        Records { rest: datagram }
    }

    fn read(&self) -> Option<(Record<'a>, &'a [u8])> {
        let (header, behind) = self.rest.split_at_checked(RECORD_HEADER_BYTES)?;
        let &[content_type, major, minor, epoch_high, epoch_low, ..] = header else {
            return None;
        };
        let body_len = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let (body, rest) = behind.split_at_checked(body_len)?;
        // A ClientHello's record may say DTLS 1.0 (RFC 6347 section 4.1); every other says 1.2.
        let known = (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&content_type)
            && major == 0xfe
            && (minor == 0xff || minor == 0xfd)
            && !body.is_empty();
        let record = Record {
            content_type,
            epoch: u16::from_be_bytes([epoch_high, epoch_low]),
            body,
            bytes: &self.rest[..RECORD_HEADER_BYTES + body_len],
        };
        known.then_some((record, rest))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        if let Some((record, rest)) = self.read() {
            self.rest = rest;
            Some(Ok(record))
        } else {
            self.rest = &[];
            Some(Err(Malformed))
        }
    }
}

/// One handshake fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub(crate) message_type: u8,
    pub(crate) message_seq: u16,
    pub(crate) offset: u32,
}

/// The fragments of a record, up to the first malformed one.
#[derive(Clone, Debug)]
pub(crate) struct Fragments<'a> {
    rest: &'a [u8],
}

impl<'a> Fragments<'a> {
    fn read(&self) -> Option<(Fragment, &'a [u8])> {
        let (header, behind) = self.rest.split_at_checked(FRAGMENT_HEADER_BYTES)?;
        let be24 = |at: usize| u32::from_be_bytes([0, header[at], header[at + 1], header[at + 2]]);
        let (message_len, offset, fragment_len) = (be24(1), be24(6), be24(9));
        let (_, rest) = behind.split_at_checked(usize::try_from(fragment_len).ok()?)?;
        let fragment = Fragment {
            message_type: header[0],
            message_seq: u16::from_be_bytes([header[4], header[5]]),
            offset,
        };
        // An empty fragment of a message that is not empty advances nothing (CVE-2022-29190).
        let sane = message_len <= MESSAGE_BYTES_MAX
            && fragment.message_seq <= MESSAGE_SEQ_MAX
            && offset + fragment_len <= message_len
            && (fragment_len > 0 || message_len == 0);
        sane.then_some((fragment, rest))
    }
}

impl Iterator for Fragments<'_> {
    type Item = Result<Fragment, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        if let Some((fragment, rest)) = self.read() {
            self.rest = rest;
            Some(Ok(fragment))
        } else {
            self.rest = &[];
            Some(Err(Malformed))
        }
    }
}

/// What one association has been given to remember before it completed.
///
/// The machine behind it drops a datagram that begins with a fragment another datagram began with, so a
/// repeated flight is free, and a peer whose flights are lost many times is not starved by the caps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Intake {
    /// The fragments that began a datagram, by (message sequence, offset).
    first_fragments: Vec<(u16, u32)>,
    fragments: usize,
    other_records: usize,
    bytes: usize,
}

impl Intake {
    /// Whether the machine may see `datagram`: it is well-formed throughout, and is a repetition or
    /// within what the association may still remember.
    pub(crate) fn admits(&mut self, datagram: &[u8]) -> bool {
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return false;
        }
        let Ok(contents) = Contents::of(datagram) else {
            return false;
        };
        if let Some(first) = contents.first_fragment
            && self.first_fragments.contains(&first)
        {
            return true;
        }
        let fragments = self.fragments + contents.fragments;
        let other_records = self.other_records + contents.other_records;
        let bytes = self.bytes + datagram.len();
        if fragments > FRAGMENTS_MAX
            || other_records > OTHER_RECORDS_MAX
            || bytes > ASSOCIATION_BYTES_MAX
        {
            return false;
        }
        self.fragments = fragments;
        self.other_records = other_records;
        self.bytes = bytes;
        self.first_fragments.extend(contents.first_fragment);
        true
    }
}

/// What a datagram of a handshake consists of.
#[derive(Clone, Copy, Debug, Default)]
struct Contents {
    /// The fragment the datagram begins with, if it begins with one.
    first_fragment: Option<(u16, u32)>,
    fragments: usize,
    other_records: usize,
}

impl Contents {
    fn of(datagram: &[u8]) -> Result<Contents, Malformed> {
        let mut contents = Contents::default();
        for record in Records::of(datagram) {
            let record = record?;
            // There are no epochs beyond the first protected one (no renegotiation), and no application
            // data before a handshake completes.
            if record.epoch > 1 || record.content_type == APPLICATION_DATA {
                return Err(Malformed);
            }
            let mut fragments = 0;
            for fragment in record.fragments() {
                let fragment = fragment?;
                if contents.fragments + fragments + contents.other_records == 0 {
                    contents.first_fragment = Some((fragment.message_seq, fragment.offset));
                }
                fragments += 1;
            }
            if fragments == 0 {
                contents.other_records += 1;
            }
            contents.fragments += fragments;
        }
        if contents.fragments + contents.other_records == 0 {
            return Err(Malformed);
        }
        Ok(contents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plaintext handshake record with one fragment.
    fn fragment(message_seq: u16, message_len: u32, offset: u32, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(FRAGMENT_HEADER_BYTES + body.len()).unwrap();
        let be24 = |number: u32| number.to_be_bytes()[1..].to_vec();
        let mut record = vec![HANDSHAKE, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0];
        record.extend(len.to_be_bytes());
        record.push(1);
        record.extend(be24(message_len));
        record.extend(message_seq.to_be_bytes());
        record.extend(be24(offset));
        record.extend(be24(u32::try_from(body.len()).unwrap()));
        record.extend(body);
        record
    }

    #[test]
    fn fragments_that_contradict_themselves_are_refused() {
        let mut intake = Intake::default();
        assert!(intake.admits(&fragment(0, 100, 0, &[0; 100])));
        assert!(intake.admits(&fragment(1, 0, 0, &[])), "ServerHelloDone");
        for (what, datagram) in [
            ("past the end", fragment(2, 100, 1, &[0; 100])),
            ("nothing of something", fragment(2, 100, 0, &[])),
            ("too long a message", fragment(2, 16_385, 0, &[0; 100])),
            ("too far ahead", fragment(16, 100, 0, &[0; 100])),
            ("empty", Vec::new()),
        ] {
            assert!(!intake.admits(&datagram), "{what}");
        }
        let mut cut = fragment(2, 100, 0, &[0; 100]);
        cut.pop();
        assert!(!intake.admits(&cut));
        let mut trailing = fragment(2, 100, 0, &[0; 100]);
        trailing.push(0);
        assert!(!intake.admits(&trailing));
    }

    /// Security.md D3, in every way of spending: many fragments, large ones, and records that are none.
    #[test]
    fn an_association_remembers_at_most_its_caps() {
        let change_cipher_spec = |number: u32| {
            let mut record = vec![CHANGE_CIPHER_SPEC, 0xfe, 0xfd, 0, 0, 0, 0];
            record.extend(number.to_be_bytes());
            record.extend([0, 1, 1]);
            record
        };
        let bombs: [&dyn Fn(u32) -> Vec<u8>; 3] = [
            &|number| fragment(0, 16_384, number % 16_384, &[7]),
            &|number| fragment(0, 16_384, number % 15_000, &[7; 1_300]),
            &change_cipher_spec,
        ];
        for bomb in bombs {
            let mut intake = Intake::default();
            let (mut datagrams, mut bytes) = (0, 0);
            for number in 0..10_000 {
                let datagram = bomb(number);
                if intake.admits(&datagram) {
                    datagrams += 1;
                    bytes += datagram.len();
                }
            }
            assert!(0 < datagrams && datagrams <= 64);
            assert!(bytes <= ASSOCIATION_BYTES_MAX);
        }
    }

    #[test]
    fn a_repeated_flight_is_free() {
        let mut intake = Intake::default();
        for _ in 0..1_000 {
            assert!(intake.admits(&fragment(0, 1_300, 0, &[1; 1_200])));
            assert!(intake.admits(&fragment(0, 1_300, 1_200, &[1; 100])));
        }
    }
}
