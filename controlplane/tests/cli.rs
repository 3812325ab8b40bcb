//! The binary as a stranger meets it: help, tokens, configuration, and errors that name the fix. The data
//! plane is played by scripts of a line.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod place;

use std::fs;
use std::net::TcpListener;

use controlplane::auth::{Keys, Role};
use place::{Place, output, stderr, stdout};
use serde_json::Value;

#[test]
fn the_help_of_every_command_says_what_it_does() {
    let place = Place::new();
    let table: [(&[&str], &[&str]); 8] = [
        (
            &["--help"],
            &[
                "lectern up",
                "systemd",
                "controlplane",
                "dataplane",
                "token",
                "check",
                "doctor",
                "inspect",
            ],
        ),
        (
            &["up", "--help"],
            &[
                "--open-tokens",
                "[default: 0.0.0.0:8080]",
                "LECTERN_HTTP",
                "Ctrl-C",
            ],
        ),
        (
            &["controlplane", "--help"],
            &["--link", "<data-dir>/link.sock"],
        ),
        (
            &["token", "--help"],
            &[
                "--role",
                "teacher",
                "--ttl",
                "lectern token --role teacher --room math-7",
            ],
        ),
        (&["check", "--help"], &["where each value comes from"]),
        (&["doctor", "--help"], &["Exits with 1"]),
        (&["inspect", "--help"], &["rooms", "session", "shard"]),
        (&["--version"], &[env!("CARGO_PKG_VERSION")]),
    ];
    for (arguments, mentions) in table {
        let text = stdout(&place.run(arguments));
        for mention in mentions {
            assert!(
                text.contains(mention),
                "{arguments:?} does not mention {mention}:\n{text}"
            );
        }
    }
}

#[test]
fn a_token_is_all_that_is_printed_and_the_nodes_keys_accept_it() {
    let place = Place::new();
    let text = stdout(&place.run(&[
        "token",
        "--data-dir",
        "d",
        "--role",
        "student",
        "--room",
        "math-7",
        "--publish",
        "--name",
        "Ada",
        "--identity",
        "u-17",
        "--ttl",
        "90m",
    ]));
    let token = text.strip_suffix('\n').unwrap();
    assert_eq!(token.split('.').count(), 3, "{text}");
    let keys = Keys::load(place.path().join("d/keys.json")).unwrap();
    let claims = keys.verify_room(token).unwrap();
    assert_eq!(
        (claims.sub.as_str(), claims.name.as_deref()),
        ("u-17", Some("Ada"))
    );
    assert_eq!(
        (claims.role, claims.exp - claims.iat),
        (Role::Student, 5400)
    );
    assert!(claims.opens("math-7") && claims.rights().may_publish() && claims.rights().subscribe);

    let json: Value = serde_json::from_str(&stdout(&place.run(&[
        "token",
        "--data-dir",
        "d",
        "--role",
        "viewer",
        "--room",
        "math-7",
        "--json",
    ])))
    .unwrap();
    let claims = keys.verify_room(json["token"].as_str().unwrap()).unwrap();
    assert_eq!(json["identity"], claims.sub.as_str());
    assert_eq!(
        (&json["role"], &json["room"], &json["expires_in"]),
        (&"viewer".into(), &"math-7".into(), &3600.into())
    );
}

