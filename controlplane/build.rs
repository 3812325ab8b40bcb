//! Tells Cargo when the embedded page or the commit changes. A missing `web/dist` is fine: the binary
//! then has a built-in page that says how to make the real one.

use std::path::Path;
use std::process::Command;

fn main() {
    // Cargo follows a directory's files; the parent covers the moment in which `dist` appears.
    let page = Path::new("web/dist");
    println!(
        "cargo::rerun-if-changed={}",
        if page.exists() { "web/dist" } else { "web" }
    );

    let head = Path::new("../.git/HEAD");
    if head.exists() {
        println!("cargo::rerun-if-changed=../.git/HEAD");
        println!("cargo::rerun-if-changed=../.git/refs/heads");
    }
    println!("cargo::rerun-if-env-changed=LECTERN_COMMIT");
    println!("cargo::rustc-env=LECTERN_COMMIT={}", commit());
}

/// The commit as packagers give it, else as git says, else `unknown`.
fn commit() -> String {
    if let Ok(given) = std::env::var("LECTERN_COMMIT") {
        return given;
    }
    Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}
