//! Products of whole numbers, as `quantize_dynamic` writes them, spelled out in floats.
//!
//! ```text
//! x ──DynamicQuantizeLinear──▶ numbers, scale, zero ──MatMulInteger──▶ whole sums ──Cast──▶ floats
//! x ──Div, rounded, Sub──▶ numbers less zero ──────────MatMul──────────────────────────────▶ floats
//! ```
//!
//! The numbers are the same, as floats; sums of them differ from whole ones by rounding alone. The weights stay bytes
//! in their file (`dequantised.rs`). A graph that uses any of it otherwise is left as it is.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto, attribute_proto::AttributeType};

use super::initializers::{Uses, to_float};

/// Added and taken away again, it leaves a float below 2^22 rounded to a whole number, ties to even.
const ROUNDING: f32 = 12_582_912.0;

/// Writes the products of `graph` out that are known whole.
pub(super) fn write_out(graph: &mut GraphProto) {
    if graph.node.iter().all(|node| node.op_type != "DynamicQuantizeLinear") {
        return;
    }
    let names: Vec<String> = graph.initializer.iter().map(|tensor| tensor.name.clone()).collect();
    let uses = Uses::new(graph, &names);
    let products: HashMap<usize, Vec<Product>> = graph
        .node
        .iter()
        .enumerate()
        .filter(|(_, node)| node.op_type == "DynamicQuantizeLinear")
        .filter_map(|(i, node)| Some((i, products(node, graph, &uses)?)))
        .collect();
    if products.is_empty() {
        return;
    }
    let gone: HashSet<String> = products
        .values()
        .flatten()
        .flat_map(|product| [product.node.clone(), product.cast.clone()])
        .collect();
    let mut written = Written { taken: taken(graph), nodes: Vec::new(), constants: Vec::new() };
    for (i, node) in std::mem::take(&mut graph.node).into_iter().enumerate() {
        match products.get(&i) {
            Some(products) => written.quantised(&node, products),
            // These products follow their left sides at once.
            None if node.output.first().is_some_and(|name| gone.contains(name)) => {}
            None => written.nodes.push(node),
        }
    }
    graph.node = written.nodes;
    graph.initializer.extend(written.constants);
}

/// A product by a weight: the outputs of its nodes, and its right side.
struct Product {
    node: String,
    cast: String,
    weight: String,
    /// Its zero point, with sizes.
    zero: Option<(String, Vec<i64>)>,
}

/// What is made of the outputs of `node`, if that is nothing but products that become floats.
fn products(node: &NodeProto, graph: &GraphProto, uses: &Uses) -> Option<Vec<Product>> {
    let [numbers, scale, zero] = node.output.as_slice() else { return None };
    if [numbers, scale, zero].iter().any(|name| name.is_empty()) {
        return None;
    }
    let constant = |name: &String| graph.initializer.iter().find(|tensor| tensor.name == *name);
    let mut found = Vec::new();
    for product in uses.alone(numbers)? {
        let [left, weight, left_zero, rest @ ..] = product.input.as_slice() else { return None };
        let of_it =
            product.op_type == "MatMulInteger" && left == numbers && left_zero == zero && weight != numbers;
        constant(weight).filter(|tensor| of_it && tensor.dims.len() > 1)?;
        let of_weight = match rest.first().filter(|name| !name.is_empty()) {
            Some(name) => Some((name.clone(), constant(name)?.dims.clone())),
            None => None,
        };
        let sums = product.output.first()?;
        let [cast] = uses.alone(sums)?[..] else { return None };
        let cast = (cast.op_type == "Cast" && to_float(cast)).then(|| cast.output.first())??;
        found.push(Product {
            node: sums.clone(),
            cast: cast.clone(),
            weight: weight.clone(),
            zero: of_weight,
        });
    }
    // A zero that is looked at otherwise would have to be a whole number.
    let others =
        uses.alone(zero)?.iter().any(|node| node.op_type != "MatMulInteger" || node.input[0] != *numbers);
    (!others && !found.is_empty()).then_some(found)
}

/// All names of a graph.
fn taken(graph: &GraphProto) -> HashSet<String> {
    let nodes = graph.node.iter().flat_map(|node| node.input.iter().chain(&node.output));
    let inputs = graph.input.iter().map(|input| &input.name);
    nodes.chain(inputs).chain(graph.initializer.iter().map(|tensor| &tensor.name)).cloned().collect()
}

struct Written {
    taken: HashSet<String>,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

impl Written {
    /// Numbers, scale and zero of `node` as floats, and the products of them.
    fn quantised(&mut self, node: &NodeProto, products: &[Product]) {
        let place = if node.name.is_empty() { &node.output[0] } else { &node.name };
        let (x, scale) = (&node.input[0], &node.output[1]);
        let zero = self.constant(place, "0", 0.0, &[]);
        let most = self.constant(place, "255", 255.0, &[]);
        let least_scale = self.constant(place, "least", f32::MIN_POSITIVE, &[]);
        let rounding = self.constant(place, "rounding", ROUNDING, &[]);
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
            let one = self.constant(node, "1", 1.0, sizes);
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
    }

    /// A name that nothing has yet.
    fn unused(&mut self, place: &str, what: &str) -> String {
        let mut name = format!("{place}.{what}");
        while !self.taken.insert(name.clone()) {
            name.push('_');
        }
        name
    }

    fn constant(&mut self, place: &str, what: &str, value: f32, sizes: &[i64]) -> String {
        let name = self.unused(place, what);
        let count = sizes.iter().product::<i64>().max(0) as usize;
        self.constants.push(TensorProto {
            name: name.clone(),
            data_type: DataType::Float as i32,
            dims: sizes.to_vec(),
            float_data: vec![value; count],
            ..TensorProto::default()
        });
        name
    }

    fn node(&mut self, operator: &str, inputs: &[&String], place: &str) -> String {
        let output = self.unused(place, operator);
        self.named(operator, inputs, place, output.clone());
        output
    }

    fn named(&mut self, operator: &str, inputs: &[&String], place: &str, output: String) {
        let name = self.unused(place, "node");
        let input = inputs.iter().map(|&name| name.clone()).collect();
        let op_type = operator.to_owned();
        self.nodes.push(NodeProto { name, op_type, input, output: vec![output], ..NodeProto::default() });
    }
}
