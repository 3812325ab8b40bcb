//! Every bound of a shard, its reason, and its relation to the others.

/// Longest datagram the engine accepts. Receive buffers are 2 KiB; Chromium sends up to 1,214 B, and a
/// route with a larger MTU gains nothing for real-time media.
pub const DATAGRAM_BYTES_MAX: usize = 1_800;

/// Sessions of one shard. At 2,000 viewers a core is at its end; the rest are idle ones.
pub const SESSIONS_PER_SHARD_MAX: usize = 4_096;

/// Sessions of one shard that have no keys yet: admitted and not validated, or in the middle of their handshake
/// (security.md D5). 1,000 clients that join at once are through within 2 s; who never finishes is gone within
/// [`ICE_TIMEOUT_US`] and the deadline of the handshake.
pub const HALF_OPEN_PER_SHARD_MAX: usize = 1_024;

/// Slots of one session (contracts.md 21: audio and video slots of a whole class on one connection).
pub const SLOTS_PER_SESSION_MAX: usize = 256;

/// Tracks one session may publish: camera, microphone, screen, screen audio, with room for growth.
pub const TRACKS_PER_SESSION_MAX: usize = 16;

/// Simulcast encodings of one track: full, half, quarter and one spare.
pub const ENCODINGS_PER_TRACK_MAX: usize = 4;

/// SSRCs of a session that have a replay window at once (security.md S5): 16 tracks of one encoding with its RTX.
pub const SSRCS_PER_SESSION_MAX: usize = 32;

/// SSRCs of a session that had one and gave it up to another, of which the highest index is kept. With seven SSRCs
/// for a camera in three layers and a microphone, a publisher can begin anew forty times on one key; then new SSRCs
/// are refused, because none may be forgotten.
pub const SSRCS_REMEMBERED_MAX: usize = 256;

/// Validated paths a session may have (contracts.md 5).
pub const PATHS_PER_SESSION_MAX: usize = 8;

/// Longest mid or rid: the longest element a one-byte header extension can carry (RFC 8285 section 4.2).
pub const MID_BYTES_MAX: usize = 16;

/// Slots of the packet pool: at 3,500 packets/s in, 8,192 hold 2.3 s of history.
pub const POOL_PACKETS: usize = 8_192;

/// Header extension bytes a pooled packet carries besides its payload: a dependency descriptor with its
/// template structure stays below this.
pub const FORWARDED_EXTENSION_BYTES_MAX: usize = 128;

/// How many packets back a slot looks that begins with a keyframe's first packet after the rest of it: what a busy
/// shard receives while a repair takes two round trips.
pub const CATCH_UP_PACKETS_MAX: u64 = 1_024;

/// Bytes of one pool slot.
pub const POOL_PACKET_BYTES: usize = 2_048;

/// Packets a video slot remembers for retransmission: one second at 5 Mbit/s.
pub const VIDEO_HISTORY_PACKETS: usize = 512;

/// Packets an audio slot remembers: 2.5 s at 20 ms.
pub const AUDIO_HISTORY_PACKETS: usize = 128;

/// Packets waiting for one session between two flushes. A 4k60 keyframe has about 1,000.
pub const OUTBOX_PACKETS_MAX: usize = 2_048;

/// Longest run: more than 48 segments gain nothing (datapath.md, design 5).
pub const RUN_SEGMENTS_MAX: usize = 48;

/// Longest UDP payload of one send over IPv4: 65,535 - 20 - 8.
pub const RUN_BYTES_MAX: usize = 65_507;

/// RTP padding that may be added to make packets of a run equally long (datapath.md, design 5).
pub const PADDING_BYTES_MAX: usize = 32;

/// DTLS bytes of one session that may wait for the handshake worker within one second (security.md D3).
pub const DTLS_BYTES_PER_SECOND_MAX: usize = 32 * 1_024;

/// Compound RTCP packets a session may send within one second (security.md R9).
pub const RTCP_PER_SECOND_MAX: u32 = 200;

