//! The vector files, decoded.

use serde::Deserialize;

/// A message and its name.
#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    #[serde(deserialize_with = "octets", rename = "hex")]
    pub(crate) bytes: Vec<u8>,
}

/// Octets of hexadecimal digits.
pub(crate) fn unhex(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("digits are ASCII");
            u8::from_str_radix(pair, 16).expect("hexadecimal digits")
        })
        .collect()
}

fn octets<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Vec<u8>, D::Error> {
    String::deserialize(input).map(|hex| unhex(&hex))
}

/// The cases of the malformed set.
pub(crate) fn malformed() -> Vec<Case> {
    #[derive(Deserialize)]
    struct File {
        cases: Vec<Case>,
    }
    let text = include_str!("../vectors/stun_malformed_and_edge.json");
    let file: File = serde_json::from_str(text).expect("a vector file");
    file.cases
}

/// The inputs of the public corpora.
pub(crate) fn corpora() -> Vec<Case> {
    [
        include_str!("../vectors/libwebrtc_stun.jsonl"),
        include_str!("../vectors/pion_stun.jsonl"),
    ]
    .iter()
    .flat_map(|text| text.lines().skip(1))
    .map(|line| serde_json::from_str(line).expect("a corpus line"))
    .collect()
}
