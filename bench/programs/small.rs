//! A small command: what a program in WebAssembly costs at least.

fn main() {
    println!("Hello, world");
}
