//! Products of whole numbers, as `quantize_dynamic` writes them, spelled out in floats.
//!
//! ```text
//! x ──DynamicQuantizeLinear──▶ numbers, scale, zero ──MatMulInteger──▶ whole sums ──Cast──▶ floats
//! x ──Div, rounded, Sub──▶ numbers less zero ──────────MatMul──────────────────────────────▶ floats
//! ```
//!
//! The numbers are the same, as floats; sums of them differ from whole ones by rounding alone. The weights stay bytes
//! in their file (`dequantized.rs`). A graph that uses any of it otherwise is left as it is.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto, attribute_proto::AttributeType};

use super::initializers::{Uses, external_part, to_float};
use super::names::{Names, told_apart};
use crate::allowance::Allowance;
use crate::bundle::{ExternalData, Part};
use crate::{Result, memory};

/// Added and taken away again, it leaves a float below 2^22 rounded to a whole number, ties to even.
const ROUNDING: f32 = 12_582_912.0;

/// Initializers by their names, each with the bytes that it has, wherever they lie.
type Stored<'a> = HashMap<&'a str, Option<(&'a TensorProto, u64)>>;

/// Writes the products of `graph`, whose initializers lack the data of `cuts`, out that are known whole, as far as
/// `allowance` lets it.
pub(super) fn write_out(
    graph: &mut GraphProto,
    cuts: &[(usize, Part)],
    external: &ExternalData,
    allowance: &Allowance,
) -> Result<()> {
    if graph.node.iter().all(|node| node.op_type != "DynamicQuantizeLinear") {
        return Ok(());
    }
    let products = {
        let names: Vec<String> = graph.initializer.iter().map(|tensor| tensor.name.clone()).collect();
        let (uses, stored) = (Uses::new(graph, &names), stored(graph, cuts, external));
        let mut found = HashMap::new();
        for (i, node) in
            graph.node.iter().enumerate().filter(|(_, node)| node.op_type == "DynamicQuantizeLinear")
        {
            allowance.check()?;
            found.extend(products(node, &stored, &uses).map(|products| (i, products)));
        }
        found
    };
    if products.is_empty() {
        return Ok(());
    }
    let gone: HashSet<String> = products
        .values()
        .flatten()
        .flat_map(|product: &Product| [product.node.clone(), product.cast.clone()])
        .collect();
    let mut written = Written::new(graph);
    for (i, node) in std::mem::take(&mut graph.node).into_iter().enumerate() {
        match products.get(&i) {
            Some(products) => written.quantized(&node, products, allowance)?,
            // These products follow their left sides at once.
            None if node.output.first().is_some_and(|name| gone.contains(name)) => {}
            None => written.nodes.push(node),
        }
        allowance.check()?;
        allowance.nodes(u32::try_from(written.nodes.len()).unwrap_or(u32::MAX))?;
    }
    graph.node = written.nodes;
    graph.initializer.extend(written.constants);
    Ok(())
}

fn stored<'a>(graph: &'a GraphProto, cuts: &[(usize, Part)], external: &ExternalData) -> Stored<'a> {
    let cuts: HashMap<usize, &Part> = cuts.iter().map(|(i, part)| (*i, part)).collect();
    let tensors = graph.initializer.iter().enumerate().map(|(i, tensor)| {
        // What points nowhere has nothing here; who reads it says so.
        let outside = external_part(tensor, external).ok().flatten();
        let part = outside.as_ref().or(cuts.get(&i).copied());
        let here = tensor.raw_data.len().max(tensor.int32_data.len()) as u64;
        (tensor.name.as_str(), (tensor, part.map_or(here, Part::length)))
    });
    told_apart(tensors)
}

/// A product by a weight: the outputs of its nodes, and its right side.
struct Product {
    node: String,
    cast: String,
    weight: String,
    /// Its zero point, with sizes: of one element, or of one for each column.
    zero: Option<(String, Vec<i64>)>,
}

/// What is made of the outputs of `node`, if that is nothing but products that become floats.
fn products(node: &NodeProto, stored: &Stored, uses: &Uses) -> Option<Vec<Product>> {
    let [numbers, scale, zero] = node.output.as_slice() else { return None };
    if [numbers, scale, zero].iter().any(|name| name.is_empty()) {
        return None;
    }
    let constant = |name: &String| *stored.get(name.as_str())?;
    let mut found = Vec::new();
    for product in uses.alone(numbers)? {
        let [left, weight, left_zero, rest @ ..] = product.input.as_slice() else { return None };
        let of_it =
            product.op_type == "MatMulInteger" && left == numbers && left_zero == zero && weight != numbers;
        let (of_weight, _) = constant(weight).filter(|(tensor, _)| of_it && tensor.dims.len() > 1)?;
        let zero = match rest.first().filter(|name| !name.is_empty()) {
            Some(name) => {
                let (zero, bytes) = constant(name)?;
                // A file may claim any number of columns: those are believed that it has bytes for.
                let fits = match zero.dims[..] {
                    [] | [1] => true,
                    [n] => of_weight.dims.last() == Some(&n) && u64::try_from(n) == Ok(bytes),
                    _ => false,
                };
                Some((name.clone(), fits.then(|| zero.dims.clone())?))
            }
            None => None,
        };
        let sums = product.output.first()?;
        let [cast] = uses.alone(sums)?[..] else { return None };
        let cast = (cast.op_type == "Cast" && to_float(cast)).then(|| cast.output.first())??;
        found.push(Product { node: sums.clone(), cast: cast.clone(), weight: weight.clone(), zero });
    }
    // A zero that is looked at otherwise would have to be a whole number.
    let others =
        uses.alone(zero)?.iter().any(|node| node.op_type != "MatMulInteger" || node.input[0] != *numbers);
    (!others && !found.is_empty()).then_some(found)
}

