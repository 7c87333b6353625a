//! The names that a graph has, and new ones.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::GraphProto;

use super::initializers::subgraphs;

/// Names that are taken, of values and of nodes.
pub(super) struct Names(HashSet<String>);

impl Names {
    /// All names of a graph, and of those inside its nodes.
    pub(super) fn of(graph: &GraphProto) -> Self {
        let mut names = Self(HashSet::new());
        names.take(graph);
        names
    }

    fn take(&mut self, graph: &GraphProto) {
        let nodes =
            graph.node.iter().flat_map(|node| node.input.iter().chain(&node.output).chain([&node.name]));
        let ports = graph.input.iter().chain(&graph.output).map(|port| &port.name);
        let tensors = graph.initializer.iter().map(|tensor| &tensor.name);
        self.0.extend(nodes.chain(ports).chain(tensors).cloned());
        graph.node.iter().flat_map(subgraphs).for_each(|inner| self.take(inner));
    }

    /// `name`, or with as many lines behind it as make it another name than all others; then it is taken, too.
    pub(super) fn unused(&mut self, mut name: String) -> String {
        while !self.0.insert(name.clone()) {
            name.push('_');
        }
        name
    }
}

/// What goes by each name; none of those that share one.
pub(super) fn told_apart<'a, T>(all: impl Iterator<Item = (&'a str, T)>) -> HashMap<&'a str, Option<T>> {
    let mut by_name = HashMap::new();
    for (name, one) in all {
        by_name.entry(name).and_modify(|first| *first = None).or_insert(Some(one));
    }
    by_name
}
