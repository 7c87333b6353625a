//! Valid predictors of random operators.

use tract_onnx::pb::tensor_proto::DataType;

use crate::proto::{Attribute, port};
use crate::steps::STEPS;
use crate::writer::{Tensor, Writer};

/// Up to twelve steps: which of [`STEPS`], and its choices, numbers that are taken modulo what there is.
pub struct Plan(Vec<(usize, [u8; 4])>);

/// The most floats of a tensor.
pub(crate) const MOST: usize = 1 << 13;
/// The answer, without the batch.
pub(crate) const LATENT: [usize; 3] = [4, 8, 16];

/// What there is so far: `x` first, then the time, `[1, 1, 1]`, then what each step made.
#[derive(Default)]
pub(crate) struct Graph {
    pub(crate) writer: Writer,
    pub(crate) tensors: Vec<Tensor>,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|&(kind, choices)| (STEPS[kind].0, choices))).finish()
    }
}

impl Plan {
    /// A step is five bytes.
    pub fn read(data: &[u8]) -> Self {
        let step = |&[kind, a, b, c, d]: &[u8; 5]| (usize::from(kind) % STEPS.len(), [a, b, c, d]);
        Self(data.as_chunks().0.iter().take(12).map(step).collect())
    }

    /// The ONNX file.
    pub fn write(&self) -> Vec<u8> {
        let mut graph = Graph::default();
        graph.tensors.push(Tensor { name: "x".into(), dims: LATENT.to_vec() });
        let of_time = graph.writer.node("Reshape", &["t", "times"], &[], vec![1, 1, 1]);
        graph.writer.integers("times", &[-1, 1, 1, 1]);
        graph.tensors.push(of_time);
        for &(kind, choices) in &self.0 {
            let nodes = graph.writer.len();
            match STEPS[kind].1(&mut graph, choices) {
                Some(made) if made.dims.iter().product::<usize>() <= MOST => graph.tensors.push(made),
                _ => graph.writer.truncate(nodes),
            }
        }
        let inputs = [
            port("x", DataType::Float, &[4, 8, 16]),
            port("t", DataType::Float, &[]),
            port("y", DataType::Int64, &[]),
        ];
        graph.answer().file(&inputs, ("velocity", &[4, 8, 16]))
    }
}

impl Graph {
    pub(crate) fn pick(&self, number: u8) -> Tensor {
        self.tensors[usize::from(number) % self.tensors.len()].clone()
    }

    /// Brings the last tensor to the answer's shape: adds up its runs of so many floats, the last one filled with
    /// zeros.
    fn answer(self) -> Writer {
        let Self { mut writer, tensors } = self;
        let last = &tensors[tensors.len() - 1];
        let (all, one) = (last.dims.iter().product::<usize>(), LATENT.iter().product::<usize>());
        let runs = all.div_ceil(one);
        let shapes = [
            vec![-1, all as i64],
            vec![0, 0, 0, (runs * one - all) as i64],
            vec![-1, runs as i64, one as i64],
        ];
        let [flat, pads, table] = shapes.map(|shape| writer.shape(&shape));
        let (axis, image) = (writer.shape(&[1]), writer.shape(&[-1, 4, 8, 16]));
        let mut rows = writer.node("Reshape", &[&last.name, &flat], &[], vec![all]);
        if all != runs * one {
            rows = writer.node("Pad", &[&rows.name, &pads], &[], vec![runs * one]);
        }
        let rows = writer.node("Reshape", &[&rows.name, &table], &[], vec![runs, one]);
        let sums =
            writer.node("ReduceSum", &[&rows.name, &axis], &[("keepdims", Attribute::Int(0))], vec![one]);
        writer.node("Reshape", &[&sums.name, &image], &[], LATENT.to_vec());
        writer
    }
}
