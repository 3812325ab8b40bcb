//! Bounds that hold before the first line is read (security.md C5).

use super::SdpError;

/// Longest SDP. Chromium's largest offer, with every codec and three layers, has 9 KiB.
pub const SDP_BYTES_MAX: usize = 64 * 1024;

/// Most lines.
pub const LINES_MAX: usize = 2_000;

/// Most media sections.
pub const SECTIONS_MAX: usize = 64;

/// Most simulcast layers of one section: what a shard keeps state for.
pub(super) const LAYERS_MAX: usize = 4;

/// Longest mid or rid: the longest element of a one-byte header extension (RFC 8285 section 4.2).
pub(super) const MID_BYTES_MAX: usize = 16;

const _: () = assert!(SECTIONS_MAX < LINES_MAX);

/// The text of an SDP body within the caps.
///
/// # Errors
/// [`SdpError::TooLarge`] past a cap, [`SdpError::Bad`] for bytes that are not text.
pub(super) fn check(body: &[u8]) -> Result<&str, SdpError> {
    if body.len() > SDP_BYTES_MAX {
        return Err(SdpError::TooLarge {
            what: "bytes of SDP",
            limit: SDP_BYTES_MAX,
        });
    }
    let mut sections = 0_usize;
    for (number, line) in (1_usize..).zip(body.split(|&byte| byte == b'\n')) {
        if number > LINES_MAX {
            return Err(SdpError::TooLarge {
                what: "lines of SDP",
                limit: LINES_MAX,
            });
        }
        // RFC 8866 section 9: a byte string has neither NUL, CR nor LF.
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.iter().any(|&byte| byte == 0 || byte == b'\r') {
            return Err(SdpError::Bad {
                line: number,
                what: "holds a NUL or a lone CR".to_owned(),
            });
        }
        if line.starts_with(b"m=") {
            sections = sections.saturating_add(1);
        }
        if sections > SECTIONS_MAX {
            return Err(SdpError::TooLarge {
                what: "media sections",
                limit: SECTIONS_MAX,
            });
        }
    }
    std::str::from_utf8(body).map_err(|error| SdpError::Bad {
        line: body
            .iter()
            .take(error.valid_up_to())
            .filter(|&&byte| byte == b'\n')
            .count()
            .saturating_add(1),
        what: "is not UTF-8".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cap_has_its_error_and_the_value_below_it_passes() {
        assert!(check(&vec![b'a'; SDP_BYTES_MAX]).is_ok());
        assert!(matches!(
            check(&vec![b'a'; SDP_BYTES_MAX + 1]),
            Err(SdpError::TooLarge {
                limit: SDP_BYTES_MAX,
                ..
            })
        ));
        assert!(check("a\n".repeat(LINES_MAX - 1).as_bytes()).is_ok());
        assert!(matches!(
            check("a\n".repeat(LINES_MAX).as_bytes()),
            Err(SdpError::TooLarge {
                limit: LINES_MAX,
                ..
            })
        ));
        assert!(check("m=\n".repeat(SECTIONS_MAX).as_bytes()).is_ok());
        assert!(matches!(
            check("m=\n".repeat(SECTIONS_MAX + 1).as_bytes()),
            Err(SdpError::TooLarge {
                limit: SECTIONS_MAX,
                ..
            })
        ));
    }

    #[test]
    fn what_is_not_text_is_named_by_its_line() {
        let bad = |body: &[u8]| match check(body) {
            Err(SdpError::Bad { line, .. }) => line,
            other => panic!("{other:?}"),
        };
        assert_eq!(bad(b"v=0\r\no=\0\r\n"), 2);
        assert_eq!(bad(b"v=0\r\ns=a\rb\r\n"), 2);
        assert_eq!(bad(b"v=0\r\ns=-\r\na=\xff\r\n"), 3);
    }
}
