//! The house rules that Cargo can tell: who depends on whom, who may touch the operating system, which
//! licences come in, and what never does (ARCHITECTURE.md, "Arrows").

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::semver::Version;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(format!("{ROOT}/Cargo.toml"))
        .other_options(vec!["--locked".into(), "--offline".into()])
        .exec()
        .expect("cargo metadata reads the workspace")
}

/// Normal and build dependencies by name; a dev-dependency is no arrow.
fn dependencies(package: &Package) -> BTreeSet<&str> {
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind != DependencyKind::Development)
        .map(|dependency| dependency.name.as_str())
        .collect()
}

fn ours(metadata: &Metadata) -> BTreeMap<&str, &Package> {
    metadata
        .workspace_packages()
        .into_iter()
        .map(|package| (package.name.as_str(), package))
        .collect()
}

#[test]
fn packages_depend_only_along_the_arrows() {
    let arrows: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("codecs", &[][..]),
        ("turn", &[]),
        ("dataplane-api", &[]),
        ("dataplane-engine", &["codecs", "turn", "dataplane-api"]),
        ("dataplane-net", &["dataplane-engine"]),
        (
            "dataplane",
            &[
                "codecs",
                "turn",
                "dataplane-api",
                "dataplane-engine",
                "dataplane-net",
            ],
        ),
        ("controlplane", &["dataplane-api", "turn"]),
        (
            "sim",
            &["codecs", "turn", "dataplane-api", "dataplane-engine"],
        ),
        (
            "fuzz",
            &[
                "codecs",
                "turn",
                "dataplane-api",
                "dataplane-engine",
                "controlplane",
            ],
        ),
        (
            "perf",
            &[
                "codecs",
                "dataplane-api",
                "dataplane-engine",
                "dataplane-net",
                "sim",
            ],
        ),
        (
            "tests",
            &[
                "codecs",
                "turn",
                "dataplane-api",
                "dataplane-engine",
                "dataplane-net",
                "dataplane",
                "controlplane",
                "sim",
                "perf",
            ],
        ),
    ]);
    let metadata = metadata();
    let packages = ours(&metadata);
    assert_eq!(
        packages.keys().collect::<Vec<_>>(),
        arrows.keys().collect::<Vec<_>>(),
        "a package came or went: give it its arrows"
    );
    for (name, package) in &packages {
        for dependency in dependencies(package) {
            if packages.contains_key(dependency) {
                assert!(
                    arrows[name].contains(&dependency),
                    "{name} -> {dependency} is no arrow of the house"
                );
            }
        }
    }
}

#[test]
fn only_the_edge_and_the_floors_touch_the_operating_system() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("libc", &["dataplane-net", "perf"][..]),
        ("io-uring", &["dataplane-net", "perf"]),
        ("socket2", &["dataplane-net", "perf"]),
        ("tokio", &["controlplane", "dataplane", "perf", "tests"]),
        ("hyper", &["dataplane", "perf"]),
        ("axum", &["controlplane"]),
        ("jsonwebtoken", &["controlplane"]),
        ("webrtc-sdp", &["controlplane"]),
        ("dimpl", &["dataplane-engine", "perf"]),
    ]);
    let metadata = metadata();
    for (name, package) in ours(&metadata) {
        for dependency in dependencies(package) {
            if let Some(may) = allowed.get(dependency) {
                assert!(
                    may.contains(&name),
                    "{name} may not use {dependency}: {may:?} may"
                );
            }
        }
    }
}

/// Every crate that some build of the workspace compiles, tests and all platforms included. The lock file
/// names more: what an optional dependency of a dependency would need if anybody switched it on.
fn built_crates() -> BTreeSet<(String, Version)> {
    let output = Command::new(env!("CARGO"))
        .current_dir(ROOT)
        .args(["tree", "--workspace", "--locked", "--offline"])
        .args(["--target", "all", "--edges", "normal,build,dev"])
        .args(["--prefix", "none", "--format", "{p}"])
        .output()
        .expect("cargo can be run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let crates: BTreeSet<_> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let name = words.next()?.to_owned();
            let version = words.next()?.strip_prefix('v')?.parse().ok()?;
            Some((name, version))
        })
        .collect();
    assert!(crates.len() > 100, "the tree was read: {}", crates.len());
    crates
}

