//! Prompts on the command line.

use ndarray::{Array2, ArrayD};
use ndarray_npy::{read_npy, write_npy};
use tempfile::tempdir;

use crate::common::data;
use crate::program::{Image, argument, fail, flowturbo, names, on_windows, run, tiny};

/// A bundle with a text encoder.
fn model() -> String {
    argument(data("bundle").join("../../prompts/bundle"))
}

#[test]
fn a_prompt_is_the_context_that_the_program_makes_of_it() {
    let (folder, model) = (tempdir().unwrap(), model());
    let file = |name: &str| argument(folder.path().join(name));
    let stdout = run(&["context", "mossy stone wall", "wet sand", "-m", &model, "-o", &file("both.npy")]);
    assert_eq!(stdout, format!("{}: 2 contexts\n", file("both.npy")));
    let contexts: Array2<f32> = read_npy(file("both.npy")).unwrap();
    assert_eq!(contexts.shape(), [2, 12]);
    let one = contexts.slice(ndarray::s![..1, ..]).to_owned();
    write_npy(file("one.npy"), &one).unwrap();
    let latents = |more: &[&str]| -> ArrayD<f32> {
        let output = file("latents.npy");
        run(&[&["latents", &model, "--seed", "3", "-q", "-o", &output], more].concat());
        read_npy(&output).unwrap()
    };
    let of_prompt = latents(&["-c", "0,2", "--prompt", "mossy stone wall"]);
    assert_eq!(of_prompt, latents(&["-c", "0,2", "--context", &file("one.npy")]));
    assert_ne!(of_prompt, latents(&["-c", "0,2"]));
    let away = latents(&["-c", "0,2", "--prompt", "mossy stone wall", "--negative-prompt", "-rust"]);
    assert_ne!(of_prompt, away);
    // Several are several images, of no class.
    let each = latents(&["--prompt", "mossy stone wall", "--prompt", "wet sand"]);
    assert_eq!(each, latents(&["-c", "3,3", "--context", &file("both.npy")]));
}

#[test]
fn a_file_says_what_it_was_made_of() {
    let (folder, model) = (tempdir().unwrap(), model());
    let file = |name: &str| argument(folder.path().join(name));
    let (prompt, away) = ("木 isn't \"moss\"", "cracked paint");
    let asked = ["generate", "-m", &model, "--prompt", prompt, "--negative-prompt", away, "--seed", "5"];
    let stdout = run(&[&asked[..], &["-n", "2", "-o", &file("a.png")]].concat());
    assert!(stdout.contains(r#"2 images of 16x16 ("木 isn\'t \"moss\""), seed 5"#), "{stdout}");
    let sheet = Image::read(file("a.png"));
    assert_eq!((sheet.note("flowturbo:prompt"), sheet.note("flowturbo:negative-prompt")), (prompt, away));
    let command = sheet.note("flowturbo:command");
    assert!(command.starts_with("flowturbo generate -n 2 --seed 5 "), "{command}");
    assert!(
        command.contains(r#" --prompt '木 isn'\''t "moss"' --negative-prompt 'cracked paint'"#),
        "{command}"
    );

    // With classes too: one for all of them, or one for each.
    let classed = ["generate", "-m", &model, "-c", "0,2", "--separate", "-q"];
    run(&[&classed[..], &["--prompt", "moss", "--prompt", "", "-o", &file("b.png")]].concat());
    let [first, second] = ["b-0.png", "b-1.png"].map(|name| Image::read(file(name)));
    assert_eq!([&first, &second].map(|image| image.note("flowturbo:class")), ["0", "2"]);
    assert_eq!([&first, &second].map(|image| image.note("flowturbo:prompt")), ["moss", ""]);
    assert!(
        first.note("flowturbo:command").contains(" --prompt moss --prompt ''"),
        "{}",
        first.note("flowturbo:command")
    );
    // The second by itself.
    run(&[&classed[..5], &["--prompt", "moss", "--prompt", "", "--only", "1", "-q", "-o", &file("c.png")]]
        .concat());
    assert_eq!(Image::read(file("c.png")).rgb, second.rgb);
}

#[test]
fn a_long_prompt_is_cut_with_a_warning() {
    let (folder, model) = (tempdir().unwrap(), model());
    let output = argument(folder.path().join("a.npy"));
    let words = "stone ".repeat(15);
    let said = |more: &[&str]| {
        let asked = ["context", &words, "-m", &model, "-o", &output];
        let output = flowturbo(&[&asked[..], more].concat()).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let line = said(&[]);
    assert!(
        line.starts_with("warning: ")
            && line.contains("prompt: longer than 16 tokens; what is beyond is left out: 'stone stone"),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1);
    assert_eq!(said(&["-q"]), "");
}

#[test]
fn prompts_that_cannot_be_are_one_line() {
    let (folder, model) = (tempdir().unwrap(), model());
    let output = argument(folder.path().join("a.npy"));
    let latents =
        |more: &[&str]| flowturbo(&[&["latents", "--seed", "1", "-q", "-o", &output], more].concat());
    fail(
        latents(&[&tiny(), "-c", "0", "--prompt", "moss"]),
        2,
        &["prompt: this bundle has no text encoder (networks.text in bundle.json); leave it out"],
    );
    fail(latents(&[&tiny(), "--prompt", "moss"]), 2, &["no text encoder"]);
    let two = ["-c", "0,1,2", "--prompt", "moss", "--prompt", "rock"];
    fail(
        latents(&[&[model.as_str()], &two[..]].concat()),
        2,
        &["--prompt: 2 of them for 3 classes; give one for"],
    );
    // One for each image of a class is none for each class.
    let generate = ["generate", "-q", "-o", &output, "-m", &model, "-c", "0", "-n", "2"];
    let two = ["--prompt", "moss", "--prompt", "rock"];
    fail(flowturbo(&[&generate[..], &two[..]].concat()), 2, &["--prompt: 2 of them for one class"]);
    // Windows has no command lines as long as that.
    if !on_windows() {
        let long = "a".repeat(70_000);
        fail(latents(&[&model, "--prompt", &long]), 2, &["prompt: 70000 bytes, above the limit of 65536"]);
    }
    fail(flowturbo(&["context", "moss", "-m", &tiny(), "-o", &output]), 2, &["no text encoder"]);
    // Its arguments are no bytes either.
    #[cfg(unix)]
    if !on_windows() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let broken = OsStr::from_bytes(b"m\xffss");
        for (option, name) in [("--prompt", "--prompt"), ("--negative-prompt", "--negative-prompt")] {
            let mut command = latents(&[&model, "-c", "0", option]);
            command.arg(broken);
            fail(command, 2, &[name, "is not UTF-8"]);
        }
        let mut command = flowturbo(&["context", "-m", &model, "-o", &output]);
        command.arg(broken);
        fail(command, 2, &["is not UTF-8"]);
    }
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn inspect_tells_the_text_encoder() {
    let said = run(&["inspect", &model()]);
    assert!(said.contains("tokens i64 [1, 16], mask i64 [1, 16], types i64 [1, 16]"), "{said}");
    assert!(said.contains("tokenizer.json"), "{said}");
    let json: serde_json::Value = serde_json::from_str(&run(&["inspect", &model(), "--json"])).unwrap();
    assert_eq!(json["prompt"]["max_tokens"], 16);
    assert_eq!(json["prompt"]["tokenizer"], "tokenizer.json");
}
