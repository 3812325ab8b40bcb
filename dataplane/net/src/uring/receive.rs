//! Receiving: one multishot RECVMSG a socket, which fills a buffer and posts a completion for each
//! datagram until it runs out of buffers.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use dataplane_engine::limits::DATAGRAM_BYTES_MAX;
use dataplane_engine::packet::{Datagram, Path, SocketIndex};
use io_uring::{cqueue, opcode};

use super::buffers::{Buffers, GROUP};
use super::ring::{Ring, Tag};
use crate::clock::StampMap;
use crate::control::{RECEIVE_CONTROL_BYTES, ReceivedControl};
use crate::counters::EdgeCounters;
use crate::edge::EdgeError;
use crate::message::empty_header;
use crate::sockaddr::{self, SOCKADDR_BYTES_MAX, field};

/// `struct io_uring_recvmsg_out`: the lengths of name, control and payload, and flags; u32 each.
const OUT_HEADER_BYTES: usize = 16;

/// Room for the peer's address, rounded up so that the control bytes are aligned.
const NAME_BYTES: usize = SOCKADDR_BYTES_MAX.next_multiple_of(8);

/// Where the kernel puts the payload: behind the header and the room for name and control.
const PAYLOAD_AT: usize = OUT_HEADER_BYTES + NAME_BYTES + RECEIVE_CONTROL_BYTES;

/// One buffer: 2 KiB of payload and what comes before it, in whole cache lines.
pub(super) const BUFFER_BYTES: usize = (PAYLOAD_AT + 2_048).next_multiple_of(64);

const _: () = assert!(BUFFER_BYTES - PAYLOAD_AT >= DATAGRAM_BYTES_MAX);

/// Errors in a row, without a datagram between them, after which the edge gives up: the cause is not
/// going away, and arming again would spin.
const ERRORS_MAX: u32 = 256;

/// A datagram that was received and not handed out yet.
#[derive(Clone, Copy, Debug)]
struct Arrived {
    socket: SocketIndex,
    buffer: u16,
    bytes: usize,
}

/// The receiving half of the ring edge.
#[derive(Debug)]
pub(super) struct Receiver {
    arrived: VecDeque<Arrived>,
    armed: [bool; 2],
    errors_in_row: u32,
    /// The lengths the kernel reserves in each buffer for name and control; all else in it is null. Boxed
    /// because requests point to it.
    shape: Box<libc::msghdr>,
}

impl Receiver {
    pub(super) fn new(buffers: usize) -> Receiver {
        let mut shape = Box::new(empty_header());
        shape.msg_namelen = u32::try_from(NAME_BYTES).expect("invariant: 32");
        shape.msg_controllen = RECEIVE_CONTROL_BYTES;
        Receiver {
            arrived: VecDeque::with_capacity(buffers),
            armed: [false; 2],
            errors_in_row: 0,
            shape,
        }
    }

    /// Queues a receive for each socket that has none.
    pub(super) fn arm(&mut self, ring: &mut Ring, counters: &mut EdgeCounters) {
        for index in ring.sockets() {
            let armed = &mut self.armed[usize::from(index.0)];
            if *armed {
                continue;
            }
            let socket = ring
                .socket(index)
                .expect("invariant: the ring has the sockets it lists");
            let receive = opcode::RecvMsgMulti::new(socket, &raw const *self.shape, GROUP)
                .build()
                .user_data(Tag::Receive(index).pack());
            // SAFETY: the request points to `shape`, which is boxed, never written again, and lives until
            // the edge has ended its requests.
            unsafe { ring.push(&receive) };
            *armed = true;
            counters.receive_rearmed += 1;
        }
    }

    /// Whether a receive is in the kernel.
    pub(super) fn is_armed(&self) -> bool {
        self.armed.contains(&true)
    }

    /// How many datagrams wait to be handed out.
    pub(super) fn len(&self) -> usize {
        self.arrived.len()
    }

    /// Takes a completion of a socket's receive.
    pub(super) fn on_completion(
        &mut self,
        socket: SocketIndex,
        completion: &cqueue::Entry,
        buffers: &mut Buffers,
        counters: &mut EdgeCounters,
    ) {
        let (result, flags) = (completion.result(), completion.flags());
        if !cqueue::more(flags) {
            self.armed[usize::from(socket.0)] = false;
        }
        let buffer = cqueue::buffer_select(flags);
        match (usize::try_from(result), buffer) {
            (Ok(bytes), Some(buffer)) => {
                self.errors_in_row = 0;
                self.arrived.push_back(Arrived {
                    socket,
                    buffer,
                    bytes,
                });
            }
            // An end without a datagram, for instance after an empty one.
            (Ok(_), None) => {}
            (Err(_), buffer) => {
                if let Some(buffer) = buffer {
                    buffers.spend(buffer);
                }
                if result == -libc::ENOBUFS {
                    counters.receive_buffers_exhausted += 1;
                } else if result != -libc::ECANCELED {
                    counters.receive_errors += 1;
                    self.errors_in_row += 1;
                }
            }
        }
    }

    /// An error when receiving fails again and again.
    pub(super) fn check(&self) -> Result<(), EdgeError> {
        if self.errors_in_row < ERRORS_MAX {
            return Ok(());
        }
        Err(EdgeError::Receive(io::Error::other(format!(
            "{ERRORS_MAX} errors in a row"
        ))))
    }

