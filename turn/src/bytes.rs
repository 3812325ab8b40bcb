//! Bounded access to big-endian bytes.

/// Big-endian `u16` at `at`.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_be_bytes)
}

/// `N` octets at `at`.
pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// The octets of a value that is exactly `N` octets long.
pub(crate) fn exact<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

/// `len` rounded up to whole 32-bit words.
pub(crate) fn padded(len: usize) -> usize {
    len.saturating_add(3) & !3
}
