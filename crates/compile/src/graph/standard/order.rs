//! Which nodes of a graph are needed, and in what order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use tract_onnx::pb::{GraphProto, NodeProto};

use super::{inner_graphs, place};
use crate::Result;
use crate::error::{Context, invalid_bundle};

/// Drops the nodes that no output needs, which may be of any kind, and puts each of the others behind those whose
/// results it takes: the standard has them so, but not every tool.
pub(in super::super) fn keep_needed(graph: &mut GraphProto) -> Result<()> {
    let mut makers: HashMap<&str, usize> = HashMap::new();
    for (i, node) in graph.node.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if makers.insert(name, i).is_some() {
                return Err(invalid_bundle(format!("makes '{name}', which is made elsewhere too")))
                    .at(|| place(node));
            }
        }
    }
    let given: HashSet<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    let weights: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    for (&name, &i) in &makers {
        if given.contains(name) || weights.contains(name) {
            let message = format!("makes '{name}', which is an input or a weight too");
            return Err(invalid_bundle(message)).at(|| place(&graph.node[i]));
        }
    }
    for output in &graph.output {
        let name = output.name.as_str();
        if !makers.contains_key(name) && !given.contains(name) && !weights.contains(name) {
            return Err(invalid_bundle(format!("nothing makes the output '{name}'")));
        }
    }
    let mut needed = vec![false; graph.node.len()];
    let mut names: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    while let Some(name) = names.pop() {
        let Some(&i) = makers.get(name) else { continue };
        if !std::mem::replace(&mut needed[i], true) {
            takes(&graph.node[i], &mut names);
        }
    }
    let order = ordered(graph, &makers, &needed)?;
    let mut nodes: Vec<Option<NodeProto>> = std::mem::take(&mut graph.node).into_iter().map(Some).collect();
    graph.node = order.into_iter().filter_map(|i| nodes[i].take()).collect();
    Ok(())
}

/// The needed nodes in an order of evaluation, the file's where that is one.
fn ordered(graph: &GraphProto, makers: &HashMap<&str, usize>, needed: &[bool]) -> Result<Vec<usize>> {
    let mut users = vec![Vec::new(); graph.node.len()];
    let mut waits = vec![0; graph.node.len()];
    let mut names = Vec::new();
    for (i, node) in graph.node.iter().enumerate().filter(|(i, _)| needed[*i]) {
        takes(node, &mut names);
        for name in names.drain(..) {
            // A name inside of a node may be that of its own result; the checker says so.
            let maker = makers.get(name).filter(|&&maker| maker != i || node.input.iter().any(|n| n == name));
            if let Some(&maker) = maker {
                users[maker].push(i);
                waits[i] += 1;
            }
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..waits.len()).filter(|&i| needed[i] && waits[i] == 0).map(Reverse).collect();
    let mut order = Vec::new();
    while let Some(Reverse(i)) = ready.pop() {
        order.push(i);
        for &user in &users[i] {
            waits[user] -= 1;
            if waits[user] == 0 {
                ready.push(Reverse(user));
            }
        }
    }
    match (0..waits.len()).find(|&i| needed[i] && waits[i] > 0) {
        Some(i) => Err(invalid_bundle("takes what is made of its own result")).at(|| place(&graph.node[i])),
        None => Ok(order),
    }
}

/// The names that a node and the graphs inside it may take from around.
fn takes<'a>(node: &'a NodeProto, names: &mut Vec<&'a str>) {
    names.extend(node.input.iter().map(String::as_str));
    for graph in inner_graphs(node) {
        names.extend(graph.output.iter().map(|output| output.name.as_str()));
        graph.node.iter().for_each(|node| takes(node, names));
    }
}