#[test]
fn there_is_one_crypto_backend_and_no_banned_crate() {
    let banned = [
        (
            "ring",
            "aws-lc-rs is the one backend: with two, some crates panic at start",
        ),
        ("openssl", "aws-lc-rs is the one backend"),
        ("openssl-sys", "aws-lc-rs is the one backend"),
        ("native-tls", "aws-lc-rs is the one backend"),
        ("webrtc-dtls", "a 70-byte ClientHello panics it"),
        ("dtls", "a 70-byte ClientHello panics it"),
        ("rsa", "Marvin attack, unpatched"),
        ("async-std", "tokio is the one runtime"),
    ];
    let minimum = [
        ("h2", "0.4.16"),
        ("bytes", "1.11.1"),
        ("tokio", "1.44.2"),
        ("rustls-webpki", "0.103.13"),
        ("crossbeam-channel", "0.5.15"),
        ("crossbeam-epoch", "0.9.20"),
        ("quinn-proto", "0.11.18"),
        ("time", "0.3.47"),
    ];
    let single = [
        "aws-lc-rs",
        "aws-lc-sys",
        "dimpl",
        "jsonwebtoken",
        "rustls",
        "rustls-webpki",
        "subtle",
    ];
    let crates = built_crates();
    for (crate_name, found) in &crates {
        for (name, why) in banned {
            assert_ne!(crate_name, name, "{why}");
        }
        for (name, version) in minimum {
            let version: Version = version.parse().expect("a version");
            assert!(
                crate_name != name || *found >= version,
                "{name} {found} is below {version}: it has advisories"
            );
        }
    }
    for name in single {
        let versions: Vec<_> = crates.iter().filter(|(of, _)| of == name).collect();
        assert!(versions.len() <= 1, "one version of {name}: {versions:?}");
    }
}

/// The licences a dependency may have: the list of `deny.toml`.
const LICENCES: [&str; 17] = [
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MPL-2.0",
    "Zlib",
    "Unicode-3.0",
    "BlueOak-1.0.0",
    "OpenSSL",
    "CC0-1.0",
    "0BSD",
    "Unlicense",
    "MIT-0",
    "CDLA-Permissive-2.0",
    "BSL-1.0",
    "Apache-2.0 WITH LLVM-exception",
];

#[test]
fn deny_toml_allows_the_same_licences() {
    let text = std::fs::read_to_string(format!("{ROOT}/deny.toml")).expect("deny.toml");
    let (_, licences) = text.split_once("[licenses]").expect("its [licenses]");
    let (_, list) = licences.split_once("allow = [").expect("its allow list");
    let (list, _) = list.split_once(']').expect("the end of the list");
    // Every second piece between quotation marks is a licence.
    let told: BTreeSet<&str> = list.split('"').skip(1).step_by(2).collect();
    assert_eq!(told, BTreeSet::from(LICENCES));
}

#[test]
fn every_licence_is_one_we_can_ship() {
    for package in &metadata().packages {
        let licence = package.license.as_deref().unwrap_or("none");
        // An expression is fine when each of its AND parts offers one that is.
        let fine = licence.replace('/', " OR ").split(" AND ").all(|part| {
            part.trim_matches(['(', ')', ' '])
                .split(" OR ")
                .any(|one| LICENCES.contains(&one.trim_matches(['(', ')', ' '])))
        });
        assert!(
            fine,
            "{} {} has licence {licence:?}",
            package.name, package.version
        );
    }
}

#[test]
fn unsafe_stands_only_where_the_kernel_is_called() {
    for directory in [
        "codecs",
        "turn",
        "dataplane/api",
        "dataplane/engine",
        "dataplane",
        "controlplane",
        "sim",
        "fuzz",
    ] {
        let path = format!("{ROOT}/{directory}/src/lib.rs");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(
            text.contains("#![forbid(unsafe_code)]"),
            "{path} does not forbid unsafe code"
        );
    }
    for path in sources(&["rs"]) {
        let allowed = ["dataplane/net", "perf/src"]
            .iter()
            .any(|directory| path.starts_with(Path::new(ROOT).join(directory)));
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        let found = text.lines().position(|line| {
            let code = line.trim_start();
            !code.starts_with("//")
                && ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]
                    .iter()
                    // Quoted, it is text, as on the line above.
                    .any(|word| code.contains(word) && !code.contains('"'))
        });
        assert!(
            allowed || found.is_none(),
            "{}:{}: unsafe belongs to dataplane-net and to perf's floors",
            path.display(),
            found.unwrap_or_default() + 1
        );
    }
}

#[test]
fn no_source_file_has_outgrown_its_noun() {
    for path in sources(&["rs", "ts", "tsx"]) {
        let lines = std::fs::read_to_string(&path)
            .expect("UTF-8")
            .lines()
            .count();
        assert!(
            lines <= 700,
            "{} has {lines} lines: which second noun moved in?",
            path.display()
        );
    }
}

/// Our own source files with one of these extensions. What a build or a test run leaves behind may come
/// and go meanwhile, so those folders are not entered.
fn sources(extensions: &[&str]) -> Vec<PathBuf> {
    const LEFT_BEHIND: [&str; 5] = [
        "target",
        "node_modules",
        "dist",
        "e2e-artifacts",
        "lectern-data",
    ];
    let mut found = Vec::new();
    let mut stack = vec![PathBuf::from(ROOT)];
    while let Some(directory) = stack.pop() {
        for entry in std::fs::read_dir(&directory).expect("a readable directory") {
            let entry = entry.expect("a readable entry");
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if path.is_dir() {
                if !name.starts_with('.') && !LEFT_BEHIND.contains(&name.as_ref()) {
                    stack.push(path);
                }
            } else if extensions
                .iter()
                .any(|extension| path.extension().is_some_and(|found| found == *extension))
            {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 50, "the tree was walked: {}", found.len());
    found
}
