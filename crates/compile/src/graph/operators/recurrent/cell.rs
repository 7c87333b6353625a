//! The equations of one step, in the standard's letters: `t` counts steps, `f`, `g` and `h` are the activations.

use std::ops::Range;

use ndarray::{
    Array1, Array2, Array3, Array4, ArrayView1, ArrayView2, ArrayView3, ArrayViewMut2, Axis, Slice,
};
use tract_onnx::tract_hir::internal::*;

use super::{BIAS, CELL, Direction, HIDDEN, Kind, LENGTHS, PEEPHOLES, Recurrent, Sizes};

/// The weights of one direction.
struct Cell<'a> {
    op: &'a Recurrent,
    direction: &'a Direction,
    w: ArrayView2<'a, f32>,
    r: ArrayView2<'a, f32>,
    /// Of the input and of the state.
    bias: [Array1<f32>; 2],
    /// Of the input, output and forget gate.
    peepholes: Array1<f32>,
}

impl Recurrent {
    /// Computes the outputs that are wanted.
    pub(super) fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let shapes: Vec<&[usize]> = inputs.iter().map(|input| input.shape()).collect();
        let sizes = self.sizes(&shapes)?;
        let Sizes { steps, batch, hidden, .. } = sizes;
        let x = self.steps_first(self.three(inputs, 0)?.context("lacks its sequence")?);
        let state = |place: usize| -> TractResult<Array3<f32>> {
            let given = self.three(inputs, place)?.map(|state| self.steps_first(state));
            Ok(given.unwrap_or_else(|| Array3::zeros((self.directions.len(), batch, hidden))))
        };
        let (mut h, mut c) = (state(HIDDEN)?, state(CELL)?);
        let lengths = self.lengths(inputs, sizes)?;
        let mut y = Array4::zeros((steps, self.directions.len(), batch, hidden));
        for (d, direction) in self.directions.iter().enumerate() {
            let cell = Cell::new(self, direction, d, inputs, sizes)?;
            let (mut h, mut c) = (h.index_axis_mut(Axis(0), d), c.index_axis_mut(Axis(0), d));
            // Sequences of one length go together.
            let mut at = 0;
            while at < batch {
                let count = lengths[at..].iter().take_while(|&&length| length == lengths[at]).count();
                let among = Slice::from(at..at + count);
                let mut y = y.index_axis_mut(Axis(1), d);
                let mut y = y.slice_axis_mut(Axis(1), among);
                let show = |t, h: ArrayView2<f32>| y.index_axis_mut(Axis(0), t).assign(&h);
                let (h, c) = (h.slice_axis_mut(Axis(0), among), c.slice_axis_mut(Axis(0), among));
                cell.run(x.slice_axis(Axis(1), among), lengths[at], h, c, show);
                at += count;
            }
        }
        let mut outputs = tvec!();
        for &output in &self.outputs {
            let mut answer = match output {
                0 => y.view().into_dyn(),
                1 => h.view().into_dyn(),
                _ => c.view().into_dyn(),
            };
            if self.batch_first && output == 0 {
                answer = answer.permuted_axes(vec![2, 0, 1, 3]);
            } else if self.batch_first {
                answer.swap_axes(0, 1);
            }
            let values: Vec<f32> = answer.iter().copied().collect();
            outputs.push(Tensor::from_shape(answer.shape(), &values)?.into_tvalue());
        }
        Ok(outputs)
    }

    /// An input of three axes, if it is given.
    fn three<'a>(&self, inputs: &'a [TValue], place: usize) -> TractResult<Option<ArrayView3<'a, f32>>> {
        let Some(tensor) = self.inputs[place].and_then(|i| inputs.get(i)) else { return Ok(None) };
        let values = tensor.try_as_plain_ram()?.as_slice::<f32>()?;
        let &[a, b, c] = tensor.shape() else { bail!("takes {:?}", tensor.shape()) };
        Ok(Some(ArrayView3::from_shape((a, b, c), values)?))
    }

    fn steps_first(&self, mut x: ArrayView3<f32>) -> Array3<f32> {
        if self.batch_first {
            x.swap_axes(0, 1);
        }
        x.to_owned()
    }

    fn lengths(&self, inputs: &[TValue], sizes: Sizes) -> TractResult<Vec<usize>> {
        let Some(lengths) = self.inputs[LENGTHS].and_then(|i| inputs.get(i)) else {
            return Ok(vec![sizes.steps; sizes.batch]);
        };
        let lengths = lengths.cast_to::<i64>()?;
        let lengths = lengths.try_as_plain_ram()?.as_slice::<i64>()?.to_vec();
        Ok(lengths.into_iter().map(|n| usize::try_from(n).unwrap_or(0).min(sizes.steps)).collect())
    }
}

