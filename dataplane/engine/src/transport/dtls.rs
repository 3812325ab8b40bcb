//! DTLS 1.2 records and handshake fragments (RFC 6347 section 4), as far as they can be judged without
//! keys: what stands in front of the handshake machine and bounds what it is made to remember.
//!
//! Every error of the machine is its end, and before there are keys nobody can tell the peer from one who forges
//! the peer's address. So the machine is spared what a peer in its role never says: alerts in plaintext, messages
//! of the other side or out of their place, fragments that contradict themselves, protected records that have not
//! the length of a Finished or an alert.
//!
//! What remains is a protected record of the right length whose tag is wrong: forged by somebody who can send from
//! the peer's address in the few milliseconds until its Finished is through, or damaged so that the UDP checksum
//! still fits. It ends the machine, and with it the session; the client has to join again.

use super::keys::Role;

/// `ChangeCipherSpec`, the content types of RFC 5246 section 6.2.1.
pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
/// `Alert`.
pub(crate) const ALERT: u8 = 21;
/// `Handshake`.
pub(crate) const HANDSHAKE: u8 = 22;
/// `ApplicationData`.
pub(crate) const APPLICATION_DATA: u8 = 23;

/// The handshake type of ClientHello (RFC 5246 section 7.4).
pub(super) const CLIENT_HELLO: u8 = 1;
/// The handshake type of ClientKeyExchange, which only a client's last flight has.
pub(crate) const CLIENT_KEY_EXCHANGE: u8 = 16;

/// What a peer says in plaintext: the type of each message and where it stands in the handshake.
type Script = &'static [(u8, std::ops::RangeInclusive<u16>)];

/// A client's: ClientHello, Certificate, ClientKeyExchange, CertificateVerify. It is asked for no cookie and always
/// for a certificate, so each has one place.
const OF_CLIENT: Script = &[
    (CLIENT_HELLO, 0..=0),
    (11, 1..=1),
    (CLIENT_KEY_EXCHANGE, 2..=2),
    (15, 3..=3),
];
/// A server's: HelloVerifyRequest, ServerHello, Certificate, ServerKeyExchange, CertificateRequest, ServerHelloDone,
/// NewSessionTicket. It may ask for a cookie first, and need not ask for a certificate.
const OF_SERVER: Script = &[
    (3, 0..=0),
    (2, 0..=1),
    (11, 1..=2),
    (12, 2..=3),
    (13, 3..=4),
    (14, 3..=5),
    (4, 4..=6),
];

/// Type, version, epoch, sequence number, length (RFC 6347 section 4.1).
const RECORD_HEADER_BYTES: usize = 13;
/// Type, length, message sequence, fragment offset, fragment length (RFC 6347 section 4.2.2).
const FRAGMENT_HEADER_BYTES: usize = 12;

/// Body of the record of a Finished under AES-GCM, the only suites there are: explicit nonce, fragment header,
/// verify_data, tag (RFC 5246 section 7.4.9, RFC 5288 section 3).
const FINISHED_BODY_BYTES: usize = 8 + FRAGMENT_HEADER_BYTES + 12 + 16;
/// The same of an alert (RFC 5246 section 7.2).
const ALERT_BODY_BYTES: usize = 8 + 2 + 16;

/// Longest handshake message. A certificate chain of three is below 5 KiB (security.md D3).
const MESSAGE_BYTES_MAX: u32 = 16 * 1_024;
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
    /// It is the message, not a part of it.
    pub(crate) is_whole: bool,
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
            is_whole: fragment_len == message_len,
        };
        // An empty fragment of a message that is not empty advances nothing (CVE-2022-29190).
        let sane = message_len <= MESSAGE_BYTES_MAX
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

/// Whether a datagram begins with a ClientHello that is not in parts.
pub(super) fn is_whole_client_hello(datagram: &[u8]) -> bool {
    let first = Records::of(datagram).next().and_then(Result::ok);
    let fragment = first.and_then(|record| record.fragments().next());
    matches!(
        fragment,
        Some(Ok(Fragment {
            message_type: CLIENT_HELLO,
            message_seq: 0,
            is_whole: true,
            ..
        }))
    )
}

/// What one association has been given to remember before it completed.
///
/// The machine behind it drops a datagram that begins with a fragment another datagram began with, so a
/// repeated flight is free, and a peer whose flights are lost many times is not starved by the caps.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    /// What a peer in its role says.
    script: Script,
    /// The fragments that began a datagram, by (message sequence, offset).
    first_fragments: Vec<(u16, u32)>,
    fragments: usize,
    other_records: usize,
    bytes: usize,
}

impl Intake {
    /// Of an association in which we are `role`.
    pub(crate) fn new(role: Role) -> Intake {
        Intake {
            script: match role {
                Role::Server => OF_CLIENT,
                Role::Client => OF_SERVER,
            },
            first_fragments: Vec::new(),
            fragments: 0,
            other_records: 0,
            bytes: 0,
        }
    }