/// Sequence numbers a viewer may ask for again within one second. A class of 4,000 packets/s of which a fifth is
/// lost, each asked for ten times, needs 8,000; what one compound can name, 200 times a second, would be a million
/// lookups.
pub const NACK_NUMBERS_PER_SECOND_MAX: u32 = 10_000;

/// An admitted session whose first valid check does not arrive within this is closed.
pub const ICE_TIMEOUT_US: u64 = 30_000_000;

/// Without a sign of life for this long nothing more is sent to a peer (RFC 7675 section 5.1).
pub const CONSENT_US: u64 = 30_000_000;

/// How long after that a session is closed: a network that was away for 30 s finds it still here, and one that
/// stays away is told of within 35 s (security.md, fault matrix).
pub const CONSENT_GRACE_US: u64 = 4_500_000;

/// A peer sends periodic checks when this many under different transaction ids came after its nomination, each
/// at least [`CHECKER_GAP_US`] after the one before: 7.5 s of Chromium (every 2.5 s), 15 s of Firefox (every
/// 5 s). From then on its media alone does not keep it (contracts.md 6).
pub const CHECKER_CHECKS: u8 = 3;
/// See [`CHECKER_CHECKS`].
pub const CHECKER_GAP_US: u64 = 2_000_000;

/// Packets sent to a session that is not heard. A receiver bridges 2^15 of one stream (RFC 3711 appendix A) and may
/// have lost every one of these; at 1,000 a second this is 16 s.
pub const UNHEARD_PACKETS_MAX: u32 = 1 << 14;

/// A selected path this silent gives way to another that lives (contracts.md 5).
pub const PATH_SILENT_US: u64 = 5_000_000;

/// The shortest silence that says a path was succeeded: above the jitter of any path that carries a call.
pub const PATH_PATIENCE_US_MIN: u64 = 250_000;

/// For how long after a new binding packets may still arrive by the old one, overtaken on the way.
pub const RETRACED_US_MAX: u64 = 100_000;

/// A path this silent may become another session's, where signs of life are rare or too few to tell: a viewer that
/// sends no second check (contracts.md 6) is heard by its receiver reports alone, which are up to 6.2 s apart (RFC
/// 3550 section 6.3.1: 5 s x 1.5 / 1.218), and one of them may be lost. A path that says much is missed sooner:
/// after twice its longest pause, at least [`PATH_SILENT_US`].
pub const PATH_TAKEOVER_US: u64 = 15_000_000;

/// What a session may have sent again before it was sent much: three full packets. No more, or a session that is
/// sent little could ask for many times that.
pub const RESEND_START_BYTES: u64 = 4_096;

/// What a session may have sent again at once, in bytes: a quarter of a second of 4 Mbit/s video, saved up.
pub const RESEND_BURST_BYTES: u64 = 128 * 1_024;

/// What a packet that is sent again costs besides its payload, dependency descriptor and padding: 12 bytes of header,
/// up to 30 of other extensions, 16 of tag, 2 of original sequence number.
pub const RESEND_HEADER_BYTES: u64 = 64;

/// One byte of this many that a session is sent may be sent again (security.md R7: egress to one that asks for
/// everything grows by a fifth at most, burst and retransmission headers included).
pub const RESEND_SHARE: u64 = 6;

/// A track without a packet for this long is silent (domain.md row 15).
pub const TRACK_SILENT_US: u64 = 2_000_000;

/// Interval of sender and receiver reports (RFC 3550 section 6.2 allows 5 s; lip sync wants it faster).
pub const REPORT_INTERVAL_US: u64 = 1_000_000;

/// Interval of transport-wide feedback to a publisher: libwebrtc's own receivers use 50 to 100 ms.
pub const TRANSPORT_CC_INTERVAL_US: u64 = 50_000;

/// Packets one incoming stream may miss and ask for. More means that the link was away: 256 are 0.7 s of
/// 3.5 Mbit/s, which a keyframe mends sooner.
pub const MISSING_PER_STREAM_MAX: usize = 256;

