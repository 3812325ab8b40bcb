//! Bounded access to big-endian bytes: every read is an `Option`, every write a `Result`.

use std::fmt;

/// Why a writer refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The output slice is too short.
    Space,
    /// A value does not fit its field on the wire (an id out of range, a list too long, nothing to say).
    Value,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WriteError::Space => "the output slice is too short",
            WriteError::Value => "a value does not fit its field",
        })
    }
}

impl std::error::Error for WriteError {}

/// Big-endian `u16` at `at`.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u16::from_be_bytes)
}

/// Big-endian `u32` at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u32::from_be_bytes)
}

/// Overwrites `value.len()` bytes at `at`.
pub(crate) fn put(out: &mut [u8], at: usize, value: &[u8]) -> Result<(), WriteError> {
    let end = at.checked_add(value.len()).ok_or(WriteError::Space)?;
    out.get_mut(at..end)
        .ok_or(WriteError::Space)?
        .copy_from_slice(value);
    Ok(())
}

/// `len` rounded up to whole 32-bit words.
pub(crate) fn padded(len: usize) -> usize {
    len.saturating_add(3) & !3
}

/// A cursor over bytes that only moves forward.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Reader<'a> {
        Reader { rest }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| b)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u24(&mut self) -> Option<u32> {
        self.array()
            .map(|[a, b, c]: [u8; 3]| u32::from_be_bytes([0, a, b, c]))
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(head)
    }
}

/// A cursor that fills a slice from its beginning.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut [u8]) -> Writer<'a> {
        Writer { out, at: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.at
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) -> Result<(), WriteError> {
        put(self.out, self.at, value)?;
        self.at = self.at.saturating_add(value.len());
        Ok(())
    }

    pub(crate) fn u8(&mut self, value: u8) -> Result<(), WriteError> {
        self.bytes(&[value])
    }

    pub(crate) fn u16(&mut self, value: u16) -> Result<(), WriteError> {
        self.bytes(&value.to_be_bytes())
    }

    /// The low 24 bits of `value`.
    pub(crate) fn u24(&mut self, value: u32) -> Result<(), WriteError> {
        let [_, a, b, c] = value.to_be_bytes();
        self.bytes(&[a, b, c])
    }

    pub(crate) fn u32(&mut self, value: u32) -> Result<(), WriteError> {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> Result<(), WriteError> {
        self.bytes(&value.to_be_bytes())
    }

    /// Zeros up to the next 32-bit word.
    pub(crate) fn pad(&mut self) -> Result<(), WriteError> {
        while !self.at.is_multiple_of(4) {
            self.u8(0)?;
        }
        Ok(())
    }

    /// Overwrites earlier bytes.
    pub(crate) fn patch(&mut self, at: usize, value: &[u8]) -> Result<(), WriteError> {
        put(self.out, at, value)
    }
}
