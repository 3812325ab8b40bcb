//! The keys file: made once, kept private, reloaded whole or not at all.

use super::*;
use std::sync::Barrier;

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn write(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join(FILE_NAME);
    fs::write(&path, text).unwrap();
    path
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn the_file_is_made_once_and_only_its_owner_may_read_it() {
    let dir = dir();
    let data_dir = dir.path().join("new/data");
    Keys::load_or_create(&data_dir).unwrap();
    let path = data_dir.join(FILE_NAME);
    let first = fs::read(&path).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    assert_eq!(
        fs::metadata(&data_dir).unwrap().permissions().mode() & 0o7777,
        0o700
    );
    Keys::load_or_create(&data_dir).unwrap();
    assert_eq!(fs::read(&path).unwrap(), first);
    assert_eq!(
        fs::read_dir(&data_dir).unwrap().count(),
        1,
        "no draft stays behind"
    );
}

#[test]
fn processes_that_start_together_agree_on_one_key() {
    let dir = dir();
    let racers = 8;
    let start = Barrier::new(racers);
    let kids: Vec<String> = std::thread::scope(|scope| {
        let racing: Vec<_> = (0..racers)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    let keys = Keys::load_or_create(dir.path()).unwrap();
                    keys.current().signing().unwrap().0.to_owned()
                })
            })
            .collect();
        racing
            .into_iter()
            .map(|racer| racer.join().unwrap())
            .collect()
    });
    assert!(kids.iter().all(|kid| *kid == kids[0]), "{kids:?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn the_last_active_key_signs_and_a_retired_one_verifies_nothing() {
    let dir = dir();
    let path = write(
        dir.path(),
        &format!(
            r#"{{"keys":[{{"kid":"a","alg":"HS256","state":"active","secret":"{SECRET}"}},
                         {{"kid":"b","alg":"HS256","state":"active","secret":"{SECRET}"}},
                         {{"kid":"c","alg":"HS256","state":"retired","secret":"{SECRET}"}}]}}"#
        ),
    );
    let keys = Keys::load(path).unwrap();
    let set = keys.current();
    assert_eq!(set.signing().unwrap().0, "b");
    assert!(set.verifying("a").is_some());
    assert!(set.verifying("c").is_none());
}

#[test]
fn a_reload_changes_every_clone_and_a_broken_file_changes_none() {
    let dir = dir();
    let keys = Keys::load_or_create(dir.path()).unwrap();
    let clone = keys.clone();
    let two = format!(
        r#"{{"keys":[{{"kid":"a","alg":"HS256","state":"active","secret":"{SECRET}"}},
                     {{"kid":"b","alg":"HS256","state":"active","secret":"{SECRET}"}}]}}"#
    );
    write(dir.path(), &two);
    assert_eq!(keys.reload().unwrap(), 2);
    assert!(clone.current().verifying("a").is_some());
    write(dir.path(), "{");
    keys.reload().unwrap_err();
    assert!(clone.current().verifying("a").is_some());
}

#[test]
fn what_is_wrong_with_a_file_is_said_without_its_secrets() {
    let entry = |rest: &str| format!(r#"{{"keys":[{{"kid":"a",{rest}}}]}}"#);
    let table = [
        (
            entry(r#""alg":"HS256","state":"active","secret":"hunter2""#),
            "too short",
        ),
        (
            entry(r#""alg":"HS256","state":"active""#),
            "give it `secret`",
        ),
        (
            entry(r#""alg":"EdDSA","state":"active","public":"hunter2""#),
            "32 bytes in base64url",
        ),
        (
            entry(r#""alg":"HS256","state":"hunter2","secret":"x""#),
            "line 1",
        ),
        (
            entry(r#""alg":"HS256","state":"active","secret":12"#),
            "line 1",
        ),
        (
            entry(r#""alg":"HS256","state":"active","sekret":"hunter2""#),
            "unknown field `sekret`",
        ),
        (
            r#"{"keys":[{"kid":"../etc","alg":"HS256","state":"active"}]}"#.to_owned(),
            "a kid is",
        ),
        (
            format!(
                r#"{{"keys":[{{"kid":"a","alg":"HS256","state":"active","secret":"{SECRET}"}},
                {{"kid":"a","alg":"HS256","state":"active","secret":"{SECRET}"}}]}}"#
            ),
            "twice",
        ),
    ];
    for (text, expected) in table {
        let dir = dir();
        let error = Keys::load(write(dir.path(), &text))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{text}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn debug_output_names_keys_and_hides_secrets() {
    let keys = Keys::from_secret("k-1", SECRET, "lectern").unwrap();
    let text = format!("{keys:?}");
    assert!(text.contains("k-1") && !text.contains(SECRET));
}
