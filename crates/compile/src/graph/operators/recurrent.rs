//! `RNN`, `GRU` and `LSTM`, as the standard has them: tract knows neither one reversed direction nor clipping, other
//! activations or coupled gates, and passes over the attributes that ask for them.

mod activation;
mod cell;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::{Built, broken, refused};
use activation::Activation;

/// The three operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Rnn,
    Gru,
    Lstm,
}

impl Kind {
    /// Rows of the weights for each hidden unit.
    fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Gru => 3,
            Self::Lstm => 4,
        }
    }

    fn activations(self) -> &'static [&'static str] {
        match self {
            Self::Rnn => &["Tanh"],
            Self::Gru => &["Sigmoid", "Tanh"],
            Self::Lstm => &["Sigmoid", "Tanh", "Tanh"],
        }
    }
}

/// Inputs that may be left out, behind X, W and R.
const BIAS: usize = 3;
const LENGTHS: usize = 4;
const HIDDEN: usize = 5;
const CELL: usize = 6;
const PEEPHOLES: usize = 7;

/// One way through a sequence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Direction {
    backward: bool,
    activations: Vec<Activation>,
}

/// A recurrent network of one layer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recurrent {
    kind: Kind,
    directions: Vec<Direction>,
    /// Bits of the bound of what activations take.
    clip: Option<u32>,
    /// Whether the reset gate of a GRU comes behind its product.
    linear_before_reset: bool,
    /// Whether the forget gate of an LSTM is what the input gate leaves.
    input_forget: bool,
    /// Whether the batch comes before the steps and the directions.
    batch_first: bool,
    hidden: Option<usize>,
    /// For each input of the standard, which of those that are given it is.
    inputs: [Option<usize>; 8],
    /// Of `Y`, `Y_h` and `Y_c`, those that are wanted.
    outputs: Vec<usize>,
}

/// Reads one of the three.
pub(super) fn recurrent(_: &ParsingContext, node: &NodeProto) -> TractResult<Built> {
    let kind = match node.op_type.as_str() {
        "RNN" => Kind::Rnn,
        "GRU" => Kind::Gru,
        _ => Kind::Lstm,
    };
    let backward: &[bool] = match node.get_attr_opt::<&str>("direction")?.unwrap_or("forward") {
        "forward" => &[false],
        "reverse" => &[true],
        "bidirectional" => &[false, true],
        other => return Err(broken(format!("attribute 'direction' is '{other}'"))),
    };
    let per_direction = kind.activations().len();
    let names: Vec<&str> = match node.get_attr_opt_vec::<&str>("activations")? {
        Some(names) => names,
        None => backward.iter().flat_map(|_| kind.activations()).copied().collect(),
    };
    if names.len() != per_direction * backward.len() {
        let (there, wanted) = (names.len(), per_direction * backward.len());
        return Err(broken(format!("attribute 'activations' has {there} names, must have {wanted}")));
    }
    let numbers =
        |name: &str| -> TractResult<Vec<f32>> { Ok(node.get_attr_opt_vec(name)?.unwrap_or_default()) };
    let activations = Activation::list(&names, &numbers("activation_alpha")?, &numbers("activation_beta")?)?;
    let directions = backward
        .iter()
        .zip(activations.chunks(per_direction))
        .map(|(&backward, activations)| Direction { backward, activations: activations.to_vec() });
    let clip = node.get_attr_opt::<f32>("clip")?;
    if clip.is_some_and(|clip| clip.is_nan() || clip <= 0.0) {
        return Err(broken("attribute 'clip' must be above 0"));
    }
    let hidden = node.get_attr_opt::<i64>("hidden_size")?;
    let hidden =
        hidden.map(|n| usize::try_from(n).map_err(|_| broken(format!("attribute 'hidden_size' is {n}"))));
    let mut given = tract_onnx::model::optional_inputs(node);
    let mut inputs = [None; 8];
    inputs.iter_mut().for_each(|input| *input = given.next().flatten());
    if inputs[..3].iter().any(Option::is_none) {
        return Err(broken("lacks one of the inputs X, W and R"));
    }
    let outputs =
        node.output.iter().enumerate().filter(|(_, name)| !name.is_empty()).map(|(i, _)| i).collect();
    let op = Recurrent {
        kind,
        directions: directions.collect(),
        clip: clip.map(f32::to_bits),
        linear_before_reset: kind == Kind::Gru && flag(node, "linear_before_reset")?,
        input_forget: kind == Kind::Lstm && flag(node, "input_forget")?,
        batch_first: flag(node, "layout")?,
        hidden: hidden.transpose()?,
        inputs,
        outputs,
    };
    Ok((expand(op), Vec::new()))
}

