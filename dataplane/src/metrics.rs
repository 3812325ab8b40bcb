//! `/metrics`: the names of the data plane in OpenMetrics text, built from the status at each scrape.
//!
//! No label comes from a user: shards are numbers, reasons and directions are words of this build.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use dataplane_engine::GiveUp;
use dataplane_engine::reason::DropReason;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::stats::{Sample, TURN_BOUNDS_US};
use crate::status::Status;

/// The media type of [`encode`]'s text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The registry over a status.
#[must_use]
pub(crate) fn registry(status: Arc<Status>) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Metrics { status }));
    registry
}

/// The text of a scrape.
///
/// # Errors
/// Never: writing to a `String` does not fail.
pub(crate) fn encode(registry: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::with_capacity(16 * 1_024);
    prometheus_client::encoding::text::encode(&mut text, registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Metrics {
    status: Arc<Status>,
}

/// One shard's sample under its label value.
type Shards = [(String, Sample)];

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let shards: Vec<(String, Sample)> = self
            .status
            .shards()
            .map(|(index, shard)| (index.to_string(), shard.slot.read()))
            .collect();
        self.node(&mut encoder)?;
        population(&mut encoder, &shards)?;
        packets(&mut encoder, &shards)?;
        drops(&mut encoder, &shards)?;
        turns(&mut encoder, &shards)?;
        joins(&mut encoder, &shards)
    }
}

impl Metrics {
    fn node(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut build = encoder.encode_descriptor(
            "lectern_build",
            "The data plane's build.",
            None,
            MetricType::Info,
        )?;
        build.encode_info(&[
            ("version", env!("CARGO_PKG_VERSION")),
            ("commit", option_env!("LECTERN_COMMIT").unwrap_or("unknown")),
            ("edge", self.status.edge()),
        ])?;
        let link_up = ConstGauge::new(i64::from(self.status.link_up()));
        link_up.encode(encoder.encode_descriptor(
            "lectern_link_up",
            "Whether a control plane has the link.",
            None,
            MetricType::Gauge,
        )?)?;
        let draining = ConstGauge::new(i64::from(self.status.draining()));
        draining.encode(encoder.encode_descriptor(
            "lectern_draining",
            "Whether the node takes no new sessions any more.",
            None,
            MetricType::Gauge,
        )?)?;
        total(
            encoder,
            "lectern_link_resyncs",
            "Times lost state events were replaced by a request to resync.",
            self.status.resyncs(),
        )?;
        total(
            encoder,
            "lectern_link_measurements_dropped",
            "Measurements coalesced or dropped on their way to the control plane.",
            self.status.measurements_dropped(),
        )?;
        let mut family = encoder.encode_descriptor(
            "lectern_shard_up",
            "Whether the shard's thread lives.",
            None,
            MetricType::Gauge,
        )?;
        for (index, shard) in self.status.shards() {
            let up = ConstGauge::new(i64::from(!shard.health.has_ended()));
            up.encode(family.encode_family(&[("shard", index.to_string())])?)?;
        }
        let handshake = &self.status.handshake;
        let machine = handshake.machine();
        counter(
            encoder,
            "lectern_dtls_dropped",
            "DTLS datagrams and records that no handshake had a use for, by reason.",
            [
                (vec![("reason", "refused")], machine.refused),
                (vec![("reason", "ignored")], machine.ignored),
                (vec![("reason", "queue")], handshake.flights_dropped()),
            ],
        )?;
        total(
            encoder,
            "lectern_dtls_worker_panics",
            "Times the handshake machine panicked and started over: any is a bug.",
            handshake.panics(),
        )
    }
}

/// What each shard holds.
fn population(encoder: &mut DescriptorEncoder<'_>, shards: &Shards) -> fmt::Result {
    type Of = fn(&Sample) -> usize;
    let families: [(&str, &str, Of); 3] = [
        ("lectern_shard_sessions", "Sessions admitted.", |s| {
            s.population.sessions
        }),
        ("lectern_shard_tracks", "Tracks published.", |s| {
            s.population.tracks
        }),
        ("lectern_shard_subscriptions", "Slots filled.", |s| {
            s.population.subscriptions
        }),
    ];
    for (name, help, of) in families {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (shard, sample) in shards {
            let held = i64::try_from(of(sample)).unwrap_or(i64::MAX);
            ConstGauge::new(held).encode(family.encode_family(&[("shard", shard.as_str())])?)?;
        }
    }
    Ok(())
}

