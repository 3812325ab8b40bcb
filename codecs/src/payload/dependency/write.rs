//! Writing a descriptor (RTP Payload Format For AV1 version 1.0.0, appendix A.8).

use super::structure::Template;
use super::{Flags, Frame, Indications, Mandatory, References, Structure};
use crate::bits::BitWriter;
use crate::bytes::{WriteError, put};

/// Overwrites the frame number of an extension element, which its second and third octet hold.
///
/// # Errors
/// [`WriteError::Space`] when `element` has fewer than three octets.
pub fn patch_frame_number(element: &mut [u8], frame_number: u16) -> Result<(), WriteError> {
    put(element, 1, &frame_number.to_be_bytes())
}

impl Mandatory {
    fn write(&self, bits: &mut BitWriter<'_>) -> Result<(), WriteError> {
        bits.bit(self.start_of_frame)?;
        bits.bit(self.end_of_frame)?;
        bits.bits(u32::from(self.template_id), 6)?;
        bits.bits(u32::from(self.frame_number), 16)
    }
}

impl Flags {
    fn write(self, bits: &mut BitWriter<'_>) -> Result<(), WriteError> {
        bits.bit(self.structure)?;
        bits.bit(self.active_targets)?;
        bits.bit(self.custom_indications)?;
        bits.bit(self.custom_references)?;
        bits.bit(self.custom_chains)
    }
}

impl Indications {
    fn write(self, bits: &mut BitWriter<'_>, targets: u8) -> Result<(), WriteError> {
        (0..usize::from(targets)).try_for_each(|target| bits.bits(self.get(target).bits(), 2))
    }
}

impl Frame {
    /// Writes the descriptor of this frame, returns its octets. `structure` is the one in force; it is written
    /// when [`has_structure`](Mandatory::has_structure) says so. What equals the frame's template is left to it.
    ///
    /// # Errors
    /// [`WriteError::Value`] when the template is not in `structure` or a distance is beyond 4,096,
    /// [`WriteError::Space`] when `out` is too short.
    pub fn write(&self, out: &mut [u8], structure: &Structure) -> Result<usize, WriteError> {
        let template = structure
            .template(self.mandatory.template_id)
            .ok_or(WriteError::Value)?;
        let flags = self.flags(structure, template);
        let mut bits = BitWriter::new(out);
        self.mandatory.write(&mut bits)?;
        if flags == Flags::default() {
            return Ok(bits.octets());
        }
        flags.write(&mut bits)?;
        if flags.structure {
            structure.write(&mut bits)?;
        }
        let targets = structure.decode_targets();
        if let Some(active) = self.active_targets.filter(|_| flags.active_targets) {
            bits.bits(active, u32::from(targets))?;
        }
        if flags.custom_indications {
            self.indications.write(&mut bits, targets)?;
        }
        if flags.custom_references {
            write_custom_references(&mut bits, &self.references)?;
        }
        if flags.custom_chains {
            for chain in 0..structure.chains() {
                bits.bits(u32::from(self.chain_distance(chain)), 8)?;
            }
        }
        Ok(bits.octets())
    }

    fn flags(&self, structure: &Structure, template: &Template) -> Flags {
        // With a structure all targets are active unless something else is said.
        let implied = self
            .mandatory
            .has_structure
            .then(|| structure.all_targets());
        Flags {
            structure: self.mandatory.has_structure,
            active_targets: self.active_targets.is_some() && self.active_targets != implied,
            custom_indications: self.indications != template.indications,
            custom_references: self.references != template.references,
            custom_chains: (0..structure.chains())
                .any(|chain| u32::from(self.chain_distance(chain)) != template.chain(chain)),
        }
    }
}

/// Two bits say how many nibbles the next distance takes; 0 ends the list.
fn write_custom_references(
    bits: &mut BitWriter<'_>,
    references: &References,
) -> Result<(), WriteError> {
    for distance in references.as_slice() {
        let less_one = u32::from(*distance).saturating_sub(1);
        let nibbles = match less_one {
            0..=0xF => 1_u32,
            0x10..=0xFF => 2,
            0x100..=0xFFF => 3,
            _ => return Err(WriteError::Value),
        };
        bits.bits(nibbles, 2)?;
        bits.bits(less_one, nibbles.saturating_mul(4))?;
    }
    bits.bits(0, 2)
}

impl Template {
    /// The distance to the previous frame of a chain, 0..=15.
    fn chain(&self, chain: u8) -> u32 {
        let shift = u32::from(chain).saturating_mul(4);
        let distance = self.chains.checked_shr(shift).unwrap_or(0) & 0x0F;
        u32::try_from(distance).unwrap_or(0)
    }
}

impl Structure {
    fn write(&self, bits: &mut BitWriter<'_>) -> Result<(), WriteError> {
        bits.bits(u32::from(self.offset), 6)?;
        bits.bits(u32::from(self.decode_targets()).saturating_sub(1), 5)?;
        self.write_layers(bits)?;
        for template in self.templates() {
            template.indications.write(bits, self.decode_targets())?;
        }
        for template in self.templates() {
            for distance in template.references.as_slice() {
                bits.bit(true)?;
                bits.bits(u32::from(*distance).saturating_sub(1), 4)?;
            }
            bits.bit(false)?;
        }
        self.write_chains(bits)?;
        self.write_resolutions(bits)
    }

    fn write_layers(&self, bits: &mut BitWriter<'_>) -> Result<(), WriteError> {
        for (this, next) in self.templates().zip(self.templates().skip(1)) {
            let step = if next.spatial > this.spatial {
                2
            } else {
                u32::from(next.temporal > this.temporal)
            };
            bits.bits(step, 2)?;
        }
        bits.bits(3, 2)
    }

    fn write_chains(&self, bits: &mut BitWriter<'_>) -> Result<(), WriteError> {
        let targets = u32::from(self.decode_targets());
        let chains = u32::from(self.chains());
        bits.non_symmetric(chains, targets.saturating_add(1))?;
        if chains == 0 {
            return Ok(());
        }
        for target in 0..usize::from(self.decode_targets()) {
            let chain = self.protected_by(target).unwrap_or(0);
            bits.non_symmetric(u32::from(chain), chains)?;
        }
        self.templates().try_for_each(|template| {
            (0..self.chains()).try_for_each(|chain| bits.bits(template.chain(chain), 4))
        })
    }

    fn write_resolutions(&self, bits: &mut BitWriter<'_>) -> Result<(), WriteError> {
        bits.bit(self.resolution(0).is_some())?;
        for (width, height) in (0..self.spatial_layers()).filter_map(|layer| self.resolution(layer))
        {
            bits.bits(u32::from(width).saturating_sub(1), 16)?;
            bits.bits(u32::from(height).saturating_sub(1), 16)?;
        }
        Ok(())
    }
}