fn flag(node: &NodeProto, name: &str) -> TractResult<bool> {
    match node.get_attr_opt::<i64>(name)?.unwrap_or(0) {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(broken(format!("attribute '{name}' is {other}, must be 0 or 1"))),
    }
}

/// The sizes of a network and of what it takes.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    steps: usize,
    batch: usize,
    width: usize,
    hidden: usize,
}

impl Recurrent {
    /// Holds the shapes of the inputs that are given to each other.
    fn sizes(&self, shapes: &[&[usize]]) -> TractResult<Sizes> {
        let shape = |place: usize| self.inputs[place].and_then(|i| shapes.get(i)).copied();
        let three = |place: usize, name: &str| match shape(place) {
            Some(&[a, b, c]) => Ok([a, b, c]),
            found => Err(broken(format!("input {name} is {found:?}, must have three axes"))),
        };
        let (x, r) = (three(0, "X")?, three(2, "R")?);
        let (steps, batch) = if self.batch_first { (x[1], x[0]) } else { (x[0], x[1]) };
        let sizes = Sizes { steps, batch, width: x[2], hidden: r[2] };
        let (directions, rows, hidden) =
            (self.directions.len(), self.kind.gates() * sizes.hidden, sizes.hidden);
        if self.hidden.is_some_and(|stated| stated != hidden) {
            let message = format!("attribute 'hidden_size' is {:?}, but input R is {r:?}", self.hidden);
            return Err(broken(message));
        }
        if steps == 0 || batch == 0 || hidden == 0 {
            return Err(broken(format!("input X is {x:?} and input R {r:?}: nothing to compute")));
        }
        let state = if self.batch_first { [batch, directions, hidden] } else { [directions, batch, hidden] };
        let wanted: [(usize, &str, &[usize]); 7] = [
            (1, "W", &[directions, rows, sizes.width]),
            (2, "R", &[directions, rows, hidden]),
            (BIAS, "B", &[directions, 2 * rows]),
            (LENGTHS, "sequence_lens", &[batch]),
            (HIDDEN, "initial_h", &state),
            (CELL, "initial_c", &state),
            (PEEPHOLES, "P", &[directions, 3 * hidden]),
        ];
        for (place, name, wanted) in wanted {
            if let Some(found) = shape(place)
                && found != wanted
            {
                let message =
                    format!("input {name} is {found:?}, must be {wanted:?} for X {x:?} and R {r:?}");
                return Err(broken(message));
            }
        }
        Ok(sizes)
    }

    /// The shape of `Y`, or of `Y_h` and `Y_c`.
    fn shape(&self, output: usize, sizes: Sizes) -> TVec<usize> {
        let Sizes { steps, batch, hidden, .. } = sizes;
        let directions = self.directions.len();
        match (output, self.batch_first) {
            (0, false) => tvec!(steps, directions, batch, hidden),
            (0, true) => tvec!(batch, steps, directions, hidden),
            (_, false) => tvec!(directions, batch, hidden),
            (_, true) => tvec!(batch, directions, hidden),
        }
    }
}

