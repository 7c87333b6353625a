//! What the ONNX standard says of each operator: `operators.txt`, made by `tests/graphs/operators.py`.

use std::collections::HashMap;
use std::sync::OnceLock;

use tract_onnx::pb::attribute_proto::AttributeType;

const TEXT: &str = include_str!("operators.txt");

/// One version of an operator.
pub(super) struct Operator {
    /// The opset it came with.
    since: i64,
    /// The fewest and the most inputs and outputs; none if the standard took the operator out.
    pub(super) counts: Option<[Count; 2]>,
    pub(super) attributes: Vec<Attribute>,
}

#[derive(Clone, Copy)]
pub(super) struct Count {
    pub(super) least: usize,
    pub(super) most: usize,
}

pub(super) struct Attribute {
    pub(super) name: &'static str,
    pub(super) kind: AttributeType,
    pub(super) required: bool,
}

/// The versions of all operators that are known, by domain and name, the oldest first.
pub(super) struct Operators {
    /// The opsets of the standard's own domain that the table holds.
    pub(super) oldest: i64,
    pub(super) newest: i64,
    operators: HashMap<&'static str, HashMap<&'static str, Vec<Operator>>>,
}

impl Operators {
    pub(super) fn get() -> &'static Self {
        static TABLE: OnceLock<Operators> = OnceLock::new();
        TABLE.get_or_init(|| {
            let mut table = Self { oldest: 0, newest: 0, operators: HashMap::new() };
            for words in TEXT.lines().map(|line| line.split(' ').collect::<Vec<_>>()) {
                match words.as_slice() {
                    &["opset", opsets] => {
                        let ends = opsets.split_once("..");
                        let number = |text: &str| text.parse().unwrap_or_default();
                        (table.oldest, table.newest) = ends.map_or((0, 0), |(a, b)| (number(a), number(b)));
                    }
                    [domain, name, rest @ ..] => {
                        let names = table.operators.entry(domain).or_default();
                        names.entry(name).or_default().extend(operator(rest));
                    }
                    _ => (),
                }
            }
            table
        })
    }

    /// The version of an operator that holds at `opset`, if any does.
    pub(super) fn operator(&self, domain: &str, name: &str, opset: i64) -> Option<&Operator> {
        let versions = self.versions(domain, name)?;
        versions.iter().rev().find(|version| version.since <= opset)
    }

    /// The opset with which an operator came.
    pub(super) fn first(&self, domain: &str, name: &str) -> Option<i64> {
        Some(self.versions(domain, name)?.first()?.since)
    }

    fn versions(&self, domain: &str, name: &str) -> Option<&[Operator]> {
        Some(self.operators.get(domain)?.get(name)?)
    }
}

fn operator(words: &[&'static str]) -> Option<Operator> {
    match words {
        [since, "gone"] => {
            Some(Operator { since: since.parse().ok()?, counts: None, attributes: Vec::new() })
        }
        [since, inputs, outputs, attributes @ ..] => {
            let counts = [count(inputs)?, count(outputs)?];
            let attributes = attributes.iter().map(|text| attribute(text)).collect::<Option<_>>()?;
            Some(Operator { since: since.parse().ok()?, counts: Some(counts), attributes })
        }
        _ => None,
    }
}

fn count(text: &str) -> Option<Count> {
    let (least, most) = text.split_once("..")?;
    let most = if most == "*" { usize::MAX } else { most.parse().ok()? };
    Some(Count { least: least.parse().ok()?, most })
}

fn attribute(text: &'static str) -> Option<Attribute> {
    let (name, kind) = text.split_once(':')?;
    let (kind, required) = kind.strip_suffix('!').map_or((kind, false), |kind| (kind, true));
    let kind = KINDS.iter().find(|(word, _)| *word == kind)?.1;
    Some(Attribute { name, kind, required })
}

const KINDS: [(&str, AttributeType); 8] = [
    ("float", AttributeType::Float),
    ("int", AttributeType::Int),
    ("string", AttributeType::String),
    ("tensor", AttributeType::Tensor),
    ("graph", AttributeType::Graph),
    ("floats", AttributeType::Floats),
    ("ints", AttributeType::Ints),
    ("strings", AttributeType::Strings),
];

/// The table's word for a type of attribute.
pub(super) fn kind_name(kind: AttributeType) -> &'static str {
    KINDS.iter().find(|(_, known)| *known == kind).map_or("of another kind", |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_read() {
        let table = Operators::get();
        assert!(table.oldest == 7 && table.newest >= 28);
        let all = table.operators.values().flat_map(HashMap::values);
        assert_eq!(all.clone().map(Vec::len).sum::<usize>(), TEXT.lines().count() - 1);
        for versions in all {
            assert!(versions.is_sorted_by_key(|version| version.since));
        }
    }

    #[test]
    fn the_opset_decides_which_version_of_an_operator_holds() {
        let table = Operators::get();
        let has = |opset: i64, attribute: &str| {
            let operator = table.operator("ai.onnx", "Resize", opset).unwrap();
            operator.attributes.iter().any(|known| known.name == attribute)
        };
        assert!(!has(17, "antialias") && has(18, "antialias") && has(28, "antialias"));
        assert!(table.operator("ai.onnx", "Resize", 9).is_none());
        assert_eq!(table.first("ai.onnx", "Resize"), Some(10));
        assert!(table.operator("ai.onnx", "Upsample", 9).unwrap().counts.is_some());
        assert!(table.operator("ai.onnx", "Upsample", 10).unwrap().counts.is_none());
    }
}
