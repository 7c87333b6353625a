# What one types while working on flowturbo; each line can be typed by itself. CONTRIBUTING.md says more.
.PHONY: check test full bench header cubins

check: # what the compiler and the linters say, without building
	cargo fmt --check
	cargo clippy --release --all-targets --features bench -- -D warnings

test: # all tests that need nothing but Rust and a C and C++ compiler
	cargo test --release

full: # all that .ci/run has no time for: hours
	.ci/full

bench: # kernels, networks and C calls beside their peers
	cargo bench --features bench

header: # writes include/flowturbo.h, made of crates/capi
	FLOWTURBO_BLESS=1 cargo test --release --test c header::

cubins: # compiles the CUDA kernels for each architecture, after a change of crates/cuda/kernels
	.ci/cubins write