/// Times a publisher is asked for one packet, as libwebrtc's receiver does.
pub const NACK_ASKS_MAX: u8 = 10;

/// A missing packet this old helps nobody: viewers' jitter buffers hold less.
pub const NACK_AGE_US_MAX: u64 = 1_000_000;

/// A publisher is not asked for the same packet more often than this.
pub const NACK_INTERVAL_US_MIN: u64 = 20_000;

/// How long a packet may be overtaken before it counts as lost: at least what a network that swaps neighbours
/// needs, at most what a viewer does not notice.
pub const REORDER_US_MIN: u64 = 2_000;
/// See [`REORDER_US_MIN`].
pub const REORDER_US_MAX: u64 = 40_000;

/// Round trip of a peer nothing is known of yet.
pub const RTT_US_DEFAULT: u64 = 100_000;
/// A longer measurement is a mistake.
pub const RTT_US_MAX: u64 = 2_000_000;

/// A packet is not sent again to a viewer when it reached this node longer ago than that: the viewer's jitter
/// buffer has given up, and the history must not outlive what it is for.
pub const HISTORY_US_MAX: u64 = 2_000_000;

/// A viewer's wish for a keyframe on one slot is heard at most this often (security.md R6).
pub const KEYFRAME_WISH_INTERVAL_US: u64 = 500_000;

/// Keyframe requests one publisher gets within a second, whatever it publishes: three layers of a camera and
/// a screen, twice (security.md R6).
pub const KEYFRAME_REQUESTS_PER_SECOND_MAX: usize = 8;

/// What a session may publish when its policy does not say, bit/s: several times 4k60 with its lower layers, and
/// about what saturates a core with fifty viewers (security.md R10).
pub const INGRESS_BPS_DEFAULT: u64 = 150_000_000;

/// What a packet costs a publisher at least, in bytes: else its ceiling of empty packets would be a million and a half a second.
pub const INGRESS_PACKET_BYTES_MIN: u64 = 200;

/// A publisher may be ahead of its ceiling by this much: a keyframe is twenty times a delta frame.
pub const INGRESS_BURST_US: u64 = 500_000;
/// And by no more bits than a keyframe of 3 MB, so that a flood is policed within a second whatever its ceiling.
pub const INGRESS_BURST_BITS_MAX: u64 = 25_000_000;

/// Longest wait of a video packet for company (contracts.md 15).
pub const LINGER_US_MAX: u64 = 2_000;

/// Layers a keyframe is asked of at most this often, lowest layer first (contracts.md 40).
pub const KEYFRAME_INTERVAL_US: [u64; 3] = [500_000, 1_000_000, 1_000_000];

const _: () = assert!(DATAGRAM_BYTES_MAX + FORWARDED_EXTENSION_BYTES_MAX <= POOL_PACKET_BYTES);
const _: () = assert!(UNHEARD_PACKETS_MAX as usize + OUTBOX_PACKETS_MAX < 1 << 15);
const _: () = assert!(RUN_SEGMENTS_MAX <= 64, "UDP_MAX_SEGMENTS of the kernel");
const _: () = assert!(VIDEO_HISTORY_PACKETS.is_power_of_two());
const _: () = assert!(AUDIO_HISTORY_PACKETS.is_power_of_two());
const _: () = assert!(
    PADDING_BYTES_MAX < 256,
    "the padding count is one byte (RFC 3550 5.1)"
);
const _: () = assert!(HALF_OPEN_PER_SHARD_MAX < SESSIONS_PER_SHARD_MAX);
const _: () = assert!(PATH_PATIENCE_US_MIN > 2 * RETRACED_US_MAX);
const _: () = assert!(TRACKS_PER_SESSION_MAX * 2 <= SSRCS_PER_SESSION_MAX);
const _: () = assert!(
    POOL_PACKETS > OUTBOX_PACKETS_MAX,
    "an outbox never outlives the pool"
);