    /// The next datagram. Its buffer is spent: it goes back at the end of the turn.
    pub(super) fn next<'a>(
        &mut self,
        buffers: &'a mut Buffers,
        stamps: &StampMap,
        counters: &mut EdgeCounters,
    ) -> Option<Datagram<'a>> {
        while let Some(arrived) = self.arrived.pop_front() {
            buffers.spend(arrived.buffer);
            // SAFETY: the completion that named this buffer was read, and it is given back only by
            // `give_back` at the end of the turn, for which the borrow of `buffers` has to end.
            let bytes = unsafe { buffers.bytes(arrived.buffer, arrived.bytes) };
            match Parsed::read(bytes, arrived.socket) {
                Ok(parsed) => {
                    counters.received_packets += 1;
                    counters.received_bytes += parsed.payload.len() as u64;
                    // SAFETY: as above; the first slice is not used any more.
                    let bytes = unsafe { buffers.bytes(arrived.buffer, arrived.bytes) };
                    return Some(Datagram {
                        path: parsed.path,
                        bytes: &mut bytes[parsed.payload],
                        arrival: stamps.arrival(parsed.stamp_ns),
                    });
                }
                Err(Fault::Oversized) => counters.received_oversized += 1,
                Err(Fault::Unaddressed) => counters.received_unaddressed += 1,
            }
        }
        None
    }
}

/// Why a received buffer is no datagram for the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Oversized,
    Unaddressed,
}

/// What a filled buffer says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parsed {
    path: Path,
    stamp_ns: Option<u64>,
    payload: Range<usize>,
}

impl Parsed {
    /// Reads the layout of a multishot RECVMSG: header, name, control, payload.
    fn read(bytes: &[u8], socket: SocketIndex) -> Result<Parsed, Fault> {
        let length = |at| {
            field(bytes, at)
                .map(u32::from_ne_bytes)
                .map(|len| len as usize)
        };
        let name_len = length(0).ok_or(Fault::Unaddressed)?;
        let control_len = length(4).ok_or(Fault::Unaddressed)?;
        let payload_len = length(8).ok_or(Fault::Unaddressed)?;
        if payload_len > DATAGRAM_BYTES_MAX {
            return Err(Fault::Oversized);
        }
        let part = |at: usize, len: usize| bytes.get(at..at + len).ok_or(Fault::Unaddressed);
        let name = part(OUT_HEADER_BYTES, name_len.min(NAME_BYTES))?;
        let control = part(
            OUT_HEADER_BYTES + NAME_BYTES,
            control_len.min(RECEIVE_CONTROL_BYTES),
        )?;
        part(PAYLOAD_AT, payload_len)?;
        let control = ReceivedControl::read(control);
        let (Some(remote), Some(local)) = (sockaddr::read(name), control.local) else {
            return Err(Fault::Unaddressed);
        };
        Ok(Parsed {
            path: Path {
                local,
                remote,
                socket,
            },
            stamp_ns: control.stamp_ns,
            payload: PAYLOAD_AT..PAYLOAD_AT + payload_len,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::SendControl;
    use crate::sockaddr::SockAddr;

    /// A buffer as the kernel fills it for `payload` from 192.0.2.7:5000 to 192.0.2.1.
    fn filled(payload: &[u8]) -> Vec<u8> {
        let name = SockAddr::new("192.0.2.7:5000".parse().unwrap());
        // A source address asked for on send has the layout of the one told on receive.
        let control = SendControl::new("192.0.2.1".parse().unwrap(), None);
        let mut bytes = vec![0; PAYLOAD_AT];
        for (at, len) in [
            (0, name.as_bytes().len()),
            (4, control.as_bytes().len()),
            (8, payload.len()),
        ] {
            bytes[at..at + 4].copy_from_slice(&u32::try_from(len).unwrap().to_ne_bytes());
        }
        bytes[16..16 + name.as_bytes().len()].copy_from_slice(name.as_bytes());
        bytes[48..48 + control.as_bytes().len()].copy_from_slice(control.as_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn a_filled_buffer_is_a_path_and_a_payload() {
        let bytes = filled(b"media");
        let parsed = Parsed::read(&bytes, SocketIndex::UDP_V4).unwrap();
        assert_eq!(parsed.path.remote, "192.0.2.7:5000".parse().unwrap());
        assert_eq!(parsed.path.local.to_string(), "192.0.2.1");
        assert_eq!(&bytes[parsed.payload], b"media");
    }

    #[test]
    fn the_longest_datagram_passes_and_one_byte_more_does_not() {
        let longest = filled(&[1; DATAGRAM_BYTES_MAX]);
        assert!(Parsed::read(&longest, SocketIndex::UDP_V4).is_ok());
        let longer = filled(&[1; DATAGRAM_BYTES_MAX + 1]);
        let refused = Parsed::read(&longer, SocketIndex::UDP_V4);
        assert_eq!(refused, Err(Fault::Oversized));
    }

    #[test]
    fn a_cut_buffer_is_refused_at_every_length() {
        let bytes = filled(b"media");
        for len in 0..bytes.len() {
            let refused = Parsed::read(&bytes[..len], SocketIndex::UDP_V4);
            assert_eq!(refused, Err(Fault::Unaddressed), "{len} bytes");
        }
    }
}
