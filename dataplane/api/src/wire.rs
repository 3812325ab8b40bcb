//! Frames of the link (contracts.md 27).
//!
//! ```text
//! +------+---------------+----------------------------------------------+
//! | kind | schema, BE    | CBOR map                                     |
//! | u8   | u16           | orders, replies, parts: {0: order, 1: body}  |
//! |      |               | events: {0: shard, 1: counter, 2: body}      |
//! |      |               | hello: the body itself                       |
//! +------+---------------+----------------------------------------------+
//! ```
//! A frame is one `SOCK_SEQPACKET` packet of at most [`FRAME_BYTES_MAX`], so whatever a frame says, the next one
//! can be read. What a later build says is told from what no build says:
//!
//! - An unknown *key* is ignored, whatever is under it.
//! - An unknown *kind* still yields its order id, so that it can be answered with `Unsupported`. Events and parts
//!   of unknown kinds are ignored.
//! - An unknown *reason* ([`Refusal`], [`CloseReason`]) is read as `Other`: that something was refused or ended is
//!   the news, why is for the log.
//! - Any other unknown value of an enumeration (a new [`Source`], say) makes the frame one that cannot be carried
//!   out, and is told as [`FrameError::UnknownValue`], to be treated like an unknown kind. To guess what was
//!   meant would be worse than to refuse.
//!
//! [`Refusal`]: crate::reply::Refusal
//! [`CloseReason`]: crate::event::CloseReason
//! [`Source`]: crate::command::Source

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use crate::command::Command;
use crate::event::{Event, Hello};
use crate::ids::{OrderId, ShardIndex};
use crate::reply::Reply;
use crate::snapshot::Part;

/// Longest frame.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;

/// Version of the frames' meaning; raised only when a kind changes incompatibly.
pub const SCHEMA: u16 = 1;

const HEADER_BYTES: usize = 3;

/// One frame of the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The first frame from the data plane.
    Hello(Box<Hello>),
    /// An order.
    Order(OrderId, Command),
    /// Its answer.
    Reply(OrderId, Reply),
    /// A part of the answer to `Snapshot`.
    Part(OrderId, Part),
    /// An event with the shard's event counter.
    Event(ShardIndex, u64, Event),
}

/// Why bytes are not a frame. Neither side trusts the other enough to panic over it.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Shorter than a header or longer than [`FRAME_BYTES_MAX`].
    #[error("a frame has {HEADER_BYTES}..={FRAME_BYTES_MAX} bytes, this one {0}")]
    Length(usize),
    /// A schema this build does not read.
    #[error("frame schema {0}, this build reads {SCHEMA}")]
    Schema(u16),
    /// A kind this build does not know, with its order id where it has one.
    #[error("unknown frame kind {kind}")]
    UnknownKind {
        /// The kind.
        kind: u8,
        /// What to answer `Unsupported` to.
        order: Option<OrderId>,
    },
    /// A kind this build knows, with a value it does not: of an enumeration that has grown since.
    #[error("frame kind {kind} names something unknown")]
    UnknownValue {
        /// The kind.
        kind: u8,
        /// What to answer `Unsupported` to.
        order: Option<OrderId>,
    },
    /// Not the CBOR this kind has.
    #[error("malformed frame: {0}")]
    Malformed(#[from] minicbor::decode::Error),
}

const KIND_HELLO: u8 = 1;

/// One table of a family's kinds: the encode and decode directions cannot disagree.
macro_rules! kinds {
    ($encode:ident, $decode:ident, $table:ident, $family:ident { $($kind:literal => $variant:ident),+ $(,)? }) => {
        const $table: &[u8] = &[$($kind),+];

        fn $encode(body: &$family, e: &mut Encoder<&mut Vec<u8>>) -> (u8, Result<(), minicbor::encode::Error<std::convert::Infallible>>) {
            match body {
                $($family::$variant(b) => ($kind, e.encode(b).map(|_| ())),)+
            }
        }

        fn $decode(kind: u8, d: &mut Decoder<'_>) -> Option<Result<$family, minicbor::decode::Error>> {
            match kind {
                $($kind => Some(d.decode().map($family::$variant)),)+
                _ => None,
            }
        }
    };
}

kinds!(encode_command, decode_command, COMMANDS, Command {
    16 => Admit,
    17 => Close,
    18 => Publish,
    19 => Unpublish,
    20 => Subscribe,
    21 => Unsubscribe,
    22 => SetPolicy,
    23 => RestartIce,
    24 => Inspect,
    25 => Snapshot,
    26 => Drain,
    27 => Ping,
    28 => Accept,
});

kinds!(encode_reply, decode_reply, REPLIES, Reply {
    64 => Done,
    65 => Admitted,
    66 => Refused,
    67 => Inspected,
    68 => Pong,
    69 => Unsupported,
});

