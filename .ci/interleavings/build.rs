fn main() {
    println!("cargo::rustc-cfg=interleavings");
}
