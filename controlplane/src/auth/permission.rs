//! Roles, grants, and the rights that follow from both.
//!
//! A grant that the token carries counts exactly as written; one it does not carry has the role's
//! default. The grant's names are LiveKit's (`video.canPublish`), so that minting code carries over.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a person is in a room.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything, in every room.
    Admin,
    /// Publishes, watches, moderates.
    Teacher,
    /// Watches and chats; publishes only when the token or a moderator says so.
    Student,
    /// Watches unseen.
    Monitor,
    /// Watches. The role of a token that names none.
    #[default]
    Viewer,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 5] = [
        Role::Admin,
        Role::Teacher,
        Role::Student,
        Role::Monitor,
        Role::Viewer,
    ];

    /// The role as tokens, metrics and the command line spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::Teacher => "teacher",
            Role::Student => "student",
            Role::Monitor => "monitor",
            Role::Viewer => "viewer",
        }
    }

    /// Who is above whom: nobody gives a token of a greater rank than his own.
    #[must_use]
    pub fn rank(self) -> u8 {
        match self {
            Role::Admin => 4,
            Role::Teacher => 3,
            Role::Monitor => 2,
            Role::Student => 1,
            Role::Viewer => 0,
        }
    }

    fn publishes(self) -> bool {
        matches!(self, Role::Admin | Role::Teacher)
    }

    fn sends_data(self) -> bool {
        matches!(self, Role::Admin | Role::Teacher | Role::Student)
    }

    fn moderates(self) -> bool {
        matches!(self, Role::Admin | Role::Teacher)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a track shows or says. A participant publishes at most one track of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The person's picture.
    Camera,
    /// The person's voice.
    Microphone,
    /// A shared screen.
    #[serde(alias = "screen_share")]
    Screen,
    /// The sound of a shared screen.
    #[serde(alias = "screen_share_audio")]
    ScreenAudio,
}

impl Source {
    /// Every source.
    pub const ALL: [Source; 4] = [
        Source::Camera,
        Source::Microphone,
        Source::Screen,
        Source::ScreenAudio,
    ];
}

/// The `video` object of a room token, as it stands in the JSON: every member may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VideoGrant {
    /// The room the token opens. A token of an admin may leave it out: it opens every room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// May enter the room at all. Absent: yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_join: Option<bool>,
    /// May publish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_publish: Option<bool>,
    /// Which sources `can_publish` means. Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_publish_sources: Option<Vec<Source>>,
    /// May watch and listen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_subscribe: Option<bool>,
    /// May chat and raise a hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_publish_data: Option<bool>,
    /// Not shown to others and not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden: Option<bool>,
    /// A recorder: not counted as a viewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorder: Option<bool>,
    /// May moderate the room and act on sessions of others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_admin: Option<bool>,
}

/// What a token allows, after role defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// May enter.
    pub join: bool,
    /// The sources that may be published; empty when none may.
    pub publish: Vec<Source>,
    /// May watch and listen.
    pub subscribe: bool,
    /// May chat and raise a hand.
    pub publish_data: bool,
    /// Not shown and not counted.
    pub hidden: bool,
    /// A recorder.
    pub recorder: bool,
    /// Moderates.
    pub room_admin: bool,
}

impl Rights {
    /// The rights of `role` with `grant`: a present grant exactly as written, an absent one as the role
    /// has it. `canPublish: false` beats any list of sources; the list narrows `canPublish: true`.
    #[must_use]
    pub fn new(role: Role, grant: &VideoGrant) -> Rights {
        let publish = if grant.can_publish.unwrap_or(role.publishes()) {
            grant
                .can_publish_sources
                .clone()
                .unwrap_or_else(|| Source::ALL.to_vec())
        } else {
            Vec::new()
        };
        Rights {
            join: grant.room_join.unwrap_or(true),
            publish,
            // Every role's default is to watch; only the grant can take it away.
            subscribe: grant.can_subscribe.unwrap_or(true),
            publish_data: grant.can_publish_data.unwrap_or(role.sends_data()),
            hidden: grant.hidden.unwrap_or(role == Role::Monitor),
            recorder: grant.recorder.unwrap_or(false),
            room_admin: grant.room_admin.unwrap_or(role.moderates()),
        }
    }

    /// Whether any source may be published.
    #[must_use]
    pub fn may_publish(&self) -> bool {
        !self.publish.is_empty()
    }

    /// Whether this source may be published.
    #[must_use]
    pub fn may_publish_source(&self, source: Source) -> bool {
        self.publish.contains(&source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_without_grants_has_the_defaults_of_its_role() {
        // role, publish, subscribe, data, hidden, room_admin
        let table = [
            (Role::Admin, true, true, true, false, true),
            (Role::Teacher, true, true, true, false, true),
            (Role::Student, false, true, true, false, false),
            (Role::Monitor, false, true, false, true, false),
            (Role::Viewer, false, true, false, false, false),
        ];
        for (role, publish, subscribe, data, hidden, admin) in table {
            let rights = Rights::new(role, &VideoGrant::default());
            assert!(rights.join);
            assert_eq!(rights.may_publish(), publish, "{role}");
            assert_eq!(rights.subscribe, subscribe, "{role}");
            assert_eq!(rights.publish_data, data, "{role}");
            assert_eq!(rights.hidden, hidden, "{role}");
            assert_eq!(rights.room_admin, admin, "{role}");
            assert!(!rights.recorder);
        }
    }

    #[test]
    fn a_grant_that_is_present_counts_exactly_as_written() {
        let grant = VideoGrant {
            can_publish: Some(true),
            can_publish_sources: Some(vec![Source::Microphone]),
            can_subscribe: Some(false),
            room_join: Some(false),
            room_admin: Some(false),
            ..VideoGrant::default()
        };
        for role in Role::ALL {
            let rights = Rights::new(role, &grant);
            assert_eq!(rights.publish, [Source::Microphone], "{role}");
            assert!(
                !rights.subscribe && !rights.join && !rights.room_admin,
                "{role}"
            );
        }
    }

    #[test]
    fn can_publish_false_beats_a_list_of_sources() {
        let grant = VideoGrant {
            can_publish: Some(false),
            can_publish_sources: Some(vec![Source::Microphone]),
            ..VideoGrant::default()
        };
        assert!(!Rights::new(Role::Teacher, &grant).may_publish());
    }

    #[test]
    fn a_teacher_whose_list_of_sources_is_narrowed_publishes_only_those() {
        let grant = VideoGrant {
            can_publish_sources: Some(vec![Source::Screen]),
            ..VideoGrant::default()
        };
        let rights = Rights::new(Role::Teacher, &grant);
        assert!(rights.may_publish_source(Source::Screen));
        assert!(!rights.may_publish_source(Source::Camera));
    }
}
