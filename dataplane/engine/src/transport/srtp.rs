//! SRTP and SRTCP (RFC 3711, RFC 7714): opening what a session's peer sends, sealing what goes to it.
//!
//! One [`Opener`] and one [`Sealer`] a session. Neither allocates for a packet of a known SSRC, and the
//! opener keeps nothing of a packet before its tag verified (security.md S4, S5): neither a rollover
//! counter, nor a place in a window, nor the SSRC itself.

use std::ops::Range;

use super::cipher::{BadTag, Cipher, RTCP_CLEAR_BYTES, RTCP_INDEX_BYTES, rtcp_aad};
use super::keys::{MasterKey, Profile, SrtpKeys};
use super::replay::{
    RTCP_INDEX_END, RtcpReplayWindow, RtpReplayWindow, guess_index, roc_of, seq_of,
};
use super::windows::Windows;
use crate::reason::DropReason;

/// The fixed part of an RTP header (RFC 3550 section 5.1).
const RTP_HEADER_BYTES: usize = 12;

/// The E bit: the packet is encrypted.
const RTCP_ENCRYPTED: u32 = 1 << 31;

/// Longest RTP padding, the count byte included (RFC 3550 section 5.1).
pub const PADDING_BYTES_MAX: usize = 255;

/// An opened RTP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The 48-bit packet index: rollover counter and sequence number.
    pub index: u64,
    /// Where the plaintext payload (with its padding) lies in the packet.
    pub payload: Range<usize>,
}

/// Opens the packets of one peer.
#[derive(Debug)]
pub struct Opener {
    profile: Profile,
    master: MasterKey,
    rtp: Cipher,
    rtcp: Cipher,
    rtp_windows: Windows<RtpReplayWindow>,
    rtcp_windows: Windows<RtcpReplayWindow>,
}

impl Opener {
    /// Opens with the remote key of `keys`.
    #[must_use]
    pub fn new(keys: &SrtpKeys) -> Opener {
        Opener {
            profile: keys.profile,
            rtp: Cipher::rtp(keys.profile, &keys.remote),
            rtcp: Cipher::rtcp(keys.profile, &keys.remote),
            master: keys.remote.clone(),
            rtp_windows: Windows::new(),
            rtcp_windows: Windows::new(),
        }
    }

    /// The profile.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// The peer's master key, for export.
    #[must_use]
    pub fn master_key(&self) -> &MasterKey {
        &self.master
    }

    /// SSRCs that have sent an authenticated RTP packet.
    #[must_use]
    pub fn ssrc_count(&self) -> usize {
        self.rtp_windows.len()
    }

    /// Opens an SRTP packet in place. `header_len` is the length of the RTP header with its CSRCs and
    /// extension, as parsed from the same bytes.
    ///
    /// # Errors
    ///
    /// The reason for the drop; the packet's bytes are undefined then, and the opener is as it was:
    /// `RtpMalformed` (too short, or an RFC 9335 header, which is not negotiated), `SsrcLimit`,
    /// `SrtpReplay` (seen, older than the window, or before the beginning), `SrtpAuth`.
    pub fn open_rtp(&mut self, packet: &mut [u8], header_len: usize) -> Result<Opened, DropReason> {
        if header_len < RTP_HEADER_BYTES
            || packet.len() < header_len + self.profile.tag_bytes()
            || is_cryptex(packet)
        {
            return Err(DropReason::RtpMalformed);
        }
        let seq = u16::from_be_bytes([packet[2], packet[3]]);
        let ssrc = be32(packet, 8);

        let place = self.rtp_windows.find(ssrc)?;
        // The rollover counter of a new SSRC is zero: senders start in the lower half of the sequence
        // numbers so that both ends mean the same (security.md S4).
        let index = match self.rtp_windows.highest(place) {
            Some(highest) => guess_index(highest, seq).ok_or(DropReason::SrtpReplay)?,
            None => u64::from(seq),
        };
        if !self.rtp_windows.admits(place, index) {
            return Err(DropReason::SrtpReplay);
        }

        let (header, sealed) = packet.split_at_mut(header_len);
        let payload_len = match &self.rtp {
            Cipher::Gcm(gcm) => gcm.open(gcm.rtp_nonce(ssrc, index), header, sealed),
            Cipher::Cm(cm) => {
                let end = packet.len() - self.profile.tag_bytes();
                let (authenticated, tag) = packet.split_at_mut(end);
                cm.verify(authenticated, &roc_of(index).to_be_bytes(), tag)
                    .map(|()| {
                        cm.apply_keystream(ssrc, index, &mut authenticated[header_len..]);
                        end - header_len
                    })
            }
        };
        let payload_len = payload_len.map_err(|BadTag| DropReason::SrtpAuth)?;

        self.rtp_windows.mark(place, ssrc, index);
        Ok(Opened {
            index,
            payload: header_len..header_len + payload_len,
        })
    }

