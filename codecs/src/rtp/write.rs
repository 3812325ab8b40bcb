//! Writing an RTP header into place, and patching one that is there.

use super::FIXED_HEADER_LEN;
use super::ext::{EXTENSION_ID_MAX, ONE_BYTE_ELEMENT_MAX, ONE_BYTE_PROFILE, TWO_BYTE_PROFILE};
use super::seq::Seq;
use crate::bytes::{WriteError, padded, put};

/// The fixed fields of a header without CSRCs (RFC 3550 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The marker bit.
    pub marker: bool,
    /// The P bit: the payload ends in padding.
    pub padding: bool,
    /// The payload type; only the low 7 bits are written.
    pub payload_type: u8,
    /// The sequence number.
    pub seq: Seq,
    /// The timestamp, in units of the payload type's clock.
    pub timestamp: u32,
    /// The synchronisation source.
    pub ssrc: u32,
}

/// Where the extension elements stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    None,
    OneByte,
    TwoByte,
}

/// The first octet of the first element: fixed header, profile and length of the block.
const ELEMENTS_AT: usize = FIXED_HEADER_LEN + 4;

/// Writes a header, then its extension elements.
///
/// Elements take the one-byte form (RFC 8285 section 4.2). An element that does not fit it (id above 14,
/// empty, or longer than 16 octets) turns the whole block into the two-byte form (section 4.3), as the two
/// cannot mix in one packet.
#[derive(Debug)]
pub struct HeaderWriter<'a> {
    out: &'a mut [u8],
    at: usize,
    form: Form,
}

