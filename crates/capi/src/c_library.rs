//! What C programs are linked with: the crate's C functions, and nothing besides.

extern crate flowturbo_capi as _;