    /// Opens an SRTCP packet in place; the plaintext compound is the packet's beginning, of the returned
    /// length.
    ///
    /// # Errors
    ///
    /// As [`Opener::open_rtp`], with `RtcpMalformed` for what is too short. A packet whose E bit is zero
    /// is `SrtpAuth` whatever its tag: no profile of ours negotiates unencrypted SRTCP.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, DropReason> {
        let Some(plain_len) = packet
            .len()
            .checked_sub(self.profile.rtcp_overhead())
            .filter(|&len| len >= RTCP_CLEAR_BYTES)
        else {
            return Err(DropReason::RtcpMalformed);
        };
        // RFC 7714 puts the index behind the tag (section 9), RFC 3711 before it (section 3.4).
        let index_at = match &self.rtcp {
            Cipher::Gcm(_) => packet.len() - RTCP_INDEX_BYTES,
            Cipher::Cm(_) => plain_len,
        };
        let word = be32(packet, index_at);
        if word & RTCP_ENCRYPTED == 0 {
            return Err(DropReason::SrtpAuth);
        }
        let index = word & !RTCP_ENCRYPTED;
        let ssrc = be32(packet, 4);

        let place = self.rtcp_windows.find(ssrc)?;
        if !self.rtcp_windows.admits(place, u64::from(index)) {
            return Err(DropReason::SrtpReplay);
        }

        let opened = match &self.rtcp {
            Cipher::Gcm(gcm) => {
                let aad = rtcp_aad(packet, word);
                let sealed = &mut packet[RTCP_CLEAR_BYTES..index_at];
                gcm.open(gcm.rtcp_nonce(ssrc, index), &aad, sealed)
                    .map(drop)
            }
            Cipher::Cm(cm) => {
                let (authenticated, tag) = packet.split_at_mut(plain_len + RTCP_INDEX_BYTES);
                cm.verify(authenticated, &[], tag).map(|()| {
                    let text = &mut authenticated[RTCP_CLEAR_BYTES..plain_len];
                    cm.apply_keystream(ssrc, u64::from(index), text);
                })
            }
        };
        opened.map_err(|BadTag| DropReason::SrtpAuth)?;

        self.rtcp_windows.mark(place, ssrc, u64::from(index));
        Ok(plain_len)
    }
}

/// Seals what goes to one peer.
#[derive(Debug)]
pub struct Sealer {
    profile: Profile,
    master: MasterKey,
    rtp: Cipher,
    rtcp: Cipher,
    /// Shared by all our RTCP SSRCs, so that no (key, SSRC, index) repeats whichever of them sends.
    rtcp_next: u64,
}

impl Sealer {
    /// Seals with the local key of `keys`, SRTCP from index 1 on: libsrtp begins there too, and some
    /// receivers take index 0 for "nothing received yet".
    #[must_use]
    pub fn new(keys: &SrtpKeys) -> Sealer {
        Sealer {
            profile: keys.profile,
            rtp: Cipher::rtp(keys.profile, &keys.local),
            rtcp: Cipher::rtcp(keys.profile, &keys.local),
            master: keys.local.clone(),
            rtcp_next: 1,
        }
    }

    /// The same, going on at SRTCP index `next`: an imported session.
    #[must_use]
    pub fn resuming(keys: &SrtpKeys, next: u64) -> Sealer {
        Sealer {
            rtcp_next: next,
            ..Sealer::new(keys)
        }
    }

    /// The profile.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Our master key, for export.
    #[must_use]
    pub fn master_key(&self) -> &MasterKey {
        &self.master
    }

    /// The index the next SRTCP packet gets, for export.
    #[must_use]
    pub fn rtcp_next(&self) -> u64 {
        self.rtcp_next
    }

    /// Bytes an RTP packet grows by.
    #[must_use]
    pub fn rtp_overhead(&self) -> usize {
        self.profile.rtp_overhead()
    }

