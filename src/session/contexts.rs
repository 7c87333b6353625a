//! The contexts that a request's images are asked for under, and those that guidance goes away from.

use crate::request::Resolved;
use crate::{Manifest, Request, Result, memory};

/// Contexts one after another: one for all images, or one for each, then likewise those that guidance goes away from.
#[derive(Default)]
pub(super) struct Contexts {
    floats: Vec<f32>,
    /// Floats of one; 0 for a model that takes none.
    len: usize,
    /// How many there are for the images, and to go away from.
    counts: [usize; 2],
}

impl Contexts {
    /// Takes those of a request that was held against its bundle; what it leaves out are zeros, the context of no
    /// prompt.
    pub(super) fn read(&mut self, request: &Request, resolved: Resolved, manifest: &Manifest) -> Result<()> {
        self.floats.clear();
        self.len = manifest.text.as_ref().map_or(0, |text| text.floats());
        let away = resolved.is_guided().then_some(&request.negative_context);
        self.counts = [0, 0];
        if self.len == 0 {
            return Ok(());
        }
        for (count, given) in self.counts.iter_mut().zip([Some(&request.context), away]) {
            let Some(given) = given else { continue };
            match given {
                Some(contexts) => {
                    let all = self.floats.len() + contexts.len();
                    memory::reserve(&mut self.floats, all)?;
                    self.floats.extend(contexts);
                    *count = contexts.len() / self.len;
                }
                None => {
                    let filled = self.floats.len() + self.len;
                    memory::resize(&mut self.floats, filled, 0.0)?;
                    *count = 1;
                }
            }
        }
        Ok(())
    }

    /// The place of what an image is asked for under; `away` in the part that guidance goes away from.
    pub(super) fn place(&self, image: usize, away: bool) -> usize {
        let [images, others] = self.counts;
        let (start, count) = if away { (images, others) } else { (0, images) };
        start + image.min(count.saturating_sub(1))
    }

    /// Floats of one context; 0 for a model that takes none.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All of them.
    pub(super) fn floats(&self) -> &[f32] {
        &self.floats
    }

    /// The one at a place.
    pub(super) fn get(&self, place: usize) -> &[f32] {
        &self.floats[place * self.len..][..self.len]
    }
}
