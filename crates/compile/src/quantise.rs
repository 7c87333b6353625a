//! A bundle's networks with weights of bytes: those that int8 would round while a model is loaded.

use std::collections::{BTreeMap, HashMap};

use crate::allowance::Allowance;
use crate::bundle::{Bundle, Replacement, Role};
use crate::error::{Context, unsupported};
use crate::graph::with_bytes;
use crate::kernels::Format;
use crate::plan::{Layout, Numbers, Operation};
use crate::precision::Precision;
use crate::program::Compiled;
use crate::weights::Contents;
use crate::{CancelToken, Result};

/// The networks whose large linear layers become bytes, by their files.
///
/// # Errors
/// `Unsupported`: there are none, they are bytes already, or a file is of an opset before 13. Name a network's file;
/// else as [`Compiled::new`].
pub fn quantised(bundle: &Bundle, cancel: &CancelToken) -> Result<BTreeMap<String, Replacement>> {
    let (mut networks, mut already) = (BTreeMap::new(), false);
    for role in [Role::Predictor, Role::Refiner, Role::Decoder] {
        let file = bundle.manifest().file(role);
        if !bundle.manifest().has(role) || networks.contains_key(file) {
            continue;
        }
        bundle.check_while(role, || cancel.check())?;
        let allowance = Allowance::new(bundle.limits(), cancel);
        let compiled = Compiled::new(bundle, role, bundle.manifest().extent(1), &allowance)?;
        let (chosen, of_bytes) = chosen(&compiled, role);
        already |= of_bytes;
        let (graph, external) = (bundle.graph(role)?, bundle.external_data(role)?);
        let (replacement, made) =
            with_bytes(&graph, &external, &chosen, &allowance).at(|| file.to_owned())?;
        if made > 0 {
            networks.insert(file.to_owned(), replacement);
        }
    }
    match networks.is_empty() {
        false => Ok(networks),
        true if already => Err(unsupported("its weights are bytes already").at(bundle.describe())),
        true => {
            Err(unsupported("has no weights that int8 multiplies by and that are large")
                .at(bundle.describe()))
        }
    }
}

/// The weights that int8 would round, by their names, with the axis of their columns; and whether there are others
/// that are whole numbers already.
fn chosen(compiled: &Compiled, role: Role) -> (HashMap<String, usize>, bool) {
    let Compiled { plan, conditioning, weights, .. } = compiled;
    // What conditions alone decide is exact.
    let conditioned = conditioning.iter().flat_map(|part| part.plan.steps.iter().map(|step| (step, None)));
    let formats = Precision::Int8.of(role).formats(&plan.steps, weights, |format| format == Format::I8);
    let mut found: HashMap<usize, Option<usize>> = HashMap::new();
    for (step, format) in plan.steps.iter().zip(formats).chain(conditioned) {
        let (index, layout) = match &step.operation {
            Operation::Matmul(product) => match product.weights.numbers {
                Numbers::Weight(index) => (index, Some(&product.weights.layout)),
                Numbers::Here(_) => continue,
            },
            Operation::Lookup(lookup) => (lookup.weight, None),
            _ => continue,
        };
        let Some(weight) = weights.iter().nth(index) else { continue };
        let axis =
            layout.filter(|_| format == Some(Format::I8)).and_then(|layout| columns(layout, &weight.shape));
        let known = found.entry(index).or_insert(axis);
        *known = known.filter(|known| Some(*known) == axis);
    }
    let (mut chosen, mut already) = (HashMap::new(), false);
    for (index, weight) in weights.iter().enumerate() {
        match (found.get(&index), &weight.contents) {
            (Some(Some(_)), Contents::Scaled(_)) => already = true,
            (Some(Some(axis)), _) => drop(chosen.insert(weight.name.clone(), *axis)),
            _ => {}
        }
    }
    (chosen, already)
}

/// The axis of a weight of `shape` along which its columns lie, if it is the whole of it that is multiplied by.
fn columns(layout: &Layout, shape: &[usize]) -> Option<usize> {
    let Layout { offset: 0, sizes: [1, k, columns], strides: [_, _, stride] } = *layout else { return None };
    let all = shape.iter().product::<usize>() == k * columns;
    let along =
        |&axis: &usize| shape[axis] == columns && shape[axis + 1..].iter().product::<usize>() == stride;
    (0..shape.len()).find(along).filter(|_| all)
}
