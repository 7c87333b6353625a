//! Every operator that is read, with its attributes off their defaults and at several versions of the standard, held to
//! ONNX Runtime: `tests/sweep/make.py` wrote the graphs and its answers to `tests/data/sweep`. Each is right on both
//! backends, or refused while loading on a line that names node and operator. What is refused is listed
//! there, line for line; `FLOWTURBO_SWEEP=write` writes the lists anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use flate2::read::GzDecoder;
use flowturbo::{BackendKind, Bundle, Limits, Model, ModelOptions, Request, Role, Source};
use ndarray::{Array1, Array4};
use ndarray_npy::ReadNpyExt;
use serde_json::json;
use zip::ZipArchive;

use crate::bundle::sha256;

/// How far off a number may be, of itself or of 1 if it is smaller. Half precision rounds at each step, and engines
/// keep to it for longer or shorter.
fn tolerance(case: &str) -> f32 {
    if case.contains("f16") { 2e-3 } else { 1e-4 }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/sweep")
}

/// A bundle of one file.
struct Files {
    manifest: Vec<u8>,
    predictor: Vec<u8>,
}

impl Files {
    fn named(&self, name: &str) -> io::Result<&[u8]> {
        match name {
            "bundle.json" => Ok(&self.manifest),
            "predictor.onnx" => Ok(&self.predictor),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Source for Files {
    fn size(&self, name: &str) -> io::Result<u64> {
        self.named(name).map(|file| file.len() as u64)
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut file = Cursor::new(self.named(name)?);
        file.set_position(offset);
        file.read_exact(buffer)
    }

    fn describe(&self) -> String {
        "a case of the sweep".to_owned()
    }
}

struct Case {
    graph: Vec<u8>,
    velocity: Array4<f32>,
}

fn cases(family: &str) -> BTreeMap<String, Case> {
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(folder().join(format!("{family}.zip.gz"))).unwrap())
        .read_to_end(&mut bytes)
        .unwrap();
    let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut names: Vec<String> =
        (0..archive.len()).map(|i| archive.by_index(i).unwrap().name().unwrap().into_owned()).collect();
    names.retain_mut(|name| {
        name.strip_suffix("/velocity.npy").map(str::to_owned).is_some_and(|case| {
            *name = case;
            true
        })
    });
    let mut read = |name: String| {
        let mut bytes = Vec::new();
        archive.by_name(&name).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    let case = |name: String| {
        let graph = read(format!("{name}/predictor.onnx"));
        let velocity = Array4::read_npy(Cursor::new(read(format!("{name}/velocity.npy")))).unwrap();
        (name, Case { graph, velocity })
    };
    names.into_iter().map(case).collect()
}

impl Case {
    fn open(&self) -> flowturbo::Result<Bundle> {
        let (_, channels, height, width) = self.velocity.dim();
        let manifest = json!({
            "format": "flowturbo-bundle", "format_version": "1.0", "name": "case",
            "latent": {"channels": channels, "height": height, "width": width, "scale": 1.0, "shift": 0.0},
            "classes": {"count": 3, "null": 3},
            "time": {"direction": "noise_to_data", "scale": 1.0, "velocity_sign": 1},
            "guidance": {"channels": channels},
            "sampling": {"schedule": "E1", "guidance": 1.0},
            "networks": {"predictor": {
                "file": "predictor.onnx", "sha256": sha256(&self.graph),
                "inputs": {"x": "x", "t": "t", "y": "y"}, "output": "velocity",
            }},
        });
        let files = Files { manifest: manifest.to_string().into_bytes(), predictor: self.graph.clone() };
        Bundle::from_source(files, &Limits::default())
    }

    /// What one Euler step makes of the noise, or the reason why the bundle does not load.
    fn answer(&self, backend: BackendKind, noise: &Array1<f32>) -> Result<Outcome, String> {
        let batch = self.velocity.dim().0;
        let options = ModelOptions::default().with_threads(1).with_backend(backend).with_batch(batch);
        let model = self
            .open()
            .and_then(|bundle| Model::load(bundle, &options))
            .map_err(|error| error.to_string())?;
        let x = noise.slice(ndarray::s![..self.velocity.len()]).to_owned();
        let x = x.into_shape_with_order(self.velocity.dim()).unwrap();
        let request = Request::new((0..batch as i64).collect()).with_noise(x.clone());
        let mut session = model.session();
        let mut answers = Vec::new();
        // The second answer must not depend on what the first left behind.
        for _ in 0..2 {
            match session.latents(&request) {
                Ok(latents) => answers.push(latents),
                Err(error) => return Ok(Outcome::Stopped(error.to_string())),
            }
        }
        if answers[0] != answers[1] {
            return Ok(Outcome::Stopped("answers differently the second time".to_owned()));
        }
        let expected = &x + &self.velocity;
        let off = |(found, expected): (&f32, &f32)| {
            let off = (found - expected).abs() / expected.abs().max(1.0);
            if off.is_nan() { f32::INFINITY } else { off }
        };
        Ok(Outcome::Answered(answers[0].iter().zip(&expected).map(off).fold(0.0, f32::max)))
    }
}

enum Outcome {
    /// How far off the worst number is.
    Answered(f32),
    /// What went wrong after loading.
    Stopped(String),
}

/// What is wrong with each case of a family, and the lines by which others are refused.
fn swept(family: &str) -> (Vec<String>, BTreeMap<String, String>) {
    let noise = Array1::read_npy(File::open(folder().join("noise.npy")).unwrap()).unwrap();
    let (mut wrong, mut refused) = (Vec::new(), BTreeMap::new());
    let cases = cases(family);
    assert!(cases.len() > 50, "{family} has {} cases", cases.len());
    for (name, case) in cases {
        let outcomes =
            [("fused", BackendKind::Fused), ("reference", BackendKind::Reference)].map(|(word, backend)| {
                let answer = catch_unwind(AssertUnwindSafe(|| case.answer(backend, &noise)));
                (word, answer.unwrap_or_else(|_| Ok(Outcome::Stopped("panics".to_owned()))))
            });
        for (word, outcome) in &outcomes {
            match outcome {
                Ok(Outcome::Answered(off)) if *off <= tolerance(&name) => {}
                Ok(Outcome::Answered(off)) => wrong.push(format!("{name} ({word}): off by {off:.2e}")),
                Ok(Outcome::Stopped(error)) => wrong.push(format!("{name} ({word}): loads, then: {error}")),
                Err(line) if !line.starts_with("predictor.onnx: node 'n' (") => {
                    wrong.push(format!("{name} ({word}): refused without its node: {line}"));
                }
                Err(_) => {}
            }
        }
        let [(_, fused), (_, reference)] = outcomes;
        match (fused, reference) {
            (Err(line), Err(other)) if line == other => {
                refused.insert(name, line);
            }
            (Err(line), _) | (_, Err(line)) => {
                wrong.push(format!("{name}: one backend alone refuses: {line}"))
            }
            _ => {}
        }
    }
    (wrong, refused)
}

/// Holds a family to ONNX Runtime's answers and to its list of refusals.
fn hold(family: &str) {
    let (mut wrong, refused) = swept(family);
    let list = folder().join(format!("{family}.txt"));
    if std::env::var_os("FLOWTURBO_SWEEP").is_some_and(|value| value == "write") {
        let mut text = String::new();
        for (name, line) in &refused {
            writeln!(text, "{name}: {line}").unwrap();
        }
        fs::write(&list, text).unwrap();
    }
    let text = fs::read_to_string(&list).unwrap_or_default();
    let listed: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(": ")).collect();
    for (name, line) in &refused {
        match listed.get(name.as_str()) {
            None => wrong.push(format!("{name}: refused, and not listed: {line}")),
            Some(known) if known != line => wrong.push(format!("{name}: refused by another line: {line}")),
            Some(_) => {}
        }
    }
    let gone = listed.keys().filter(|&&name| !refused.contains_key(name));
    wrong.extend(gone.map(|name| format!("{name}: listed, and no longer refused")));
    assert!(wrong.is_empty(), "{family}: {} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn whole_numbers_that_are_rounded_by_fixed_scales_run_on_our_own_kernels() {
    // What has no kernel for floats either (some convolutions, what makes ties), whole numbers that are looked at, and
    // a scale that the graph makes.
    let others = ["seen", "ties", "group", "dilations", "same", "gathered", "made-scale"];
    let mut cases = cases("whole_numbers");
    cases.retain(|name, _| name.starts_with("static-") && !others.iter().any(|word| name.contains(word)));
    assert!(cases.len() > 100, "{} cases", cases.len());
    run_without_tract(cases);
}

#[test]
fn products_of_two_activations_run_on_our_own_kernels() {
    let mut cases = cases("attention");
    // That of two vectors is refused.
    let is_product = |name: &str| name.starts_with("MatMul-") && name.ends_with("-given");
    cases.retain(|name, _| is_product(name) && name != "MatMul-5-given");
    assert_eq!(cases.len(), 11);
    run_without_tract(cases);
}

fn run_without_tract(cases: BTreeMap<String, Case>) {
    for (name, case) in cases {
        let batch = case.velocity.dim().0;
        let model = Model::load(case.open().unwrap(), &ModelOptions::default().with_batch(batch)).unwrap();
        let fallbacks = model.fallbacks(Role::Predictor, batch).unwrap();
        assert!(fallbacks.is_empty(), "{name}: {fallbacks:?}");
    }
}

macro_rules! families {
    ($($test:ident: $family:literal;)*) => {
        $(#[test]
        fn $test() {
            hold($family);
        })*
    };
}

families! {
    attention_and_products_answer_as_in_onnx_runtime_or_are_refused: "attention";
    elementwise_operators_answer_as_in_onnx_runtime_or_are_refused: "elementwise";
    gathers_and_scatters_answer_as_in_onnx_runtime_or_are_refused: "indexing";
    normalisations_answer_as_in_onnx_runtime_or_are_refused: "normalisations";
    graphs_inside_signals_and_other_domains_answer_as_in_onnx_runtime_or_are_refused: "others";
    pools_and_convolutions_answer_as_in_onnx_runtime_or_are_refused: "pooling";
    quantized_operators_answer_as_in_onnx_runtime_or_are_refused: "quantized";
    recurrent_operators_answer_as_in_onnx_runtime_or_are_refused: "recurrent";
    reductions_answer_as_in_onnx_runtime_or_are_refused: "reductions";
    resizes_answer_as_in_onnx_runtime_or_are_refused: "resizing";
    slices_pads_and_joins_answer_as_in_onnx_runtime_or_are_refused: "shapes";
    products_of_whole_numbers_answer_as_in_onnx_runtime_or_are_refused: "whole_numbers";
}
