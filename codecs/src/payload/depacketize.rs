//! Frames out of packets, for whoever stores or transcodes them. Forwarding needs none of this.

mod assembly;

pub(super) use assembly::{Assembly, Beginning, Flaw};

use super::nal::{self, NalForm};
use super::{Codec, av1, opus, vp8, vp9};

/// What a depacketiser makes of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Opus packets, each a frame.
    Opus,
    /// VP8 frames.
    Vp8,
    /// VP9 pictures: with several spatial layers a superframe with its index (VP9 bitstream specification
    /// annex B), as containers and decoders want it.
    Vp9,
    /// H.264 access units.
    H264(NalForm),
    /// H.265 access units.
    H265(NalForm),
    /// AV1 temporal units in the low-overhead bitstream format, every OBU with its size, without temporal
    /// delimiters (AV1 specification section 5.2).
    Av1,
}

impl Format {
    /// The codec.
    #[must_use]
    pub fn codec(self) -> Codec {
        match self {
            Format::Opus => Codec::Opus,
            Format::Vp8 => Codec::Vp8,
            Format::Vp9 => Codec::Vp9,
            Format::H264(_) => Codec::H264,
            Format::H265(_) => Codec::H265,
            Format::Av1 => Codec::Av1,
        }
    }
}

/// A whole frame: nothing of it was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The frame in its [`Format`].
    pub bytes: &'a [u8],
    /// The RTP timestamp of its packets.
    pub timestamp: u32,
    /// A decoder can begin here: a key frame of VP8 or VP9, an IDR picture, a random access picture of H.265,
    /// the beginning of an AV1 coded video sequence, any Opus packet.
    pub keyframe: bool,
}

/// Frames that were not yielded, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// A part is missing.
    pub incomplete: u64,
    /// A payload cannot be read, or does not follow on the one before it.
    pub malformed: u64,
    /// The frame is longer than the caller allows.
    pub too_long: u64,
}

/// Gathers the payloads of one stream into whole frames.
///
/// It is fed every packet in order of sequence numbers, and told where some are missing. A frame ends with the
/// marker, or with the first packet of another timestamp, because receivers must not rely on the marker (RFC
/// 6184 section 5.1). After a gap the next frame counts only when its first packet shows that it is the first;
/// otherwise the one after it.
///
/// It keeps one buffer, which grows to the longest frame and never beyond the caller's limit.
#[derive(Debug)]
pub struct Depacketizer {
    format: Format,
    gather: Gather,
    assembly: Assembly,
    current: Option<Current>,
    /// No packet is missing before the next one.
    contiguous: bool,
    /// Frames to poll: one that ended with the timestamp, one that ended with the marker.
    ready: [Option<Ready>; 2],
    dropped: Dropped,
}

/// The frame whose packets are coming in.
#[derive(Clone, Copy, Debug)]
struct Current {
    timestamp: u32,
    /// Why it will not be yielded.
    flaw: Option<Flaw>,
}

/// A whole frame in the buffer.
#[derive(Clone, Copy, Debug)]
struct Ready {
    begin: usize,
    end: usize,
    timestamp: u32,
    keyframe: bool,
}

/// What a codec remembers between the packets of a frame.
#[derive(Clone, Copy, Debug)]
enum Gather {
    Opus,
    Vp8,
    Vp9(vp9::Gather),
    H264(nal::Gather),
    H265(nal::Gather),
    Av1(av1::Gather),
}

impl Gather {
    fn new(format: Format) -> Gather {
        match format {
            Format::Opus => Gather::Opus,
            Format::Vp8 => Gather::Vp8,
            Format::Vp9 => Gather::Vp9(vp9::Gather::default()),
            Format::H264(form) => Gather::H264(nal::Gather::new(form)),
            Format::H265(form) => Gather::H265(nal::Gather::new(form)),
            Format::Av1 => Gather::Av1(av1::Gather::default()),
        }
    }

    fn beginning(&self, payload: &[u8]) -> Beginning {
        match self {
            Gather::Opus => Beginning::Always,
            Gather::Vp8 => vp8::beginning(payload),
            Gather::Vp9(_) => vp9::beginning(payload),
            Gather::H264(_) => super::h264::beginning(payload),
            Gather::H265(_) => super::h265::beginning(payload),
            Gather::Av1(_) => av1::beginning(payload),
        }
    }

    fn append(&mut self, frame: &mut Assembly, payload: &[u8]) -> Result<(), Flaw> {
        match self {
            Gather::Opus => opus::append(frame, payload),
            Gather::Vp8 => vp8::append(frame, payload),
            Gather::Vp9(gather) => gather.append(frame, payload),
            Gather::H264(gather) => super::h264::append(gather, frame, payload),
            Gather::H265(gather) => super::h265::append(gather, frame, payload),
            Gather::Av1(gather) => gather.append(frame, payload),
        }
    }

