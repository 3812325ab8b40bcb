//! RTP header extensions: the ones the node understands, and their ids within one session.

use dataplane_api::media::Extensions;

/// A header extension that a shard reads or writes. Every other one is left out of the answer, so that a
/// peer does not send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extension {
    Mid,
    Rid,
    RepairedRid,
    TransportCc,
    AudioLevel,
    VideoOrientation,
    DependencyDescriptor,
    AbsCaptureTime,
    PlayoutDelay,
}

/// Largest id of a one-byte header; 15 is reserved (RFC 8285 section 4.2).
const ID_MAX: u16 = 14;

const URIS: [(Extension, &str); 9] = [
    // RFC 9143 section 15.2.
    (Extension::Mid, "urn:ietf:params:rtp-hdrext:sdes:mid"),
    // RFC 8852 section 4.
    (
        Extension::Rid,
        "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    ),
    (
        Extension::RepairedRid,
        "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    ),
    // draft-holmer-rmcat-transport-wide-cc-extensions-01.
    (
        Extension::TransportCc,
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    ),
    // RFC 6464 section 4.
    (
        Extension::AudioLevel,
        "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    ),
    // 3GPP TS 26.114 section 7.4.5.
    (Extension::VideoOrientation, "urn:3gpp:video-orientation"),
    // AV1 RTP payload format, appendix A.
    (
        Extension::DependencyDescriptor,
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension",
    ),
    // webrtc.org experiments.
    (
        Extension::AbsCaptureTime,
        "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
    ),
    (
        Extension::PlayoutDelay,
        "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
    ),
];

impl Extension {
    pub(super) fn from_uri(uri: &str) -> Option<Extension> {
        URIS.iter()
            .find(|(_, known)| *known == uri)
            .map(|(extension, _)| *extension)
    }

    pub(super) fn uri(self) -> &'static str {
        URIS.iter()
            .find(|(extension, _)| *extension == self)
            .map(|(_, uri)| *uri)
            .expect("invariant: every extension stands in the table")
    }
}

/// The ids of one session. Bundled sections share one id space (RFC 9143 section 9.2): the first section
/// that names an extension decides, and a later one that contradicts it goes without.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ids(pub(super) Extensions);

impl Ids {
    /// Whether `extension` may be answered with `id`; remembers it if so.
    pub(super) fn accept(&mut self, extension: Extension, id: u16) -> Option<u8> {
        if !(1..=ID_MAX).contains(&id) {
            return None;
        }
        let id = u8::try_from(id).expect("invariant: at most 14");
        let taken_by_another = URIS
            .iter()
            .any(|&(other, _)| other != extension && *self.field(other) == Some(id));
        if taken_by_another {
            return None;
        }
        let field = self.field(extension);
        match *field {
            None => *field = Some(id),
            Some(known) if known == id => {}
            Some(_) => return None,
        }
        Some(id)
    }

    fn field(&mut self, extension: Extension) -> &mut Option<u8> {
        let map = &mut self.0;
        match extension {
            Extension::Mid => &mut map.mid,
            Extension::Rid => &mut map.rid,
            Extension::RepairedRid => &mut map.repaired_rid,
            Extension::TransportCc => &mut map.transport_cc,
            Extension::AudioLevel => &mut map.audio_level,
            Extension::VideoOrientation => &mut map.video_orientation,
            Extension::DependencyDescriptor => &mut map.dependency_descriptor,
            Extension::AbsCaptureTime => &mut map.abs_capture_time,
            Extension::PlayoutDelay => &mut map.playout_delay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_id_space_a_session() {
        let mut ids = Ids::default();
        assert_eq!(ids.accept(Extension::Mid, 4), Some(4));
        assert_eq!(
            ids.accept(Extension::Mid, 4),
            Some(4),
            "the next section says the same"
        );
        assert_eq!(
            ids.accept(Extension::Mid, 5),
            None,
            "another id for the same extension"
        );
        assert_eq!(
            ids.accept(Extension::Rid, 4),
            None,
            "another extension with the same id"
        );
        for reserved in [0, 15, 256] {
            assert_eq!(ids.accept(Extension::Rid, reserved), None);
        }
        assert_eq!(
            ids.0,
            Extensions {
                mid: Some(4),
                ..Extensions::default()
            }
        );
    }

    #[test]
    fn every_extension_is_found_by_its_own_uri() {
        for (extension, uri) in URIS {
            assert_eq!(Extension::from_uri(uri), Some(extension));
            assert_eq!(extension.uri(), uri);
        }
        assert_eq!(Extension::from_uri("urn:example"), None);
    }
}
