//! JSON bodies: read with a bound on how deep they are nested.

use serde::de::DeserializeOwned;

use super::problem::Problem;

/// Deepest nesting of arrays and objects that is read (security.md C5).
pub(super) const DEPTH_MAX: usize = 32;

/// Reads a JSON document.
///
/// # Errors
/// [`Problem::bad_request`], which says where it goes wrong, or that it is too deep.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // The parser has a bound of its own, which is a stack's and not ours; this one is one pass over bytes
    // that are bounded already.
    if depth(bytes) > DEPTH_MAX {
        return Err(Problem::bad_request(format!(
            "The JSON is nested deeper than {DEPTH_MAX} levels."
        )));
    }
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::bad_request(format!("The JSON cannot be read: {error}.")))
}

/// How deep brackets are nested outside of strings, whether or not the rest is JSON.
fn depth(bytes: &[u8]) -> usize {
    let (mut open, mut deepest) = (0usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                open += 1;
                deepest = deepest.max(open);
            }
            b']' | b'}' if !in_string => open = open.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_counted_outside_of_strings() {
        let table: [(&str, usize); 6] = [
            ("1", 0),
            ("{\"a\":[1,{}]}", 3),
            ("[[],[]]", 2),
            ("\"[[[[\"", 0),
            ("\"\\\"[[\"", 0),
            ("]]]][", 1),
        ];
        for (text, expected) in table {
            assert_eq!(depth(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_32_deep_is_read_and_what_is_deeper_is_not() {
        for (levels, read) in [(DEPTH_MAX, true), (DEPTH_MAX + 1, false), (100_000, false)] {
            let text = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
            let found = parse::<serde_json::Value>(text.as_bytes());
            assert_eq!(found.is_ok(), read, "{levels}");
        }
    }
}
