//! Flags for the linker that depend on the machine that the library is for.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |what: &str| env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    // Newer devices have pages of 16 KiB, and load no library that is laid out for smaller ones.
    if target("OS") == "android" && target("POINTER_WIDTH") == "64" {
        println!("cargo::rustc-link-arg=-Wl,-z,max-page-size=16384");
    }
}
