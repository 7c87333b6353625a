//! Reads an ONNX graph but for its large weights, holds it against its contract and fixes its shapes.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use half::f16;
use prost::Message;
use tract_onnx::data_resolver::ModelDataResolver;
use tract_onnx::pb::{self, tensor_proto};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::bail;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_hir::infer::Factoid;

use super::refusal::Nodes;
use super::skeleton::Skeleton;
use super::standard::{self, Budget};
use super::{Graph, folded, initializers, probe, whole};
use crate::allowance::Allowance;
use crate::bundle::{Bundle, Extent, ExternalData, ListedFile, Role};
use crate::contract::{Contract, Port};
use crate::error::{Context, Error, invalid_bundle, panic_text, unsupported};
use crate::panics::refused_to_tract;
use crate::weights::{Contents, Encoding, Weights, holds_nan};
use crate::{Result, memory};

impl Graph {
    /// Imports the network that plays `role` at `extent`, whatever its files' hashes are.
    #[cfg(test)]
    pub fn import(bundle: &Bundle, role: Role, extent: Extent) -> Result<Self> {
        let never = crate::CancelToken::new();
        Self::import_within(bundle, role, extent, &Allowance::new(bundle.limits(), &never))
    }

    /// Imports the network that plays `role` at `extent`, as long as `allowance` lets it, whatever its files' hashes
    /// are.
    pub fn import_within(bundle: &Bundle, role: Role, extent: Extent, allowance: &Allowance) -> Result<Self> {
        let contract =
            Contract::new(bundle.manifest(), role, extent, bundle.limits()).at(|| format!("{role}"))?;
        let (file, external) = (bundle.graph(role)?, bundle.external_data(role)?);
        guarded(|| read(&file, &external, contract, allowance)).at(|| file.name().to_owned())
    }
}

/// tract indexes into what the file claims; a lying file may make it panic.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let panicked = |panic: Box<dyn Any + Send>| {
        let malformed = || invalid_bundle("tract panicked on this graph; it is malformed");
        Err(refused_to_tract(panic_text(panic.as_ref())).unwrap_or_else(malformed))
    };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(panicked)
}

fn read(
    file: &ListedFile,
    external: &ExternalData,
    contract: Contract,
    allowance: &Allowance,
) -> Result<Graph> {
    allowance.check()?;
    let Skeleton { bytes, cuts } = Skeleton::read(file)?;
    let described = bytes.len();
    let mut proto = decode(bytes)?;
    annotate_nothing(&mut proto);
    room_for_nodes(&proto, described)?;
    standard::check(&mut proto, allowance)?;
    let missing = || invalid_bundle("the ONNX file holds no graph");
    let counts = count(proto.graph.as_ref().ok_or_else(missing)?);
    whole::write_out(proto.graph.as_mut().ok_or_else(missing)?, &cuts, external, allowance)?;
    // Functions may have become many nodes, and so have some products.
    room_for_nodes(&proto, described)?;
    let _budget = Budget::new(allowance);
    let graph = proto.graph.as_mut().ok_or_else(missing)?;
    let mut onnx = tract_onnx::onnx();
    onnx.provider = Arc::new(NoFiles);
    standard::register(&mut onnx);
    let nodes = Nodes::note(graph, &onnx);
    let inexact = folded::inexact(graph);
    let weights = initializers::take_out(graph, cuts, external, allowance)?;
    allowance.check()?;
    let mut model = onnx.model_for_proto_model(&proto).map_err(|error| nodes.explain(&error))?;
    drop(proto);
    name_ports(&mut model, &contract, &weights)?;
    allowance.check()?;
    let model = model.into_typed().map_err(|error| nodes.explain(&error))?;
    nodes.check_shapes(&model)?;
    probe::check(&model, &nodes)?;
    check_constants(&model)?;
    let (file, weights, allowance) = (file.name().to_owned(), Arc::new(weights), allowance.clone());
    Ok(Graph { file, contract, model, weights, allowance, counts, inexact })
}

