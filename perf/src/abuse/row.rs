//! The rows of the threat table and of the fault matrix that have a ratio part (contracts.md 33): who
//! attacks, how fast, and what must hold.

/// One row.
#[derive(Debug, PartialEq)]
pub(crate) struct Row {
    /// What it is called on the command line and in reports: the row's name in security.md.
    pub(crate) id: &'static str,
    pub(crate) what: &'static str,
    /// Packets a second.
    pub(crate) rate: u32,
    pub(crate) kind: Kind,
    pub(crate) must: Must,
    pub(crate) also: Also,
}

/// Who attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Garbage,
    ClientHello,
    DtlsInjection,
    ForeignMedia,
    BadTag,
    RandomSsrcs,
    BareBinding,
    GuessedBinding,
    KeyframeStorm,
    FullWindowNacks,
    Reports,
    Flood,
}

impl Kind {
    /// Whether it comes from addresses that must never hear anything.
    pub(crate) fn is_foreign(self) -> bool {
        matches!(
            self,
            Kind::Garbage
                | Kind::ClientHello
                | Kind::ForeignMedia
                | Kind::BareBinding
                | Kind::GuessedBinding
        )
    }
}

/// What must hold beside: nobody's media is lost, duplicated, forged or foreign, strangers hear nothing,
/// and the log grows by at most ten lines a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Must {
    /// One-way latency p99 under attack over the calm one.
    pub(crate) p99: Option<f64>,
    /// Bytes of memory kept of each million packets begun.
    pub(crate) kept: Option<u32>,
    /// Whether losing media is a failure, or what saturation means.
    pub(crate) lossless: bool,
}

/// What else is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Also {
    Nothing,
    /// Viewers join under attack, after the rounds: nearly all must succeed.
    Joins,
    /// Viewers join in every window, calm or not: all must succeed, and nearly as fast.
    TimedJoins,
    /// Keyframe requests that reach the publisher, and how soon somebody who joins has a picture.
    Keyframes,
    /// What the node sends to the attacker, or to whoever watches the attacker; over what it sends without
    /// the attack.
    Egress {
        must: Option<f64>,
    },
    /// Whether all is well two seconds later.
    Recovery,
}

const MEBIBYTE: u32 = 1 << 20;

const HARMLESS: Must = Must {
    p99: None,
    kept: None,
    lossless: true,
};

