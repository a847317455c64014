//! Export the optimizer into the folder of the build, and link it.
use std::{env, process::Command};

fn main() {
    let folder = env::var("OUT_DIR").unwrap();
    let command = env::var("FASTADAM").unwrap_or("fastadam".into());
    let mut words = command.split_whitespace();
    let status = Command::new(words.next().unwrap())
        .args(words)
        .args(["export", "--c", "lion", "--params", "float32", "-o", &folder])
        .status()
        .expect("pip install fastadam");
    assert!(status.success());
    println!("cargo:rustc-link-search=native={folder}");
    println!("cargo:rustc-link-lib=static=lion");
    println!("cargo:rerun-if-env-changed=FASTADAM");
}
