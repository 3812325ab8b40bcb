use super::*;
use crate::config::table::{KEYS, Key};

const EXAMPLE: &str = include_str!("../../lectern.example.toml");

struct Case {
    dir: tempfile::TempDir,
    flags: Flags,
    environment: Vec<(String, String)>,
}

impl Case {
    /// A configuration file with this text.
    fn file(text: &str) -> Case {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lectern.toml");
        std::fs::write(&path, text).unwrap();
        Case {
            dir,
            flags: Flags {
                config: Some(path),
                values: Vec::new(),
            },
            environment: Vec::new(),
        }
    }

    fn variable(mut self, name: &str, text: &str) -> Case {
        self.environment.push((name.to_owned(), text.to_owned()));
        self
    }

    fn flag(mut self, name: &str, text: &str) -> Case {
        self.flags = self.flags.with(name, text);
        self
    }

    fn load(&self) -> Result<(Config, Layers), ConfigError> {
        Config::from_environment(&self.flags, self.environment.clone())
    }

    fn error(&self) -> String {
        let text = self.load().unwrap_err().to_string();
        text.replace(&self.dir.path().display().to_string(), "DIR")
    }
}

#[test]
fn the_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let file = || Case::file("http = \"127.0.0.1:1\"\nmedia_port = 41000");
    let table = [
        (Case::file(""), "0.0.0.0:8080", Origin::Default),
        (file(), "127.0.0.1:1", Origin::File(PathBuf::new())),
        (
            file().variable("LECTERN_HTTP", "127.0.0.1:2"),
            "127.0.0.1:2",
            Origin::Environment,
        ),
        (
            file()
                .variable("LECTERN_HTTP", "127.0.0.1:2")
                .flag("http", "127.0.0.1:3"),
            "127.0.0.1:3",
            Origin::Flag,
        ),
    ];
    for (case, http, origin) in table {
        let (config, layers) = case.load().unwrap();
        assert_eq!(config.http, http.parse().unwrap());
        let found = &layers.setting("http").origin;
        let origin = match origin {
            Origin::File(_) => Origin::File(case.flags.config.clone().unwrap()),
            Origin::Default | Origin::Environment | Origin::Flag => origin,
        };
        assert_eq!(*found, origin);
    }
}

#[test]
fn the_example_is_the_default_and_mentions_every_key() {
    let (example, _) = Case::file(EXAMPLE).load().unwrap();
    let (default, _) = Case::file("").load().unwrap();
    assert_eq!(example, default);
    for key in KEYS {
        let set = EXAMPLE
            .lines()
            .any(|line| line.starts_with(&format!("{} = ", key.name)));
        let shown = EXAMPLE
            .lines()
            .any(|line| line.starts_with(&format!("# {} = ", key.name)));
        assert_eq!(
            (set, shown),
            (!key.default.is_empty(), key.default.is_empty()),
            "{}",
            key.name
        );
    }
}