kinds!(encode_part, decode_part, PARTS, Part {
    96 => Session,
    97 => Track,
    98 => ShardEnd,
    99 => End,
});

kinds!(encode_event, decode_event, EVENTS, Event {
    128 => SessionConnected,
    129 => SessionClosed,
    130 => TrackLive,
    131 => TrackSilent,
    132 => ResyncNeeded,
    133 => Superseded,
    134 => Draining,
    135 => TrackLayers,
    160 => ShardStats,
});

/// Every kind of frame this build knows.
pub fn kinds() -> impl Iterator<Item = u8> {
    let families = [&[KIND_HELLO], COMMANDS, REPLIES, PARTS, EVENTS];
    families.into_iter().flatten().copied()
}

/// Kinds below this are orders, known or not.
const KIND_REPLIES: u8 = 64;

/// An enumeration of reasons, which may have one more in a later build.
pub(crate) trait Grows {
    /// What stands for those that this build does not know.
    const OTHER: Self;
}

/// Reads a reason.
pub(crate) fn or_other<'b, C, T: Grows + minicbor::Decode<'b, C>>(
    d: &mut Decoder<'b>,
    ctx: &mut C,
) -> Result<T, minicbor::decode::Error> {
    let at = d.position();
    match T::decode(d, ctx) {
        Err(error) if error.is_unknown_variant() => {
            d.set_position(at);
            d.skip()?;
            Ok(T::OTHER)
        }
        read => read,
    }
}

impl Frame {
    /// The frame's bytes.
    ///
    /// # Errors
    /// [`FrameError::Length`] when the frame exceeds [`FRAME_BYTES_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let mut bytes = vec![0; HEADER_BYTES];
        let mut e = Encoder::new(&mut bytes);
        let (kind, result) = match self {
            Frame::Hello(hello) => (KIND_HELLO, e.encode(hello.as_ref()).map(|_| ())),
            Frame::Order(order, command) => match ordered(&mut e, *order) {
                Ok(()) => encode_command(command, &mut e),
                Err(error) => (0, Err(error)),
            },
            Frame::Reply(order, reply) => match ordered(&mut e, *order) {
                Ok(()) => encode_reply(reply, &mut e),
                Err(error) => (0, Err(error)),
            },
            Frame::Part(order, part) => match ordered(&mut e, *order) {
                Ok(()) => encode_part(part, &mut e),
                Err(error) => (0, Err(error)),
            },
            Frame::Event(shard, counter, event) => match counted(&mut e, *shard, *counter) {
                Ok(()) => encode_event(event, &mut e),
                Err(error) => (0, Err(error)),
            },
        };
        result.expect("invariant: writing CBOR to a Vec cannot fail");
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(FrameError::Length(bytes.len()));
        }
        if let Some((header, _)) = bytes.split_first_chunk_mut::<HEADER_BYTES>() {
            let [hi, lo] = SCHEMA.to_be_bytes();
            *header = [kind, hi, lo];
        }
        Ok(bytes)
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// See [`FrameError`]; [`FrameError::UnknownKind`] and [`FrameError::UnknownValue`] are to be answered where
    /// they have an order and ignored where they have none, the others closed upon.
    pub fn decode(bytes: &[u8]) -> Result<Frame, FrameError> {
        let Some((&[kind, hi, lo], body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(FrameError::Length(bytes.len()));
        };
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(FrameError::Length(bytes.len()));
        }
        let schema = u16::from_be_bytes([hi, lo]);
        if schema != SCHEMA {
            return Err(FrameError::Schema(schema));
        }
        if kind == KIND_HELLO {
            return Ok(Frame::Hello(Box::new(minicbor::decode(body)?)));
        }
        let envelope = Envelope::read(body)?;
        let mut d = Decoder::new(body);
        d.set_position(envelope.body_at);
        let order = OrderId(envelope.first);
        let to_answer = (kind < KIND_REPLIES).then_some(order);
        let unreadable = |error: minicbor::decode::Error| {
            if error.is_unknown_variant() {
                let order = to_answer;
                FrameError::UnknownValue { kind, order }
            } else {
                FrameError::Malformed(error)
            }
        };
        if let Some(command) = decode_command(kind, &mut d) {
            return Ok(Frame::Order(order, command.map_err(unreadable)?));
        }
        if let Some(reply) = decode_reply(kind, &mut d) {
            return Ok(Frame::Reply(order, reply.map_err(unreadable)?));
        }
        if let Some(part) = decode_part(kind, &mut d) {
            return Ok(Frame::Part(order, part.map_err(unreadable)?));
        }
        if let Some(event) = decode_event(kind, &mut d) {
            let shard = u16::try_from(envelope.first)
                .map_err(|_| minicbor::decode::Error::message("shard index above u16"))?;
            let counter = envelope
                .second
                .ok_or_else(|| minicbor::decode::Error::message("event without a counter"))?;
            let event = event.map_err(unreadable)?;
            return Ok(Frame::Event(ShardIndex(shard), counter, event));
        }
        Err(FrameError::UnknownKind {
            kind,
            order: to_answer,
        })
    }
}

