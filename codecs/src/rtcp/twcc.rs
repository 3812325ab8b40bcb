//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3).
//!
//! Reading judges the whole packet once, chunk by chunk, so that the iterators cannot fail. Writing chooses
//! the shorter of run-length and vector chunks and stops where the packet is full.

use super::{FeedbackHead, PT_RTPFB, RtcpError, begin, finish};
use crate::bytes::{Reader, WriteError, Writer};
use crate::rtp::Seq;

/// Feedback message type (draft-holmer section 3.1).
pub const FMT: u8 = 15;
/// Microseconds of one unit of the reference time (draft-holmer section 3.1).
pub const REFERENCE_UNIT_US: i64 = 64_000;
/// Microseconds of one unit of a receive delta (draft-holmer section 3.1.5).
pub const DELTA_UNIT_US: i32 = 250;
/// The 24-bit reference time wraps after this many microseconds (12.4 days).
pub const REFERENCE_WRAP_US: i64 = REFERENCE_UNIT_US << 24;
/// Delta units in one reference unit: 64 ms / 250 us.
const TICKS_PER_REFERENCE: u64 = 256;
const DELTA_UNIT_US_U64: u64 = 250;
/// Where the packet status count stands.
const COUNT_AT: usize = 14;

/// The longest run of a run-length chunk: 13 bits (draft-holmer section 3.1.3).
const RUN_MAX: usize = 0x1FFF;
/// Symbols of a one-bit vector chunk (draft-holmer section 3.1.4).
const ONE_BIT_SYMBOLS: usize = 14;
/// Symbols of a two-bit vector chunk (draft-holmer section 3.1.4).
const TWO_BIT_SYMBOLS: usize = 7;

/// A packet status symbol (draft-holmer section 3.1.1); 3 is reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Symbol {
    NotReceived,
    SmallDelta,
    LargeDelta,
}

impl Symbol {
    fn from_bits(bits: u16) -> Option<Symbol> {
        match bits & 3 {
            0 => Some(Symbol::NotReceived),
            1 => Some(Symbol::SmallDelta),
            2 => Some(Symbol::LargeDelta),
            _ => None,
        }
    }

    fn bits(self) -> u16 {
        match self {
            Symbol::NotReceived => 0,
            Symbol::SmallDelta => 1,
            Symbol::LargeDelta => 2,
        }
    }

    /// Octets of its receive delta.
    fn delta_len(self) -> usize {
        match self {
            Symbol::NotReceived => 0,
            Symbol::SmallDelta => 1,
            Symbol::LargeDelta => 2,
        }
    }
}

/// One status chunk being read: `left` symbols, the next one in the top bits of `bits` for a vector.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    bits: u16,
    width: Width,
    left: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    Run,
    OneBit,
    TwoBits,
}

impl Chunk {
    fn new(word: u16) -> Chunk {
        match word >> 14 {
            // T = 1, S = 0: 14 one-bit symbols.
            2 => Chunk {
                bits: word << 2,
                width: Width::OneBit,
                left: 14,
            },
            // T = 1, S = 1: 7 two-bit symbols.
            3 => Chunk {
                bits: word << 2,
                width: Width::TwoBits,
                left: 7,
            },
            // T = 0: a two-bit symbol and a 13-bit run.
            _ => Chunk {
                bits: word << 1,
                width: Width::Run,
                left: word & 0x1FFF,
            },
        }
    }

    /// The next symbol; `None` when the chunk is used up or the symbol is reserved.
    fn next(&mut self) -> Option<Symbol> {
        self.left = self.left.checked_sub(1)?;
        match self.width {
            Width::Run => Symbol::from_bits(self.bits >> 14),
            Width::OneBit => {
                let symbol = Symbol::from_bits(self.bits >> 15);
                self.bits <<= 1;
                symbol
            }
            Width::TwoBits => {
                let symbol = Symbol::from_bits(self.bits >> 14);
                self.bits <<= 2;
                symbol
            }
        }
    }

