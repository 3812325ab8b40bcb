//! What these papers say exists does: every relative link of every Markdown file, every `make` target and
//! every subcommand and flag that they name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Every file of ours; not what a build or a test run left behind.
fn files() -> Vec<PathBuf> {
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
            if !path.is_dir() {
                found.push(path);
            } else if !name.starts_with('.') && !LEFT_BEHIND.contains(&name.as_ref()) {
                stack.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() > 200, "the tree was walked: {}", found.len());
    found
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension()
        .is_some_and(|extension| extension == wanted)
}

/// Every Markdown file of ours, with its text.
fn papers() -> Vec<(PathBuf, String)> {
    files()
        .into_iter()
        .filter(|path| has_extension(path, "md"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("UTF-8");
            (path, text)
        })
        .collect()
}

/// The papers for people: those at the top and in `docs`.
fn guides() -> Vec<(PathBuf, String)> {
    let mut papers = papers();
    papers.retain(|(path, _)| {
        let folder = path.parent().expect("a file has a folder");
        folder == Path::new(ROOT) || folder == Path::new(ROOT).join("docs")
    });
    papers
}

/// Targets of `[text](target)` and `![text](target)`, outside of fenced code.
fn links(text: &str) -> Vec<&str> {
    let mut fenced = false;
    let prose = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    prose
        .flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| rest.split(')').next())
        .map(|target| target.split(' ').next().unwrap_or_default())
        .collect()
}

/// A heading as the anchor that GitHub makes of it.
fn anchor(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn has_anchor(text: &str, wanted: &str) -> bool {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .any(|heading| anchor(heading) == wanted)
}

#[test]
fn every_relative_link_leads_somewhere() {
    let papers = papers();
    let mut seen = 0;
    for (path, text) in &papers {
        for link in links(text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let folder = path.parent().expect("a file has a folder");
            let target = if file.is_empty() {
                path.clone()
            } else {
                folder.join(file)
            };
            assert!(
                target.exists(),
                "{}: `{link}` leads nowhere",
                path.display()
            );
            if !fragment.is_empty() {
                let target = std::fs::read_to_string(&target).expect("a file with headings");
                assert!(
                    has_anchor(&target, fragment),
                    "{}: `{link}`: no such heading",
                    path.display()
                );
            }
        }
    }
    assert!(seen > 30, "the links were found: {seen}");
}

/// Words that follow `command` in code (fenced or between backticks), up to the end of the code.
fn calls<'a>(text: &'a str, command: &str) -> Vec<Vec<&'a str>> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        // Every second piece between backticks is code.
        let pieces: Vec<&str> = if fenced {
            vec![line]
        } else {
            line.split('`').skip(1).step_by(2).collect()
        };
        for piece in pieces {
            let mut words = piece.split_whitespace();
            while let Some(word) = words.next() {
                if word.rsplit('/').next() == Some(command) && !word.contains("=") {
                    found.push(words.clone().take_while(|word| *word != "#").collect());
                }
            }
        }
    }
    found
}

#[test]
fn every_make_target_is_in_the_makefile() {
    let makefile = std::fs::read_to_string(format!("{ROOT}/Makefile")).expect("Makefile");
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| {
            !line.starts_with(['\t', '.', '#']) && !line.contains("?=") && !line.contains(":=")
        })
        .filter_map(|line| line.split_once(':'))
        .map(|(target, _)| target)
        .collect();
    let mut seen = 0;
    for (path, text) in guides() {
        for call in calls(&text, "make") {
            let Some(target) = call.first() else { continue };
            seen += 1;
            assert!(
                targets.contains(target),
                "{}: `make {target}` is not in the Makefile",
                path.display()
            );
        }
    }
    assert!(seen > 5, "the targets were found: {seen}");
}

