//! Verdicts on hosts that are not this one.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, UNIX_EPOCH};

use super::certificate::{certificate, covers, expiry, https, names, public_host};
use super::host::{CLOCK_MIN, Probe, SEND_BUFFER_BYTES, addresses, clock, edge, host};
use super::node::{Running, rows};
use super::ports::tcp_ports;
use super::storage::{data_dir, free};
use super::*;
use crate::auth::Keys;
use crate::auth::stream_key::{self, Existing};

fn config(flags: Flags) -> Config {
    Config::from_environment(&flags, []).unwrap().0
}

fn probed(edge: Option<&str>, addresses: &[&str]) -> Probe {
    Probe {
        edge: edge.map(str::to_owned),
        reason: "because".to_owned(),
        rmem_max: Some(212_992),
        wmem_max: Some(SEND_BUFFER_BYTES),
        nofile: Some(1024),
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        warnings: Vec::new(),
    }
}

#[test]
fn a_poor_host_is_told_each_fix() {
    let rows = host(
        &config(Flags::default()),
        &probed(Some("mmsg"), &["127.0.0.1"]),
    );
    let verdicts: Vec<_> = rows.iter().map(|row| (row.name, row.verdict)).collect();
    assert_eq!(
        verdicts,
        [
            ("edge", Verdict::Warn),
            ("rmem_max", Verdict::Warn),
            ("wmem_max", Verdict::Ok),
            ("nofile", Verdict::Warn),
            ("addresses", Verdict::Warn)
        ]
    );
    let fixes: Vec<_> = rows.iter().filter_map(|row| row.fix.as_deref()).collect();
    assert!(
        fixes[1] == "sysctl -w net.core.rmem_max=16777216",
        "{fixes:?}"
    );
    assert!(fixes[2].contains("LimitNOFILE"));
}

#[test]
fn what_was_asked_for_is_no_warning_and_what_cannot_be_had_fails() {
    let mmsg = config(Flags::default().with("edge", "mmsg"));
    assert_eq!(edge(&mmsg, &probed(Some("mmsg"), &[])).verdict, Verdict::Ok);
    let uring = config(Flags::default().with("edge", "uring"));
    assert_eq!(edge(&uring, &probed(None, &[])).verdict, Verdict::Fail);
    assert_eq!(
        addresses(&probed(Some("uring"), &[])).verdict,
        Verdict::Fail
    );
    assert_eq!(
        addresses(&probed(Some("uring"), &["192.0.2.1", "127.0.0.1"])).verdict,
        Verdict::Ok
    );
}

#[test]
fn a_taken_port_fails_unless_the_node_itself_has_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let flags = Flags::default()
        .with("http", taken.local_addr().unwrap().to_string())
        .with("ops", "127.0.0.1:0")
        .with("media_ops", "127.0.0.1:0");
    let config = config(flags);
    let verdicts = |running| {
        tcp_ports(&config, running)
            .iter()
            .map(|row| row.verdict)
            .collect::<Vec<_>>()
    };
    assert_eq!(verdicts(false), [Verdict::Fail, Verdict::Ok, Verdict::Ok]);
    assert_eq!(verdicts(true), [Verdict::Ok; 3]);
}

#[test]
fn a_certificate_warns_two_weeks_before_its_end() {
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let in_days = |days: u64| certificate(now + Duration::from_secs(days * 86_400), now);
    assert_eq!(in_days(15).verdict, Verdict::Ok);
    assert_eq!(in_days(15).says, "ends in 15 days");
    assert_eq!(in_days(13).verdict, Verdict::Warn);
    assert_eq!(
        certificate(now - Duration::from_secs(1), now).verdict,
        Verdict::Fail
    );
}

#[test]
fn the_end_of_a_certificate_is_read_from_the_chain() {
    let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(2031, 5, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let chain = parameters.self_signed(&key).unwrap().pem();
    // 2031-05-01T00:00:00Z.
    assert_eq!(
        expiry(chain.as_bytes()).unwrap(),
        UNIX_EPOCH + Duration::from_secs(1_935_360_000)
    );
    assert!(expiry(b"x").is_err());
}

#[test]
fn a_page_without_https_is_only_for_localhost() {
    let now = SystemTime::now();
    let verdict = |flags| https(&config(flags), now).verdict;
    assert_eq!(verdict(Flags::default()), Verdict::Warn);
    assert_eq!(
        verdict(Flags::default().with("http", "127.0.0.1:1")),
        Verdict::Ok
    );
    assert_eq!(
        verdict(Flags::default().with("public_url", "https://a.example")),
        Verdict::Ok
    );
}

#[test]
fn a_clock_is_good_when_something_keeps_it() {
    let run = tempfile::tempdir().unwrap();
    let now = UNIX_EPOCH + CLOCK_MIN;
    assert_eq!(clock(now, run.path()).verdict, Verdict::Warn);
    fs::write(run.path().join("chronyd.pid"), "1").unwrap();
    assert_eq!(clock(now, run.path()).verdict, Verdict::Ok);
    assert_eq!(clock(UNIX_EPOCH, run.path()).verdict, Verdict::Fail);
}

#[test]
fn a_directory_whose_keys_others_may_read_is_pointed_out() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(Flags::default().with("data_dir", dir.path().display().to_string()));
    assert_eq!(data_dir(&config).verdict, Verdict::Ok);
    Keys::load_or_create(dir.path()).unwrap();
    assert_eq!(data_dir(&config).verdict, Verdict::Ok);
    fs::set_permissions(config.keys_file(), fs::Permissions::from_mode(0o644)).unwrap();
    let row = data_dir(&config);
    assert_eq!(row.verdict, Verdict::Warn);
    assert!(row.fix.unwrap().starts_with("chmod 600 "));
    fs::write(config.keys_file(), "{").unwrap();
    assert_eq!(data_dir(&config).verdict, Verdict::Fail);
}

