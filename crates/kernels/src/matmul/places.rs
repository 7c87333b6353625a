//! What a product touches: its rows as stretches, so that a check takes as long as there are groups, not rows.

use std::ops::Range;

use super::super::place::{apart, end};
use super::{Epilogue, Halves, Left, Matmul};

/// Rows of `len` floats, `stride` apart.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    start: usize,
    stride: usize,
    rows: usize,
    len: usize,
}

impl Stretch {
    fn span(&self) -> Range<usize> {
        self.start..end(self.start, &[(self.rows, self.stride)], self.len)
    }

    fn row(&self, i: usize) -> Range<usize> {
        let start = self.start + i * self.stride;
        start..start + self.len
    }
}

/// All that is written, and whether what is read is apart from it.
struct Written {
    /// In ascending order.
    stretches: Vec<Stretch>,
    /// From the first float to the last.
    hull: Range<usize>,
    /// Each row, where stretches lie between one another; in ascending order.
    rows: Option<Vec<Range<usize>>>,
}

impl Written {
    /// # Panics
    /// If two rows share a float.
    fn new(mut stretches: Vec<Stretch>) -> Self {
        stretches.retain(|stretch| stretch.rows > 0 && stretch.len > 0);
        stretches.sort_by_key(|stretch| stretch.start);
        let hull = stretches.iter().map(Stretch::span).reduce(|a, b| a.start..a.end.max(b.end));
        let mut written = Self { stretches, hull: hull.unwrap_or(0..0), rows: None };
        let evenly = written.stretches.iter().all(|s| s.rows == 1 || s.stride >= s.len);
        let in_turn = written.stretches.windows(2).all(|pair| pair[0].span().end <= pair[1].start);
        if !evenly || !in_turn {
            let rows = written.rows();
            assert!(rows.windows(2).all(|w| w[0].end <= w[1].start), "a product's rows overlap");
            written.rows = Some(rows);
        }
        written
    }

    fn rows(&self) -> Vec<Range<usize>> {
        let mut rows: Vec<_> = self.stretches.iter().flat_map(|s| (0..s.rows).map(|i| s.row(i))).collect();
        rows.sort_by_key(|row| row.start);
        rows
    }

    /// # Panics
    /// If one of the rows that are read is written, unless it is that very row: `own` with the same number.
    fn check(&mut self, read: &Stretch, own: Option<&Stretch>) {
        if read.rows == 0 || read.len == 0 || apart(&read.span(), &self.hull) {
            return;
        }
        let span = read.span();
        if own.is_some_and(|own| own.start == read.start && (own.stride == read.stride || read.rows == 1)) {
            return;
        }
        if self.rows.is_none() {
            let next = self.stretches.partition_point(|stretch| stretch.span().end <= span.start);
            if self.stretches.get(next).is_none_or(|stretch| span.end <= stretch.start) {
                return;
            }
            self.rows = Some(self.rows());
        }
        let rows = self.rows.as_deref().unwrap_or_default();
        for i in 0..read.rows {
            let (place, own) = (read.row(i), own.map(|own| own.row(i).start));
            let own = own.filter(|&own| own == place.start);
            // The first written row that ends behind the start of what is read.
            let next = rows.partition_point(|row| row.end <= place.start);
            let apart = rows.get(next).is_none_or(|row| place.end <= row.start || Some(row.start) == own);
            assert!(apart, "a product reads what it writes");
        }
    }
}

impl Matmul {
    /// Shows every stretch that is read, with the rows that the same numbers of are written to; then what is written.
    fn each_stretch(&self, mut read: impl FnMut(Stretch, Option<Stretch>)) -> Vec<Stretch> {
        let cols = self.weights.cols();
        let mut written = Vec::with_capacity(self.tiles.groups().len() + 1);
        for group in self.tiles.groups() {
            let rows = group.rows;
            let own = Stretch { start: group.c, stride: self.c_stride, rows, len: cols };
            written.push(own);
            let spans = self.blocks.iter().flat_map(|block| &block.spans).filter(|_| self.left.is_none());
            for span in spans {
                let start = group.a.checked_add(span.offset).expect("a row is beyond all addresses");
                read(Stretch { start, stride: self.a_stride, rows, len: span.len }, None);
            }
            for step in &self.epilogue {
                let start = |offset: usize, number: usize, stride: usize| {
                    let start = number.checked_mul(stride).and_then(|x| x.checked_add(offset));
                    start.expect("a place in the arena is beyond all addresses")
                };
                match *step {
                    Epilogue::Residual { offset, stride } => {
                        let start = start(offset, group.row, stride);
                        read(Stretch { start, stride, rows, len: cols }, Some(own));
                    }
                    Epilogue::Bias { offset } => {
                        read(Stretch { start: offset, stride: 0, rows: 1, len: cols }, None);
                    }
                    Epilogue::Gate { offset, image_stride } => {
                        let start = start(offset, group.image, image_stride);
                        read(Stretch { start, stride: 0, rows: 1, len: cols }, None);
                    }
                    _ => {}
                }
            }
        }
        if let Some(left) = &self.left {
            left.reads(|start, rows, stride, len| read(Stretch { start, stride, rows, len }, None));
        }
        let spare = self.halves.as_ref().map(Halves::place).or(self.left.as_ref().map(Left::place));
        written.extend(spare.map(|place| Stretch {
            start: place.start,
            stride: 0,
            rows: 1,
            len: place.end - place.start,
        }));
        written
    }

    /// One past the last float that is touched, having seen that what is written is apart.
    ///
    /// # Panics
    /// If it is not.
    pub(super) fn apart(&self) -> usize {
        let mut written = Written::new(self.each_stretch(|_, _| {}));
        let mut end = written.hull.end;
        self.each_stretch(|stretch, own| {
            end = end.max(stretch.span().end);
            written.check(&stretch, own.as_ref());
        });
        // Rows are pointed at even where nothing of them is read.
        let pointed = self.tiles.groups().iter().map(|group| group.a + (group.rows - 1) * self.a_stride);
        pointed.fold(end, usize::max)
    }

    /// Shows each place that is touched.
    pub fn places(&self, see: &mut dyn FnMut(Range<usize>)) {
        let written = self.each_stretch(|stretch, _| see(stretch.span()));
        written.iter().for_each(|stretch| see(stretch.span()));
    }
}