struct Written {
    names: Names,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    /// Scales that are 1, by their sizes, and the bytes of them all.
    ones: HashMap<Vec<i64>, String>,
    bytes: u64,
}

impl Written {
    fn new(graph: &GraphProto) -> Self {
        let names = Names::of(graph);
        Self { names, nodes: Vec::new(), constants: Vec::new(), ones: HashMap::new(), bytes: 0 }
    }

    /// Numbers, scale and zero of `node` as floats, and the products of them.
    fn quantized(&mut self, node: &NodeProto, products: &[Product], allowance: &Allowance) -> Result<()> {
        let place = if node.name.is_empty() { &node.output[0] } else { &node.name };
        let (x, scale) = (&node.input[0], &node.output[1]);
        let zero = self.constant(place, "0", Vec::new(), vec![0.0]);
        let most = self.constant(place, "255", Vec::new(), vec![255.0]);
        let least_scale = self.constant(place, "least", Vec::new(), vec![f32::MIN_POSITIVE]);
        let rounding = self.constant(place, "rounding", Vec::new(), vec![ROUNDING]);
        // 0 lies between the ends. All zeros are zero by any scale.
        let negative = self.node("Neg", &[x], place);
        let [top, bottom] = [x, &negative].map(|x| {
            let end = self.node("ReduceMax", &[x], place);
            let keeps = AttributeProto {
                name: "keepdims".into(),
                r#type: AttributeType::Int as i32,
                ..AttributeProto::default()
            };
            self.nodes.last_mut().into_iter().for_each(|node| node.attribute.push(keeps.clone()));
            self.node("Max", &[&end, &zero], place)
        });
        let range = self.node("Add", &[&top, &bottom], place);
        // By 255 itself: products by the reciprocal of what is constant may be another number.
        let nothing = self.node("Sub", &[&range, &range], place);
        let steps = self.node("Add", &[&nothing, &most], place);
        let step = self.node("Div", &[&range, &steps], place);
        self.named("Max", &[&step, &least_scale], place, scale.clone());
        let [middle, numbers] = [&bottom, x].map(|x| {
            let steps = self.node("Div", &[x, scale], place);
            let high = self.node("Add", &[&steps, &rounding], place);
            self.node("Sub", &[&high, &rounding], place)
        });
        let numbers = self.node("Add", &[&numbers, &middle], place);
        let numbers = self.node("Max", &[&numbers, &zero], place);
        let numbers = self.node("Min", &[&numbers, &most], place);
        let numbers = self.node("Sub", &[&numbers, &middle], place);
        for Product { node, cast, weight, zero } in products {
            let sizes = zero.as_ref().map_or(&[][..], |(_, sizes)| sizes);
            let one = self.one(node, sizes, allowance)?;
            let mut inputs = vec![weight, &one];
            inputs.extend(zero.as_ref().map(|(name, _)| name));
            let factor = self.node("DequantizeLinear", &inputs, node);
            let last = AttributeProto {
                name: "axis".into(),
                r#type: AttributeType::Int as i32,
                i: -1,
                ..AttributeProto::default()
            };
            self.nodes.last_mut().into_iter().for_each(|node| node.attribute.push(last.clone()));
            self.named("MatMul", &[&numbers, &factor], node, cast.clone());
        }
        Ok(())
    }

    /// A scale that is 1, of these sizes.
    fn one(&mut self, place: &str, sizes: &[i64], allowance: &Allowance) -> Result<String> {
        if let Some(name) = self.ones.get(sizes) {
            return Ok(name.clone());
        }
        let count: usize = sizes.iter().map(|&n| n as usize).product();
        self.bytes += 4 * count as u64;
        allowance.weights(self.bytes)?;
        let name = self.constant(place, "1", sizes.to_vec(), memory::filled(count, 1.0)?);
        self.ones.insert(sizes.to_vec(), name.clone());
        Ok(name)
    }

    fn constant(&mut self, place: &str, what: &str, dims: Vec<i64>, float_data: Vec<f32>) -> String {
        let name = self.names.unused(format!("{place}.{what}"));
        self.constants.push(TensorProto {
            name: name.clone(),
            data_type: DataType::Float as i32,
            dims,
            float_data,
            ..TensorProto::default()
        });
        name
    }

    fn node(&mut self, operator: &str, inputs: &[&String], place: &str) -> String {
        let output = self.names.unused(format!("{place}.{operator}"));
        self.named(operator, inputs, place, output.clone());
        output
    }

    fn named(&mut self, operator: &str, inputs: &[&String], place: &str, output: String) {
        let name = self.names.unused(format!("{place}.node"));
        let input = inputs.iter().map(|&name| name.clone()).collect();
        let op_type = operator.to_owned();
        self.nodes.push(NodeProto { name, op_type, input, output: vec![output], ..NodeProto::default() });
    }
}
