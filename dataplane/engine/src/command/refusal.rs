//! What an order may not say, and the words of its refusal.

use dataplane_api::command::{Admit, Publish, Slot as SlotSpec, TAG_BYTES_MAX};
use dataplane_api::media::Extensions;
use dataplane_api::reply::{Refusal, Refused};

use crate::limits::{ENCODINGS_PER_TRACK_MAX, MID_BYTES_MAX, SLOTS_PER_SESSION_MAX};

pub(super) fn check_admit(admit: &Admit) -> Result<(), Refused> {
    if let Some(remote) = &admit.remote {
        check_credentials(&remote.ufrag, &remote.pwd)?;
    }
    check_tag(&admit.tag)?;
    if admit.slots.len() > SLOTS_PER_SESSION_MAX {
        return Err(invalid(format!(
            "{} slots, at most {SLOTS_PER_SESSION_MAX}",
            admit.slots.len()
        )));
    }
    check_extensions(&admit.extensions)?;
    for (n, slot) in admit.slots.iter().enumerate() {
        check_mid(&slot.mid)?;
        if slot.rtx_ssrc == Some(slot.ssrc) {
            return Err(invalid(format!("slot {} repeats its SSRC", slot.slot)));
        }
        let has = |ssrc| [Some(slot.ssrc), slot.rtx_ssrc].contains(&Some(ssrc));
        let twice = |other: &SlotSpec| {
            other.slot == slot.slot || has(other.ssrc) || other.rtx_ssrc.is_some_and(has)
        };
        if admit.slots.iter().skip(n + 1).any(twice) {
            return Err(invalid(format!(
                "slot {} or its SSRC stands twice",
                slot.slot
            )));
        }
    }
    Ok(())
}

pub(super) fn check_extensions(extensions: &Extensions) -> Result<(), Refused> {
    if extension_ids(extensions).contains(&Some(0)) {
        return Err(invalid("extension id 0 is padding (RFC 8285 section 4.2)"));
    }
    Ok(())
}

/// Those that are written into packets.
fn extension_ids(extensions: &Extensions) -> [Option<u8>; 7] {
    [
        extensions.mid,
        extensions.transport_cc,
        extensions.audio_level,
        extensions.video_orientation,
        extensions.dependency_descriptor,
        extensions.abs_capture_time,
        extensions.playout_delay,
    ]
}

pub(super) fn check_publish(publish: &Publish) -> Result<(), Refused> {
    check_mid(&publish.mid)?;
    check_tag(&publish.tag)?;
    if publish.codecs.is_empty() {
        return Err(invalid("a track without a codec"));
    }
    if !(1..=ENCODINGS_PER_TRACK_MAX).contains(&publish.encodings.len()) {
        return Err(invalid(format!(
            "{} encodings, a track has 1 to {ENCODINGS_PER_TRACK_MAX}",
            publish.encodings.len()
        )));
    }
    Ok(())
}

/// RFC 8445 section 5.3: a ufrag has 4 to 256 characters, a password 22 to 256.
pub(super) fn check_credentials(ufrag: &str, pwd: &str) -> Result<(), Refused> {
    if (4..=256).contains(&ufrag.len()) && (22..=256).contains(&pwd.len()) {
        return Ok(());
    }
    Err(invalid(
        "ICE credentials: a ufrag has 4 to 256 characters, a password 22 to 256",
    ))
}

pub(super) fn check_tag(tag: &[u8]) -> Result<(), Refused> {
    if tag.len() <= TAG_BYTES_MAX {
        return Ok(());
    }
    Err(invalid(format!(
        "the tag has {} bytes, at most {TAG_BYTES_MAX}",
        tag.len()
    )))
}

fn check_mid(mid: &str) -> Result<(), Refused> {
    if (1..=MID_BYTES_MAX).contains(&mid.len()) {
        return Ok(());
    }
    Err(invalid(format!(
        "a mid has 1 to {MID_BYTES_MAX} bytes, this one {}",
        mid.len()
    )))
}

pub(super) fn unknown(detail: impl Into<String>) -> Refused {
    Refused {
        reason: Refusal::Unknown,
        detail: detail.into(),
    }
}

pub(super) fn invalid(detail: impl Into<String>) -> Refused {
    Refused {
        reason: Refusal::Invalid,
        detail: detail.into(),
    }
}