fn ordered(
    e: &mut Encoder<&mut Vec<u8>>,
    order: OrderId,
) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
    e.map(2)?.u8(0)?.u64(order.0)?.u8(1)?;
    Ok(())
}

fn counted(
    e: &mut Encoder<&mut Vec<u8>>,
    shard: ShardIndex,
    counter: u64,
) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
    e.map(3)?.u8(0)?.u16(shard.0)?.u8(1)?.u64(counter)?.u8(2)?;
    Ok(())
}

/// The outer map: key 0 a number, key 1 a number (events) or the body, key 2 the body (events). Keys
/// this build does not know are skipped.
struct Envelope {
    first: u64,
    second: Option<u64>,
    body_at: usize,
}

impl Envelope {
    fn read(bytes: &[u8]) -> Result<Envelope, minicbor::decode::Error> {
        let mut d = Decoder::new(bytes);
        let entries = d
            .map()?
            .ok_or_else(|| minicbor::decode::Error::message("envelope of indefinite length"))?;
        let mut first = None;
        let mut second = None;
        let mut body_at = None;
        for _ in 0..entries {
            let key = d.u64()?;
            let at = d.position();
            match (key, d.datatype()?) {
                (0, _) => first = Some(d.u64()?),
                (1, Type::U8 | Type::U16 | Type::U32 | Type::U64) => second = Some(d.u64()?),
                (1 | 2, _) => {
                    body_at = Some(at);
                    d.skip()?;
                }
                _ => d.skip()?,
            }
        }
        let missing = || minicbor::decode::Error::message("envelope without id or body");
        Ok(Envelope {
            first: first.ok_or_else(missing)?,
            second,
            body_at: body_at.ok_or_else(missing)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Close, Inspect, Ping};
    use crate::event::{CloseReason, SessionClosed, ShardStats};
    use crate::ids::SessionId;
    use crate::reply::{Admitted, Pong};

    fn frames() -> Vec<Frame> {
        vec![
            Frame::Order(OrderId(7), Command::Ping(Ping {})),
            Frame::Order(
                OrderId(u64::MAX),
                Command::Close(Close {
                    session: SessionId(3),
                }),
            ),
            Frame::Order(OrderId(8), Command::Inspect(Inspect::Shard(ShardIndex(1)))),
            Frame::Reply(OrderId(7), Reply::Pong(Pong {})),
            Frame::Reply(
                OrderId(9),
                Reply::Admitted(Admitted {
                    session: SessionId(3),
                    shard: ShardIndex(0),
                    ufrag: "00abcd".into(),
                    pwd: "secret".into(),
                    candidates: vec![
                        "192.0.2.1:40000".parse().expect("an address"),
                        "[2001:db8::1]:40000".parse().expect("an address"),
                    ],
                }),
            ),
            Frame::Event(
                ShardIndex(2),
                41,
                Event::SessionClosed(SessionClosed {
                    session: SessionId(3),
                    reason: CloseReason::ConsentExpired,
                }),
            ),
            Frame::Event(ShardIndex(0), 42, Event::ShardStats(ShardStats::default())),
        ]
    }

    #[test]
    fn a_frame_survives_the_wire() {
        for frame in frames() {
            let bytes = frame.encode().expect("encodes");
            assert_eq!(Frame::decode(&bytes).expect("decodes"), frame);
        }
    }

    #[test]
    fn every_cut_of_a_frame_is_an_error_and_never_a_panic() {
        for frame in frames() {
            let bytes = frame.encode().expect("encodes");
            for len in 0..bytes.len() {
                assert!(
                    Frame::decode(&bytes[..len]).is_err(),
                    "{frame:?} cut to {len}"
                );
            }
        }
    }

    #[test]
    fn an_unknown_order_can_be_answered() {
        let mut bytes = frames()[0].encode().expect("encodes");
        bytes[0] = 63;
        match Frame::decode(&bytes) {
            Err(FrameError::UnknownKind {
                kind: 63,
                order: Some(OrderId(7)),
            }) => {}
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_unknown_key_is_ignored() {
        // {0: 7, 1: {5: "later"}, 9: true}: a Ping of a later version.
        let mut bytes = vec![27, 0, 1];
        let mut e = Encoder::new(&mut bytes);
        e.map(3).unwrap().u8(0).unwrap().u8(7).unwrap();
        e.u8(1)
            .unwrap()
            .map(1)
            .unwrap()
            .u8(5)
            .unwrap()
            .str("later")
            .unwrap();
        e.u8(9).unwrap().bool(true).unwrap();
        assert_eq!(
            Frame::decode(&bytes).expect("decodes"),
            Frame::Order(OrderId(7), Command::Ping(Ping {}))
        );
    }
}
