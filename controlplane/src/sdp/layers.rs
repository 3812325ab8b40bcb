//! Simulcast: which layers a section sends, and how they are told apart.

use dataplane_api::media::Encoding;

use super::SdpError;
use super::attributes::{Rid, SsrcGroup, bad};
use super::caps::LAYERS_MAX;
use super::extension::Extension;
use super::parse::Section;

/// The simulcast layers of a section in the order of `a=simulcast`, or its rids without one.
pub(super) fn layers(section: &Section) -> Result<Vec<Rid>, SdpError> {
    let rids: Vec<&Rid> = section
        .attributes
        .rids
        .iter()
        .filter(|rid| rid.sends)
        .collect();
    let wanted = &section.attributes.simulcast_send;
    let mut layers: Vec<Rid> = Vec::new();
    if wanted.is_empty() {
        layers.extend(rids.into_iter().cloned());
    } else {
        for id in wanted {
            let Some(rid) = rids.iter().find(|rid| rid.id == *id) else {
                return Err(bad(
                    section.line,
                    "`a=simulcast` names a layer that no `a=rid` sends",
                ));
            };
            layers.push((*rid).clone());
        }
    }
    if layers.len() > LAYERS_MAX {
        return Err(section.unsupported(format!(
            "it has {} simulcast layers; at most {LAYERS_MAX} are forwarded",
            layers.len()
        )));
    }
    for (index, layer) in layers.iter().enumerate() {
        if layers.iter().take(index).any(|other| other.id == layer.id) {
            return Err(bad(
                section.line,
                format!("has the layer `{}` twice", layer.id),
            ));
        }
    }
    Ok(layers)
}

/// The encodings of a section: by rid, else by the SSRC group of older stacks, else one.
pub(super) fn encodings(
    section: &Section,
    layers: &[Rid],
    rtx: bool,
    rid_extension: bool,
) -> Result<Vec<Encoding>, SdpError> {
    let groups = &section.attributes.ssrc_groups;
    let repair_of = |ssrc: u32| {
        let pair = |group: &SsrcGroup| match group {
            SsrcGroup::Fid(ids) if ids.first() == Some(&ssrc) => ids.get(1).copied(),
            SsrcGroup::Fid(_) | SsrcGroup::Sim(_) => None,
        };
        groups.iter().find_map(pair).filter(|_| rtx)
    };
    let is_repair = |ssrc: &u32| {
        groups.iter().any(|group| match group {
            SsrcGroup::Fid(ids) => ids.iter().skip(1).any(|id| id == ssrc),
            SsrcGroup::Sim(_) => false,
        })
    };
    let encoding = |rid: Option<&Rid>, ssrc: Option<u32>| Encoding {
        rid: rid.map(|rid| rid.id.clone()),
        ssrc,
        rtx_ssrc: ssrc.and_then(repair_of),
    };
    let sources: Vec<u32> = section
        .attributes
        .ssrcs
        .iter()
        .copied()
        .filter(|ssrc| !is_repair(ssrc))
        .collect();
    if !layers.is_empty() {
        let declared = sources.len() == layers.len();
        if !rid_extension && !declared && layers.len() > 1 {
            return Err(section.unsupported(format!(
                "its layers cannot be told apart: it needs the header extension `{}`",
                Extension::Rid.uri()
            )));
        }
        let ssrc = |index: usize| sources.get(index).copied().filter(|_| declared);
        let by_rid = layers
            .iter()
            .enumerate()
            .map(|(index, rid)| encoding(Some(rid), ssrc(index)));
        return Ok(by_rid.collect());
    }
    let simulcast = groups.iter().find_map(|group| match group {
        SsrcGroup::Sim(ids) => Some(ids),
        SsrcGroup::Fid(_) => None,
    });
    match simulcast {
        Some(ids) if ids.len() > LAYERS_MAX => Err(section.unsupported(format!(
            "it has {} simulcast layers; at most {LAYERS_MAX} are forwarded",
            ids.len()
        ))),
        Some(ids) => Ok(ids.iter().map(|&ssrc| encoding(None, Some(ssrc))).collect()),
        None => Ok(vec![encoding(None, sources.first().copied())]),
    }
}
