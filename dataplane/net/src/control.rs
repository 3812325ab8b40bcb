//! Control messages (cmsg(3)) as the kernel lays them out: a length, a level, a type, the data, padded
//! to a word. Written and read without `unsafe`.

use std::net::IpAddr;

use crate::clock::timespec_ns;
use crate::sockaddr::{PacketInfo, field, read_pktinfo_v4, read_pktinfo_v6};

/// Length of a `cmsghdr`.
const HEADER: usize = size_of::<libc::cmsghdr>();

/// Bytes a control message with `data` bytes takes: CMSG_SPACE.
const fn space(data: usize) -> usize {
    HEADER + data.next_multiple_of(size_of::<usize>())
}

/// Room for what a received datagram carries: IPV6_PKTINFO (the longer of the two) and SCM_TIMESTAMPNS.
pub(crate) const RECEIVE_CONTROL_BYTES: usize = space(20) + space(16);

/// Room for what a sent run carries: IPV6_PKTINFO (the longer of the two) and UDP_SEGMENT.
pub(crate) const SEND_CONTROL_BYTES: usize = space(20) + space(2);

/// The control messages of one send.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(crate) struct SendControl {
    bytes: [u8; SEND_CONTROL_BYTES],
    len: u8,
}

impl SendControl {
    /// None at all.
    pub(crate) const EMPTY: SendControl = SendControl {
        bytes: [0; SEND_CONTROL_BYTES],
        len: 0,
    };

    /// Asks for `local` as source address and, where `segment_len` is given, for the payload to be cut
    /// into datagrams of that length (`UDP_SEGMENT`).
    pub(crate) fn new(local: IpAddr, segment_len: Option<u16>) -> SendControl {
        let mut control = SendControl::EMPTY;
        match PacketInfo::new(local) {
            PacketInfo::V4(info) => control.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info),
            PacketInfo::V6(info) => control.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info),
        }
        if let Some(len) = segment_len {
            control.push(libc::SOL_UDP, libc::UDP_SEGMENT, &len.to_ne_bytes());
        }
        control
    }

    /// The bytes in use.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn push(&mut self, level: libc::c_int, kind: libc::c_int, data: &[u8]) {
        let at = usize::from(self.len);
        let message = &mut self.bytes[at..at + space(data.len())];
        message[..8].copy_from_slice(&(HEADER + data.len()).to_ne_bytes());
        message[8..12].copy_from_slice(&level.to_ne_bytes());
        message[12..16].copy_from_slice(&kind.to_ne_bytes());
        message[HEADER..HEADER + data.len()].copy_from_slice(data);
        self.len = u8::try_from(at + space(data.len()))
            .expect("invariant: SEND_CONTROL_BYTES is below 256");
    }
}

/// What the control messages of a received datagram say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReceivedControl {
    /// The address of this host it was sent to.
    pub(crate) local: Option<IpAddr>,
    /// When the kernel received it, in nanoseconds of CLOCK_REALTIME.
    pub(crate) stamp_ns: Option<u64>,
}

impl ReceivedControl {
    /// Reads the control bytes the kernel wrote; kinds that were not asked for are skipped.
    pub(crate) fn read(mut control: &[u8]) -> ReceivedControl {
        let mut received = ReceivedControl::default();
        while let Some(message) = Message::first(control) {
            match (message.level, message.kind) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    received.local = read_pktinfo_v4(message.data);
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    received.local = read_pktinfo_v6(message.data);
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    received.stamp_ns = read_timespec(message.data);
                }
                _ => {}
            }
            control = message.rest;
        }
        received
    }
}

struct Message<'a> {
    level: libc::c_int,
    kind: libc::c_int,
    data: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Message<'a> {
    fn first(control: &'a [u8]) -> Option<Message<'a>> {
        let len = usize::from_ne_bytes(field(control, 0)?);
        let level = libc::c_int::from_ne_bytes(field(control, 8)?);
        let kind = libc::c_int::from_ne_bytes(field(control, 12)?);
        let data = control.get(HEADER..len)?;
        let rest = control.get(space(data.len())..).unwrap_or(&[]);
        Some(Message {
            level,
            kind,
            data,
            rest,
        })
    }
}

fn read_timespec(data: &[u8]) -> Option<u64> {
    let seconds = i64::from_ne_bytes(field(data, 0)?);
    let nanoseconds = i64::from_ne_bytes(field(data, 8)?);
    Some(timespec_ns(seconds, nanoseconds))
}

// The reading and writing above spell the 64-bit layout out: an eight-byte length, then level and type.
const _: () = assert!(HEADER == 16 && size_of::<usize>() == 8);
const _: () = assert!(SEND_CONTROL_BYTES < 256);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_are_libcs() {
        for data in [2u32, 12, 16, 20] {
            // SAFETY: CMSG_SPACE is arithmetic.
            let expected = unsafe { libc::CMSG_SPACE(data) };
            assert_eq!(space(data as usize), expected as usize);
        }
    }

    #[test]
    fn a_source_address_reads_back_and_a_segment_length_is_skipped() {
        for text in ["127.0.0.5", "2001:db8::9"] {
            let local: IpAddr = text.parse().unwrap();
            for segment_len in [None, Some(1_200)] {
                let control = SendControl::new(local, segment_len);
                let received = ReceivedControl::read(control.as_bytes());
                assert_eq!(received.local, Some(local));
                assert_eq!(received.stamp_ns, None);
            }
        }
    }

    #[test]
    fn cut_or_senseless_control_bytes_end_the_reading() {
        let control = SendControl::new("192.0.2.1".parse().unwrap(), Some(100));
        for len in 0..28 {
            let cut = ReceivedControl::read(&control.as_bytes()[..len]);
            assert_eq!(cut, ReceivedControl::default(), "{len} bytes");
        }
        assert_eq!(ReceivedControl::read(&[0; 64]), ReceivedControl::default());
        assert_eq!(
            ReceivedControl::read(&[0xff; 64]),
            ReceivedControl::default()
        );
    }

    #[test]
    fn a_stamp_is_read_in_nanoseconds() {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&(HEADER + 16).to_ne_bytes());
        bytes.extend_from_slice(&libc::SOL_SOCKET.to_ne_bytes());
        bytes.extend_from_slice(&libc::SCM_TIMESTAMPNS.to_ne_bytes());
        bytes.extend_from_slice(&7i64.to_ne_bytes());
        bytes.extend_from_slice(&5i64.to_ne_bytes());
        let received = ReceivedControl::read(&bytes);
        assert_eq!(received.stamp_ns, Some(7_000_000_005));
    }
}
