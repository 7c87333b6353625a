//! One language for all commands, and what shells and `man` want to know of it.

use crate::program::{argument, fail, flowturbo, run, tiny};

#[test]
fn every_command_takes_the_model_by_one_option_and_the_old_ways_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| argument(folder.path().join(name));
    let (model, latents) = (tiny(), file("a.npy"));
    for way in [&["-m", &model][..], &["--model", &model], &["--bundle", &model], &[&model]] {
        let classes = run(&[&["classes"], way].concat());
        assert!(classes.contains("null"), "{way:?}: {classes}");
        run(&[&["inspect"], way].concat());
        let sample = ["--seed", "1", "-c", "3", "--schedule", "E1", "-q", "-o", &latents];
        run(&[&["latents"], way, &sample[..]].concat());
        // It has no decoder, which is said of this model and no other.
        let image = file("a.png");
        let generate = ["-c", "3", "-o", &image];
        fail(flowturbo(&[&["generate"], way, &generate[..]].concat()), 2, &["'tiny", "no decoder"]);
    }
    fail(flowturbo(&["decode", &latents, "-m", &model, "-o", "a.png"]), 2, &["'tiny", "no decoder"]);
    fail(flowturbo(&["encode", "a.png", "-m", &model, "-o", "a.npy"]), 2, &["'tiny", "no encoder"]);
    refused(&["classes", &model, "-m", &model], "--model");
}

/// By the parser of arguments, which takes some lines to say so.
fn refused(arguments: &[&str], word: &str) {
    let output = flowturbo(arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty() && said.starts_with("error: ") && said.contains(word), "{said}");
}

#[test]
fn verbose_tells_what_goes_on_and_twice_more() {
    let said = |verbose: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let output = argument(folder.path().join("a.npy"));
        let model = tiny();
        let sample =
            ["latents", "-m", &model, "--seed", "1", "-c", "3", "--schedule", "E1", "-q", "-o", &output];
        let output = flowturbo(&[&sample[..], verbose].concat()).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(said(&[]), "");
    assert!(!said(&["-v"]).contains("planned predictor"));
    let more = said(&["-vv"]);
    assert!(
        more.contains("planned predictor") && more.lines().all(|line| line.contains("flowturbo")),
        "{more}"
    );
    assert_eq!(said(&["--verbose", "--verbose"]).lines().count(), more.lines().count());
}

#[test]
fn completions_and_manual_pages_know_every_command_and_its_options() {
    let commands =
        ["generate", "inspect", "bench", "tune", "classes", "devices", "latents", "decode", "encode"];
    for (shell, sign) in
        [("bash", "complete -F"), ("zsh", "#compdef flowturbo"), ("fish", "complete -c flowturbo")]
    {
        let script = run(&["completions", shell]);
        assert!(script.contains(sign), "{shell}");
        assert!(
            commands.iter().all(|command| script.contains(command)) && script.contains("schedule"),
            "{shell}"
        );
    }
    refused(&["completions", "cmd"], "bash");
    let page = run(&["man"]);
    assert!(page.contains(".TH flowturbo 1"), "{page}");
    for command in commands {
        assert!(page.contains(&format!("flowturbo\\-{command}")), "{command}");
        let page = run(&["man", command]);
        assert!(page.contains(&format!(".TH flowturbo-{command}")), "{page}");
        assert_eq!(page.contains("\\-\\-model"), command != "devices", "{page}");
    }
    fail(flowturbo(&["man", "paint"]), 2, &["'paint' is no command"]);
}

/// bash itself reads the script, and completes with it.
#[test]
fn bash_completes() {
    let script = run(&["completions", "bash"]);
    let asked = "COMP_WORDS=(flowturbo gene); COMP_CWORD=1; _flowturbo flowturbo gene flowturbo; echo ${COMPREPLY[*]}";
    let mut bash = std::process::Command::new("bash");
    let output = bash.args(["--norc", "-c", &format!("{script}\n{asked}")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "generate\n", "{output:?}");
}
