//! The hostile inputs that stand beside the tests of each package, as bytes.

use serde_json::Value;

/// One input: its name and its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// Our own edge cases and the public corpora of DTLS.
pub(crate) fn dtls() -> Vec<Input> {
    let of = "dataplane/engine/tests/vectors/dtls";
    let mut inputs = cases(&format!("{of}/malformed_and_edge.json"));
    inputs.extend(cases(&format!("{of}/named_crate_crashes.json")));
    inputs.extend(lines(&format!("{of}/pion_dtls_record.jsonl")));
    inputs.extend(lines(&format!("{of}/pion_dtls_ext.jsonl")));
    assert!(
        inputs.len() > 200,
        "the corpora are there: {}",
        inputs.len()
    );
    inputs
}

/// Our own edge cases of DTLS.
pub(crate) fn dtls_edge() -> Vec<Input> {
    cases("dataplane/engine/tests/vectors/dtls/malformed_and_edge.json")
}

/// Our own edge cases of RTP, in their order.
pub(crate) fn rtp_edge() -> Vec<Input> {
    cases("codecs/tests/vectors/rtp_malformed_and_edge.json")
}

/// Everything that once crashed or confused an RTP parser.
pub(crate) fn rtp() -> Vec<Input> {
    let of = "codecs/tests/vectors";
    let mut inputs = rtp_edge();
    inputs.extend(cases(&format!("{of}/named_crate_crashes.json")));
    inputs.extend(lines(&format!("{of}/libwebrtc_rtp.jsonl")));
    inputs.extend(lines(&format!("{of}/mediasoup_crash_rtp.jsonl")));
    inputs.extend(lines(&format!("{of}/mediasoup_fuzzer_reports.jsonl")));
    assert!(inputs.len() > 90, "the corpora are there: {}", inputs.len());
    inputs
}

/// Everything that once crashed or confused an RTCP parser.
pub(crate) fn rtcp() -> Vec<Input> {
    let of = "codecs/tests/vectors";
    let mut inputs = cases(&format!("{of}/rtcp_malformed_and_edge.json"));
    for file in ["libwebrtc_rtcp", "mediasoup_crash_rtcp", "pion_rtcp"] {
        inputs.extend(lines(&format!("{of}/{file}.jsonl")));
    }
    inputs.extend(lines(&format!("{of}/mediasoup_fuzzer_reports.jsonl")));
    assert!(
        inputs.len() > 120,
        "the corpora are there: {}",
        inputs.len()
    );
    inputs
}

/// Everything that once crashed or confused a STUN parser.
pub(crate) fn stun() -> Vec<Input> {
    let of = "turn/tests/vectors";
    let mut inputs = cases(&format!("{of}/stun_malformed_and_edge.json"));
    for file in ["libwebrtc_stun", "pion_stun"] {
        inputs.extend(lines(&format!("{of}/{file}.jsonl")));
    }
    assert!(inputs.len() > 65, "the corpora are there: {}", inputs.len());
    inputs
}

fn text(path: &str) -> String {
    let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The inputs of `{"cases": [{"name", "hex"}]}`.
fn cases(path: &str) -> Vec<Input> {
    let file: Value = serde_json::from_str(&text(path)).unwrap();
    let cases = file["cases"].as_array().unwrap();
    cases.iter().filter_map(input).collect()
}

/// The inputs of a file with one JSON object a line; its first says where they are from.
fn lines(path: &str) -> Vec<Input> {
    text(path)
        .lines()
        .filter_map(|line| input(&serde_json::from_str(line).unwrap()))
        .collect()
}

fn input(case: &Value) -> Option<Input> {
    // Long inputs are told by their beginning.
    let digits = case["hex"].as_str().or(case["hex_prefix"].as_str())?;
    let name = case["name"].as_str().or(case["crate"].as_str())?;
    Some(Input {
        name: name.to_owned(),
        bytes: (0..digits.len() / 2)
            .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
            .collect(),
    })
}