    /// Seals an RTP packet out of place: the header stands in `out[..header_len]`, the ciphertext of
    /// `payload` and of `padding_len` bytes of RTP padding follow it, then the tag. Returns the packet's
    /// length, `header_len + payload.len() + padding_len + rtp_overhead()`.
    ///
    /// `index` comes from the SSRC's [`SendIndex`](super::replay::SendIndex), is used for no other packet
    /// of this SSRC, and its low 16 bits are the header's sequence number. The padding ends with its
    /// count; the caller has set the header's P bit exactly if `padding_len > 0`.
    ///
    /// # Panics
    ///
    /// When `out` is shorter than the packet or `padding_len > 255`: both are decided by the caller.
    pub fn seal_rtp(
        &mut self,
        index: u64,
        header_len: usize,
        payload: &[u8],
        padding_len: usize,
        out: &mut [u8],
    ) -> usize {
        let padding = Padding::new(padding_len);
        let text_len = payload.len() + padding_len;
        let end = header_len + text_len + self.profile.tag_bytes();
        let packet = &mut out[..end];
        debug_assert_eq!(seq_of(index), u16::from_be_bytes([packet[2], packet[3]]));
        let ssrc = be32(packet, 8);

        match &self.rtp {
            Cipher::Gcm(gcm) => {
                let (header, sealed) = packet.split_at_mut(header_len);
                let nonce = gcm.rtp_nonce(ssrc, index);
                gcm.seal(nonce, header, payload, padding.bytes(), sealed);
            }
            Cipher::Cm(_) => {
                let text = &mut packet[header_len..header_len + text_len];
                let (plain, behind) = text.split_at_mut(payload.len());
                plain.copy_from_slice(payload);
                behind.copy_from_slice(padding.bytes());
                self.seal_cm(ssrc, index, header_len, packet);
            }
        }
        end
    }

    /// Seals an RTP packet in place: header and plaintext payload (patched, padding included) stand in
    /// `out[..header_len + plaintext_len]`; the tag follows. Returns the packet's length. Else as
    /// [`Sealer::seal_rtp`].
    ///
    /// # Panics
    ///
    /// When `out` is shorter than the packet.
    pub fn seal_rtp_in_place(
        &mut self,
        index: u64,
        header_len: usize,
        plaintext_len: usize,
        out: &mut [u8],
    ) -> usize {
        let end = header_len + plaintext_len + self.profile.tag_bytes();
        let packet = &mut out[..end];
        debug_assert_eq!(seq_of(index), u16::from_be_bytes([packet[2], packet[3]]));
        let ssrc = be32(packet, 8);

        match &self.rtp {
            Cipher::Gcm(gcm) => {
                let (header, sealed) = packet.split_at_mut(header_len);
                let nonce = gcm.rtp_nonce(ssrc, index);
                gcm.seal_in_place(nonce, header, plaintext_len, &[], sealed);
            }
            Cipher::Cm(_) => self.seal_cm(ssrc, index, header_len, packet),
        }
        end
    }

    /// Seals a compound RTCP packet into `out` and returns the length, `packet.len()` plus
    /// [`Profile::rtcp_overhead`]. `None` at the end of the key's life: 2^31 packets (RFC 3711 section
    /// 9.2); then nothing more may be sent with these keys.
    ///
    /// # Panics
    ///
    /// When `packet` is shorter than one RTCP header with its SSRC, or `out` than the result: both are
    /// the caller's own.
    pub fn seal_rtcp(&mut self, packet: &[u8], out: &mut [u8]) -> Option<usize> {
        if self.rtcp_next >= RTCP_INDEX_END {
            return None;
        }
        let index = u32::try_from(self.rtcp_next).expect("invariant: below 2^31");
        self.rtcp_next += 1;

        let word = RTCP_ENCRYPTED | index;
        let ssrc = be32(packet, 4);
        let end = packet.len() + self.profile.rtcp_overhead();
        let out = &mut out[..end];
        match &self.rtcp {
            Cipher::Gcm(gcm) => {
                let aad = rtcp_aad(packet, word);
                let (clear, text) = packet.split_at(RTCP_CLEAR_BYTES);
                let (sealed, trailer) = out.split_at_mut(end - RTCP_INDEX_BYTES);
                let (header, sealed) = sealed.split_at_mut(RTCP_CLEAR_BYTES);
                header.copy_from_slice(clear);
                gcm.seal(gcm.rtcp_nonce(ssrc, index), &aad, text, &[], sealed);
                trailer.copy_from_slice(&word.to_be_bytes());
            }
            Cipher::Cm(cm) => {
                let (body, tag) = out.split_at_mut(packet.len() + RTCP_INDEX_BYTES);
                let (text, trailer) = body.split_at_mut(packet.len());
                text.copy_from_slice(packet);
                cm.apply_keystream(ssrc, u64::from(index), &mut text[RTCP_CLEAR_BYTES..]);
                trailer.copy_from_slice(&word.to_be_bytes());
                tag.copy_from_slice(&cm.tag(body, &[]));
            }
        }
        Some(end)
    }

    /// Encrypts the text between header and tag in place and writes the tag.
    fn seal_cm(&self, ssrc: u32, index: u64, header_len: usize, packet: &mut [u8]) {
        let Cipher::Cm(cm) = &self.rtp else {
            unreachable!("called for AES-CM only")
        };
        let end = packet.len() - self.profile.tag_bytes();
        let (authenticated, tag) = packet.split_at_mut(end);
        cm.apply_keystream(ssrc, index, &mut authenticated[header_len..]);
        tag.copy_from_slice(&cm.tag(authenticated, &roc_of(index).to_be_bytes()));
    }
}