impl<'a> Cell<'a> {
    fn new(
        op: &'a Recurrent,
        direction: &'a Direction,
        d: usize,
        inputs: &'a [TValue],
        sizes: Sizes,
    ) -> TractResult<Self> {
        let matrix = |place: usize| -> TractResult<ArrayView2<'a, f32>> {
            let weights = op.three(inputs, place)?.context("lacks its weights")?;
            Ok(weights.index_axis_move(Axis(0), d))
        };
        let row = |place: usize, len: usize| -> TractResult<Array1<f32>> {
            let Some(tensor) = op.inputs[place].and_then(|i| inputs.get(i)) else {
                return Ok(Array1::zeros(len));
            };
            let values = tensor.try_as_plain_ram()?.as_slice::<f32>()?;
            Ok(ArrayView1::from(values.get(d * len..(d + 1) * len).context("lacks a direction")?).to_owned())
        };
        let rows = op.kind.gates() * sizes.hidden;
        let bias = row(BIAS, 2 * rows)?;
        let bias =
            [0, rows].map(|start| bias.slice_axis(Axis(0), Slice::from(start..start + rows)).to_owned());
        Ok(Self {
            op,
            direction,
            w: matrix(1)?,
            r: matrix(2)?,
            bias,
            peepholes: row(PEEPHOLES, 3 * sizes.hidden)?,
        })
    }

    /// Goes through the first `length` steps of some sequences, in the direction's order, and shows each state.
    fn run(
        &self,
        x: ArrayView3<f32>,
        length: usize,
        mut h: ArrayViewMut2<f32>,
        mut c: ArrayViewMut2<f32>,
        mut show: impl FnMut(usize, ArrayView2<f32>),
    ) {
        for i in 0..length {
            let t = if self.direction.backward { length - 1 - i } else { i };
            let from_x = x.index_axis(Axis(0), t).dot(&self.w.t()) + &self.bias[0];
            let next = match self.op.kind {
                Kind::Rnn => (from_x + h.dot(&self.r.t()) + &self.bias[1]).mapv_into(|x| self.activate(0, x)),
                Kind::Gru => self.gru(&from_x, h.view()),
                Kind::Lstm => self.lstm(from_x, h.view(), c.view_mut()),
            };
            h.assign(&next);
            show(t, h.view());
        }
    }

    /// An activation of what is clipped first.
    fn activate(&self, which: usize, x: f32) -> f32 {
        let clip = self.op.clip.map_or(f32::INFINITY, f32::from_bits);
        self.direction.activations[which].of(x.clamp(-clip, clip))
    }

    /// Gates z, r and h:
    /// `z = f(x Wz + h Rz + bz)`, `r = f(x Wr + h Rr + br)`,
    /// `h' = g(x Wh + (r h) Rh + bh)`, or `g(x Wh + r (h Rh + rbh) + wbh)` with a linear layer before the reset,
    /// `h <- (1 - z) h' + z h`.
    fn gru(&self, from_x: &Array2<f32>, h: ArrayView2<f32>) -> Array2<f32> {
        let n = h.ncols();
        let of = |axis: usize, gates: Range<usize>| (Axis(axis), Slice::from(gates.start * n..gates.end * n));
        let cut = |all: &Array2<f32>, gates: Range<usize>| {
            let (axis, part) = of(1, gates);
            all.slice_axis(axis, part).to_owned()
        };
        let product = |h: ArrayView2<f32>, gates: Range<usize>| {
            let (axis, part) = of(0, gates);
            h.dot(&self.r.slice_axis(axis, part).t()) + self.bias[1].slice_axis(axis, part)
        };
        let opened = (cut(from_x, 0..2) + product(h, 0..2)).mapv_into(|x| self.activate(0, x));
        let (z, r) = (cut(&opened, 0..1), cut(&opened, 1..2));
        let from_h =
            if self.op.linear_before_reset { product(h, 2..3) * &r } else { product((&r * &h).view(), 2..3) };
        let new = (from_h + cut(from_x, 2..3)).mapv_into(|x| self.activate(1, x));
        &new - &(&z * &new) + &z * &h
    }

    /// Gates i, o, f and c, peepholes i, o and f:
    /// `i = f(x Wi + h Ri + Pi c + bi)`, `f = f(x Wf + h Rf + Pf c + bf)`, `c' = g(x Wc + h Rc + bc)`,
    /// `c <- f c + i c'`, `o = f(x Wo + h Ro + Po c + bo)`, `h <- o h(c)`.
    fn lstm(&self, from_x: Array2<f32>, h: ArrayView2<f32>, mut c: ArrayViewMut2<f32>) -> Array2<f32> {
        let n = h.ncols();
        let all = from_x + h.dot(&self.r.t()) + &self.bias[1];
        let part = |i: usize| Slice::from(i * n..(i + 1) * n);
        let gate = |i: usize| all.slice_axis(Axis(1), part(i));
        let peephole = |i: usize| self.peepholes.slice_axis(Axis(0), part(i));
        let opened = |i: usize, c: &ArrayView2<f32>| {
            (&gate(i) + &(c * &peephole(i))).mapv_into(|x| self.activate(0, x))
        };
        let input = opened(0, &c.view());
        let forget = if self.op.input_forget { input.mapv(|i| 1.0 - i) } else { opened(2, &c.view()) };
        let new = gate(3).mapv(|x| self.activate(1, x));
        let kept = &forget * &c;
        c.assign(&(kept + input * new));
        let output = opened(1, &c.view());
        output * c.mapv(|x| self.activate(2, x))
    }
}
