//! Flags for the linker: the name by which a program that was linked to the shared library looks for it, and what
//! depends on the machine that it is for.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |what: &str| env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    let android = target("OS") == "android";
    // Newer devices have pages of 16 KiB, and load no library that is laid out for smaller ones.
    if android && target("POINTER_WIDTH") == "64" {
        println!("cargo::rustc-link-arg=-Wl,-z,max-page-size=16384");
    }

    let compiles = env::var_os("CARGO_FEATURE_COMPILE").is_some();
    let library = if compiles { "flowturbo" } else { "flowturbo_runtime" };
    // The number is the ABI's (docs/abi.md).
    let major = env::var("CARGO_PKG_VERSION_MAJOR").expect("cargo says the version");
    let name = match (target("FAMILY").as_str(), target("VENDOR").as_str()) {
        ("unix", "apple") => format!("-install_name,@rpath/lib{library}.{major}.dylib"),
        // Whose packages hold no file with a number behind .so.
        ("unix", _) if android => format!("-soname,lib{library}.so"),
        ("unix", _) => format!("-soname,lib{library}.so.{major}"),
        // An import library names its DLL by itself.
        _ => return,
    };
    println!("cargo::rustc-link-arg-cdylib=-Wl,{name}");
}
