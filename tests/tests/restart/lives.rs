//! Either process dies, the control plane is replaced and hangs: the class goes on, or comes back.

use super::told::{faults, lives};

#[test]
fn a_class_does_not_notice_twenty_deaths_of_the_control_plane() {
    lives().nobody_noticed("kill", 20);
    lives().api_was_back("kill");
}

#[test]
fn a_control_plane_with_nothing_but_the_keys_takes_over() {
    lives().nobody_noticed("takeover", 2);
    lives().api_was_back("takeover");
}

#[test]
fn an_upgrade_of_the_control_plane_shows_nowhere() {
    lives().nobody_noticed("upgrade", 2);
    lives().api_was_back("upgrade");
}

#[test]
fn a_control_plane_that_hung_knows_afterwards_who_is_there() {
    lives().nobody_noticed("freeze", 1);
    let grown = lives().number("freeze", "grown_kib_max");
    assert!(grown <= f64::from(64 << 10), "{grown} KiB nobody read");
}

#[test]
fn everybody_comes_back_after_five_deaths_of_the_data_plane() {
    let told = faults();
    told.nobody_noticed("media", 5);
    assert!(told.number("media", "unserved_max") <= 0.0);
    assert!(told.number("media", "all_served_ms_max") <= 15_000.0);
    assert!(told.number("media", "back_ms_max") <= 5000.0);
    assert!(told.number("media", "noticed_ms_max") <= 5000.0);
}
