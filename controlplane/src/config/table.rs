//! Every setting there is: its name, default and meaning. Flags, environment variables, the file's keys
//! and `lectern check` are all made from this one table.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As the file spells it; `table.name` stands in a table. The flag is `--` + the name with `-` for `_`
    /// and `.`; the environment variable is `LECTERN_` + the name in capitals with `_` for `.`.
    pub name: &'static str,
    /// What stands for the value in help texts.
    pub value_name: &'static str,
    /// The default as text; empty when there is none.
    pub default: &'static str,
    /// What happens without a default, for people.
    pub unset: &'static str,
    /// What it is, in one sentence.
    pub help: &'static str,
}

impl Key {
    /// The long flag without its dashes.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace(['_', '.'], "-")
    }

    /// The environment variable.
    #[must_use]
    pub fn variable(&self) -> String {
        let name = self.name.replace('.', "_").to_ascii_uppercase();
        format!("{VARIABLE_PREFIX}{name}")
    }
}

/// How every environment variable of ours begins.
pub const VARIABLE_PREFIX: &str = "LECTERN_";

const fn key(
    name: &'static str,
    value_name: &'static str,
    default: &'static str,
    help: &'static str,
) -> Key {
    Key {
        name,
        value_name,
        default,
        unset: "",
        help,
    }
}

impl Key {
    const fn unset(mut self, text: &'static str) -> Key {
        self.unset = text;
        self
    }
}

/// The settings, in the order in which `lectern check` prints them.
pub const KEYS: [Key; 26] = [
    key("http", "ADDR:PORT", "0.0.0.0:8080", "Where pages, WHIP, WHEP and the API are served"),
    key("tls_cert", "FILE", "", "Certificate chain (PEM); with --tls-key the node serves HTTPS. Reread on SIGHUP")
        .unset("plain HTTP"),
    key("tls_key", "FILE", "", "Private key (PEM) of --tls-cert").unset("plain HTTP"),
    key("public_url", "URL", "", "How clients reach this node from outside, such as https://live.school.example")
        .unset("from the Host header"),
    key("trusted_proxies", "NETS", "", "Networks of reverse proxies whose X-Forwarded-* headers count, separated by commas")
        .unset("none"),
    key("cors_origins", "ORIGINS", "*", "Web origins that may use the API, separated by commas; * for all"),
    key("ops", "ADDR:PORT", "127.0.0.1:9600", "Health, metrics and debug of the control plane"),
    key("media_ops", "ADDR:PORT", "127.0.0.1:9601", "Health and metrics of the data plane"),
    key("media_port", "PORT", "40000", "First UDP port for media; one a shard from here. 0 lets the kernel choose"),
    key("shards", "N", "", "Number of media threads").unset("one fewer than the processors, at least 1"),
    key("cpus", "LIST", "", "Processors for the media threads, such as 2-5,8").unset("all allowed"),
    key("link", "PATH", "", "Socket between control plane and data plane").unset("<data-dir>/link.sock"),
    key("edge", "EDGE", "auto", "How UDP is spoken: auto, uring or mmsg"),
    key("advertise", "LIST", "", "Addresses or names that clients send media to, separated by commas; external/internal behind a one-to-one NAT")
        .unset("every address of every interface that is up"),
    key("ice_servers", "FILE", "", "External STUN and TURN servers (JSON, as RTCPeerConnection takes them)")
        .unset("none"),
    key("data_dir", "DIR", "", "Where keys and database live").unset("$STATE_DIRECTORY, else ./lectern-data"),
    key("open_tokens", "BOOL", "false", "Give a token to everyone who asks; only with --http on a loopback address"),
    key("default_room", "ROOM", "live", "Room of a token request that names none"),
    key("whip.lenient_patch", "BOOL", "false", "Take a PATCH of a session without If-Match, which older WHIP and WHEP clients send"),
    key("max_participants", "N", "0", "Most participants of a room; 0 is no limit"),
    key("stream_timeout_s", "SECONDS", "3600", "A publisher without a packet for this long is closed; 0: never"),
    key("room_idle_s", "SECONDS", "300", "A room that is empty for this long ends its run"),
    key("orphan_grace_s", "SECONDS", "21600", "The data plane without a control plane for this long drains"),
    key("drain_deadline_s", "SECONDS", "3600", "A drain ends after this long even with people left"),
    key("log_format", "FORMAT", "auto", "auto (text on a terminal, JSON otherwise), text or json"),
    key("log_level", "LEVEL", "info", "error, warn, info, debug, trace, or a filter such as info,controlplane=debug. Reread on SIGHUP"),
];

/// The setting with this name, spelled with `_`, `-` or `.`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    let name = name.replace(['-', '.'], "_");
    KEYS.iter().find(|key| key.name.replace('.', "_") == name)
}

/// The setting that someone who wrote `name` most likely meant.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static Key> {
    /// Below this, the names have nothing to do with each other.
    const SIMILARITY_MIN: f64 = 0.7;
    let name = name.to_ascii_lowercase().replace('-', "_");
    KEYS.iter()
        .map(|key| (strsim::jaro_winkler(key.name, &name), key))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_key_finds_the_one_that_was_meant() {
        let table = [
            ("htttp", "http"),
            ("tls-certificate", "tls_cert"),
            ("MEDIA_PORTS", "media_port"),
            ("cors_origin", "cors_origins"),
            ("advertized", "advertise"),
            ("loglevel", "log_level"),
            ("drain_deadline", "drain_deadline_s"),
            ("room_idle", "room_idle_s"),
        ];
        for (written, meant) in table {
            assert_eq!(
                nearest(written).map(|key| key.name),
                Some(meant),
                "{written}"
            );
        }
        assert!(nearest("zzz").is_none());
    }

    #[test]
    fn names_are_unique_and_every_key_says_what_it_is_and_what_happens_without_it() {
        for (at, key) in KEYS.iter().enumerate() {
            assert!(
                KEYS[..at].iter().all(|other| other.name != key.name),
                "{}",
                key.name
            );
            assert!(!key.help.is_empty());
            assert_eq!(
                key.default.is_empty(),
                !key.unset.is_empty(),
                "{}",
                key.name
            );
        }
    }
}
