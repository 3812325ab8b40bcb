//! Stream keys: shown once, kept as a hash, in force as soon as the file says so.

use super::*;

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_key_publishes_main_of_its_room_as_its_owner_and_nothing_else() {
    let dir = dir();
    let made = make(dir.path(), "math-7", Some("u-17"), Existing::Keep).unwrap();
    assert_eq!(
        made.key.len(),
        26,
        "128 bits in base64url behind the prefix"
    );
    assert!(StreamKeys::is_one(&made.key));
    let claims = StreamKeys::of(dir.path()).claims(&made.key).unwrap();
    let rights = claims.rights();
    assert_eq!(claims.sub, "u-17");
    assert!(claims.opens("math-7") && !claims.opens("math-8"));
    assert!(rights.may_publish());
    assert!(!rights.subscribe && !rights.room_admin && !rights.publish_data);
}

#[test]
fn the_file_has_no_byte_of_the_key_and_is_its_owners_alone() {
    let dir = dir();
    let made = make(dir.path(), "math-7", None, Existing::Keep).unwrap();
    let path = dir.path().join(FILE_NAME);
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains(&made.key[PREFIX.len()..]), "{text}");
    assert!(text.contains(&made.sub));
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    assert!(!format!("{made:?}").contains(&made.key));
}

#[test]
fn a_room_has_one_key_and_rotating_ends_the_old_one_at_once() {
    let dir = dir();
    let keys = StreamKeys::of(dir.path());
    let first = make(dir.path(), "math-7", Some("u-17"), Existing::Keep).unwrap();
    let other = make(dir.path(), "math-8", None, Existing::Keep).unwrap();
    assert!(keys.claims(&first.key).is_ok(), "no restart is needed");
    assert!(matches!(
        make(dir.path(), "math-7", None, Existing::Keep),
        Err(StreamKeyError::Exists(_))
    ));
    let second = make(dir.path(), "math-7", None, Existing::Rotate).unwrap();
    assert_eq!(second.sub, "u-17", "the owner stays");
    assert!(keys.claims(&first.key).is_err());
    assert_eq!(keys.claims(&second.key).unwrap().sub, "u-17");
    assert!(keys.claims(&other.key).is_ok());
    assert_eq!(keys.count(), 2);
}

#[test]
fn what_is_no_key_opens_nothing() {
    let dir = dir();
    let made = make(dir.path(), "math-7", None, Existing::Keep).unwrap();
    let keys = StreamKeys::of(dir.path());
    let mut flipped = made.key.clone().into_bytes();
    flipped[10] ^= 1;
    let longer = format!("{}x", made.key);
    let huge = format!("{PREFIX}{}", "x".repeat(1 << 20));
    for wrong in [
        String::from_utf8(flipped).unwrap(),
        longer,
        huge,
        PREFIX.to_owned(),
        String::new(),
        made.key[..made.key.len() - 1].to_owned(),
    ] {
        assert!(matches!(
            keys.claims(&wrong),
            Err(VerifyError::Invalid("stream key"))
        ));
    }
    assert!(StreamKeys::none().claims(&made.key).is_err());
}

#[test]
fn a_broken_file_changes_nothing_and_a_removed_one_ends_every_key() {
    let dir = dir();
    let made = make(dir.path(), "math-7", None, Existing::Keep).unwrap();
    let keys = StreamKeys::of(dir.path());
    let path = dir.path().join(FILE_NAME);
    let whole = fs::read_to_string(&path).unwrap();
    for broken in [
        "{".to_owned(),
        whole.replace("math-7", "../etc"),
        whole.replace("\"sha256\": \"", "\"sha256\": \"x"),
        whole.replace("\"sub\"", "\"owner\""),
    ] {
        fs::write(&path, broken).unwrap();
        assert!(keys.claims(&made.key).is_ok());
        assert!(make(dir.path(), "math-8", None, Existing::Keep).is_err());
    }
    fs::remove_file(&path).unwrap();
    assert!(keys.claims(&made.key).is_err());
}

#[test]
fn keys_that_are_made_at_the_same_time_do_not_undo_each_other() {
    let dir = dir();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let path = dir.path();
            scope.spawn(move || {
                make(path, &format!("room-{n}"), None, Existing::Keep).unwrap();
            });
        }
    });
    assert_eq!(StreamKeys::of(dir.path()).count(), 8);
}
