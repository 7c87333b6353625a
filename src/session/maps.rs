//! All maps of the images that a decoder made, which lie one behind the other in its answer.

use ndarray::{Array4, ArrayView4};

use super::job::Job;
use super::{Output, Session, coders, nothing_begun};
use crate::bundle::Role;
use crate::error::invalid_argument;
use crate::image::Pixels;
use crate::kernels::DefaultFloats;
use crate::{Map, Result};

impl Session {
    /// Writes a map of the images of the last generation, for each of them, once they are all done: by
    /// [`generate`](Self::generate) and its like, [`finish_into`](Self::finish_into), or [`step`](Self::step). All maps
    /// of an image come from the decoder's one answer to it, so this computes next to nothing and allocates nothing. It
    /// may be called for any map, in any format that holds it, until the next generation begins.
    ///
    /// ```
    /// # fn main() -> flowturbo::Result<()> {
    /// use flowturbo::{Map, Model, NormalY, PixelFormat, Pixels, Request};
    ///
    /// let mut session = Model::open("tests/data/tiny-maps/bundle")?.session();
    /// let image = session.generate(&Request::new(vec![0]))?.images.swap_remove(0);
    /// let area = image.width * image.height;
    /// let (mut normals, mut heights) = (vec![0; area * 3], vec![0; area * 2]);
    /// let mut pixels = Pixels::rgb8(&mut normals).with_normal_y(NormalY::Down);
    /// session.map_into(Map::Normal, &mut pixels)?;
    /// session.map_into(Map::Height, &mut Pixels::new(PixelFormat::Grey16, &mut heights))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument): a map that the model has not (the line lists those it
    /// has), a format that does not hold it, memory that cannot hold the images; nothing was begun, images are left to
    /// be made, only latents were asked for.
    pub fn map_into(&self, map: Map, pixels: &mut Pixels) -> Result<()> {
        let _default = DefaultFloats::enter();
        self.model.check_process()?;
        let job = self.job_of_images()?;
        let manifest = self.model.manifest();
        map.check(manifest.maps(), || format!("bundle '{}'", manifest.name))?;
        if !job.is_done() {
            return Err(invalid_argument(
                "the generation has images left to make; its maps come with the last",
            ));
        }
        let [images, height, width] = job.images();
        let mut canvas = pixels.hold_map(map, [images, height, width])?;
        for (i, image) in self.images.chunks_exact(self.images.len() / images).enumerate() {
            canvas.draw_map(i, map, manifest.maps(), image);
        }
        Ok(())
    }

    /// Decodes latents `[N, C, H, W]` to all maps that the model makes, `[N, M, H, W]`, nominally in [-1, 1]: its
    /// [maps](crate::Manifest::maps) one behind the other, colour and its three channels first, a normal's x and y, one
    /// channel of each other. [`draw_map`](crate::draw_map) makes pixels of them.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_maps(&mut self, latents: ArrayView4<f32>) -> Result<Array4<f32>> {
        let _default = DefaultFloats::enter();
        let to_decoder = coders::to_decoder(&self.model);
        self.converted(Role::Decoder, latents, to_decoder)
    }

    /// The generation under way or the last one, if it makes images.
    pub(super) fn job_of_images(&self) -> Result<&Job> {
        let job = self.job.as_ref().ok_or_else(nothing_begun)?;
        match job.output() {
            Output::Images => Ok(job),
            Output::Latents => {
                Err(invalid_argument("the generation was begun for latents alone; it has no images"))
            }
        }
    }

    /// The colours of each decoded image, `[3, H, W]`, where all are done.
    pub(super) fn colours(&self) -> impl Iterator<Item = &[f32]> {
        let [images, height, width] = self.job.as_ref().map_or([0; 3], Job::images);
        let each = self.images.len() / images.max(1);
        self.images.chunks_exact(each.max(1)).map(move |image| &image[..3 * height * width])
    }
}
