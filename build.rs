//! Names the shared library of the C API by its ABI, so that programs find the one they were linked to.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let of = |name: &str| env::var(name).unwrap_or_default();
    // Raised when the ABI breaks: docs/abi.md.
    let abi = of("CARGO_PKG_VERSION_MAJOR");
    match of("CARGO_CFG_TARGET_OS").as_str() {
        "linux" | "freebsd" => println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libflowturbo.so.{abi}"),
        "macos" => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libflowturbo.{abi}.dylib");
        }
        _ => {}
    }
}
