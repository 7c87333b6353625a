//! Convolutions of 3 x 3 with a stride of 1, faster than as the product of unfolded rows that a plan has.
//!
//! A [`Form`] is another way to the same sums, by weights of another layout: [`Form::Winograd`] takes a quarter of the
//! multiplications, [`Form::Narrow`] fills vectors where there are few columns. Which one is taken depends on sizes
//! alone: not on the processor, the number of threads or of images. So does the order in which sums are added up.

mod narrow;
mod transform;
mod winograd;

use std::ops::Range;
use std::sync::Arc;

use super::super::{Shared, Workers};
use super::{Epilogue, Format, Group, Matmul, Packed};
use crate::Result;

/// Taps of the kernel.
const TAPS: usize = 9;
/// Pixels of a Winograd tile in each direction.
const TILE: usize = 4;
/// Columns whose nine taps together fill vectors better than they do alone.
const NARROW: usize = 4;
/// The depth from which on fewer multiplications are worth the transforms.
const DEEP: usize = 16;
/// Tiles of an image that are worth weights of four times the size, whatever that is: reading them takes less time
/// than the multiplications that are saved, on many threads too.
const MANY: usize = 48;
/// As many if transformed weights have at most so many floats: then they stay in a cache from one call to the next.
const SOME: usize = 8;
const SMALL: usize = 4 << 20;

/// How a convolution is computed, if not as a plain product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// By tiles of 4 x 4 pixels.
    Winograd,
    /// All taps of a pixel at once.
    Narrow,
}

/// The sizes of a convolution's result, and floats from one line of the image that it reads to the next.
#[derive(Clone, Copy)]
struct Windows {
    images: usize,
    rows: usize,
    cols: usize,
    line: usize,
}

impl Windows {
    /// Those of a product that is a convolution of 3 x 3 with a stride of 1.
    fn of(segments: &[usize], a_stride: usize, groups: &[Group]) -> Option<Self> {
        let (first, &line) = (groups.first()?, segments.get(3)?);
        let taps = (0..TAPS).map(|i| i / 3 * line + i % 3 * a_stride);
        let rows = groups.iter().take_while(|group| group.image == first.image).count();
        let images = groups.chunks(rows);
        let like = |image: &[Group]| {
            let evenly = image.windows(2).all(|pair| pair[1].a == pair[0].a + line);
            let alike = |group: &Group| group.image == image[0].image && group.rows == first.rows;
            evenly && image.len() == rows && image.iter().all(alike)
        };
        let all = segments.iter().copied().eq(taps) && first.rows > 0 && images.clone().all(like);
        all.then_some(Self { images: images.len(), rows, cols: first.rows, line })
    }

    /// Tiles of an image.
    fn tiles(&self) -> usize {
        self.rows.div_ceil(TILE) * self.cols.div_ceil(TILE)
    }
}

impl Form {
    /// The one that makes a product by weights `[segments, k, cols]` faster, if one does.
    pub fn of(segments: &[usize], a_stride: usize, groups: &[Group], [k, cols]: [usize; 2]) -> Option<Self> {
        let windows = Windows::of(segments, a_stride, groups)?;
        if cols == 0 || k == 0 {
            return None;
        }
        if cols <= NARROW {
            return Some(Self::Narrow);
        }
        let (tiles, pixels) = (windows.tiles(), windows.rows * windows.cols);
        let worth = tiles >= MANY || tiles >= SOME && winograd::floats(k, cols) <= SMALL;
        // Tiles reach beyond the image; half of their pixels at least are to be inside.
        (k >= DEEP && worth && 2 * pixels >= tiles * TILE * TILE).then_some(Self::Winograd)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Winograd => "winograd",
            Self::Narrow => "narrow",
        }
    }

    /// The weights of a plain product in this form's layout; none if they are beyond all numbers then.
    ///
    /// # Errors
    /// `OutOfMemory`.
    ///
    /// # Panics
    /// If they are not floats, of nine segments.
    pub fn weights(self, plain: &Packed, workers: &mut Workers<'_>) -> Result<Option<Packed>> {
        assert_eq!(
            (plain.segments(), plain.kernel().format),
            (TAPS, Format::F32),
            "a kernel of 3 x 3 is nine taps"
        );
        match self {
            Self::Winograd => winograd::weights(plain, workers),
            Self::Narrow => narrow::weights(plain, workers).map(Some),
        }
    }
}

/// A convolution `C[pixel, n] = epilogue(Σ A[pixel's neighbour s, k] * W[s, k, n])`.
pub struct Convolution {
    form: Form,
    windows: Windows,
    weights: Arc<Packed>,
    /// The plain product, without weights: its places and its epilogue.
    product: Matmul,
}

impl Convolution {
    /// The product by `plain`, of which only the shape is looked at, in the form that [`Form::of`] gave.
    ///
    /// # Panics
    /// As [`Matmul::new`]; if the product is no such convolution, or `weights` are not made of such as `plain`.
    pub fn new(
        (form, weights): (Form, Arc<Packed>),
        plain: Packed,
        a_stride: usize,
        segments: &[usize],
        c_stride: usize,
        groups: &[Group],
        epilogue: &[Epilogue],
    ) -> Self {
        let windows = Windows::of(segments, a_stride, groups).expect("it is no convolution of 3 x 3");
        let shape = |packed: &Packed| {
            let kernel = packed.kernel();
            ((kernel.isa, kernel.format), packed.segments(), packed.k(), packed.cols())
        };
        let (kind, _, k, cols) = shape(&plain);
        let formed = match form {
            Form::Winograd => (kind, winograd::PRODUCTS, k, cols),
            Form::Narrow => (kind, 1, k, TAPS * cols),
        };
        assert_eq!(shape(&weights), formed, "weights are of another form or shape");
        let product = Matmul::new(Arc::new(plain), a_stride, segments, c_stride, groups, epilogue, None);
        Self { form, windows, weights, product }
    }

    pub fn form(&self) -> Form {
        self.form
    }

    pub fn weights(&self) -> &Packed {
        &self.weights
    }

    /// Floats of scratch for each lane.
    pub fn scratch(&self) -> usize {
        match self.form {
            Form::Winograd => self.winograd_scratch(),
            Form::Narrow => self.narrow_scratch(),
        }
    }

    /// Holds its places against a memory of `len` floats.
    ///
    /// # Panics
    /// If it would touch what lies outside.
    pub fn check(&self, len: usize) {
        self.product.check(len);
    }

    /// Shows each place that is touched.
    pub fn places(&self, see: &mut dyn FnMut(Range<usize>)) {
        self.product.places(see);
    }

    pub fn run(&self, workers: &mut Workers<'_>, mem: &mut [f32]) {
        assert_eq!(workers.isa, self.weights.kernel().isa, "weights are packed for one instruction set");
        self.check(mem.len());
        let mem = Shared::new(mem);
        match self.form {
            Form::Winograd => self.run_winograd(workers, mem),
            Form::Narrow => self.run_narrow(workers, mem),
        }
    }

    /// The group of line `y` of a result.
    fn group(&self, image: usize, y: usize) -> &Group {
        &self.product.tiles.groups()[image * self.windows.rows + y]
    }
}

#[cfg(test)]
mod tests;
