//! Holds every step to the memory that it was given, when the plan is made: a kernel only knows the arena's end.

use std::ops::Range;

use super::call::Call;
use crate::{Error, Result};

/// Refuses a step that would touch anything but the buffers `own`.
///
/// # Errors
/// `Runtime`.
pub(super) fn within(call: &Call, own: &[Range<usize>]) -> Result<()> {
    let mut astray = false;
    call.places(&mut |place| {
        let held = |own: &Range<usize>| own.start <= place.start && place.end <= own.end;
        astray |= !place.is_empty() && !own.iter().any(held);
    });
    if astray { Err(beyond()) } else { Ok(()) }
}

/// The error of a step that reaches beyond its buffers.
pub(super) fn beyond() -> Error {
    Error::bug("its plan reaches beyond its own memory")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ErrorKind;
    use crate::kernels::{
        Attention, BatchMatmul, Border, Convolution, Copy, Elementwise, Epilogue, Form, Format, Group,
        GroupNorm, Heads, Inline, Isa, MaskedAttention, Matmul, Matrices, Measure, Microkernel, Norm, Packed,
        Padding, Pointwise, Reduce, Reduction, Rows, Softmax, Source, Stage, Unary, Values, View, Workers,
    };
    use crate::plan::{Gather, Integers};

    /// Steps that read from `read` on and write from `write` on, and how many floats they read and write there.
    fn steps(read: usize, write: usize) -> Vec<(Call, usize, usize)> {
        let rows = |offset| Rows { offset, rows: 3, cols: 4, stride: 5 };
        let heads = |offset| Heads { offset, image_stride: 0, token_stride: 6, head_stride: 3 };
        let (q, out) = (heads(read), heads(write));
        let stage = Stage {
            x: read,
            image_stride: 12,
            pixel_stride: 2,
            images: 1,
            height: 2,
            width: 3,
            channels: 2,
            affine: None,
            silu: false,
            enlarge: 1,
            padding: Padding { top: 1, bottom: 0, left: 0, right: 0 },
            border: Border::Zero,
            out: write,
        };
        let group_norm = GroupNorm {
            x: Rows { offset: read, rows: 6, cols: 2, stride: 2 },
            images: 1,
            image_stride: 12,
            groups: 1,
            eps: 1e-5,
            gamma: None,
            beta: None,
            partial: write,
            out: write + 4,
        };
        let norm = Norm {
            x: rows(read),
            out: rows(write),
            measure: Measure::Deviation,
            eps: 1e-5,
            gamma: None,
            beta: None,
            modulation: None,
        };
        let workers = &mut Workers::new(Isa::available()[0], &Inline, &mut []);
        let source = Source {
            values: Values::F32(&[1.0; 8]),
            cols: 2,
            segment_stride: 0,
            row_stride: 2,
            col_stride: 1,
        };
        let weights = Arc::new(Packed::new(workers, Microkernel::exact(workers.isa), 1, 4, &source).unwrap());
        let group = Group { a: read, c: write, row: 0, rows: 3, image: 0 };
        let product =
            |steps: &[Epilogue]| Matmul::new(Arc::clone(&weights), 5, &[0], 3, &[group], steps, None);
        // One pixel of 3 x 3, whose lines lie side by side.
        let source = Source { values: Values::F32(&[1.0; 18]), segment_stride: 2, ..source };
        let plain = Packed::new(workers, Microkernel::exact(workers.isa), 9, 1, &source).unwrap();
        let formed = Form::Narrow.weights(&plain, workers).unwrap().unwrap();
        let taps = [0, 1, 2, 3, 4, 5, 6, 7, 8];
        let pixel = [Group { rows: 1, ..group }];
        let convolution = Convolution::new((Form::Narrow, Arc::new(formed)), plain, 1, &taps, 2, &pixel, &[]);
        let view = |offset| View::new(offset, &[5, 1]);
        let pointwise = Pointwise::new(
            &[3, 4],
            &[view(read)],
            view(write),
            &[Elementwise::Load(0), Elementwise::Unary(Unary::Neg, 0)],
        );
        let attention =
            Attention { q, k: q, v: q, out, images: 1, heads: 2, queries: 2, keys: 2, dim: 3, scale: 1.0 };
        // Two products of 2 x 3 by 3 x 2, whose right sides lie behind the left ones.
        let matrices = |offset, row| Matrices { offset, batch: [0, 12], row };
        let (a, b, out) = (matrices(read, 3), matrices(read + 6, 2), matrices(write, 2));
        let out = Matrices { batch: [0, 4], ..out };
        let products = BatchMatmul { a, b, column: 1, out, batch: [1, 2], rows: 2, inner: 3, cols: 2 };
        let reduce = Reduce { x: rows(read), reduction: Reduction::Max, out: write, out_stride: 2 };
        vec![
            (Call::Copy(Copy::new(&[3, 4], view(read), view(write))), 14, 14),
            (Call::Pointwise(pointwise), 14, 14),
            (Call::Reduce(reduce), 14, 5),
            (Call::Softmax(Softmax { x: rows(read), out: rows(write) }), 14, 14),
            (Call::Norm(norm), 14, 14),
            (Call::GroupNorm(group_norm), 12, 8),
            (Call::Stage(stage), 12, 18),
            (Call::Attention(attention, Format::F32), 12, 12),
            // Its bias is the last that is read.
            (Call::MaskedAttention(MaskedAttention { attention, bias: read + 12, bias_stride: 0 }), 14, 12),
            (Call::BatchMatmul(products), 24, 8),
            (Call::Matmul(Box::new(product(&[]))), 14, 8),
            (Call::Matmul(Box::new(product(&[Epilogue::Residual { offset: read, stride: 6 }]))), 14, 8),
            (Call::Convolution(Box::new(convolution)), 9, 2),
            (Call::Gather(Gather { table: read, rows: 3, width: 4, input: 0, count: 2, out: write }), 12, 8),
        ]
    }

    #[test]
    fn a_step_of_every_kind_that_reads_or_writes_one_float_too_many_is_refused() {
        for (i, (step, reads, writes)) in steps(100, 300).into_iter().enumerate() {
            let judged = |reads: usize, writes: usize| within(&step, &[100..100 + reads, 300..300 + writes]);
            judged(reads, writes).unwrap_or_else(|error| panic!("step {i}: {error}"));
            for (reads, writes) in [(reads - 1, writes), (reads, writes - 1)] {
                let error = judged(reads, writes).expect_err(&format!("step {i}: {reads} {writes}"));
                assert_eq!(error.kind(), ErrorKind::Runtime);
                assert!(error.to_string().contains("beyond its own memory"), "{error}");
            }
            // Between two buffers is in neither.
            assert!(within(&step, &[100..101, 101..300, 300..400]).is_err(), "step {i}");
        }
    }

    #[test]
    fn integers_that_become_floats_stay_within_their_buffer() {
        let step = Call::Integers(Integers { input: 0, count: 8, out: 300 });
        let judged = |floats: usize| within(&step, &[100..101, 300..300 + floats]);
        assert!(judged(8).is_ok() && judged(7).is_err());
    }
}