fn packets(encoder: &mut DescriptorEncoder<'_>, shards: &Shards) -> fmt::Result {
    counter(
        encoder,
        "lectern_shard_packets",
        "Datagrams received and sent.",
        by_direction(shards, |s| {
            (s.engine.received_packets, s.engine.sent_packets)
        }),
    )?;
    counter(
        encoder,
        "lectern_shard_bytes",
        "UDP payload bytes received and sent.",
        by_direction(shards, |s| (s.engine.received_bytes, s.engine.sent_bytes)),
    )?;
    counter(
        encoder,
        "lectern_retransmitted_packets",
        "RTP packets sent again on request.",
        by_shard(shards, |s| s.engine.retransmitted_packets),
    )?;
    counter(
        encoder,
        "lectern_keyframe_requests",
        "Keyframe requests sent to publishers.",
        by_shard(shards, |s| s.engine.keyframe_requests),
    )?;
    repair(encoder, shards)?;
    let mut fallback = encoder.encode_descriptor(
        "lectern_send_fallback",
        "Local addresses on which segmented sends are switched off.",
        None,
        MetricType::Gauge,
    )?;
    let addresses: BTreeSet<&String> = shards.iter().flat_map(|(_, s)| &s.unsegmented).collect();
    for address in addresses {
        ConstGauge::new(1_i64)
            .encode(fallback.encode_family(&[("interface", address.as_str())])?)?;
    }
    Ok(())
}

/// What publishers' streams missed on the way in, and what viewers did not get again.
fn repair(encoder: &mut DescriptorEncoder<'_>, shards: &Shards) -> fmt::Result {
    counter(
        encoder,
        "lectern_resends_missed",
        "RTP packets asked for again by viewers that were not sent: forgotten, too often, too soon, beyond the budget.",
        by_shard(shards, |s| s.engine.resends_missed),
    )?;
    counter(
        encoder,
        "lectern_nack_packets",
        "Packets publishers were asked to send again, each time counted.",
        by_shard(shards, |s| s.engine.nack.asked),
    )?;
    counter(
        encoder,
        "lectern_nack_repaired",
        "Packets publishers' streams missed that came when they were asked for.",
        by_shard(shards, |s| s.engine.nack.repaired),
    )?;
    counter(
        encoder,
        "lectern_nack_given_up",
        "Packets publishers' streams missed that are not asked for any more, by reason.",
        shards
            .iter()
            .flat_map(|(shard, sample)| {
                let reasons = GiveUp::ALL.iter().zip(sample.engine.nack.given_up);
                reasons.map(move |(reason, count)| (labels(shard, reason.label()), count))
            })
            .collect::<Vec<_>>(),
    )?;
    counter(
        encoder,
        "lectern_keyframe_wishes_ignored",
        "Keyframe requests of viewers beyond what one viewer is heard for.",
        by_shard(shards, |s| s.engine.keyframe_wishes_ignored),
    )
}

/// Reasons of the engine, and the places before and after it that a datagram can get lost at.
fn drops(encoder: &mut DescriptorEncoder<'_>, shards: &Shards) -> fmt::Result {
    let mut rows = Vec::new();
    for (shard, sample) in shards {
        let edge = &sample.edge;
        let in_edge = [
            ("send_would_block", edge.dropped_would_block),
            ("send_no_buffers", edge.dropped_no_buffers),
            ("send_too_large", edge.dropped_too_large),
            ("send_refused", edge.dropped_refused),
        ];
        // The engine counts as `send` whatever did not leave; the edge knows why.
        let explained: u64 = in_edge.iter().map(|(_, count)| count).sum();
        let engine = sample
            .engine
            .dropped_in
            .iter()
            .zip(sample.engine.dropped_out.iter());
        rows.extend(engine.map(|((reason, inward), (_, outward))| {
            let count = if reason == DropReason::Queue {
                inward + outward + sample.rings.records + sample.rings.handovers
            } else if reason == DropReason::Send {
                (inward + outward).saturating_sub(explained)
            } else {
                inward + outward
            };
            (labels(shard, reason.label()), count)
        }));
        let before_engine = [
            ("kernel_receive_buffer", sample.kernel_drops),
            ("receive_oversized", edge.received_oversized),
            ("receive_unaddressed", edge.received_unaddressed),
        ];
        let rest = in_edge.into_iter().chain(before_engine);
        rows.extend(rest.map(|(reason, count)| (labels(shard, reason), count)));
    }
    counter(
        encoder,
        "lectern_shard_dropped",
        "Packets dropped, by reason.",
        rows,
    )
}