/// In the order they run: strangers, the path, members, and what may hurt last.
pub(crate) const ROWS: &[Row] = &[
    Row {
        id: "garbage-5k",
        what: "STUN, DTLS and RTP in turn, from strangers",
        rate: 5_000,
        kind: Kind::Garbage,
        must: Must {
            p99: Some(1.25),
            kept: Some(MEBIBYTE),
            lossless: true,
        },
        also: Also::Joins,
    },
    Row {
        id: "garbage-20k",
        what: "STUN, DTLS and RTP in turn, from strangers",
        rate: 20_000,
        kind: Kind::Garbage,
        must: Must {
            p99: Some(2.0),
            kept: Some(MEBIBYTE),
            lossless: true,
        },
        also: Also::Joins,
    },
    Row {
        id: "d1",
        what: "ClientHellos from strangers while viewers join",
        rate: 5_000,
        kind: Kind::ClientHello,
        must: HARMLESS,
        also: Also::TimedJoins,
    },
    Row {
        id: "d2",
        what: "DTLS records with the addresses and ports of clients",
        rate: 2_000,
        kind: Kind::DtlsInjection,
        must: HARMLESS,
        also: Also::Nothing,
    },
    Row {
        id: "d5",
        what: "ClientHellos from strangers",
        rate: 10_000,
        kind: Kind::ClientHello,
        must: Must {
            kept: Some(2 * MEBIBYTE),
            ..HARMLESS
        },
        also: Also::Nothing,
    },
    Row {
        id: "s1",
        what: "RTP of a publisher's SSRC from strangers",
        rate: 10_000,
        kind: Kind::ForeignMedia,
        must: HARMLESS,
        also: Also::Nothing,
    },
    Row {
        id: "s2",
        what: "bad tags with a publisher's address, port and SSRC",
        rate: 10_000,
        kind: Kind::BadTag,
        must: HARMLESS,
        also: Also::Nothing,
    },
    Row {
        id: "s5",
        what: "valid tags, each packet another SSRC",
        rate: 10_000,
        kind: Kind::RandomSsrcs,
        must: Must {
            kept: Some(64 << 10),
            ..HARMLESS
        },
        also: Also::Nothing,
    },
    Row {
        id: "t10",
        what: "Binding requests without credentials",
        rate: 20_000,
        kind: Kind::BareBinding,
        must: HARMLESS,
        also: Also::Nothing,
    },
    Row {
        id: "t12",
        what: "Binding requests that guess a password",
        rate: 20_000,
        kind: Kind::GuessedBinding,
        must: HARMLESS,
        also: Also::Nothing,
    },
    Row {
        id: "r6",
        what: "PLI and FIR of 40 viewers of one room",
        rate: 2_000,
        kind: Kind::KeyframeStorm,
        must: HARMLESS,
        also: Also::Keyframes,
    },
    Row {
        id: "r7",
        what: "NACKs for the last 1,020 packets",
        rate: 1_000,
        kind: Kind::FullWindowNacks,
        must: HARMLESS,
        also: Also::Egress { must: Some(1.2) },
    },
    Row {
        id: "r9",
        what: "valid SRTCP of one viewer",
        rate: 20_000,
        kind: Kind::Reports,
        must: Must {
            p99: Some(1.25),
            ..HARMLESS
        },
        also: Also::Nothing,
    },
    Row {
        id: "r10",
        what: "a publisher of 200 Mbit/s in a room of its own",
        // 200 Mbit/s in packets of 1,216 bytes with their tag.
        rate: 20_560,
        kind: Kind::Flood,
        must: Must {
            p99: Some(1.25),
            ..HARMLESS
        },
        also: Also::Egress { must: None },
    },
    Row {
        id: "saturation",
        what: "STUN, DTLS and RTP in turn, more than a call must bear",
        rate: 50_000,
        kind: Kind::Garbage,
        must: Must {
            lossless: false,
            ..HARMLESS
        },
        also: Also::Recovery,
    },
];

/// Finds a row by its id.
///
/// # Errors
/// With the ids there are.
pub(crate) fn parse(text: &str) -> Result<&'static Row, String> {
    ROWS.iter()
        .find(|row| row.id.eq_ignore_ascii_case(text))
        .ok_or_else(|| {
            let ids: Vec<_> = ROWS.iter().map(|row| row.id).collect();
            format!("no such row; there are {}", ids.join(", "))
        })
}

/// Reads `id=packets`.
///
/// # Errors
/// When there is no such row, or no such rate.
pub(crate) fn parse_rate(text: &str) -> Result<(&'static str, u32), String> {
    let (id, rate) = text.split_once('=').ok_or("write it as row=packets")?;
    let rate = rate
        .parse()
        .ok()
        .filter(|rate| (1..=200_000).contains(rate))
        .ok_or("packets a second must be between 1 and 200000")?;
    Ok((parse(id)?.id, rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_their_names_in_the_table() {
        assert_eq!(parse("T10").unwrap().id, "t10");
        assert!(parse("t11").unwrap_err().contains("garbage-5k"));
        assert_eq!(parse_rate("r9=500"), Ok(("r9", 500)));
        for refused in ["r9", "r9=0", "r9=x", "zz=5", "r9=1000000"] {
            assert!(parse_rate(refused).is_err(), "{refused}");
        }
        let mut ids: Vec<_> = ROWS.iter().map(|row| row.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), ROWS.len(), "no name twice");
    }
}
