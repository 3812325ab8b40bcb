//! Everything `docs/design/security.md` expects of a hostile network and of hostile peers, as counts: each
//! test carries the number of its row (D1 to D7, S1 to S7, X1, T10 to T12, R1 to R10) and its pass numbers.
//! What is a ratio of times (p99, CPU) is measured by `lectern-perf abuse` instead (contracts.md 33).
//!
//! Most stories play in a [`hall::Hall`]: one shard as it ships and peers whose keys the test holds, so that
//! a hostile peer can authenticate whatever bytes it likes, a million of them within a test.
#![allow(clippy::unwrap_used, reason = "a test states what must be by failing")]

mod attacker;
mod content;
mod demux;
mod dtls;
mod dtls_floods;
mod edge;
mod hall;
mod ice;
mod memory;
mod orders;
mod payloads;
mod rates;
mod receiver;
mod rtcp;
mod srtp;
mod stride;
mod vectors;
