//! Rows of the fault matrix (docs/design/security.md, section 2), and C8 of its threat table.

use super::told::{faults, is_root};

#[test]
fn a_full_disk_starves_no_class() {
    if !is_root() {
        return;
    }
    faults().nobody_noticed("disk", 1);
    faults().api_was_back("disk");
}

#[test]
fn a_control_plane_without_descriptors_neither_spins_nor_disturbs_media_and_recovers() {
    let told = faults();
    told.nobody_noticed("descriptors", 1);
    let open = told.number("descriptors", "descriptors_max");
    assert!(open >= 250.0, "it had {open}, so it could still open some");
    let share = told.number("descriptors", "cpu_share_max");
    assert!(share <= 0.5, "{share} of a processor without descriptors");
    let back = told.number("descriptors", "api_ms_max");
    assert!(back <= 15_000.0, "nobody is let in for {back} ms");
}

#[test]
fn a_clock_that_jumps_ends_no_session_and_fresh_tokens_open_doors() {
    faults().nobody_noticed("clock", 5);
    faults().api_was_back("clock");
}

#[test]
fn a_session_that_a_moderator_ended_gets_no_packet_although_people_storm_in() {
    faults().nobody_noticed("kick", 1);
    for whose in ["viewer_ms_max", "publisher_ms_max"] {
        let late = faults().number("kick", whose);
        assert!(late <= 500.0, "{whose}: {late} ms after the answer");
    }
}