    /// Whether nothing was let through.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Whether the machine may see `datagram`: it is well-formed throughout, and is a repetition or
    /// within what the association may still remember.
    pub(crate) fn admits(&mut self, datagram: &[u8]) -> bool {
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return false;
        }
        let Ok(contents) = Contents::of(datagram, self.script) else {
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
    fn of(datagram: &[u8], script: Script) -> Result<Contents, Malformed> {
        let mut contents = Contents::default();
        for record in Records::of(datagram) {
            let record = record?;
            // There are no epochs beyond the first protected one (no renegotiation), no application data before
            // a handshake completes, and an alert in plaintext is anybody's (RFC 6347 section 4.1.2.7): a peer
            // that gives up is noticed by the deadline.
            let is_possible = match (record.epoch, record.content_type) {
                (0, CHANGE_CIPHER_SPEC | HANDSHAKE) => true,
                (1, HANDSHAKE) => record.body.len() == FINISHED_BODY_BYTES,
                (1, ALERT) => record.body.len() == ALERT_BODY_BYTES,
                _ => false,
            };
            if !is_possible {
                return Err(Malformed);
            }
            let mut fragments = 0;
            for fragment in record.fragments() {
                let fragment = fragment?;
                // A message out of its place would lie in the machine's queue in front of what it waits for.
                let is_in_place = script.iter().any(|(message_type, places)| {
                    *message_type == fragment.message_type && places.contains(&fragment.message_seq)
                });
                if !is_in_place {
                    return Err(Malformed);
                }
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

    /// A plaintext handshake record of a server with one fragment.
    fn fragment(message_seq: u16, message_len: u32, offset: u32, body: &[u8]) -> Vec<u8> {
        let message_type = [2, 11, 12][usize::from(message_seq.min(2))];
        typed_fragment(message_type, message_seq, message_len, offset, body)
    }

    fn typed_fragment(
        message_type: u8,
        message_seq: u16,
        message_len: u32,
        offset: u32,
        body: &[u8],
    ) -> Vec<u8> {
        let len = u16::try_from(FRAGMENT_HEADER_BYTES + body.len()).unwrap();
        let be24 = |number: u32| number.to_be_bytes()[1..].to_vec();
        let mut record = vec![HANDSHAKE, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0];
        record.extend(len.to_be_bytes());
        record.push(message_type);
        record.extend(be24(message_len));
        record.extend(message_seq.to_be_bytes());
        record.extend(be24(offset));
        record.extend(be24(u32::try_from(body.len()).unwrap()));
        record.extend(body);
        record
    }

    #[test]
    fn fragments_that_contradict_themselves_are_refused() {
        let mut intake = Intake::new(Role::Client);
        assert!(intake.admits(&fragment(0, 100, 0, &[0; 100])));
        let done = typed_fragment(14, 5, 0, 0, &[]);
        assert!(intake.admits(&done), "ServerHelloDone");
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

    /// Nobody but the peer's forger says these, and the machine would end (security.md D2).
    #[test]
    fn what_a_peer_in_its_role_never_says_is_refused() {
        let [mut server, mut client] = [Role::Server, Role::Client].map(Intake::new);
        let places = |intake: &mut Intake, message_type| {
            let mut admits =
                |seq: &u16| intake.admits(&typed_fragment(message_type, *seq, 40, 0, &[7; 40]));
            (0..20).filter(|seq| admits(seq)).collect::<Vec<_>>()
        };
        for message_type in 0..=255 {
            let of_client: &[u16] = match message_type {
                1 => &[0],
                11 => &[1],
                16 => &[2],
                15 => &[3],
                _ => &[],
            };
            let of_server: &[u16] = match message_type {
                3 => &[0],
                2 => &[0, 1],
                11 => &[1, 2],
                12 => &[2, 3],
                13 => &[3, 4],
                14 => &[3, 4, 5],
                4 => &[4, 5, 6],
                _ => &[],
            };
            assert_eq!(places(&mut server, message_type), of_client);
            assert_eq!(places(&mut client, message_type), of_server);
        }
        let fatal_alert = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40];
        assert!(!server.admits(&fatal_alert) && !client.admits(&fatal_alert));
        let mut behind = typed_fragment(11, 1, 40, 0, &[7; 40]);
        behind.extend(fatal_alert);
        assert!(!server.admits(&behind));
    }

    /// The machine ends over a protected record it cannot open, so most of what is none never reaches it.
    #[test]
    fn a_protected_record_has_the_length_of_a_finished_or_an_alert() {
        for content_type in [20, 21, 22, 23] {
            for epoch in [1, 2, u8::MAX] {
                let admitted = (1..=300_u16).filter(|len| {
                    let mut record = vec![content_type, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 1];
                    record.extend(len.to_be_bytes());
                    record.resize(13 + usize::from(*len), 7);
                    Intake::new(Role::Server).admits(&record)
                });
                let expected: &[u16] = match (content_type, epoch) {
                    (21, 1) => &[26],
                    (22, 1) => &[48],
                    _ => &[],
                };
                assert_eq!(admitted.collect::<Vec<_>>(), expected);
            }
        }
    }

    #[test]
    fn a_client_hello_is_whole_or_in_parts() {
        assert!(is_whole_client_hello(&typed_fragment(1, 0, 3, 0, &[7; 3])));
        for (what, datagram) in [
            ("a part", typed_fragment(1, 0, 4, 0, &[7; 3])),
            ("the end", typed_fragment(1, 0, 4, 1, &[7; 3])),
            ("a later message", typed_fragment(1, 1, 3, 0, &[7; 3])),
            ("another message", typed_fragment(2, 0, 3, 0, &[7; 3])),
            ("nothing", Vec::new()),
        ] {
            assert!(!is_whole_client_hello(&datagram), "{what}");
        }
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
            let mut intake = Intake::new(Role::Client);
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
        let mut intake = Intake::new(Role::Client);
        for _ in 0..1_000 {
            assert!(intake.admits(&fragment(0, 1_300, 0, &[1; 1_200])));
            assert!(intake.admits(&fragment(0, 1_300, 1_200, &[1; 100])));
        }
    }
}
