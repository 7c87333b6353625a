//! The C API as C sees it: the header, the libraries' symbols, and C and C++ programs that are built and run.
//!
//! Needs a C and a C++ compiler (`CC` and `CXX`, or `cc` and `c++`).

mod header;

use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