impl<'a> HeaderWriter<'a> {
    /// Writes the fixed header at the beginning of `out`.
    ///
    /// # Errors
    /// [`WriteError::Space`] when `out` has fewer than 12 octets.
    pub fn new(out: &'a mut [u8], header: &Header) -> Result<HeaderWriter<'a>, WriteError> {
        let [s0, s1] = header.seq.0.to_be_bytes();
        let [t0, t1, t2, t3] = header.timestamp.to_be_bytes();
        let [r0, r1, r2, r3] = header.ssrc.to_be_bytes();
        let fixed: [u8; FIXED_HEADER_LEN] = [
            0x80 | (u8::from(header.padding) << 5),
            (u8::from(header.marker) << 7) | (header.payload_type & 0x7F),
            s0,
            s1,
            t0,
            t1,
            t2,
            t3,
            r0,
            r1,
            r2,
            r3,
        ];
        put(out, 0, &fixed)?;
        Ok(HeaderWriter {
            out,
            at: FIXED_HEADER_LEN,
            form: Form::None,
        })
    }

    /// Appends one element. After an error the header is unusable and the writer is to be dropped.
    ///
    /// # Errors
    /// [`WriteError::Value`] for id 0 or an element longer than 255 octets, [`WriteError::Space`] when `out`
    /// is full.
    pub fn push(&mut self, id: u8, element: &[u8]) -> Result<(), WriteError> {
        let len = u8::try_from(element.len()).map_err(|_| WriteError::Value)?;
        if id == 0 {
            return Err(WriteError::Value);
        }
        let fits_one_byte =
            id <= EXTENSION_ID_MAX && (1..=ONE_BYTE_ELEMENT_MAX).contains(&element.len());
        match self.form {
            Form::None => {
                self.form = if fits_one_byte {
                    Form::OneByte
                } else {
                    Form::TwoByte
                };
                self.at = ELEMENTS_AT;
            }
            Form::OneByte if !fits_one_byte => self.widen()?,
            Form::OneByte | Form::TwoByte => {}
        }
        if self.form == Form::OneByte {
            self.append(&[(id << 4) | (len.wrapping_sub(1) & 0x0F)])?;
        } else {
            self.append(&[id, len])?;
        }
        self.append(element)
    }

    /// Pads the block to 32 bits, writes its profile and length, and returns the header's length.
    ///
    /// # Errors
    /// [`WriteError::Space`] when `out` is full.
    pub fn finish(mut self) -> Result<usize, WriteError> {
        let profile = match self.form {
            Form::None => return Ok(self.at),
            Form::OneByte => ONE_BYTE_PROFILE,
            Form::TwoByte => TWO_BYTE_PROFILE,
        };
        let end = padded(self.at);
        self.out
            .get_mut(self.at..end)
            .ok_or(WriteError::Space)?
            .fill(0);
        self.at = end;
        let words = self.at.saturating_sub(ELEMENTS_AT) / 4;
        let words = u16::try_from(words).map_err(|_| WriteError::Value)?;
        put(self.out, FIXED_HEADER_LEN, &profile.to_be_bytes())?;
        put(
            self.out,
            FIXED_HEADER_LEN.saturating_add(2),
            &words.to_be_bytes(),
        )?;
        if let Some(first) = self.out.first_mut() {
            *first |= 0x10;
        }
        Ok(self.at)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        put(self.out, self.at, bytes)?;
        self.at = self.at.saturating_add(bytes.len());
        Ok(())
    }

    /// Gives every element written so far its second header octet.
    fn widen(&mut self) -> Result<(), WriteError> {
        let mut pos = ELEMENTS_AT;
        while pos < self.at {
            let head = *self.out.get(pos).ok_or(WriteError::Space)?;
            let data = pos.saturating_add(1);
            let end = self.at.saturating_add(1);
            if end > self.out.len() {
                return Err(WriteError::Space);
            }
            self.out.copy_within(data..self.at, data.saturating_add(1));
            let len = (head & 0x0F).saturating_add(1);
            put(self.out, pos, &[head >> 4, len])?;
            self.at = end;
            pos = data.saturating_add(1).saturating_add(usize::from(len));
        }
        self.form = Form::TwoByte;
        Ok(())
    }
}

/// Overwrites the sequence number.
///
/// # Errors
/// [`WriteError::Space`] when `packet` ends before it.
pub fn set_seq(packet: &mut [u8], seq: Seq) -> Result<(), WriteError> {
    put(packet, 2, &seq.0.to_be_bytes())
}

/// Overwrites the timestamp.
///
/// # Errors
/// [`WriteError::Space`] when `packet` ends before it.
pub fn set_timestamp(packet: &mut [u8], timestamp: u32) -> Result<(), WriteError> {
    put(packet, 4, &timestamp.to_be_bytes())
}

/// Overwrites the SSRC.
///
/// # Errors
/// [`WriteError::Space`] when `packet` ends before it.
pub fn set_ssrc(packet: &mut [u8], ssrc: u32) -> Result<(), WriteError> {
    put(packet, 8, &ssrc.to_be_bytes())
}

/// Overwrites the payload type (its low 7 bits), keeping the marker.
///
/// # Errors
/// [`WriteError::Space`] when `packet` ends before it.
pub fn set_payload_type(packet: &mut [u8], payload_type: u8) -> Result<(), WriteError> {
    set_bits(packet, 1, 0x7F, payload_type)
}

/// Overwrites the marker, keeping the payload type.
///
/// # Errors
/// [`WriteError::Space`] when `packet` ends before it.
pub fn set_marker(packet: &mut [u8], marker: bool) -> Result<(), WriteError> {
    set_bits(packet, 1, 0x80, u8::from(marker) << 7)
}

/// Overwrites the P bit. The padding itself is the caller's.
///
/// # Errors
/// [`WriteError::Space`] when `packet` is empty.
pub fn set_padding(packet: &mut [u8], padding: bool) -> Result<(), WriteError> {
    set_bits(packet, 0, 0x20, u8::from(padding) << 5)
}

fn set_bits(packet: &mut [u8], at: usize, mask: u8, value: u8) -> Result<(), WriteError> {
    let byte = packet.get_mut(at).ok_or(WriteError::Space)?;
    *byte = (*byte & !mask) | (value & mask);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::view::RtpView;

    const HEADER: Header = Header {
        marker: true,
        padding: false,
        payload_type: 96,
        seq: Seq(0xABCD),
        timestamp: 0x0102_0304,
        ssrc: 0xCAFE_BABE,
    };

    #[test]
    fn a_header_without_elements_is_twelve_octets_and_has_no_x_bit() {
        let mut out = [0xFF; 16];
        let len = HeaderWriter::new(&mut out, &HEADER)
            .unwrap()
            .finish()
            .unwrap();
        assert_eq!(len, 12);
        assert_eq!(out[0], 0x80);
        assert_eq!(out[12], 0xFF);
    }

    #[test]
    fn a_long_element_turns_the_block_into_the_two_byte_form() {
        let mut out = [0xFF; 128];
        let mut writer = HeaderWriter::new(&mut out, &HEADER).unwrap();
        writer.push(1, b"mid0").unwrap();
        writer.push(3, &[0, 7]).unwrap();
        writer.push(4, &[9; 20]).unwrap();
        writer.push(5, &[]).unwrap();
        let len = writer.finish().unwrap();
        let view = RtpView::parse(&out[..len]).unwrap();
        assert_eq!(view.header_len(), len);
        assert_eq!(out[12..14], [0x10, 0x00]);
        let elements: Vec<_> = view.extensions().collect();
        assert_eq!(
            elements,
            [(1, &b"mid0"[..]), (3, &[0, 7]), (4, &[9; 20]), (5, &[])]
        );
    }

    #[test]
    fn a_short_buffer_is_refused_and_never_overrun() {
        for space in 0..48 {
            let mut out = vec![0; space];
            let done = HeaderWriter::new(&mut out, &HEADER).and_then(|mut writer| {
                writer.push(1, b"0")?;
                writer.push(15, &[1; 18])?;
                writer.finish()
            });
            // 12 + 4 + (2 + 1) + (2 + 18) padded to words.
            assert_eq!(done.is_ok(), space >= 40, "{space}");
        }
    }

    #[test]
    fn patches_touch_their_own_bits_only() {
        let mut out = [0; 12];
        HeaderWriter::new(&mut out, &HEADER)
            .unwrap()
            .finish()
            .unwrap();
        set_payload_type(&mut out, 0xFF).unwrap();
        set_marker(&mut out, false).unwrap();
        set_padding(&mut out, true).unwrap();
        set_seq(&mut out, Seq(1)).unwrap();
        set_timestamp(&mut out, 2).unwrap();
        set_ssrc(&mut out, 3).unwrap();
        assert_eq!(out, [0xA0, 0x7F, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
        assert_eq!(set_ssrc(&mut out[..11], 3), Err(WriteError::Space));
    }
}