/// RTP padding (RFC 3550 section 5.1): zeros and, last, how many bytes it is.
struct Padding {
    bytes: [u8; PADDING_BYTES_MAX],
    len: usize,
}

impl Padding {
    fn new(len: usize) -> Padding {
        let mut bytes = [0; PADDING_BYTES_MAX];
        if len > 0 {
            bytes[len - 1] = u8::try_from(len).expect("invariant: padding is at most 255 bytes");
        }
        Padding { bytes, len }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Whether the header extension says that extension and CSRCs are encrypted (RFC 9335 section 4). Its
/// tag would verify, and its payload would then be decrypted with the wrong keystream.
fn is_cryptex(packet: &[u8]) -> bool {
    if packet[0] & 0x10 == 0 {
        return false;
    }
    let profile_at = RTP_HEADER_BYTES + 4 * usize::from(packet[0] & 0x0f);
    matches!(
        packet.get(profile_at..profile_at + 2),
        Some([0xc0 | 0xc2, 0xde])
    )
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(
        bytes[at..at + 4]
            .try_into()
            .expect("invariant: four bytes make a word"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const RFC_7714: &str = include_str!("../../tests/vectors/srtp/rfc7714_s16_s17_aead_gcm.json");

    /// The RFC gives session keys, so these pass by the derivation.
    fn session(vector: &Value) -> (Opener, Sealer) {
        let profile = match vector["profile"].as_str().unwrap() {
            "AEAD_AES_128_GCM" => Profile::AeadAes128Gcm,
            "AEAD_AES_256_GCM" => Profile::AeadAes256Gcm,
            other => panic!("{other} is not in RFC 7714 sections 16 and 17"),
        };
        let key = hex(&vector["session_key"]);
        let salt = hex(&vector["session_salt"]);
        let cipher = || Cipher::from_session_keys(profile, &key, &salt, &[]);
        let master = MasterKey::new(profile, &key, &salt).unwrap();
        let keys = SrtpKeys {
            profile,
            local: master.clone(),
            remote: master,
        };
        let opener = Opener {
            rtp: cipher(),
            rtcp: cipher(),
            ..Opener::new(&keys)
        };
        let sealer = Sealer {
            rtp: cipher(),
            rtcp: cipher(),
            ..Sealer::resuming(&keys, vector["srtcp_index"].as_u64().unwrap())
        };
        (opener, sealer)
    }

    #[test]
    fn rfc_7714_packets_are_sealed_and_opened() {
        let vectors: Value = serde_json::from_str(RFC_7714).unwrap();
        for vector in vectors["vectors"].as_array().unwrap() {
            let (mut opener, mut sealer) = session(vector);
            let index = (vector["roc"].as_u64().unwrap() << 16) | vector["seq"].as_u64().unwrap();

            let plain = hex(&vector["rtp_plain"]);
            let expected = hex(&vector["srtp_encrypted"]);
            let mut sealed = vec![0; expected.len()];
            sealed[..12].copy_from_slice(&plain[..12]);
            let len = sealer.seal_rtp(index, 12, &plain[12..], 0, &mut sealed);
            assert_eq!((len, &sealed), (expected.len(), &expected));
            let opened = opener.open_rtp(&mut sealed, 12).unwrap();
            assert_eq!(opened.index, index);
            assert_eq!(sealed[opened.payload], plain[12..]);

            let plain = hex(&vector["rtcp_plain"]);
            let expected = hex(&vector["srtcp_encrypted"]);
            let mut sealed = vec![0; expected.len()];
            assert_eq!(sealer.seal_rtcp(&plain, &mut sealed), Some(expected.len()));
            assert_eq!(sealed, expected);
            let len = opener.open_rtcp(&mut sealed).unwrap();
            assert_eq!(sealed[..len], plain);
        }
    }

    #[test]
    fn rfc_7714_packets_that_are_only_authenticated_are_refused() {
        let vectors: Value = serde_json::from_str(RFC_7714).unwrap();
        for vector in vectors["vectors"].as_array().unwrap() {
            let (mut opener, _) = session(vector);
            let refused = opener.open_rtp(&mut hex(&vector["srtp_auth_only"]), 12);
            assert_eq!(refused, Err(DropReason::SrtpAuth));
            let refused = opener.open_rtcp(&mut hex(&vector["srtcp_auth_only"]));
            assert_eq!(refused, Err(DropReason::SrtpAuth));
        }
    }

    fn hex(value: &Value) -> Vec<u8> {
        let digits = value.as_str().unwrap();
        (0..digits.len() / 2)
            .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
            .collect()
    }
}