#[test]
fn a_token_that_would_open_nothing_is_not_made() {
    let place = Place::new();
    let table: [(&[&str], &str); 3] = [
        (
            &["token", "--role", "teacher"],
            "name the room with --room ROOM",
        ),
        (&["token", "--room", "../x"], "`../x` is no room"),
        (
            &["token", "--room", "x", "--data-dir", "/dev/null/d"],
            "Give `--data-dir` a directory",
        ),
    ];
    for (arguments, expected) in table {
        let error = stderr(&place.run(arguments));
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    assert!(
        !place.path().join("lectern-data").exists(),
        "a refused request leaves no keys"
    );
}

#[test]
fn check_tells_the_origin_of_every_value_and_hides_secrets() {
    let place = Place::new();
    fs::write(place.path().join("lectern.toml"), "media_port = 41000\n").unwrap();
    let keys = Keys::load_or_create(&place.path().join("d")).unwrap();
    let secret: Value =
        serde_json::from_slice(&fs::read(place.path().join("d/keys.json")).unwrap()).unwrap();
    let mut command = place.command(&["check", "--http", "127.0.0.1:1", "--data-dir", "d"]);
    let checked = output(
        command
            .env("LECTERN_EDGE", "mmsg")
            .env("LECTERN_HTTTP", "x"),
    );
    let text = stdout(&checked);
    let row = |name: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")))
            .unwrap();
        line.split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(row("http"), "127.0.0.1:1 flag");
    assert_eq!(row("edge"), "mmsg environment");
    assert_eq!(row("media_port"), "41000 file ./lectern.toml");
    assert_eq!(row("log_level"), "info default");
    assert_eq!(row("link"), "d/link.sock default");
    assert_eq!(
        row("shards"),
        "(one fewer than the processors, at least 1) default"
    );
    assert!(text.contains(&keys.list()[0].kid));
    assert!(!text.contains(secret["keys"][0]["secret"].as_str().unwrap()));
    let warning = String::from_utf8(checked.stderr).unwrap();
    assert!(
        warning.contains("LECTERN_HTTTP sets nothing: did you mean LECTERN_HTTP?"),
        "{warning}"
    );

    let json: Value = serde_json::from_str(&stdout(&place.run(&["check", "--json"]))).unwrap();
    assert_eq!(json["settings"]["media_port"]["value"], "41000");
    assert_eq!(
        json["settings"]["media_port"]["origin"],
        "file ./lectern.toml"
    );
    assert_eq!(json["settings"]["tls_cert"]["value"], Value::Null);
}

#[test]
fn a_mistake_in_the_configuration_is_one_line_that_names_the_fix() {
    let place = Place::new();
    fs::write(place.path().join("lectern.toml"), "media_prot = 41000\n").unwrap();
    for command in ["up", "controlplane", "check", "doctor"] {
        let error = stderr(&place.run(&[command]));
        assert_eq!(
            error,
            "lectern: ./lectern.toml: unknown key `media_prot`; did you mean `media_port`?\n"
        );
    }
}

#[test]
fn up_without_the_other_binary_says_how_to_get_it() {
    let place = Place::with_own_binary();
    let mut command = place.command(&["up", "--http", "127.0.0.1:0"]);
    let error = stderr(&output(command.env("PATH", "")));
    assert!(
        error.contains("lectern-dataplane is neither beside"),
        "{error}"
    );
    assert!(
        error.contains("install both binaries into one directory"),
        "{error}"
    );
}

#[test]
fn up_fails_with_the_process_that_does_not_start() {
    let place = Place::with_own_binary();
    place.sibling("echo 'no buffers today' >&2; exit 1");
    let error = stderr(&place.run(&["up", "--http", "127.0.0.1:0"]));
    let lines: Vec<&str> = error.lines().collect();
    let own = lines
        .iter()
        .position(|line| *line == "no buffers today")
        .unwrap();
    let supervisor = lines.last().unwrap();
    assert!(own < lines.len() - 1, "{error}");
    assert!(
        supervisor.contains("the data plane did not start (exit status: 1)"),
        "{error}"
    );
}

#[test]
fn dataplane_becomes_the_sibling_with_the_same_arguments() {
    let place = Place::with_own_binary();
    place.sibling("echo \"$@\"; exit 7");
    let output = place.run(&["dataplane", "--help", "--shards", "2"]);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "--help --shards 2\n"
    );
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn doctor_reads_the_data_planes_probe_and_exits_by_the_worst_row() {
    let place = Place::with_own_binary();
    let probe = |edge: &str| {
        format!(
            r#"echo '{{"edge":{edge},"reason":"tried","rmem_max":212992,"wmem_max":33554432,"nofile":65536,"addresses":["192.0.2.1"],"warnings":[]}}'"#
        )
    };
    let arguments = [
        "doctor",
        "--json",
        "--http",
        "127.0.0.1:0",
        "--ops",
        "127.0.0.1:0",
        "--media-ops",
        "127.0.0.1:0",
        "--media-port",
        "0",
    ];
    let verdict = |document: &Value, name: &str| {
        let rows = document["rows"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap()["verdict"]
            .as_str()
            .unwrap()
            .to_owned()
    };

    place.sibling(&probe("\"uring\""));
    let document: Value = serde_json::from_str(&stdout(&place.run(&arguments))).unwrap();
    assert_eq!(verdict(&document, "edge"), "ok");
    assert_eq!(verdict(&document, "rmem_max"), "warn");
    assert_eq!(verdict(&document, "addresses"), "ok");
    assert_eq!(verdict(&document, "http"), "ok");

    place.sibling(&probe("null"));
    let output = place.run(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdict(&document, "edge"), "fail");
    assert_eq!(document["verdict"], "fail");
}

#[test]
fn inspect_without_a_node_says_so() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = stderr(&Place::new().run(&["inspect", "rooms", "--ops", &free.to_string()]));
    assert!(
        error.contains(&format!("no node answers at {free}")),
        "{error}"
    );
}

#[test]
fn a_port_in_use_is_named_with_its_flag() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = stderr(&place.run(&["controlplane", "--http", &address, "--ops", "127.0.0.1:0"]));
    assert!(
        error.contains(&format!("cannot listen on {address}: another program")),
        "{error}"
    );
    assert!(error.contains("with --http"), "{error}");
    let error = stderr(&place.run(&["controlplane", "--http", "127.0.0.1:0", "--ops", &address]));
    assert!(error.contains("with --ops"), "{error}");
}

#[test]
fn what_the_system_said_is_said_once() {
    let place = Place::new();
    for arguments in [
        ["check", "--config", "missing.toml"].as_slice(),
        &["token", "--room", "math-7", "--data-dir", "/proc/nowhere"],
    ] {
        let error = stderr(&place.run(arguments));
        assert_eq!(error.matches("os error 2").count(), 1, "{error}");
    }
}
