//! Which track and layer an incoming SSRC belongs to (RFC 8843 section 9.2, RFC 8852): by what the offer
//! declared, by the mid and rid header extensions, else by payload type. Learned once, from a packet that
//! authenticated.

use codecs::rtp::RtpView;
use dataplane_api::media::Extensions;

use super::arrivals::Arrivals;
use super::stream::{Late, Stream};
use super::track::Track;
use crate::limits::SSRCS_PER_SESSION_MAX;
use crate::table::{Key, Table};
use crate::time::Micros;

/// What an SSRC carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) track: Key,
    pub(crate) layer: u8,
    /// The retransmission stream of the layer (RFC 4588), not the layer itself.
    pub(crate) rtx: bool,
}

/// What still comes on the SSRC of an encoder that restarted is late for this long: overtaken, doubled, or sent
/// again because it was asked for.
const LATE_US_MAX: u64 = 2_000_000;

/// What a packet carries once padding and RTX are off it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Media<'a> {
    /// The source's number of the packet, of the original where it was repaired.
    pub(crate) ext_seq: u64,
    /// The media payload type.
    pub(crate) payload_type: u8,
    pub(crate) payload: &'a [u8],
    /// Packets behind it came before it.
    pub(crate) late: Option<Late>,
}

/// The incoming streams of one session.
#[derive(Debug, Default)]
pub(crate) struct Receiver {
    streams: Vec<(Bound, Stream)>,
    /// SSRCs that others replaced or whose track ended, and when, oldest first. A late packet of one of them must not
    /// take a layer: every slot that shows it would wait for a keyframe, twice, and might be shown what is not of
    /// its track.
    retired: Vec<(u32, Micros)>,
    pub(crate) arrivals: Arrivals,
    /// The media SSRC of the last transport-wide numbered packet: feedback must name one.
    pub(crate) last_ssrc: u32,
}

impl Receiver {
    /// The stream of `ssrc`, bound already.
    pub(crate) fn get_mut(&mut self, ssrc: u32) -> Option<(Bound, &mut Stream)> {
        self.streams
            .iter_mut()
            .find(|(_, stream)| stream.ssrc == ssrc)
            .map(|(bound, stream)| (*bound, stream))
    }

    /// Every bound stream.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Bound, &mut Stream)> {
        self.streams
            .iter_mut()
            .map(|(bound, stream)| (*bound, stream))
    }

    /// The stream that carries a layer.
    pub(crate) fn layer(&self, track: Key, layer: u8) -> Option<&Stream> {
        let bound = Bound {
            track,
            layer,
            rtx: false,
        };
        self.streams
            .iter()
            .find(|(b, _)| *b == bound)
            .map(|(_, stream)| stream)
    }

    /// The same, to change.
    pub(crate) fn layer_mut(&mut self, track: Key, layer: u8) -> Option<&mut Stream> {
        let bound = Bound {
            track,
            layer,
            rtx: false,
        };
        self.streams
            .iter_mut()
            .find(|(b, _)| *b == bound)
            .map(|(_, stream)| stream)
    }

    /// A packet of `ssrc` arrived that is not taken.
    pub(crate) fn refuse(&mut self, ssrc: u32, ext_seq: u64) {
        if let Some((bound, stream)) = self.get_mut(ssrc)
            && !bound.rtx
        {
            stream.refuse(ext_seq);
        }
    }

    /// When something is to be asked for again.
    pub(crate) fn nack_at(&self) -> Option<Micros> {
        self.streams
            .iter()
            .filter_map(|(_, stream)| stream.nack_at())
            .min()
    }

    /// Binds the SSRC of a packet that authenticated. A layer has one SSRC: a new one replaces the old,
    /// which is how a restarted encoder arrives; the second value says that it did.
    pub(crate) fn bind(
        &mut self,
        now: Micros,
        view: &RtpView<'_>,
        ext_seq: u64,
        extensions: &Extensions,
        tracks: &Table<Track>,
        owned: &[Key],
    ) -> Option<(Bound, bool)> {
        self.retired.retain(|&(_, at)| now.since(at) < LATE_US_MAX);
        if self.retired.iter().any(|&(ssrc, _)| ssrc == view.ssrc()) {
            return None;
        }
        let bound = resolve(view, extensions, tracks, owned)?;
        let restarted = self.retire(now, |other| other == bound);
        if restarted && !bound.rtx {
            // What its retransmission stream repeats is numbered as the encoder before numbered it.
            let rtx = Bound { rtx: true, ..bound };
            self.retire(now, |other| other == rtx);
        }
        if self.streams.len() >= SSRCS_PER_SESSION_MAX {
            return None;
        }
        self.streams
            .push((bound, Stream::new(view.ssrc(), ext_seq)));
        Some((bound, restarted))
    }

    /// Forgets the streams of a track that ended.
    pub(crate) fn forget(&mut self, now: Micros, track: Key) {
        self.retire(now, |bound| bound.track == track);
    }

    /// Takes streams away; true when there were any.
    fn retire(&mut self, now: Micros, which: impl Fn(Bound) -> bool) -> bool {
        let before = self.streams.len();
        let retired = &mut self.retired;
        self.streams.retain(|(bound, stream)| {
            let goes = which(*bound);
            if goes {
                if retired.len() >= SSRCS_PER_SESSION_MAX {
                    retired.remove(0);
                }
                retired.push((stream.ssrc, now));
            }
            !goes
        });
        self.streams.len() < before
    }
}