    /// Octets of the receive deltas of the first `symbols` symbols; `None` for a reserved symbol.
    fn delta_len(mut self, symbols: u16) -> Option<usize> {
        if self.width == Width::Run {
            let each = Symbol::from_bits(self.bits >> 14)?.delta_len();
            return Some(usize::from(symbols).saturating_mul(each));
        }
        let mut len = 0_usize;
        for _ in 0..symbols {
            len = len.saturating_add(self.next()?.delta_len());
        }
        Some(len)
    }
}

/// Arrival times of the packets with the numbers `base_seq..base_seq + count`.
#[derive(Clone, Copy, Debug)]
pub struct TransportCc<'a> {
    /// Who reports.
    pub sender_ssrc: u32,
    /// One source of the transport; the numbers count the packets of all of them.
    pub media_ssrc: u32,
    /// The first number reported on.
    pub base_seq: Seq,
    /// How many numbers are reported on.
    pub count: u16,
    /// Time base in units of 64 ms, signed 24 bits.
    pub reference_time: i32,
    /// Counts feedback packets of this reporter, wrapping.
    pub feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> TransportCc<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<TransportCc<'a>, RtcpError> {
        let (head, mut reader) = FeedbackHead::read(body)?;
        let (base_seq, count, reference_time, feedback_count) =
            read_fixed(&mut reader).ok_or(RtcpError::Length)?;
        let after_fixed = reader.rest();
        let mut uncovered = count;
        let mut deltas_len = 0_usize;
        while uncovered > 0 {
            let chunk = Chunk::new(reader.u16().ok_or(RtcpError::Content)?);
            let symbols = chunk.left.min(uncovered);
            let len = chunk.delta_len(symbols).ok_or(RtcpError::Content)?;
            deltas_len = deltas_len.saturating_add(len);
            uncovered = uncovered.saturating_sub(symbols);
        }
        let chunks_len = after_fixed.len().saturating_sub(reader.rest().len());
        let deltas = reader.take(deltas_len).ok_or(RtcpError::Content)?;
        Ok(TransportCc {
            sender_ssrc: head.sender_ssrc,
            media_ssrc: head.media_ssrc,
            base_seq,
            count,
            reference_time,
            feedback_count,
            chunks: after_fixed.get(..chunks_len).unwrap_or_default(),
            deltas,
        })
    }

    /// The time base in microseconds; wraps with [`REFERENCE_WRAP_US`].
    #[must_use]
    pub fn reference_time_us(&self) -> i64 {
        i64::from(self.reference_time).saturating_mul(REFERENCE_UNIT_US)
    }

    /// Each number with its receive delta in microseconds: for the first received packet the time since the
    /// reference time, for later ones since the previous received packet. `None` was not received.
    #[must_use]
    pub fn packets(&self) -> Packets<'a> {
        Packets {
            chunks: Reader::new(self.chunks),
            deltas: Reader::new(self.deltas),
            chunk: Chunk::new(0),
            seq: self.base_seq,
            left: self.count,
        }
    }

    /// Each number with its arrival time in microseconds on the reporter's clock, wrapping with
    /// [`REFERENCE_WRAP_US`]; `None` was not received.
    pub fn arrivals(&self) -> impl Iterator<Item = (Seq, Option<i64>)> + use<'a> {
        let mut at = self.reference_time_us();
        self.packets().map(move |(seq, delta)| {
            let arrival = delta.map(|delta| {
                at = at.saturating_add(i64::from(delta));
                at
            });
            (seq, arrival)
        })
    }
}

fn read_fixed(reader: &mut Reader<'_>) -> Option<(Seq, u16, i32, u8)> {
    let base_seq = Seq(reader.u16()?);
    let count = reader.u16()?;
    // The 24 bits are shifted to the top and back to extend their sign.
    let reference_time = (reader.u24()? << 8).cast_signed() >> 8;
    Some((base_seq, count, reference_time, reader.u8()?))
}

/// Iterator of [`TransportCc::packets`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    chunks: Reader<'a>,
    deltas: Reader<'a>,
    chunk: Chunk,
    seq: Seq,
    left: u16,
}