/// What a skeleton's bytes say.
pub(super) fn decode(bytes: Vec<u8>) -> Result<pb::ModelProto> {
    memory::room(bytes.len().saturating_mul(DECODED))?;
    pb::ModelProto::decode(&*bytes).map_err(|error| invalid_bundle(format!("not a whole ONNX file: {error}")))
}

/// Bytes that prost takes for a byte of a file, at most but for files of the oddest kind.
const DECODED: usize = 16;
/// Bytes that tract takes for a node, in all the forms that it gives a graph.
const NODE: usize = 8 << 10;

/// prost and tract end the process where memory is refused. So as much as they take for a description is asked for
/// beforehand.
///
/// # Errors
/// `OutOfMemory`.
fn room_for_nodes(model: &pb::ModelProto, described: usize) -> Result<()> {
    let nodes = model.graph.as_ref().map_or(0, |graph| graph.node.len());
    memory::room(nodes.saturating_mul(NODE).saturating_add(described.saturating_mul(2)))
}

/// Drops what only tells of the graph: tract would take notes on shapes, in symbols of their own, for facts.
fn annotate_nothing(model: &mut pb::ModelProto) {
    model.metadata_props.clear();
    model.doc_string.clear();
    if let Some(graph) = &mut model.graph {
        drop_notes(graph);
    }
}

