//! FINGERPRINT (RFC 8489 section 14.7): CRC-32 of the message, masked.

/// What the CRC is masked with (RFC 8489 section 14.7).
const MASK: u32 = 0x5354_554E;
/// Octets of the value.
pub(super) const LEN: usize = 4;
/// The reflected polynomial of ITU-T V.42, the CRC-32 that RFC 8489 section 14.7 names.
const POLYNOMIAL: u32 = 0xEDB8_8320;

const TABLE: [u32; 256] = table();

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler: an error here does not compile"
)]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ POLYNOMIAL
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

fn crc32(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        let [.., low] = crc.to_be_bytes();
        // Every octet has an entry, so the fallback is never taken.
        let entry = TABLE.get(usize::from(low ^ byte)).copied().unwrap_or(0);
        (crc >> 8) ^ entry
    });
    !crc
}

/// The fingerprint of `covered`: the message up to the attribute, its length field counting the attribute.
pub(super) fn fingerprint(covered: &[u8]) -> u32 {
    crc32(covered) ^ MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_polynomial() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
