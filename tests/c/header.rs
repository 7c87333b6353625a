//! `include/flowturbo.h` is what cbindgen makes of `crates/capi`, a noun at a time.

use std::{env, fs};

use cbindgen::{Builder, Config};

use crate::root;

/// The files of the header, in its order: the public modules of `crates/capi/src/lib.rs`.
fn nouns() -> Vec<String> {
    let capi = fs::read_to_string(root().join("crates/capi/src/lib.rs")).unwrap();
    let module = |line: &str| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned());
    capi.lines().filter_map(module).collect()
}

/// The declarations of one file under its first line, which says what it is about.
fn section(config: &Config, noun: &str) -> String {
    let path = root().join(format!("crates/capi/src/{noun}.rs"));
    let about = fs::read_to_string(&path).unwrap();
    let about = about.lines().next().unwrap().trim_start_matches("//! ").trim_end_matches('.').to_owned();
    let mut declarations = Vec::new();
    let builder = Builder::new().with_config(config.clone()).with_src(path);
    builder.generate().unwrap().write(&mut declarations);
    let title = format!("{} {about} ", noun.replace('_', " "));
    let declarations = String::from_utf8(declarations).unwrap();
    format!("\n/* ==== {title:=<100} */\n\n{}\n", declarations.trim())
}

fn generated() -> String {
    let mut config = Config::from_file(root().join("cbindgen.toml")).unwrap();
    let guard = config.include_guard.take().unwrap();
    let preamble = config.header.take().unwrap();
    let includes: String =
        std::mem::take(&mut config.sys_includes).iter().map(|name| format!("#include <{name}>\n")).collect();
    let version = env!("CARGO_PKG_VERSION");
    let sections: String = nouns().iter().map(|noun| section(&config, noun)).collect();
    format!(
        "{}\n\n#ifndef {guard}\n#define {guard}\n\n{includes}\n/** Version of this header as text. */\n\
         #define FT_VERSION_STRING \"{version}\"\n{sections}\n#endif /* {guard} */\n",
        preamble.trim()
    )
}

/// `FLOWTURBO_BLESS=1 cargo test --release --test c header` writes the header anew.
#[test]
fn the_header_is_what_the_sources_say() {
    let (path, generated) = (root().join("include/flowturbo.h"), generated());
    if env::var_os("FLOWTURBO_BLESS").is_some() {
        fs::write(&path, &generated).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap();
    assert!(committed == generated, "include/flowturbo.h is out of date; write it with FLOWTURBO_BLESS=1");
}

/// What programs that are written in C++ have other means for, or use as it is.
const NOT_WRAPPED: [&str; 10] = [
    "ft_limits_init",
    "ft_log_set",
    "ft_model_options_init",
    "ft_pixels_init",
    "ft_reader_init",
    "ft_request_init",
    "ft_session_decode",
    "ft_status_name",
    "ft_version",
    "ft_version_string",
];

/// The names in a piece of C or C++, behind `before` and in front of `after`.
fn names<'a>(code: &'a str, before: &str, after: &str) -> Vec<&'a str> {
    let name = |(at, _): (usize, &str)| {
        let rest = &code[at..][before.len()..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
        rest[end..].starts_with(after).then_some(&rest[..end])
    };
    code.match_indices(before).filter_map(name).collect()
}

#[test]
fn the_wrapper_has_every_function_and_every_field() {
    let code = |name: &str, is_comment: fn(&str) -> bool| -> String {
        let text = fs::read_to_string(root().join("include").join(name)).unwrap();
        text.lines().filter(|line| !is_comment(line.trim_start())).map(|line| format!("{line}\n")).collect()
    };
    let header = code("flowturbo.h", |line| line.starts_with('*'));
    let wrapper = code("flowturbo.hpp", |line| line.starts_with("//"));

    let (functions, used) = (names(&header, "ft_", "("), names(&wrapper, "ft_", ""));
    assert!(functions.len() > 30);
    let unused = functions.into_iter().filter(|name| !used.contains(name));
    let mut unused: Vec<_> = unused.map(|name| format!("ft_{name}")).collect();
    unused.sort();
    assert_eq!(unused, NOT_WRAPPED);

    for (name, variable) in [
        ("ft_request", "raw."),
        ("ft_model_options", "raw."),
        ("ft_pixels", "pixels."),
        ("ft_reader", "reader."),
    ] {
        let (_, fields) = header.split_once(&format!("typedef struct {name} {{")).unwrap();
        let (fields, _) = fields.split_once('}').unwrap();
        let set = names(&wrapper, variable, " =");
        let fields = fields.split(';').filter_map(|field| field.trim().rsplit([' ', '*']).next());
        let unset = fields.filter(|field| !field.starts_with("reserved") && !set.contains(field));
        let unset: Vec<_> = unset.filter(|field| !field.is_empty()).collect();
        assert!(unset.is_empty(), "{name}: nothing sets {unset:?}");
    }
}