/// `SomeName` as clap spells it: `some-name`.
fn kebab(name: &str) -> String {
    let mut out = String::new();
    for (at, c) in name.char_indices() {
        if c.is_uppercase() && at > 0 {
            out.push('-');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// The variants of the first enum after `derive(Debug, Subcommand)` in a source file, as commands.
fn subcommands(source: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(format!("{ROOT}/{source}")).expect("a source file");
    let (_, rest) = text
        .split_once("derive(Debug, Subcommand)")
        .expect("an enum of subcommands");
    let (body, _) = rest.split_once("\n}").expect("the end of the enum");
    let names: BTreeSet<String> = body
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .map(|line| {
            let end = line
                .find(|c: char| !c.is_alphanumeric())
                .unwrap_or(line.len());
            kebab(&line[..end])
        })
        .collect();
    assert!(!names.is_empty(), "{source} has subcommands");
    names
}

/// `--flag` is known when its name stands in one of the sources that define the command line, as a field
/// or as a key.
fn assert_flags(call: &[&str], sources: &[&str], paper: &Path) {
    let text: String = sources
        .iter()
        .map(|source| std::fs::read_to_string(format!("{ROOT}/{source}")).expect("a source file"))
        .collect();
    for word in call {
        let Some(flag) = word.strip_prefix("--") else {
            continue;
        };
        let end = flag
            .find(|c: char| !(c.is_ascii_lowercase() || c == '-'))
            .unwrap_or(flag.len());
        let name = flag[..end].trim_end_matches('-').replace('-', "_");
        let known = matches!(name.as_str(), "help" | "version")
            || text.contains(&format!(" {name}:"))
            || text.contains(&format!("key(\"{name}\""))
            || text.contains(&format!("\"{name}\","));
        assert!(known, "{}: no flag `--{flag}`", paper.display());
    }
}

#[test]
fn every_command_and_flag_is_one_that_the_binaries_have() {
    let lectern = [
        "controlplane/src/cli/mod.rs",
        "controlplane/src/cli/token.rs",
        "controlplane/src/cli/inspect.rs",
        "controlplane/src/config/table.rs",
        "controlplane/src/config/layers.rs",
    ];
    let binaries = [
        (
            "lectern",
            Some(subcommands("controlplane/src/cli/mod.rs")),
            &lectern[..],
        ),
        (
            "lectern-perf",
            Some(subcommands("perf/src/cli.rs")),
            &["perf/src/cli.rs"],
        ),
        ("lectern-dataplane", None, &["dataplane/src/config.rs"]),
    ];
    let inspect = subcommands("controlplane/src/cli/inspect.rs");
    for (command, subcommands, sources) in binaries {
        let mut seen = 0;
        for (path, text) in guides() {
            for call in calls(&text, command) {
                let Some(first) = call.first() else { continue };
                // A word in a sentence that happens to follow the name is not a call.
                if !first.starts_with("--") && !first.starts_with(|c: char| c.is_ascii_lowercase())
                {
                    continue;
                }
                seen += 1;
                if let Some(subcommands) = &subcommands
                    && !first.starts_with("--")
                {
                    assert!(
                        subcommands.contains(*first),
                        "{}: `{command} {first}` is no command",
                        path.display()
                    );
                }
                if let ["inspect", what, ..] = call.as_slice() {
                    assert!(
                        inspect.contains(*what),
                        "{}: `{command} inspect {what}` is no command",
                        path.display()
                    );
                }
                assert_flags(&call, sources, &path);
            }
        }
        assert!(seen > 0, "{command} is called somewhere");
    }
}

#[test]
fn every_setting_is_in_the_operators_guide() {
    let table = std::fs::read_to_string(format!("{ROOT}/controlplane/src/config/table.rs"))
        .expect("the table of settings");
    let guide = std::fs::read_to_string(format!("{ROOT}/docs/operate.md")).expect("the guide");
    let example = std::fs::read_to_string(format!("{ROOT}/controlplane/lectern.example.toml"))
        .expect("the example");
    // A key stands on the line of `key(`, or on the next where the call was broken.
    let keys: Vec<&str> = table
        .split("    key(")
        .skip(1)
        .filter_map(|rest| rest.split('"').nth(1))
        .collect();
    assert!(keys.len() >= 25, "the settings were found: {keys:?}");
    for key in keys {
        assert!(
            guide.contains(&format!("`{key}`")),
            "docs/operate.md lacks {key}"
        );
        assert!(
            example.contains(&format!("{key} = ")),
            "lectern.example.toml lacks {key}"
        );
    }
}

#[test]
fn every_problem_is_in_the_integrators_guide() {
    let source = std::fs::read_to_string(format!("{ROOT}/controlplane/src/http/problem/kind.rs"))
        .expect("the catalogue");
    let guide = std::fs::read_to_string(format!("{ROOT}/docs/integrate.md")).expect("the guide");
    let (_, slugs) = source.split_once("fn slug(").expect("the slugs");
    let (slugs, _) = slugs.split_once("Kind::Http(_)").expect("their end");
    let slugs: Vec<&str> = slugs.split('"').skip(1).step_by(2).collect();
    assert!(slugs.len() >= 23, "the slugs were found: {slugs:?}");
    for slug in slugs {
        assert!(
            guide.contains(&format!("`{slug}`")),
            "docs/integrate.md lacks {slug}"
        );
    }
}

#[test]
fn every_metric_is_in_the_operators_guide() {
    let guide = std::fs::read_to_string(format!("{ROOT}/docs/operate.md")).expect("the guide");
    let media = std::fs::read_to_string(format!("{ROOT}/dataplane/src/metrics.rs"))
        .expect("the data plane's metrics");
    let web = std::fs::read_to_string(format!("{ROOT}/controlplane/src/http/metrics.rs"))
        .expect("the control plane's metrics");
    let of_media = media
        .split('"')
        .filter(|text| text.starts_with("lectern_"))
        .map(str::to_owned);
    let of_web = web
        .split("registry.register(")
        .skip(1)
        .filter_map(|rest| rest.split('"').nth(1))
        .map(|name| format!("lectern_{name}"));
    let names: BTreeSet<String> = of_media.chain(of_web).collect();
    assert!(names.len() >= 20, "the metrics were found: {names:?}");
    for name in names {
        assert!(guide.contains(&name), "docs/operate.md lacks {name}");
    }
}

/// What stands between backticks, outside of fenced code.
fn code_words(text: &str) -> Vec<&str> {
    let mut fenced = false;
    text.lines()
        .filter(|line| {
            let fence = line.trim_start().starts_with("```");
            fenced ^= fence;
            !fenced && !fence
        })
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .collect()
}

#[test]
fn every_file_and_test_on_the_map_exists() {
    let files = files();
    let sources: Vec<String> = files
        .iter()
        .filter(|path| has_extension(path, "rs"))
        .map(|path| std::fs::read_to_string(path).expect("UTF-8"))
        .collect();
    let mut seen = 0;
    for paper in [
        "ARCHITECTURE.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "THIRD_PARTY.md",
    ] {
        let text = std::fs::read_to_string(format!("{ROOT}/{paper}")).expect(paper);
        for word in code_words(&text) {
            if word.ends_with(".rs") {
                seen += 1;
                assert!(
                    files.iter().any(|path| path.ends_with(word)),
                    "{paper}: there is no `{word}`"
                );
            }
            // A name of so many words is a test's.
            let is_name = word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            if is_name && word.matches('_').count() >= 4 {
                seen += 1;
                let declaration = format!("fn {word}(");
                assert!(
                    sources.iter().any(|text| text.contains(&declaration)),
                    "{paper}: there is no test `{word}`"
                );
            }
        }
    }
    assert!(seen > 40, "files and tests were found: {seen}");
}
