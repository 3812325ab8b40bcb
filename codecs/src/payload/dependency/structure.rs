//! The template structure (RTP Payload Format For AV1 version 1.0.0, appendix A.8.3).

use super::{
    DECODE_TARGETS_MAX, Flags, Indication, Indications, MANDATORY_LEN, Mandatory, References,
    TEMPLATES_MAX,
};
use crate::bits::BitReader;

/// Highest spatial layer: AV1 operating points name four (AV1 specification section 6.4.1).
const SPATIAL_ID_MAX: u8 = 3;
/// Highest temporal layer: AV1 OBU extensions have three bits (AV1 specification section 5.3.3).
const TEMPORAL_ID_MAX: u8 = 7;

/// One template: what a frame of its kind looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) spatial: u8,
    pub(super) temporal: u8,
    pub(super) indications: Indications,
    pub(super) references: References,
    /// Distance to the previous frame of each chain, four bits a chain.
    pub(super) chains: u128,
}

/// A template structure: layers, decode targets and chains of a sequence (appendix A.8.3). About 4 KiB, kept
/// once a stream and replaced at keyframes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structure {
    pub(super) offset: u8,
    templates: [Template; TEMPLATES_MAX],
    template_count: usize,
    decode_targets: u8,
    chains: u8,
    protected_by: [u8; DECODE_TARGETS_MAX],
    resolutions: Option<[(u16, u16); 4]>,
}

impl Structure {
    /// Reads the structure of an extension element. `None` when it carries none or a malformed one.
    #[must_use]
    pub fn parse(element: &[u8]) -> Option<Structure> {
        if !Mandatory::parse(element)?.has_structure {
            return None;
        }
        let mut bits = BitReader::new(element.get(MANDATORY_LEN..)?);
        Flags::read(&mut bits)?;
        Structure::read(&mut bits)
    }

    pub(super) fn read(bits: &mut BitReader<'_>) -> Option<Structure> {
        let mut structure = Structure {
            offset: bits.bits8(6)?,
            templates: [Template::default(); TEMPLATES_MAX],
            template_count: 0,
            decode_targets: bits.bits8(5)?.saturating_add(1),
            chains: 0,
            protected_by: [0; DECODE_TARGETS_MAX],
            resolutions: None,
        };
        structure.read_layers(bits)?;
        structure.read_indications(bits)?;
        structure.read_references(bits)?;
        structure.read_chains(bits)?;
        if bits.bit()? {
            structure.read_resolutions(bits)?;
        }
        Some(structure)
    }

    fn live(&mut self) -> impl Iterator<Item = &mut Template> {
        self.templates.iter_mut().take(self.template_count)
    }

    /// Templates come in order of layers; two bits say what the next one is.
    fn read_layers(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        let (mut spatial, mut temporal) = (0_u8, 0_u8);
        loop {
            let template = self.templates.get_mut(self.template_count)?;
            (template.spatial, template.temporal) = (spatial, temporal);
            self.template_count = self.template_count.saturating_add(1);
            match bits.bits(2)? {
                0 => {}
                1 => temporal = temporal.saturating_add(1),
                2 => (spatial, temporal) = (spatial.saturating_add(1), 0),
                _ => return Some(()),
            }
            if spatial > SPATIAL_ID_MAX || temporal > TEMPORAL_ID_MAX {
                return None;
            }
        }
    }

    fn read_indications(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        let targets = usize::from(self.decode_targets);
        for template in self.live() {
            template.indications = Indications::read(bits, targets)?;
        }
        Some(())
    }

    fn read_references(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        for template in self.live() {
            while bits.bit()? {
                template.references.push(bits.bits(4)?)?;
            }
        }
        Some(())
    }

    fn read_chains(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        let targets = u32::from(self.decode_targets);
        let chains = bits.non_symmetric(targets.saturating_add(1))?;
        self.chains = u8::try_from(chains).ok()?;
        if chains == 0 {
            return Some(());
        }
        for chain in self
            .protected_by
            .iter_mut()
            .take(usize::from(self.decode_targets))
        {
            *chain = u8::try_from(bits.non_symmetric(chains)?).ok()?;
        }
        for template in self.templates.iter_mut().take(self.template_count) {
            for chain in 0..chains {
                let distance = u128::from(bits.bits(4)?);
                template.chains |= distance.checked_shl(chain.saturating_mul(4))?;
            }
        }
        Some(())
    }

    fn read_resolutions(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        let layers = usize::from(self.spatial_layers());
        let mut resolutions = [(0, 0); 4];
        for resolution in resolutions.iter_mut().take(layers) {
            let width = bits.bits(16)?.checked_add(1)?;
            let height = bits.bits(16)?.checked_add(1)?;
            *resolution = (u16::try_from(width).ok()?, u16::try_from(height).ok()?);
        }
        self.resolutions = Some(resolutions);
        Some(())
    }

    /// Templates, 1..=64.
    #[must_use]
    pub fn template_count(&self) -> usize {
        self.template_count
    }

    /// Decode targets, 1..=32.
    #[must_use]
    pub fn decode_targets(&self) -> u8 {
        self.decode_targets
    }

    /// Chains, 0..=32.
    #[must_use]
    pub fn chains(&self) -> u8 {
        self.chains
    }

    /// Spatial layers, 1..=4: templates come in order, so the last has the highest.
    #[must_use]
    pub fn spatial_layers(&self) -> u8 {
        let templates = self.templates.iter().take(self.template_count);
        templates
            .map(|template| template.spatial)
            .max()
            .unwrap_or(0)
            .saturating_add(1)
    }

    /// The chain that protects decode target `target`: losing a frame of the chain breaks the target.
    #[must_use]
    pub fn protected_by(&self, target: usize) -> Option<u8> {
        if self.chains == 0 || target >= usize::from(self.decode_targets) {
            return None;
        }
        self.protected_by.get(target).copied()
    }

    /// Highest spatial and temporal layer of decode target `target` (appendix A.8.3, decode_target_layers).
    #[must_use]
    pub fn target_layers(&self, target: usize) -> Option<(u8, u8)> {
        let templates = self.templates.iter().take(self.template_count);
        templates
            .filter(|template| template.indications.get(target) != Indication::NotPresent)
            .map(|template| (template.spatial, template.temporal))
            .reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))
    }

    /// Width and height in pixels of spatial layer `spatial`, when the structure says.
    #[must_use]
    pub fn resolution(&self, spatial: u8) -> Option<(u16, u16)> {
        if spatial >= self.spatial_layers() {
            return None;
        }
        self.resolutions?.get(usize::from(spatial)).copied()
    }

    /// The bitmask of all decode targets.
    pub(super) fn all_targets(&self) -> u32 {
        u32::MAX
            .checked_shr(32_u32.saturating_sub(u32::from(self.decode_targets)))
            .unwrap_or(0)
    }

    pub(super) fn templates(&self) -> impl Iterator<Item = &Template> {
        self.templates.iter().take(self.template_count)
    }

    pub(super) fn template(&self, template_id: u8) -> Option<&Template> {
        let index = usize::from(template_id.wrapping_sub(self.offset) & 0x3F);
        self.templates.get(..self.template_count)?.get(index)
    }
}