fn resolve(
    view: &RtpView<'_>,
    extensions: &Extensions,
    tracks: &Table<Track>,
    owned: &[Key],
) -> Option<Bound> {
    let text = |id: Option<u8>| id.and_then(|id| view.extension(id));
    let mid = text(extensions.mid);
    let rid = text(extensions.rid);
    let repaired = text(extensions.repaired_rid);
    let candidates = || {
        owned
            .iter()
            .filter_map(|&key| Some((key, tracks.get(key)?)))
    };

    // Declared in the offer.
    for (key, track) in candidates() {
        for (layer, encoding) in (0u8..).zip(&track.spec.encodings) {
            if encoding.ssrc == Some(view.ssrc()) {
                return Some(Bound {
                    track: key,
                    layer,
                    rtx: false,
                });
            }
            if encoding.rtx_ssrc == Some(view.ssrc()) {
                return Some(Bound {
                    track: key,
                    layer,
                    rtx: true,
                });
            }
        }
    }

    // By mid, else by a payload type that only one track has.
    let has_pt = |track: &Track| {
        track
            .spec
            .codecs
            .iter()
            .any(|c| c.pt == view.payload_type() || c.rtx_pt == Some(view.payload_type()))
    };
    let (key, track) = match mid {
        Some(mid) => {
            candidates().find(|(_, track)| track.spec.mid.as_bytes() == mid && has_pt(track))?
        }
        None => {
            let mut matching = candidates().filter(|(_, track)| has_pt(track));
            let only = matching.next()?;
            // Where the offer named its SSRCs, another one without a mid is not known to be of this track.
            let is_named = only.1.spec.encodings.iter().any(|e| e.ssrc.is_some());
            if is_named || matching.next().is_some() {
                return None;
            }
            only
        }
    };
    let rtx = repaired.is_some()
        || track
            .spec
            .codecs
            .iter()
            .any(|c| c.rtx_pt == Some(view.payload_type()));

    // Which encoding: by rid, else the only one.
    let layer = match repaired.or(rid) {
        Some(rid) => (0u8..)
            .zip(&track.spec.encodings)
            .find(|(_, encoding)| encoding.rid.as_deref().map(str::as_bytes) == Some(rid))
            .map(|(layer, _)| layer)?,
        None if track.spec.encodings.len() == 1 => 0,
        None => return None,
    };
    Some(Bound {
        track: key,
        layer,
        rtx,
    })
}
