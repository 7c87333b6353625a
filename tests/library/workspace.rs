//! The crates depend on each other in one direction, and one of them alone knows tract.

use std::process::Command;

use serde_json::Value;

/// Each crate, those of ours that it is built on, and those that its tests ask for besides: from the lowest one up.
const CRATES: [(&str, &[&str], &[&str]); 7] = [
    ("flowturbo-kernels", &[], &[]),
    ("flowturbo-runtime", &["flowturbo-kernels"], &[]),
    ("flowturbo-compile", &["flowturbo-runtime"], &[]),
    ("flowturbo-cuda", &["flowturbo-kernels", "flowturbo-runtime"], &[]),
    ("flowturbo", &["flowturbo-compile", "flowturbo-cuda", "flowturbo-runtime"], &[]),
    ("flowturbo-capi", &["flowturbo", "flowturbo-runtime"], &[]),
    ("flowturbo-cli", &["flowturbo"], &["flowturbo-compile"]),
];

fn packages() -> Vec<Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--offline", "--no-deps", "--format-version", "1"]);
    let said = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let metadata: Value = serde_json::from_slice(&said.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Names that a package depends on, in one way or, without a `kind`, in any.
fn needed(package: &Value, kind: Option<&Value>) -> Vec<String> {
    let dependencies = package["dependencies"].as_array().unwrap().iter();
    let of_kind = dependencies.filter(|dependency| kind.is_none_or(|kind| dependency["kind"] == *kind));
    let mut names: Vec<String> = of_kind.map(|one| one["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn crates_depend_on_those_below_them_as_the_list_says() {
    let packages = packages();
    assert_eq!(packages.len(), CRATES.len());
    for (place, (name, built_on, asked_for)) in CRATES.iter().enumerate() {
        let package = packages.iter().find(|package| package["name"] == *name).unwrap();
        for (kind, wanted) in [(Value::Null, *built_on), ("dev".into(), *asked_for), ("build".into(), &[])] {
            let mut found = needed(package, Some(&kind));
            found.retain(|name| name.starts_with("flowturbo"));
            assert_eq!(found, wanted, "{name}, {kind}");
            let is_below = |other: &String| CRATES[..place].iter().any(|(below, ..)| below == other);
            assert!(found.iter().all(is_below), "{name}, {kind}: {found:?}");
        }
    }
}

/// Neither for their tests: what writes ONNX files there has it of `flowturbo-compile`, as the bench beside tract.
#[test]
fn one_crate_alone_names_tract_or_prost() {
    let knows = |package: &Value| {
        needed(package, None).iter().any(|name| name.starts_with("tract") || name.starts_with("prost"))
    };
    let knowing: Vec<Value> =
        packages().into_iter().filter(knows).map(|package| package["name"].clone()).collect();
    assert_eq!(knowing, ["flowturbo-compile"]);
}
