//! Names of nodes that tract can tell apart.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher};

use tract_onnx::pb::GraphProto;

/// What tract calls a node of this operator until it is renamed.
pub(super) const IF: &str = "If";

/// Gives every node a name of its own, that of its first output if it has none.
///
/// tract wants the names of nodes and weights to differ, and makes names for the parts of a node from the node's:
/// where two could meet, one gets a number.
pub(super) fn tell_apart(graph: &mut GraphProto) {
    for node in &mut graph.node {
        if node.name.is_empty() {
            node.name = node.output.first().cloned().unwrap_or_default();
        }
        node.attribute.iter_mut().flat_map(|a| a.g.iter_mut().chain(&mut a.graphs)).for_each(tell_apart);
    }
    let inputs = graph.input.iter().map(|input| input.name.clone());
    let weights = graph.initializer.iter().map(|tensor| tensor.name.clone());
    let mut taken: HashSet<String> = inputs.chain(weights).chain([IF.to_owned()]).collect();
    let owners: HashSet<u64> = taken.iter().flat_map(|name| wholes(name)).collect();
    let nodes: HashSet<u64> = graph.node.iter().map(|node| whole(&node.name)).collect();
    for (number, node) in graph.node.iter_mut().enumerate() {
        let part = wholes(&node.name).any(|whole| nodes.contains(&whole));
        if part || owners.contains(&whole(&node.name)) || taken.contains(&node.name) {
            node.name = format!("{}#{number}", node.name);
        }
        while !taken.insert(node.name.clone()) {
            node.name.push('#');
        }
    }
}

/// The nodes that could have a part called `name`, by what stands for them: a name may have any number of dots, and
/// two names of one number only cost a node its name.
fn wholes(name: &str) -> impl Iterator<Item = u64> {
    let mut hasher = DefaultHasher::new();
    name.bytes().filter_map(move |byte| {
        let whole = (byte == b'.').then(|| hasher.finish());
        hasher.write_u8(byte);
        whole
    })
}

/// What stands for a node called `name`.
fn whole(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.bytes().for_each(|byte| hasher.write_u8(byte));
    hasher.finish()
}
