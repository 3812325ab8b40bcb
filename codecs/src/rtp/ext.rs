//! RTP header extensions (RFC 8285): a bounded iterator over the one-byte and two-byte forms.

use std::ops::Range;

use super::view::RtpView;
use crate::bytes::Reader;

/// The one-byte profile (RFC 8285 section 4.2).
pub(super) const ONE_BYTE_PROFILE: u16 = 0xBEDE;
/// The two-byte profile without its four application bits (RFC 8285 section 4.3).
pub(super) const TWO_BYTE_PROFILE: u16 = 0x1000;
/// Mask of the application bits of the two-byte profile (RFC 8285 section 4.3).
const TWO_BYTE_APPBITS: u16 = 0x000F;
/// The id that ends a one-byte extension block (RFC 8285 section 4.2).
const ONE_BYTE_STOP: u8 = 15;

/// The largest id of the one-byte form (RFC 8285 section 4.2: 15 is reserved).
pub const EXTENSION_ID_MAX: u8 = 14;
/// The longest element of the one-byte form (RFC 8285 section 4.2: 4-bit length minus one).
pub(super) const ONE_BYTE_ELEMENT_MAX: usize = 16;

/// How elements are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    OneByte,
    TwoByte,
    /// Another profile: the block is skipped whole.
    Opaque,
}

/// Iterator over `(id, element)`. Ends at the first element that runs past the block: what came before it
/// stays valid, what follows has no framing. Of several elements with one id the first counts.
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    form: Form,
    reader: Reader<'a>,
}

impl<'a> Extensions<'a> {
    pub(super) fn new(profile: u16, block: &'a [u8]) -> Extensions<'a> {
        let form = if profile == ONE_BYTE_PROFILE {
            Form::OneByte
        } else if profile & !TWO_BYTE_APPBITS == TWO_BYTE_PROFILE {
            Form::TwoByte
        } else {
            Form::Opaque
        };
        Extensions {
            form,
            reader: Reader::new(block),
        }
    }

    fn next_one_byte(&mut self) -> Option<(u8, &'a [u8])> {
        loop {
            let head = self.reader.u8()?;
            let (id, len_minus_one) = (head >> 4, head & 0x0F);
            match id {
                0 if len_minus_one == 0 => {}
                // RFC 8285 section 4.2: an id of 0 with a length ends the processing of the whole block.
                0 | ONE_BYTE_STOP => return None,
                _ => {
                    let len = usize::from(len_minus_one).saturating_add(1);
                    return Some((id, self.reader.take(len)?));
                }
            }
        }
    }

    fn next_two_byte(&mut self) -> Option<(u8, &'a [u8])> {
        loop {
            let id = self.reader.u8()?;
            if id == 0 {
                continue;
            }
            let len = self.reader.u8()?;
            return Some((id, self.reader.take(usize::from(len))?));
        }
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let element = match self.form {
            Form::OneByte => self.next_one_byte(),
            Form::TwoByte => self.next_two_byte(),
            Form::Opaque => None,
        };
        if element.is_none() {
            self.form = Form::Opaque;
        }
        element
    }
}

impl std::iter::FusedIterator for Extensions<'_> {}

/// Where in `packet` the first element with `id` lies, for patching it in place. `None` when the packet is
/// malformed or has no such element.
#[must_use]
pub fn extension_range(packet: &[u8], id: u8) -> Option<Range<usize>> {
    let view = RtpView::parse(packet).ok()?;
    let mut elements = view.extensions();
    while let Some((found, element)) = elements.next() {
        if found == id {
            let end = view
                .header_len()
                .checked_sub(elements.reader.rest().len())?;
            return Some(end.checked_sub(element.len())?..end);
        }
    }
    None
}
