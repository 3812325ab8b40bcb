//! What a reader has been told, and what is new to it.

use dataplane_api::media::MediaKind;
use serde_json::{Map, Value, json};

use crate::rooms::{News, Reconnect};

/// Which events a reader wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted(u8);

impl Wanted {
    /// The names of the draft that this node tells, in the order of their bits.
    pub(super) const NAMES: [&'static str; 5] =
        ["active", "inactive", "layers", "viewercount", "reconnect"];

    /// Every event.
    pub(super) const ALL: Wanted = Wanted(0b1_1111);

    /// A JSON list of names; one that is unknown here is told by nobody, so it is passed over.
    pub(super) fn read(body: &[u8]) -> Option<Wanted> {
        let names: Vec<String> = serde_json::from_slice(body).ok()?;
        let bits = names.iter().filter_map(|name| bit(name));
        Some(Wanted(bits.fold(0, |all, bit| all | bit)))
    }

    pub(super) fn from_bits(bits: u8) -> Option<Wanted> {
        (bits <= Wanted::ALL.0).then_some(Wanted(bits))
    }

    pub(super) fn bits(self) -> u8 {
        self.0
    }

    fn has(self, name: &str) -> bool {
        bit(name).is_some_and(|bit| self.0 & bit != 0)
    }
}

fn bit(name: &str) -> Option<u8> {
    let at = Wanted::NAMES.iter().position(|known| *known == name)?;
    Some(1 << at)
}

/// One reader's memory.
#[derive(Debug)]
pub(super) struct Told {
    wanted: Wanted,
    /// The session's sections: kind and mid.
    sections: Vec<(MediaKind, String)>,
    active: Option<bool>,
    layers: Value,
    viewers: Option<usize>,
    reconnect: Option<Reconnect>,
}

impl Told {
    /// Nothing yet. `sections` are the session's, by whose mids layers are told.
    pub(super) fn new(wanted: Wanted, sections: Vec<(MediaKind, String)>) -> Told {
        Told {
            wanted,
            sections,
            active: None,
            layers: json!({}),
            viewers: None,
            reconnect: None,
        }
    }

    /// The events that bring a reader to `now`: name and data.
    pub(super) fn tell(&mut self, now: &News) -> Vec<(&'static str, Value)> {
        let mut events = Vec::new();
        // The draft forbids an `inactive` that nothing active came before.
        if self.active.unwrap_or(false) != now.active {
            events.push((if now.active { "active" } else { "inactive" }, json!({})));
        }
        self.active = Some(now.active);
        let layers = self.layers(now);
        // No layers at all is what `inactive` says.
        if layers != self.layers && layers != json!({}) {
            events.push(("layers", layers.clone()));
        }
        self.layers = layers;
        if self.viewers.replace(now.viewers) != Some(now.viewers) {
            events.push(("viewercount", json!({"viewercount": now.viewers})));
        }
        let before = std::mem::replace(&mut self.reconnect, now.reconnect);
        if let Some(why) = now.reconnect
            && before != Some(why)
        {
            let retry_after_s = retry_after_s(why);
            let data = json!({"reason": why.as_str(), "retry_after_s": retry_after_s});
            events.push(("reconnect", data));
        }
        events.retain(|(name, _)| self.wanted.has(name));
        events
    }

    /// `{"<mid>": {"active": [..], "inactive": [..], "layers": [..]}}`, the form that players read:
    /// `layers` lists those that may be had now. A layer is named by `encodingId` and, as newer drafts
    /// have it, by `rid`.
    fn layers(&self, now: &News) -> Value {
        let mut all = Map::new();
        for track in now.tracks.iter().filter(|track| !track.layers.is_empty()) {
            let section = self.sections.iter().find(|(kind, _)| *kind == track.kind);
            let Some((_, mid)) = section else { continue };
            let (mut active, mut inactive) = (Vec::new(), Vec::new());
            for (index, layer) in track.layers.iter().enumerate() {
                let rid = layer.rid.clone().unwrap_or_else(|| index.to_string());
                let entry = json!({"encodingId": rid, "rid": rid});
                if layer.live {
                    active.push(entry);
                } else {
                    inactive.push(entry);
                }
            }
            let entry = json!({"active": active, "inactive": inactive, "layers": active});
            all.insert(mid.clone(), entry);
        }
        Value::Object(all)
    }
}

/// How long a player waits: a stream with other codecs is there already; a lost media process is back
/// within a second; a node that drains is asked again only after its load balancer has noticed.
fn retry_after_s(why: Reconnect) -> u32 {
    match why {
        Reconnect::OtherFormats => 0,
        Reconnect::MediaDown | Reconnect::Draining => 1,
    }
}

#[cfg(test)]
mod tests {
    use dataplane_api::event::LayerState;