    fn finish(&mut self, frame: &mut Assembly) -> Result<(), Flaw> {
        match self {
            Gather::Opus => Ok(()),
            Gather::Vp8 => vp8::finish(frame),
            Gather::Vp9(gather) => gather.finish(frame),
            Gather::H264(gather) | Gather::H265(gather) => gather.finish(),
            Gather::Av1(gather) => gather.finish(),
        }
    }
}

impl Depacketizer {
    /// A depacketiser that has seen nothing. It never keeps more than `frame_bytes_max` octets, so no frame is
    /// longer; one that ended without a marker shares them with the first packet of its successor.
    #[must_use]
    pub fn new(format: Format, frame_bytes_max: usize) -> Depacketizer {
        Depacketizer {
            format,
            gather: Gather::new(format),
            assembly: Assembly::new(frame_bytes_max),
            current: None,
            contiguous: false,
            ready: [None; 2],
            dropped: Dropped::default(),
        }
    }

    /// Takes the next packet: its payload, decrypted and without padding, its RTP timestamp and its marker.
    /// Afterwards [`poll`](Depacketizer::poll) yields at most two frames; frames not polled by the next push
    /// are gone. A packet that was only padding belongs to no frame and changes nothing.
    pub fn push(&mut self, payload: &[u8], timestamp: u32, marker: bool) {
        self.forget_ready();
        if payload.is_empty() {
            return;
        }
        if self.current.is_some_and(|at| at.timestamp != timestamp) {
            self.close();
        }
        self.place(self.gather.beginning(payload), timestamp);
        self.contiguous = true;
        let Some(current) = self.current.as_mut() else {
            return;
        };
        if current.flaw.is_none() {
            current.flaw = self.gather.append(&mut self.assembly, payload).err();
        }
        if marker || self.format == Format::Opus {
            self.close();
        }
    }

    /// Packets are missing between the last one and the next one.
    pub fn gap(&mut self) {
        self.contiguous = false;
        if let Some(current) = self.current.as_mut() {
            current.flaw.get_or_insert(Flaw::Incomplete);
        }
    }

    /// No packet follows: a last frame without marker is whole.
    pub fn end(&mut self) {
        self.forget_ready();
        self.close();
        self.contiguous = false;
    }

    /// The next whole frame, in order.
    pub fn poll(&mut self) -> Option<Frame<'_>> {
        let ready = self.ready.iter_mut().find_map(Option::take)?;
        Some(Frame {
            bytes: self.assembly.slice(ready.begin, ready.end),
            timestamp: ready.timestamp,
            keyframe: ready.keyframe,
        })
    }

    /// Frames that were not yielded so far. A frame of which no packet arrived is not known.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Octets of the buffer, which is never longer than the limit.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.assembly.capacity()
    }

    /// Decides whether a packet goes on with the current frame, begins one, or belongs to one whose beginning
    /// is missing.
    fn place(&mut self, beginning: Beginning, timestamp: u32) {
        let flaw = match (&mut self.current, beginning) {
            (Some(current), Beginning::Always) => {
                // The end of the frame before it never came.
                current.flaw.get_or_insert(Flaw::Incomplete);
                self.close();
                None
            }
            // What is missing of the frame stands before this packet, and no picture needs it.
            (Some(current), Beginning::AfterLoss) if current.flaw == Some(Flaw::Incomplete) => {
                self.assembly.discard();
                None
            }
            (Some(_), _) => return,
            (None, Beginning::Always | Beginning::AfterLoss) => None,
            (None, Beginning::InOrder) if self.contiguous => None,
            (None, Beginning::InOrder | Beginning::Never) => Some(Flaw::Incomplete),
        };
        self.assembly.begin();
        self.gather = Gather::new(self.format);
        self.current = Some(Current { timestamp, flaw });
    }

    /// Ends the current frame: it becomes ready, or counts as dropped.
    fn close(&mut self) {
        let Some(current) = self.current.take() else {
            return;
        };
        let whole = match current.flaw {
            Some(flaw) => Err(flaw),
            None => self.gather.finish(&mut self.assembly),
        };
        let flaw = match whole {
            Ok(()) if self.assembly.is_empty() => Flaw::Malformed,
            Ok(()) => {
                let (begin, end) = self.assembly.end();
                let ready = Ready {
                    begin,
                    end,
                    timestamp: current.timestamp,
                    keyframe: self.assembly.keyframe,
                };
                if let Some(free) = self.ready.iter_mut().find(|ready| ready.is_none()) {
                    *free = Some(ready);
                }
                return;
            }
            Err(flaw) => flaw,
        };
        self.assembly.discard();
        let count = match flaw {
            Flaw::Incomplete => &mut self.dropped.incomplete,
            Flaw::Malformed => &mut self.dropped.malformed,
            Flaw::TooLong => &mut self.dropped.too_long,
        };
        *count = count.saturating_add(1);
    }

    fn forget_ready(&mut self) {
        self.ready = [None; 2];
        self.assembly.forget_before();
    }
}
