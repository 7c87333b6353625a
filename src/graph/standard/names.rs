//! Names of nodes that tract can tell apart.

use std::collections::HashSet;

use tract_onnx::pb::GraphProto;

/// Gives every node a name of its own, that of its first output if it has none.
///
/// tract wants the names of nodes and weights to differ, and makes names for the parts of a node from the node's:
/// where two could meet, one gets a number.
pub(super) fn settle(graph: &mut GraphProto) {
    for node in &mut graph.node {
        if node.name.is_empty() {
            node.name = node.output.first().cloned().unwrap_or_default();
        }
        node.attribute.iter_mut().flat_map(|a| a.g.iter_mut().chain(&mut a.graphs)).for_each(settle);
    }
    let inputs = graph.input.iter().map(|input| input.name.clone());
    let weights = graph.initializer.iter().map(|tensor| tensor.name.clone());
    let mut taken: HashSet<String> = inputs.chain(weights).collect();
    let owners: HashSet<String> = taken.iter().flat_map(|name| wholes(name)).map(str::to_owned).collect();
    let nodes: HashSet<String> = graph.node.iter().map(|node| node.name.clone()).collect();
    for (number, node) in graph.node.iter_mut().enumerate() {
        let part = wholes(&node.name).any(|whole| nodes.contains(whole));
        if part || owners.contains(&node.name) || taken.contains(&node.name) {
            node.name = format!("{}#{number}", node.name);
        }
        while !taken.insert(node.name.clone()) {
            node.name.push('#');
        }
    }
}

/// The nodes that could have a part called `name`.
fn wholes(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(dot, _)| &name[..dot])
}