    use super::*;
    use crate::rooms::TrackNews;

    fn told(wanted: Wanted) -> Told {
        let sections = vec![
            (MediaKind::Audio, "0".into()),
            (MediaKind::Video, "v".into()),
        ];
        Told::new(wanted, sections)
    }

    fn live(viewers: usize, layers: &[(&str, bool)]) -> News {
        let layers = layers.iter().map(|(rid, live)| LayerState {
            rid: Some((*rid).into()),
            live: *live,
        });
        let track = |kind, layers| TrackNews { kind, layers };
        News {
            active: true,
            tracks: vec![
                track(MediaKind::Audio, vec![]),
                track(MediaKind::Video, layers.collect()),
            ],
            viewers,
            reconnect: None,
        }
    }

    /// As they go over the wire.
    fn lines(events: Vec<(&str, Value)>) -> Vec<String> {
        let line = |(name, data)| format!("{name} {data}");
        events.into_iter().map(line).collect()
    }

    #[test]
    fn a_reader_is_told_the_state_and_then_what_changes() {
        let gap = || News {
            viewers: 2,
            ..News::default()
        };
        let layers = r#"layers {"v":{"active":[{"encodingId":"q","rid":"q"}],"inactive":[{"encodingId":"f","rid":"f"}],"layers":[{"encodingId":"q","rid":"q"}]}}"#;
        let more = r#"layers {"v":{"active":[{"encodingId":"q","rid":"q"},{"encodingId":"f","rid":"f"}],"inactive":[],"layers":[{"encodingId":"q","rid":"q"},{"encodingId":"f","rid":"f"}]}}"#;
        let going = |why| News {
            reconnect: Some(why),
            ..gap()
        };
        let draining = r#"reconnect {"reason":"draining","retry_after_s":1}"#;
        let other = r#"reconnect {"reason":"other-formats","retry_after_s":0}"#;
        let down = r#"reconnect {"reason":"media-down","retry_after_s":1}"#;
        let steps: [(News, &[&str]); 13] = [
            (News::default(), &[r#"viewercount {"viewercount":0}"#]),
            (News::default(), &[]),
            (
                live(1, &[("q", true), ("f", false)]),
                &["active {}", layers, r#"viewercount {"viewercount":1}"#],
            ),
            (
                live(2, &[("q", true), ("f", false)]),
                &[r#"viewercount {"viewercount":2}"#],
            ),
            (live(2, &[("q", true), ("f", true)]), &[more]),
            (gap(), &["inactive {}"]),
            (live(2, &[("q", true), ("f", true)]), &["active {}", more]),
            (going(Reconnect::Draining), &["inactive {}", draining]),
            (going(Reconnect::Draining), &[]),
            (going(Reconnect::OtherFormats), &[other]),
            (going(Reconnect::MediaDown), &[down]),
            // It was the link only; the next time it is not.
            (gap(), &[]),
            (going(Reconnect::MediaDown), &[down]),
        ];
        let mut told = told(Wanted::ALL);
        for (step, (now, expected)) in steps.into_iter().enumerate() {
            assert_eq!(lines(told.tell(&now)), expected, "step {step}");
        }
    }

    #[test]
    fn a_stream_that_was_live_before_is_told_first() {
        let first = lines(told(Wanted::ALL).tell(&live(3, &[])));
        assert_eq!(first, ["active {}", r#"viewercount {"viewercount":3}"#]);
    }

    #[test]
    fn only_what_is_wanted_is_told() {
        let mut some = told(Wanted::read(br#"["viewercount","scte35"]"#).unwrap());
        let first = lines(some.tell(&live(3, &[("q", true)])));
        assert_eq!(first, [r#"viewercount {"viewercount":3}"#]);
        let mut none = told(Wanted::read(b"[]").unwrap());
        assert_eq!(none.tell(&live(3, &[("q", true)])), []);
        for bad in [&b"{}"[..], b"\"active\"", b"[1]", b"[", b"\xff"] {
            assert_eq!(Wanted::read(bad), None);
        }
    }
}