impl Expansion for Recurrent {
    fn name(&self) -> StaticName {
        match self.kind {
            Kind::Rnn => "RNN",
            Kind::Gru => "GRU",
            Kind::Lstm => "LSTM",
        }
        .into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.outputs.len())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, self.inputs.iter().flatten().count())?;
        check_output_arity(outputs, self.outputs.len())?;
        let (steps, batch) = if self.batch_first { (1, 0) } else { (0, 1) };
        for (output, &which) in outputs.iter().zip(&self.outputs) {
            solver.equals(&inputs[0].datum_type, &output.datum_type)?;
            let axes = match (which, self.batch_first) {
                (0, false) => [Some(steps), None, Some(batch)].to_vec(),
                (0, true) => [Some(batch), Some(steps), None].to_vec(),
                (_, false) => [None, Some(batch)].to_vec(),
                (_, true) => [Some(batch), None].to_vec(),
            };
            solver.equals(&output.rank, axes.len() as i64 + 1)?;
            for (axis, of_x) in axes.iter().enumerate() {
                match of_x {
                    Some(of_x) => solver.equals(&inputs[0].shape[*of_x], &output.shape[axis])?,
                    None => solver.equals(&output.shape[axis], self.directions.len().to_dim())?,
                }
            }
            solver.equals(&inputs[2].shape[2], &output.shape[axes.len()])?;
        }
        Ok(())
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if let Some(lengths) = self.inputs[LENGTHS] {
            let fact = model.outlet_fact(inputs[lengths])?;
            let Some(lengths) = &fact.konst else {
                return Err(refused("input sequence_lens must be known while loading"));
            };
            let lengths = lengths.cast_to::<i64>()?;
            let steps = model.outlet_fact(inputs[0])?.shape[usize::from(self.batch_first)].to_i64()?;
            let outside =
                lengths.try_as_plain_ram()?.as_slice::<i64>()?.iter().find(|&&n| n < 1 || n > steps);
            if let Some(length) = outside {
                return Err(broken(format!("input sequence_lens holds {length}, X has {steps} steps")));
            }
        }
        model.wire_node(prefix, self.clone(), inputs)
    }
}

impl Op for Recurrent {
    fn name(&self) -> StaticName {
        Expansion::name(self)
    }

    op_as_typed_op!();
}

impl EvalOp for Recurrent {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.run(&inputs)
    }
}

impl TypedOp for Recurrent {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        for (i, fact) in inputs.iter().enumerate() {
            if Some(i) != self.inputs[LENGTHS] && fact.datum_type != f32::datum_type() {
                return Err(refused(format!(
                    "input {i} of {:?} is not supported, only of F32",
                    fact.datum_type
                )));
            }
        }
        let shapes: Option<Vec<&[usize]>> = inputs.iter().map(|fact| fact.shape.as_concrete()).collect();
        let shapes = shapes.context("takes a tensor of open sizes")?;
        let sizes = self.sizes(&shapes)?;
        Ok(self.outputs.iter().map(|&output| f32::fact(&*self.shape(output, sizes))).collect())
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(batch_first: bool) -> Recurrent {
        let activations = Activation::list(&["Sigmoid", "Tanh", "Tanh"], &[], &[]).unwrap();
        let direction = |backward| Direction { backward, activations: activations.clone() };
        Recurrent {
            kind: Kind::Lstm,
            directions: vec![direction(false), direction(true)],
            clip: None,
            linear_before_reset: false,
            input_forget: false,
            batch_first,
            hidden: Some(4),
            inputs: [Some(0), Some(1), Some(2), None, None, Some(3), Some(4), None],
            outputs: vec![0, 1, 2],
        }
    }

    fn noise(seed: u64, shape: &[usize]) -> Tensor {
        let values = crate::noise(seed, [1, 1, 1, shape.iter().product()]).unwrap();
        Tensor::from_shape(shape, &values.into_raw_vec_and_offset().0).unwrap()
    }

    fn turned(tensor: &Tensor, order: &[usize]) -> Tensor {
        tensor.clone().permute_axes(order).unwrap()
    }

    // ONNX Runtime refuses this layout, so the sweep has none of it.
    #[test]
    fn with_the_batch_first_it_is_the_same_network_turned() {
        let (steps, batch, width, hidden) = (5, 3, 2, 4);
        let weights = [noise(1, &[2, 4 * hidden, width]), noise(2, &[2, 4 * hidden, hidden])];
        let x = noise(3, &[steps, batch, width]);
        let states = [noise(4, &[2, batch, hidden]), noise(5, &[2, batch, hidden])];
        let run = |batch_first: bool, x: Tensor, states: [Tensor; 2]| {
            let inputs: TVec<TValue> =
                [x].into_iter().chain(weights.clone()).chain(states).map(IntoTValue::into_tvalue).collect();
            network(batch_first).run(&inputs).unwrap()
        };
        let answers = run(false, x.clone(), states.clone());
        let again = run(true, turned(&x, &[1, 0, 2]), states.map(|state| turned(&state, &[1, 0, 2])));
        let orders: [&[usize]; 3] = [&[2, 0, 1, 3], &[1, 0, 2], &[1, 0, 2]];
        for ((answer, again), order) in answers.iter().zip(&again).zip(orders) {
            turned(answer, order).close_enough(again, Approximation::Close).unwrap();
        }
    }
}