fn turns(encoder: &mut DescriptorEncoder<'_>, shards: &Shards) -> fmt::Result {
    let mut family = encoder.encode_descriptor(
        "lectern_shard_turn_seconds",
        "Work of one turn of a shard, without its wait.",
        None,
        MetricType::Histogram,
    )?;
    for (shard, sample) in shards {
        let turns = &sample.turns;
        let buckets: Vec<(f64, u64)> = TURN_BOUNDS_US
            .iter()
            .map(|&us| seconds(us))
            .zip(turns.counts)
            .chain([(f64::MAX, turns.beyond)])
            .collect();
        family
            .encode_family(&[("shard", shard.as_str())])?
            .encode_histogram::<NoLabelSet>(seconds(turns.sum_us), turns.total(), &buckets, None)?;
    }
    let mut family = encoder.encode_descriptor(
        "lectern_shard_batch_packets",
        "Packets of one send to one destination: sum over count is the batch that the cost depends on.",
        None,
        MetricType::Histogram,
    )?;
    for (shard, sample) in shards {
        let runs = sample.engine.sent_runs;
        #[expect(
            clippy::cast_precision_loss,
            reason = "2^53 packets are more than a shard sends"
        )]
        let packets = sample.engine.sent_packets as f64;
        family
            .encode_family(&[("shard", shard.as_str())])?
            .encode_histogram::<NoLabelSet>(packets, runs, &[(f64::MAX, runs)], None)?;
    }
    let mut family = encoder.encode_descriptor(
        "lectern_shard_linger_seconds",
        "How long a video packet may wait for company now.",
        None,
        MetricType::Gauge,
    )?;
    for (shard, sample) in shards {
        let linger = ConstGauge::new(seconds(sample.engine.linger_us));
        linger.encode(family.encode_family(&[("shard", shard.as_str())])?)?;
    }
    Ok(())
}

fn joins(encoder: &mut DescriptorEncoder<'_>, shards: &Shards) -> fmt::Result {
    let sum = |of: fn(&Sample) -> u64| shards.iter().map(|(_, sample)| of(sample)).sum();
    counter(
        encoder,
        "lectern_ice_failures",
        "Sessions lost to ICE, by reason.",
        [
            (vec![("reason", "no_check")], sum(|s| s.engine.ice_timeouts)),
            (
                vec![("reason", "consent_expired")],
                sum(|s| s.engine.consent_expired),
            ),
        ],
    )?;
    counter(
        encoder,
        "lectern_dtls_failures",
        "Handshakes that failed, by reason.",
        [
            (
                vec![("reason", "handshake")],
                sum(|s| s.engine.handshakes_failed),
            ),
            (
                vec![("reason", "fingerprint")],
                sum(|s| s.engine.fingerprint_mismatches),
            ),
        ],
    )
}

/// The labels of one row.
type Labels<'a> = Vec<(&'static str, &'a str)>;

fn labels<'a>(shard: &'a str, reason: &'a str) -> Labels<'a> {
    vec![("shard", shard), ("reason", reason)]
}

fn by_shard(shards: &Shards, of: fn(&Sample) -> u64) -> impl Iterator<Item = (Labels<'_>, u64)> {
    shards
        .iter()
        .map(move |(shard, sample)| (vec![("shard", shard.as_str())], of(sample)))
}

fn by_direction(
    shards: &Shards,
    of: fn(&Sample) -> (u64, u64),
) -> impl Iterator<Item = (Labels<'_>, u64)> {
    shards.iter().flat_map(move |(shard, sample)| {
        let (inward, outward) = of(sample);
        [("in", inward), ("out", outward)].map(|(direction, count)| {
            (
                vec![("shard", shard.as_str()), ("direction", direction)],
                count,
            )
        })
    })
}

/// One counter family; the text adds `_total` to its name.
fn counter<'l>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = (Labels<'l>, u64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in rows {
        ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// One counter without labels; the text adds `_total` to its name.
fn total(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    ConstCounter::new(value).encode(family)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "2^53 microseconds are 285 years"
)]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