#[test]
fn what_the_example_shows_in_comments_is_valid_too() {
    let shown: String = EXAMPLE
        .lines()
        .map(|line| {
            let shown = line
                .strip_prefix("# ")
                .and_then(|line| Some((line, line.split_once(" = ")?.0)));
            shown
                .filter(|(_, name)| table::find(name).is_some())
                .map_or(line, |(line, _)| line)
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let (config, layers) = Case::file(&shown).load().unwrap();
    for setting in layers.settings() {
        assert!(
            matches!(setting.origin, Origin::File(_)),
            "{}",
            setting.key.name
        );
    }
    assert_eq!(config.scheme(), "https");
    assert_eq!(config.link, PathBuf::from("/run/lectern/link.sock"));
    assert_eq!(
        config.advertise,
        ["203.0.113.10/10.0.0.5", "live.school.example"]
    );
}

#[test]
fn the_data_directory_is_systemds_or_beside_the_caller_and_the_link_lies_in_it() {
    let (config, _) = Case::file("").load().unwrap();
    assert_eq!(config.data_dir, PathBuf::from("./lectern-data"));
    let (config, _) = Case::file("")
        .variable("STATE_DIRECTORY", "/a:/b")
        .load()
        .unwrap();
    assert_eq!(config.data_dir, PathBuf::from("/a"));
    assert_eq!(config.link, PathBuf::from("/a/link.sock"));
    let (config, _) = Case::file("data-dir = \"/c\"")
        .variable("STATE_DIRECTORY", "/a")
        .load()
        .unwrap();
    assert_eq!(config.link, PathBuf::from("/c/link.sock"));
}

#[test]
fn lists_are_the_same_in_every_layer() {
    let networks = ["10.0.0.0/8", "192.0.2.1/32"];
    for case in [
        Case::file(r#"trusted_proxies = ["10.0.0.0/8", "192.0.2.1"]"#),
        Case::file(r#"trusted_proxies = "10.0.0.0/8, 192.0.2.1""#),
        Case::file("").variable("LECTERN_TRUSTED_PROXIES", "10.0.0.0/8,192.0.2.1"),
        Case::file("").flag("trusted_proxies", "10.0.0.0/8, 192.0.2.1"),
    ] {
        let (config, _) = case.load().unwrap();
        assert_eq!(
            config
                .trusted_proxies
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            networks
        );
    }
}

#[test]
fn every_mistake_names_its_place_and_the_fix() {
    let table = [
        (
            Case::file("htttp = \"x\""),
            "DIR/lectern.toml: unknown key `htttp`; did you mean `http`?",
        ),
        (
            Case::file("zzz = 1"),
            "DIR/lectern.toml: unknown key `zzz`; `lectern check` lists every key",
        ),
        (
            Case::file("http = 8080"),
            "`http` in DIR/lectern.toml is `8080`; expected an IP address and a port, such as 127.0.0.1:8080 or [::]:8080",
        ),
        (
            Case::file("").variable("LECTERN_EDGE", "epoll"),
            "LECTERN_EDGE is `epoll`; expected auto, uring or mmsg",
        ),
        (
            Case::file("").flag("media_port", "70000"),
            "--media-port is `70000`; expected a whole number from 0 to 65535",
        ),
        (
            Case::file("[http]\nport = 1"),
            "`http` in DIR/lectern.toml is `{ port = 1 }`; expected text, a number, true, false, or a list of texts",
        ),
        (
            Case::file("").flag("open_tokens", "true"),
            "--open-tokens is `true`, but `http` is 0.0.0.0:8080: a token for everyone is only given on a loopback address. Set http to 127.0.0.1:8080, or open_tokens to false",
        ),
        (
            Case::file("tls_cert = \"c.pem\""),
            "`tls_cert` in DIR/lectern.toml is `c.pem`, but `tls_key` is missing: HTTPS needs both",
        ),
        (
            Case::file("")
                .flag("shards", "9")
                .flag("media_port", "65530"),
            "--media-port is `65530`, but 9 shards need as many ports below 65536: choose a lower media_port",
        ),
        (
            Case::file("default_room = \"a b\""),
            "`default_room` in DIR/lectern.toml is `a b`, but a room's name has 1 to 64 of the characters A-Z a-z 0-9 _ -",
        ),
        (
            Case::file("public_url = \"live.school.example\""),
            "`public_url` in DIR/lectern.toml is `live.school.example`, but it begins with https:// or http:// and a host",
        ),
    ];
    for (case, expected) in table {
        assert_eq!(case.error(), expected);
    }
    assert!(
        Case::file("http = ")
            .error()
            .contains("is not valid TOML: TOML parse error at line 1")
    );
    assert!(
        Case::file("")
            .flag("log_level", "loud")
            .error()
            .contains("--log-level is `loud`")
    );
}

#[test]
fn a_variable_that_names_no_key_is_pointed_out_and_not_fatal() {
    let (_, layers) = Case::file("")
        .variable("LECTERN_HTTTP", "x")
        .variable("PATH", "y")
        .load()
        .unwrap();
    let strangers: Vec<_> = layers
        .strangers
        .iter()
        .map(|(name, key)| (name.as_str(), key.map(|key| key.name)))
        .collect();
    assert_eq!(strangers, [("LECTERN_HTTTP", Some("http"))]);
}

#[test]
fn a_file_that_was_asked_for_must_exist() {
    let mut case = Case::file("");
    case.flags.config = Some(case.dir.path().join("absent.toml"));
    assert!(
        case.error()
            .starts_with("cannot read the configuration file DIR/absent.toml: No such file")
    );
}

/// The tests' own environment must not leak in: what a case does not set has its default.
#[test]
fn the_configuration_file_can_be_named_by_the_environment() {
    let case = Case::file("max_participants = 7");
    let path = case.flags.config.clone().unwrap();
    let (config, _) = Config::from_environment(
        &Flags::default(),
        [("LECTERN_CONFIG".to_owned(), path.display().to_string())],
    )
    .unwrap();
    assert_eq!(config.max_participants, Some(7));
}

#[test]
fn a_key_of_a_table_is_one_setting_whoever_spells_it() {
    let lenient = |case: Case| case.load().unwrap().0.lenient_patch;
    assert!(!lenient(Case::file("")));
    for text in [
        "[whip]\nlenient_patch = true",
        "whip.lenient_patch = true",
        "\"whip.lenient_patch\" = true",
    ] {
        assert!(lenient(Case::file(text)), "{text}");
    }
    assert!(lenient(
        Case::file("").variable("LECTERN_WHIP_LENIENT_PATCH", "true")
    ));
    assert!(lenient(Case::file("").flag("whip-lenient-patch", "true")));
    assert_eq!(
        table::find("whip.lenient_patch").map(Key::flag).as_deref(),
        Some("whip-lenient-patch")
    );
    let error = Case::file("[whip]\nlenient_patches = true").error();
    assert!(
        error.contains("`whip.lenient_patches`") && error.contains("`whip.lenient_patch`"),
        "{error}"
    );
}