impl Iterator for Packets<'_> {
    type Item = (Seq, Option<i32>);

    fn next(&mut self) -> Option<(Seq, Option<i32>)> {
        self.left = self.left.checked_sub(1)?;
        while self.chunk.left == 0 {
            self.chunk = Chunk::new(self.chunks.u16()?);
        }
        let units = match self.chunk.next()? {
            Symbol::NotReceived => None,
            Symbol::SmallDelta => Some(i32::from(self.deltas.u8()?)),
            Symbol::LargeDelta => Some(i32::from(self.deltas.u16()?.cast_signed())),
        };
        let seq = self.seq;
        self.seq = seq.plus(1);
        Some((seq, units.map(|units| units.saturating_mul(DELTA_UNIT_US))))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(usize::from(self.left)))
    }
}

impl std::iter::FusedIterator for Packets<'_> {}

/// What a feedback packet shall say.
#[derive(Clone, Copy, Debug)]
pub struct Feedback<'a> {
    /// Who reports.
    pub sender_ssrc: u32,
    /// One source of the transport.
    pub media_ssrc: u32,
    /// The number of the first arrival.
    pub base_seq: Seq,
    /// Arrival time in microseconds of each number from `base_seq` on, `None` for one not received. Quantised
    /// to 250 us without adding up.
    pub arrivals_us: &'a [Option<u64>],
    /// Counts feedback packets, wrapping.
    pub feedback_count: u8,
}

/// What [`write()`] wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Octets.
    pub len: usize,
    /// Arrivals reported. Fewer than given when the packet is full, or when the next arrival is more than
    /// 8.19 s from the one before, which no delta can say: the caller continues there in another packet.
    pub statuses: usize,
}

/// Writes a feedback packet.
///
/// # Errors
/// [`WriteError::Value`] when nothing was received, [`WriteError::Space`] when not one status fits.
pub fn write(out: &mut [u8], feedback: &Feedback<'_>) -> Result<Written, WriteError> {
    let mut statuses = Statuses::new(feedback.arrivals_us).ok_or(WriteError::Value)?;
    let all = statuses.clone();
    let budget = out.len() & !3;
    let mut writer = Writer::new(out);
    begin(&mut writer, usize::from(FMT), PT_RTPFB)?;
    FeedbackHead {
        sender_ssrc: feedback.sender_ssrc,
        media_ssrc: feedback.media_ssrc,
    }
    .write(&mut writer)?;
    writer.u16(feedback.base_seq.0)?;
    writer.u16(0)?;
    let [.., r0, r1, r2] = statuses.reference.to_be_bytes();
    writer.bytes(&[r0, r1, r2, feedback.feedback_count])?;

    let mut count = 0_usize;
    let mut deltas_len = 0_usize;
    loop {
        let used = writer.len().saturating_add(2).saturating_add(deltas_len);
        let Some(room) = budget.checked_sub(used) else {
            break;
        };
        let chunk = ChunkPlan::choose(&statuses, room);
        if chunk.symbols == 0 {
            break;
        }
        writer.u16(chunk.word)?;
        deltas_len = deltas_len.saturating_add(chunk.deltas_len);
        count = count.saturating_add(chunk.symbols);
        statuses.nth(chunk.symbols.saturating_sub(1));
    }
    if count == 0 {
        return Err(WriteError::Space);
    }
    let count_field = u16::try_from(count).map_err(|_| WriteError::Value)?;
    writer.patch(COUNT_AT, &count_field.to_be_bytes())?;
    for (symbol, delta) in all.take(count) {
        match symbol {
            Symbol::NotReceived => {}
            Symbol::SmallDelta => writer.u8(delta.to_be_bytes()[1])?,
            Symbol::LargeDelta => writer.bytes(&delta.to_be_bytes())?,
        }
    }
    let len = finish(writer)?;
    Ok(Written {
        len,
        statuses: count,
    })
}

/// Arrivals as symbols and deltas in units of 250 us. Ends before an arrival that no delta can say.
#[derive(Clone, Debug)]
struct Statuses<'a> {
    rest: &'a [Option<u64>],
    reference: u64,
    /// Time of the previous received packet in delta units.
    last_ticks: u64,
}

