//! The tiny random-weight model and what the official FlowTurbo code computed with it.

use std::fs::File;
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, Ix4};
use ndarray_npy::NpzReader;
use serde_json::Value;

/// One case of `golden.json`.
pub struct Case {
    pub index: usize,
    pub schedule: String,
    pub classes: Vec<i64>,
    pub guidance: f32,
}

pub fn data(name: &str) -> PathBuf {
    // Tests of crates at two depths share this file.
    let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root = above.find(|folder| folder.join("tests/data").exists()).unwrap();
    root.join("tests/data/tiny-sit").join(name)
}

pub fn cases() -> Vec<Case> {
    let golden: Value = serde_json::from_reader(File::open(data("golden.json")).unwrap()).unwrap();
    let case = |(index, case): (usize, &Value)| {
        let count = |key: &str| case[key].as_u64().unwrap();
        let letters = [("H", count("heun")), ("P", count("pseudo")), ("R", count("refine"))];
        let classes: Vec<i64> =
            case["classes"].as_array().unwrap().iter().map(|c| c.as_i64().unwrap()).collect();
        assert_eq!(classes.len() as u64, count("batch"));
        Case {
            index,
            schedule: letters.iter().filter(|(_, n)| *n > 0).map(|(l, n)| format!("{l}{n}")).collect(),
            classes,
            guidance: case["cfg_scale"].as_f64().unwrap() as f32,
        }
    };
    golden["cases"].as_array().unwrap().iter().enumerate().map(case).collect()
}

/// An array of `golden.npz`.
pub fn golden(name: &str) -> ArrayD<f32> {
    let mut archive = NpzReader::new(File::open(data("golden.npz")).unwrap()).unwrap();
    archive.by_name(name).unwrap()
}

pub fn golden4(name: &str) -> ndarray::Array4<f32> {
    golden(name).into_dimensionality::<Ix4>().unwrap()
}

/// The largest absolute difference; NaN counts as infinite.
pub fn largest_error<'a>(a: impl IntoIterator<Item = &'a f32>, b: impl IntoIterator<Item = &'a f32>) -> f32 {
    let (a, b): (Vec<_>, Vec<_>) = (a.into_iter().collect(), b.into_iter().collect());
    assert_eq!(a.len(), b.len());
    let difference =
        |(a, b): (&&f32, &&f32)| if (**a - **b).is_nan() { f32::INFINITY } else { (**a - **b).abs() };
    a.iter().zip(&b).map(difference).fold(0.0, f32::max)
}