#[test]
fn a_certificate_covers_its_names_and_one_label_under_a_star() {
    let names = [
        "live.school.example".to_owned(),
        "*.nodes.example".to_owned(),
    ];
    for (host, covered) in [
        ("live.school.example", true),
        ("LIVE.school.example", true),
        ("school.example", false),
        ("a.nodes.example", true),
        ("a.b.nodes.example", false),
        ("nodes.example", false),
    ] {
        assert_eq!(covers(&names, host), covered, "{host}");
    }
}

#[test]
fn a_certificate_for_another_host_than_public_url_fails() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let made = rcgen::generate_simple_self_signed([
        "live.school.example".to_owned(),
        "192.0.2.1".to_owned(),
    ])
    .unwrap();
    fs::write(path("c.pem"), made.cert.pem()).unwrap();
    fs::write(path("k.pem"), made.signing_key.serialize_pem()).unwrap();
    let found = names(made.cert.pem().as_bytes()).unwrap();
    assert_eq!(found, ["live.school.example", "192.0.2.1"]);
    for (url, verdict) in [
        ("https://live.school.example:8443/x", Verdict::Ok),
        ("https://192.0.2.1", Verdict::Ok),
        ("https://other.example", Verdict::Fail),
    ] {
        let flags = Flags::default()
            .with("tls_cert", path("c.pem"))
            .with("tls_key", path("k.pem"))
            .with("public_url", url);
        let row = https(&config(flags), SystemTime::now());
        assert_eq!(row.verdict, verdict, "{url}: {}", row.says);
    }
    let v6 = config(Flags::default().with("public_url", "https://[2001:db8::1]:8443"));
    assert_eq!(public_host(&v6), Some("2001:db8::1"));
}

#[test]
fn a_disk_that_runs_full_warns_and_then_fails() {
    for (mib, verdict) in [
        (1_000, Verdict::Ok),
        (100, Verdict::Warn),
        (15, Verdict::Fail),
    ] {
        assert_eq!(free(mib << 20).verdict, verdict, "{mib}");
    }
}

#[test]
fn a_node_that_runs_is_looked_at_and_each_fault_has_its_fix() {
    let config = config(Flags::default());
    let whole = || Running {
        version: "0.1.0".to_owned(),
        media_version: Some("0.1.0".to_owned()),
        link_up: true,
        media_answers: true,
        draining: false,
    };
    let table = [
        (whole(), vec![("node", Verdict::Ok), ("link", Verdict::Ok)]),
        (
            Running {
                media_version: Some("0.0.9".to_owned()),
                draining: true,
                ..whole()
            },
            vec![
                ("node", Verdict::Warn),
                ("link", Verdict::Ok),
                ("drain", Verdict::Warn),
            ],
        ),
        (
            Running {
                media_version: None,
                link_up: false,
                ..whole()
            },
            vec![("node", Verdict::Warn), ("link", Verdict::Fail)],
        ),
        (
            Running {
                media_answers: false,
                ..whole()
            },
            vec![("node", Verdict::Ok), ("link", Verdict::Fail)],
        ),
    ];
    for (node, expected) in table {
        let found = rows(Some(&node), &config);
        let verdicts: Vec<_> = found.iter().map(|row| (row.name, row.verdict)).collect();
        assert_eq!(verdicts, expected, "{node:?}");
        let fixed = |row: &Row| (row.verdict == Verdict::Ok) == row.fix.is_none();
        assert!(found.iter().all(fixed), "{found:?}");
    }
    let none = rows(None, &config);
    assert!(none.iter().all(|row| row.verdict == Verdict::Ok));
    let long = format!("/{}", "x".repeat(200));
    let config = Config::from_environment(&Flags::default().with("link", long), [])
        .unwrap()
        .0;
    assert_eq!(rows(None, &config)[1].verdict, Verdict::Fail);
}

#[test]
fn stream_keys_that_cannot_be_read_fail() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(Flags::default().with("data_dir", dir.path().display().to_string()));
    Keys::load_or_create(dir.path()).unwrap();
    stream_key::make(dir.path(), "math-7", None, Existing::Keep).unwrap();
    assert_eq!(data_dir(&config).verdict, Verdict::Ok);
    fs::write(dir.path().join(stream_key::FILE_NAME), "{").unwrap();
    assert_eq!(data_dir(&config).verdict, Verdict::Fail);
}