impl<'a> Statuses<'a> {
    fn new(arrivals_us: &'a [Option<u64>]) -> Option<Statuses<'a>> {
        let first_us = arrivals_us.iter().flatten().next()?;
        let reference = (first_us / DELTA_UNIT_US_U64) / TICKS_PER_REFERENCE;
        // The status count is 16 bits wide.
        let len = arrivals_us.len().min(usize::from(u16::MAX));
        Some(Statuses {
            rest: arrivals_us.get(..len)?,
            reference,
            last_ticks: reference.saturating_mul(TICKS_PER_REFERENCE),
        })
    }
}

impl Iterator for Statuses<'_> {
    type Item = (Symbol, i16);

    fn next(&mut self) -> Option<(Symbol, i16)> {
        let (arrival, rest) = self.rest.split_first()?;
        let Some(us) = arrival else {
            self.rest = rest;
            return Some((Symbol::NotReceived, 0));
        };
        let ticks = us / DELTA_UNIT_US_U64;
        let Ok(delta) = i16::try_from(ticks.wrapping_sub(self.last_ticks).cast_signed()) else {
            self.rest = &[];
            return None;
        };
        self.rest = rest;
        self.last_ticks = ticks;
        let symbol = if (0..=255).contains(&delta) {
            Symbol::SmallDelta
        } else {
            Symbol::LargeDelta
        };
        Some((symbol, delta))
    }
}

/// The next chunk to write.
///
/// A chunk shortened for want of room is readable only as the last one, and it always is: what it leaves is
/// less than one delta, at most one octet, and another chunk needs two.
#[derive(Clone, Copy, Debug)]
struct ChunkPlan {
    word: u16,
    symbols: usize,
    deltas_len: usize,
}

impl ChunkPlan {
    /// Plans a chunk for the beginning of `statuses` whose deltas take at most `room` octets. No symbols
    /// when nothing is left or nothing fits.
    fn choose(statuses: &Statuses<'_>, room: usize) -> ChunkPlan {
        let mut symbols = statuses.clone().map(|(symbol, _)| symbol);
        let Some(first) = symbols.next() else {
            return ChunkPlan {
                word: 0,
                symbols: 0,
                deltas_len: 0,
            };
        };
        let run = symbols
            .take(RUN_MAX.saturating_sub(1))
            .take_while(|symbol| *symbol == first)
            .count()
            .saturating_add(1);
        let one_bit = statuses
            .clone()
            .take(ONE_BIT_SYMBOLS)
            .all(|(symbol, _)| symbol != Symbol::LargeDelta);
        if run >= ONE_BIT_SYMBOLS || (!one_bit && run >= TWO_BIT_SYMBOLS) {
            ChunkPlan::run(first, run, room)
        } else if one_bit {
            ChunkPlan::vector(statuses, ONE_BIT_SYMBOLS, 0x8000, room)
        } else {
            ChunkPlan::vector(statuses, TWO_BIT_SYMBOLS, 0xC000, room)
        }
    }

    fn run(symbol: Symbol, run: usize, room: usize) -> ChunkPlan {
        let each = symbol.delta_len();
        let fits = room.checked_div(each).unwrap_or(usize::MAX).min(run);
        let length = u16::try_from(fits).unwrap_or(0) & 0x1FFF;
        ChunkPlan {
            word: (symbol.bits() << 13) | length,
            symbols: usize::from(length),
            deltas_len: usize::from(length).saturating_mul(each),
        }
    }

    fn vector(statuses: &Statuses<'_>, capacity: usize, head: u16, room: usize) -> ChunkPlan {
        let width = if capacity == ONE_BIT_SYMBOLS { 1 } else { 2 };
        let mut plan = ChunkPlan {
            word: head,
            symbols: 0,
            deltas_len: 0,
        };
        let mut shift = 14_u32;
        for (symbol, _) in statuses.clone().take(capacity) {
            let deltas_len = plan.deltas_len.saturating_add(symbol.delta_len());
            if deltas_len > room {
                return plan;
            }
            shift = shift.saturating_sub(width);
            plan.word |= symbol.bits().checked_shl(shift).unwrap_or(0);
            plan.deltas_len = deltas_len;
            plan.symbols = plan.symbols.saturating_add(1);
        }
        plan
    }
}
