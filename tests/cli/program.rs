//! Runs the program and reads what it made.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flowturbo_compile::prost::Message;
use flowturbo_compile::tract_onnx::pb::{ModelProto, NodeProto};

use crate::bundle::{self, edit_manifest, sha256};
use crate::common::data;

/// The program with `arguments`, in this test's own environment: the one that cargo made, or another system's, by
/// whatever runs it (`.ci/windows`).
pub fn flowturbo<S: AsRef<str>>(arguments: &[S]) -> Command {
    let program = std::env::var_os("FLOWTURBO_PROGRAM");
    let mut command = Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_flowturbo").into()));
    command.args(arguments.iter().map(AsRef::as_ref)).env_remove("RUST_LOG");
    command
}

/// Whether the program is Windows's, which `.ci/windows` runs here, under Wine, whose words it has.
pub fn on_windows() -> bool {
    std::env::var_os("FLOWTURBO_WINDOWS").is_some()
}

/// Runs to success and gives stdout; nothing may be on stderr, which is no terminal.
pub fn run<S: AsRef<str>>(arguments: &[S]) -> String {
    let Output { status, stdout, stderr } = flowturbo(arguments).output().unwrap();
    let shown: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
    assert!(status.success(), "{shown:?}: {}", String::from_utf8_lossy(&stderr));
    assert!(stderr.is_empty(), "{shown:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// Runs to failure: exactly one line on stderr, that exit code, and each of `words` in the line.
pub fn fail(mut command: Command, code: i32, words: &[&str]) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let line = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "{command:?}: {line}");
    assert!(line.starts_with("error: ") && line.ends_with('\n'), "{command:?}: {line}");
    assert_eq!(line.lines().count(), 1, "{command:?}: {line}");
    for word in words {
        assert!(line.contains(word), "{command:?}: '{word}' is not in: {line}");
    }
    assert!(stdout.is_empty(), "{command:?}: {}", String::from_utf8_lossy(&stdout));
}

/// A path as an argument.
pub fn argument(path: impl AsRef<Path>) -> String {
    path.as_ref().to_str().unwrap().to_owned()
}

/// The tiny bundle as an argument.
pub fn tiny() -> String {
    argument(data("bundle"))
}

/// The file names in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A copy of the tiny bundle that a test may change.
pub fn copy(folder: &Path) -> PathBuf {
    let copy = folder.join("copy");
    bundle::copy(&data("bundle"), &copy);
    copy
}

/// A copy whose predictor ends in more nodes: of `inner`, which the answer was, they make `velocity`.
pub fn copy_ending_in(folder: &Path, operators: &[NodeProto]) -> String {
    let copy = copy(folder);
    let path = copy.join("predictor.onnx");
    let mut proto = ModelProto::decode(&*std::fs::read(&path).unwrap()).unwrap();
    let graph = proto.graph.as_mut().unwrap();
    let outputs = graph.node.iter_mut().flat_map(|node| &mut node.output);
    outputs.filter(|name| *name == "velocity").for_each(|name| *name = "inner".into());
    graph.node.extend_from_slice(operators);
    let bytes = proto.encode_to_vec();
    edit_manifest(&copy, |m| m["networks"]["predictor"]["sha256"] = sha256(&bytes).into());
    std::fs::write(path, bytes).unwrap();
    argument(copy)
}

/// `output = operator(inputs)`, called by its output.
pub fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: operator.into(),
        name: format!("makes {output}"),
        input: inputs.iter().map(|&name| name.into()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    }
}

/// A PNG file's size, pixels and text chunks.
pub struct Image {
    pub width: u32,
    pub height: u32,
    pub rgb: Vec<u8>,
    notes: Vec<(String, String)>,
}

impl Image {
    pub fn read(path: impl AsRef<Path>) -> Self {
        let file = BufReader::new(File::open(path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut rgb).unwrap();
        let info = reader.info();
        assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
        let latin = info.uncompressed_latin1_text.iter().map(|c| (c.keyword.clone(), c.text.clone()));
        let utf8 = info.utf8_text.iter().map(|c| (c.keyword.clone(), c.get_text().unwrap()));
        Self { width: info.width, height: info.height, rgb, notes: latin.chain(utf8).collect() }
    }

    pub fn note(&self, keyword: &str) -> &str {
        let found = self.notes.iter().find(|(known, _)| known == keyword);
        &found.unwrap_or_else(|| panic!("no text chunk '{keyword}'")).1
    }

    /// The part from (x, y) on, as bytes of RGB.
    pub fn part(&self, (x, y): (u32, u32), (width, height): (u32, u32)) -> Vec<u8> {
        let rows = self.rgb.chunks_exact(self.width as usize * 3).skip(y as usize).take(height as usize);
        rows.flat_map(|row| &row[x as usize * 3..][..width as usize * 3]).copied().collect()
    }
}
