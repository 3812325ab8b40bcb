//! What the control plane is told of a track's layers.

use dataplane_api::command::{Command, Publish};
use dataplane_api::event::{Event, LayerState};
use dataplane_api::ids::TrackId;
use dataplane_api::media::Encoding;
use dataplane_api::snapshot::Part;

use super::class::{Class, PEER};
use super::frame::{Frame, VIDEO, codec};
use crate::transport::keys::Profile;

/// The SSRCs of the layers, lowest first.
const SSRCS: [u32; 3] = [0x11, 0x12, 0x13];
const RIDS: [&str; 3] = ["q", "h", "f"];

/// A teacher who publishes a camera of three layers.
fn camera() -> (Class, usize) {
    let mut class = Class::new();
    let teacher = class.join(PEER, Profile::AeadAes128Gcm, &[]);
    let encodings = SSRCS.iter().zip(RIDS).map(|(&ssrc, rid)| Encoding {
        rid: Some(rid.into()),
        ssrc: Some(ssrc),
        rtx_ssrc: None,
    });
    let publish = Publish {
        track: TrackId(7),
        session: class.session(teacher),
        uid: [0; 16],
        origin_node: [0; 16],
        hops: 0,
        kind: VIDEO,
        mid: "v".into(),
        codecs: vec![codec(VIDEO, false)],
        encodings: encodings.collect(),
        opaque: false,
        tag: Vec::new(),
    };
    class.shard.on_command(class.now, Command::Publish(publish));
    (class, teacher)
}

/// A packet of each of these layers.
fn send(class: &mut Class, teacher: usize, seq: u16, layers: &[usize]) {
    for &layer in layers {
        let frame = Frame::key(seq);
        let ssrc = SSRCS[layer];
        class.send(teacher, Frame { ssrc, ..frame });
    }
}

/// What was said since the last time: `live`, `silent`, and the layers that are live at each change.
fn said(class: &mut Class) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(event) = class.shard.poll_event() {
        match event {
            Event::TrackLive(_) => said.push("live".into()),
            Event::TrackSilent(_) => said.push("silent".into()),
            Event::TrackLayers(event) => said.push(live(&event.layers)),
            Event::SessionConnected(_)
            | Event::SessionClosed(_)
            | Event::ResyncNeeded(_)
            | Event::Superseded(_)
            | Event::Draining(_)
            | Event::ShardStats(_) => {}
        }
    }
    said
}

fn live(layers: &[LayerState]) -> String {
    let rids: Vec<_> = layers.iter().map(|layer| layer.rid.as_deref()).collect();
    assert_eq!(rids, RIDS.map(Some), "every layer, in the order of Publish");
    let live = layers.iter().filter(|layer| layer.live);
    live.filter_map(|layer| layer.rid.as_deref()).collect()
}

fn in_snapshot(class: &Class) -> String {
    let parts = class.shard.snapshot();
    let layers = parts.iter().find_map(|part| match part {
        Part::Track(part) => Some(live(&part.layers)),
        Part::Session(_) | Part::ShardEnd(_) | Part::End(_) => None,
    });
    layers.expect("the track is here")
}

#[test]
fn a_layer_is_told_of_when_it_comes_and_when_it_was_away_for_two_seconds() {
    let (mut class, teacher) = camera();
    assert_eq!(in_snapshot(&class), "");
    send(&mut class, teacher, 1, &[0]);
    assert_eq!(said(&mut class), ["live", "q"]);
    send(&mut class, teacher, 1, &[2]);
    send(&mut class, teacher, 1, &[1]);
    assert_eq!(said(&mut class), ["qf", "qhf"]);
    for seq in 2..=5 {
        class.advance_ms(450);
        send(&mut class, teacher, seq, &[0, 1]);
    }
    assert_eq!(
        said(&mut class),
        Vec::<String>::new(),
        "1.8 s are no silence"
    );
    class.advance_ms(250);
    assert_eq!(said(&mut class), ["qh"]);
    assert_eq!(in_snapshot(&class), "qh");
    send(&mut class, teacher, 6, &[2]);
    assert_eq!(said(&mut class), ["qhf"]);
}

#[test]
fn a_track_falls_silent_with_its_last_layer() {
    let (mut class, teacher) = camera();
    send(&mut class, teacher, 1, &[0, 1, 2]);
    said(&mut class);
    class.advance_ms(1_000);
    send(&mut class, teacher, 2, &[1]);
    class.advance_ms(1_000);
    assert_eq!(said(&mut class), ["h"], "two layers went at once");
    assert_eq!(
        class
            .shard
            .next_deadline()
            .map(|at| at.since(class.now) <= 1_000_000),
        Some(true)
    );
    class.advance_ms(1_000);
    assert_eq!(said(&mut class), ["silent", ""]);
    assert_eq!(in_snapshot(&class), "");
    class.advance_ms(1_000);
    assert_eq!(said(&mut class), Vec::<String>::new(), "said once");
    send(&mut class, teacher, 3, &[1]);
    assert_eq!(said(&mut class), ["live", "h"]);
}
