//! Reads an ONNX graph, holds it against its contract, fixes its shapes and declutters it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use tract_onnx::data_resolver::ModelDataResolver;
use tract_onnx::pb::{self, tensor_proto};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::bail;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_hir::infer::Factoid;

use super::Graph;
use super::contract::{Contract, ElementType, Port};
use crate::Result;
use crate::bundle::{Bundle, ExternalData, Role};
use crate::error::{Context, Error, invalid_bundle, non_finite, unsupported};

impl Graph {
    /// Imports the network that plays `role`, for `batch` images.
    pub(crate) fn import(bundle: &Bundle, role: Role, batch: usize) -> Result<Self> {
        let contract =
            Contract::new(bundle.manifest(), role, batch, bundle.limits()).at(|| format!("{role}"))?;
        let file = bundle.manifest().file(role).to_owned();
        let (bytes, external) = (bundle.graph(role)?, bundle.external_data(role)?);
        // tract indexes into what the file claims; a lying file may make it panic.
        let imported = catch_unwind(AssertUnwindSafe(|| read(&bytes, &external, &contract)));
        let (model, weights) = imported
            .unwrap_or_else(|_| Err(invalid_bundle("tract panicked on this graph; it is malformed")))
            .at(|| file.clone())?;
        Ok(Self { file, contract, model, weights })
    }
}

fn read(
    bytes: &[u8],
    external: &ExternalData,
    contract: &Contract,
) -> Result<(TypedModel, Vec<(String, u64)>)> {
    let mut onnx = tract_onnx::onnx();
    onnx.provider = Arc::new(NoFiles);
    let mut proto = onnx
        .proto_model_for_read(&mut &*bytes)
        .map_err(|error| invalid_bundle(format!("not a whole ONNX file: {}", line(&error))))?;
    let weights = inline_weights(&mut proto, external)?;
    let mut model = onnx.model_for_proto_model(&proto).map_err(|error| classify(&error))?;
    drop(proto);
    name_ports(&mut model, contract)?;
    let model = model.into_typed().map_err(|error| classify(&error))?;
    check_weights(&model)?;
    let model = model.into_decluttered().map_err(|error| classify(&error))?;
    check_output(&model, &contract.output)?;
    Ok((model, weights))
}

/// Moves external weights into the graph itself, so that any source serves, not only the file system.
fn inline_weights(proto: &mut pb::ModelProto, external: &ExternalData) -> Result<Vec<(String, u64)>> {
    let graph = proto.graph.as_mut().ok_or_else(|| invalid_bundle("the ONNX file holds no graph"))?;
    let mut counts: Vec<(String, u64)> = Vec::new();
    for tensor in &mut graph.initializer {
        if tensor.data_location == Some(tensor_proto::DataLocation::External as i32) {
            let value =
                |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
            let number = |key: &str| -> Result<Option<u64>> {
                let parse = |text: &str| {
                    text.parse().map_err(|_| {
                        invalid_bundle(format!(
                            "weight '{}': external {key} '{text}' is no number",
                            tensor.name
                        ))
                    })
                };
                value(key).map(parse).transpose()
            };
            let name = value("location").unwrap_or_default().to_owned();
            let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
            let mut bytes = Vec::new();
            external.read(&name, offset, length, &mut bytes).at(|| format!("weight '{}'", tensor.name))?;
            tensor.raw_data = bytes;
            tensor.external_data.clear();
            tensor.data_location = Some(tensor_proto::DataLocation::Default as i32);
        }
        let kind = tensor_proto::DataType::try_from(tensor.data_type).map_or("unknown", |t| t.as_str_name());
        let elements: u64 =
            tensor.dims.iter().fold(1, |product: u64, &n| product.saturating_mul(n.max(0) as u64));
        match counts.iter_mut().find(|(known, _)| known == kind) {
            Some((_, count)) => *count += elements,
            None => counts.push((kind.to_owned(), elements)),
        }
    }
    Ok(counts)
}

/// Nothing outside the bundle is ever read on a graph's word.
struct NoFiles;

impl ModelDataResolver for NoFiles {
    fn read_bytes_from_path(&self, _: &mut Vec<u8>, p: &Path, _: usize, _: Option<usize>) -> TractResult<()> {
        bail!("a constant outside the initializers points at the file {}", p.display())
    }
}

/// Orders inputs and output as the contract does and sets the inputs' facts.
fn name_ports(model: &mut InferenceModel, contract: &Contract) -> Result<()> {
    let known: Vec<String> = model
        .input_outlets()
        .map_err(|e| classify(&e))?
        .iter()
        .map(|o| model.node(o.node).name.clone())
        .collect();
    for port in &contract.inputs {
        if !known.contains(&port.name) {
            let message = format!("has no input '{}'; its inputs are {}", port.name, known.join(", "));
            return Err(invalid_bundle(message));
        }
    }
    if let Some(stray) = known.iter().find(|name| contract.inputs.iter().all(|port| port.name != **name)) {
        return Err(invalid_bundle(format!("has an input '{stray}' that bundle.json does not name")));
    }
    let names: Vec<&str> = contract.inputs.iter().map(|port| port.name.as_str()).collect();
    model.set_input_names(&names).map_err(|error| classify(&error))?;
    model
        .select_outputs_by_name([contract.output.name.as_str()])
        .map_err(|_| invalid_bundle(format!("has no output '{}'", contract.output.name)))?;
    for (i, port) in contract.inputs.iter().enumerate() {
        let declared = model.input_fact(i).map_err(|error| classify(&error))?;
        check_declared(declared, port)?;
        let element = match port.element {
            ElementType::F32 => f32::datum_type(),
            ElementType::I64 => i64::datum_type(),
        };
        let fact = InferenceFact::dt_shape(element, &port.shape);
        model.set_input_fact(i, fact).map_err(|error| classify(&error))?;
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
    let wanted = match port.element {
        ElementType::F32 => DatumType::F32,
        ElementType::I64 => DatumType::I64,
    };
    match element {
        Some(found) if found != wanted => {
            Err(invalid_bundle(format!("input '{}' is {found:?} in the file, must be {wanted:?}", port.name)))
        }
        _ => Ok(()),
    }
}

fn check_output(model: &TypedModel, port: &Port) -> Result<()> {
    let fact = model.output_fact(0).map_err(|error| classify(&error))?;
    if fact.shape.as_concrete() != Some(&port.shape) || fact.datum_type != DatumType::F32 {
        return Err(invalid_bundle(format!(
            "output '{}' is {fact:?} in the file, but bundle.json makes it {:?} f32",
            port.name, port.shape
        )));
    }
    Ok(())
}

/// NaN in a weight spoils every picture; infinities stay, masks are made of them.
fn check_weights(model: &TypedModel) -> Result<()> {
    for node in model.nodes() {
        let Some(constant) = node.op_as::<Const>() else { continue };
        let tensor = constant.val();
        let Some(view) = tensor.as_plain_ram() else { continue };
        let broken = match tensor.datum_type() {
            DatumType::F32 => view.as_slice::<f32>().is_ok_and(|s| s.iter().any(|w| w.is_nan())),
            DatumType::F16 => view.as_slice::<half::f16>().is_ok_and(|s| s.iter().any(|w| w.is_nan())),
            _ => false,
        };
        if broken {
            return Err(non_finite(format!("weight '{}' holds NaN; export the model again", node.name)));
        }
    }
    Ok(())
}

/// tract's chain of causes on one line; an operator that it lacks is our limit, all else the file's fault.
fn classify(error: &TractError) -> Error {
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
