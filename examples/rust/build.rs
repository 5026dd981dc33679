//! Links the static library of an artifact: `ARTIFACT=path/to/digits cargo build`.
use std::env;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-env-changed=ARTIFACT");
    let artifact = env::var("ARTIFACT").unwrap_or_else(|_| "build/digits".into());
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap()).join(artifact);
    let library = root.join("libdigits.a");
    if !library.is_file() {
        panic!(
            "{} is missing; make it: edgesmith compile ../digits/digits.onnx --name digits -o {}",
            library.display(),
            root.display()
        );
    }
    println!("cargo:rerun-if-changed={}", library.display());
    println!("cargo:rustc-link-search=native={}", root.display());
    println!("cargo:rustc-link-lib=static=digits");
    println!("cargo:rustc-link-lib=m");
}
