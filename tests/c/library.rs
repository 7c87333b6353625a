//! What the C programs of the tests are linked with: the crate's C functions, and nothing besides.

extern crate flowturbo as _;
