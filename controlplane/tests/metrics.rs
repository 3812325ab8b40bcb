//! What is counted, against the operators' guide, and the text against the rules of its format.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::http::StatusCode;
use controlplane::auth::Role;
use controlplane::http::metrics::{ConnectionKind, ConnectionState, Metrics};

const GUIDE: &str = include_str!("../../docs/operate.md");
const DATA_PLANE: &str = include_str!("../../dataplane/src/metrics.rs");

/// A control plane that has seen one of everything.
fn text() -> String {
    let metrics = Metrics::new();
    metrics.set_rooms(1);
    metrics.set_participants(Role::Teacher, 1);
    metrics.set_connections(ConnectionKind::Whip, ConnectionState::Connected, 1);
    metrics.set_connections(ConnectionKind::Whep, ConnectionState::New, 2);
    metrics.joined(ConnectionKind::Whep, Duration::from_millis(120));
    metrics.answered("/whip/{room}", StatusCode::CREATED);
    metrics.set_link_up(true);
    metrics.resynced();
    metrics.text()
}

/// The samples of an exposition: name, labels, value.
fn samples(text: &str) -> Vec<(String, BTreeMap<String, String>, f64)> {
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
            None => (series, ""),
        };
        let labels = labels
            .split("\",")
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (label, value) = pair.split_once("=\"").unwrap();
                (label.to_owned(), value.trim_end_matches('"').to_owned())
            });
        (name.to_owned(), labels.collect(), value.parse().unwrap())
    };
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(sample)
        .collect()
}

/// What a sample is called without what its type adds.
fn family<'a>(sample: &'a str, types: &BTreeMap<&str, &str>) -> Option<&'a str> {
    let suffixes = ["", "_total", "_bucket", "_sum", "_count", "_info"];
    suffixes.iter().find_map(|suffix| {
        let base = sample.strip_suffix(suffix)?;
        let fits = match *types.get(base)? {
            "counter" => *suffix == "_total",
            "histogram" => matches!(*suffix, "_bucket" | "_sum" | "_count"),
            "info" => *suffix == "_info",
            _ => suffix.is_empty(),
        };
        fits.then_some(base)
    })
}

/// The metric names in a table of the guide, each with its labels.
fn guide(heading: &str) -> BTreeMap<String, BTreeSet<String>> {
    let section = GUIDE
        .split(heading)
        .nth(1)
        .unwrap_or_else(|| panic!("no {heading}"));
    let rows = section
        .lines()
        .skip_while(|line| !line.starts_with("| `lectern_"))
        .take_while(|line| line.starts_with('|'));
    rows.flat_map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        // `kind (whip, whep), state (new)`: what is in brackets are values.
        let mut labels = String::new();
        let mut depth = 0;
        for letter in cells[2].chars() {
            match letter {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ if depth == 0 => labels.push(letter),
                _ => {}
            }
        }
        let labels: BTreeSet<String> = labels
            .split(',')
            .map(|label| label.trim().to_owned())
            .filter(|label| !label.is_empty())
            .collect();
        let names = cells[1]
            .split('`')
            .filter(|part| part.starts_with("lectern_"));
        names
            .map(|name| (name.to_owned(), labels.clone()))
            .collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn every_line_is_as_openmetrics_wants_it() {
    let text = text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let types: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let mut series = BTreeSet::new();
    for (name, labels, value) in samples(&text) {
        assert!(family(&name, &types).is_some(), "{name} has no type");
        assert!(value.is_finite() && value >= 0.0, "{name} {value}");
        assert!(
            series.insert((name.clone(), labels)),
            "{name} stands there twice"
        );
    }
    for name in types.keys() {
        assert!(
            text.contains(&format!("# HELP {name} ")),
            "{name} has no help"
        );
    }
}

#[test]
fn the_guide_lists_what_the_control_plane_counts_and_nothing_else() {
    let text = text();
    let mut exposed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, labels, _) in samples(&text) {
        let name = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .unwrap_or(&name);
        let labels = labels.into_keys().filter(|label| label != "le");
        exposed.entry(name.to_owned()).or_default().extend(labels);
    }
    assert_eq!(guide("Of the control plane:"), exposed);
}

#[test]
fn the_guide_lists_what_the_data_plane_counts_and_nothing_else() {
    let declared: BTreeSet<&str> = DATA_PLANE
        .split('"')
        .filter(|part| part.starts_with("lectern_"))
        .collect();
    let listed = guide("Of the data plane:");
    let listed: BTreeSet<&str> = listed
        .keys()
        .map(|name| {
            let base = name
                .strip_suffix("_total")
                .or_else(|| name.strip_suffix("_info"));
            base.unwrap_or(name)
        })
        .collect();
    assert_eq!(listed, declared);
}