fn drop_notes(graph: &mut pb::GraphProto) {
    graph.value_info.clear();
    graph.quantization_annotation.clear();
    graph.output.iter_mut().for_each(|output| output.r#type = None);
    for node in &mut graph.node {
        node.doc_string.clear();
        let attributes = node.attribute.iter_mut();
        attributes.flat_map(|a| a.g.iter_mut().chain(&mut a.graphs)).for_each(drop_notes);
    }
}

/// Elements of all initializers, by stored type.
fn count(graph: &pb::GraphProto) -> Vec<(String, u64)> {
    let mut counts: Vec<(String, u64)> = Vec::new();
    for tensor in &graph.initializer {
        let kind = tensor_proto::DataType::try_from(tensor.data_type).map_or("unknown", |t| t.as_str_name());
        let elements: u64 =
            tensor.dims.iter().fold(1, |product: u64, &n| product.saturating_mul(n.max(0) as u64));
        match counts.iter_mut().find(|(known, _)| known == kind) {
            Some((_, count)) => *count += elements,
            None => counts.push((kind.to_owned(), elements)),
        }
    }
    counts
}

/// Nothing outside the bundle is ever read on a graph's word.
struct NoFiles;

impl ModelDataResolver for NoFiles {
    fn read_bytes_from_path(&self, _: &mut Vec<u8>, p: &Path, _: usize, _: Option<usize>) -> TractResult<()> {
        bail!("a constant outside the initializers points at the file {}", p.display())
    }
}

/// Orders inputs as the contract does, the weights behind them, and sets their facts and the output.
fn name_ports(model: &mut InferenceModel, contract: &Contract, weights: &Weights) -> Result<()> {
    let sources = model.input_outlets().map_err(|e| classify(&e))?.to_vec();
    // The weights were declared behind all other inputs.
    let (ports, of_weights) = sources.split_at(sources.len().saturating_sub(weights.len()));
    let known: Vec<String> = ports.iter().map(|o| model.node(o.node).name.clone()).collect();
    let mut inputs = Vec::new();
    for port in &contract.inputs {
        let Some((&outlet, _)) = ports.iter().zip(&known).find(|(_, name)| **name == port.name) else {
            let message = format!("has no input '{}'; its inputs are {}", port.name, known.join(", "));
            return Err(invalid_bundle(message));
        };
        inputs.push(outlet);
    }
    if let Some(stray) = known.iter().find(|name| contract.inputs.iter().all(|port| port.name != **name)) {
        return Err(invalid_bundle(format!("has an input '{stray}' that bundle.json does not name")));
    }
    inputs.extend(of_weights);
    model.set_input_outlets(&inputs).map_err(|error| classify(&error))?;
    model
        .select_outputs_by_name([contract.output.name.as_str()])
        .map_err(|_| invalid_bundle(format!("has no output '{}'", contract.output.name)))?;
    for (i, port) in contract.inputs.iter().enumerate() {
        let declared = model.input_fact(i).map_err(|error| classify(&error))?;
        check_declared(declared, port)?;
        let element = port.element.choose(f32::datum_type(), i64::datum_type());
        let fact = InferenceFact::dt_shape(element, &port.shape);
        model.set_input_fact(i, fact).map_err(|error| classify(&error))?;
    }
    for (i, weight) in weights.iter().enumerate() {
        let element = match weight.contents {
            Contents::Plain(Encoding::F16) => f16::datum_type(),
            Contents::Plain(Encoding::I8) => i8::datum_type(),
            _ => f32::datum_type(),
        };
        let fact = InferenceFact::dt_shape(element, &weight.shape);
        model.set_input_fact(contract.inputs.len() + i, fact).map_err(|error| classify(&error))?;
    }
    Ok(())
}

/// A dimension that the file fixes must be the one that the manifest describes.
fn check_declared(declared: &InferenceFact, port: &Port) -> Result<()> {
    let dims: Vec<Option<i64>> =
        declared.shape.dims().map(|d| d.concretize().and_then(|d| d.to_i64().ok())).collect();
    let rank_differs = !declared.shape.is_open() && dims.len() != port.shape.len();
    let dim_differs = dims.iter().zip(&port.shape).any(|(d, &n)| d.is_some_and(|d| d != n as i64));
    if rank_differs || dim_differs {
        let shown: Vec<String> =
            dims.iter().map(|d| d.map_or_else(|| "N".to_owned(), |d| d.to_string())).collect();
        return Err(invalid_bundle(format!(
            "input '{}' is [{}] in the file, but bundle.json makes it {:?}",
            port.name,
            shown.join(", "),
            port.shape
        )));
    }
    let element = declared.datum_type.concretize();
    let wanted = port.element.choose(DatumType::F32, DatumType::I64);
    match element {
        Some(found) if found != wanted => {
            Err(invalid_bundle(format!("input '{}' is {found:?} in the file, must be {wanted:?}", port.name)))
        }
        _ => Ok(()),
    }
}

/// What `Weights::read` holds the large weights to, for those in the graph.
fn check_constants(model: &TypedModel) -> Result<()> {
    for node in model.nodes() {
        let Some(constant) = node.op_as::<Const>() else { continue };
        let tensor = constant.val();
        let Some(view) = tensor.as_plain_ram() else { continue };
        let broken = match tensor.datum_type() {
            DatumType::F32 => view.as_slice::<f32>().is_ok_and(|s| s.iter().any(|w| w.is_nan())),
            DatumType::F16 => view.as_slice::<f16>().is_ok_and(|s| s.iter().any(|w| w.is_nan())),
            _ => false,
        };
        if broken {
            return Err(holds_nan(&node.name));
        }
    }
    Ok(())
}

/// tract's chain of causes on one line; an operator that it lacks is our limit, all else the file's fault. Our own
/// errors (NaN in a weight, refused memory) pass through tract unchanged.
pub(super) fn classify(error: &TractError) -> Error {
    if let Some(own) = error.downcast_ref::<Error>() {
        return own.clone();
    }
    let text = line(error);
    if text.contains("Unimplemented") || text.contains("unimplemented") {
        unsupported(format!("tract cannot run this graph: {text}"))
    } else {
        invalid_bundle(format!("tract refuses this graph: {text}"))
    }
}

fn line(error: &TractError) -> String {
    let text = format!("{error:#}").replace(['\n', '\r'], " ");
    text.chars().take(400).collect()
}
