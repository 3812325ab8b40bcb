//! What both processes say of media: kinds, codecs, header extensions, encodings.

use minicbor::{Decode, Encode};

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum MediaKind {
    /// Audio.
    #[n(0)]
    Audio,
    /// Video, including screens.
    #[n(1)]
    Video,
}

/// An open codec number: a data plane forwards codecs it has no name for, without layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct CodecId(#[n(0)] pub u16);

impl CodecId {
    /// Opus (RFC 7587).
    pub const OPUS: CodecId = CodecId(1);
    /// VP8 (RFC 7741).
    pub const VP8: CodecId = CodecId(16);
    /// VP9 (RFC 9628).
    pub const VP9: CodecId = CodecId(17);
    /// H.264 (RFC 6184).
    pub const H264: CodecId = CodecId(18);
    /// H.265 (RFC 7798).
    pub const H265: CodecId = CodecId(19);
    /// AV1 (AOM RTP payload format).
    pub const AV1: CodecId = CodecId(20);
}

/// One negotiated payload type of an m-section.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PayloadType {
    /// Which codec.
    #[n(0)]
    pub codec: CodecId,
    /// The RTP payload type, 0..=127.
    #[n(1)]
    pub pt: u8,
    /// The payload type of its RTX stream (RFC 4588), when negotiated.
    #[n(2)]
    pub rtx_pt: Option<u8>,
    /// RTP clock rate in Hz.
    #[n(3)]
    pub clock_hz: u32,
    /// `nack` was negotiated.
    #[n(4)]
    pub nack: bool,
    /// `nack pli` (or `ccm fir`) was negotiated.
    #[n(5)]
    pub pli: bool,
    /// `transport-cc` was negotiated.
    #[n(6)]
    pub transport_cc: bool,
    /// Distinguishes incompatible forms of one codec (H.264 packetization mode and profile, VP9
    /// profile): a slot takes a source only when codec and form are equal. 0 where a codec has one form.
    #[n(7)]
    pub form: u32,
}

/// Header extension ids of a session (RFC 8285); one map a session, because BUNDLE shares them.
/// `None` where the extension was not negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Extensions {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid` (RFC 9143).
    #[n(0)]
    pub mid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id` (RFC 8852).
    #[n(1)]
    pub rid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id` (RFC 8852).
    #[n(2)]
    pub repaired_rid: Option<u8>,
    /// Transport-wide congestion control 01.
    #[n(3)]
    pub transport_cc: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level` (RFC 6464).
    #[n(4)]
    pub audio_level: Option<u8>,
    /// `urn:3gpp:video-orientation`.
    #[n(5)]
    pub video_orientation: Option<u8>,
    /// AV1 dependency descriptor.
    #[n(6)]
    pub dependency_descriptor: Option<u8>,
    /// Absolute capture time.
    #[n(7)]
    pub abs_capture_time: Option<u8>,
    /// Playout delay limits.
    #[n(8)]
    pub playout_delay: Option<u8>,
    /// `a=extmap-allow-mixed` (RFC 8285 section 4.1.2): a packet may carry the two-byte form, which an
    /// element longer than 16 bytes needs.
    #[n(9)]
    #[cbor(default)]
    pub mixed: bool,
}

/// One encoding of a published track: a simulcast layer, or the only one.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Encoding {
    /// Its restriction identifier (RFC 8851), for simulcast.
    #[n(0)]
    pub rid: Option<String>,
    /// Its SSRC where the offer declared one; else it is learned from mid, rid or payload type.
    #[n(1)]
    pub ssrc: Option<u32>,
    /// The SSRC of its RTX stream where declared.
    #[n(2)]
    pub rtx_ssrc: Option<u32>,
}
