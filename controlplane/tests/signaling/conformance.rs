//! WHIP and WHEP, line by line: what a client may send and what it is answered. `docs/conformance.md` is this
//! table; `UPDATE_EXPECT=1` writes it anew.

mod table;

use std::fmt::Write as _;

use super::counter::ANSWER;
use super::*;
use table::{Check, ROWS, Row, Who};

/// A teacher publishes, a viewer watches, another viewer has been made an offer.
struct Scene {
    node: Node,
    words: Vec<(&'static str, String)>,
}

impl Scene {
    async fn set(live: bool, lenient_patch: bool) -> Scene {
        let node = with(Setting {
            lenient_patch,
            ..Setting::default()
        })
        .await;
        let viewer = node.token("viewer", Role::Viewer);
        let mut words = vec![("{viewer}", viewer.clone())];
        if live {
            let (url, _) = node.publish().await;
            let token = node.token("teacher", Role::Teacher);
            let etag = node.request(Method::GET, &url, &token, "").await;
            words.push(("{etag}", etag.header("etag").to_owned()));
            words.push(("{whip}", url));
            let watching = node.post("/whep/math-7", &viewer, WHEP).await;
            words.push(("{whep}", watching.header("location").to_owned()));
            let offered = node.post("/whep/math-7", &viewer, "").await;
            words.push(("{offer}", offered.header("location").to_owned()));
        }
        Scene { node, words }
    }

    fn fill(&self, text: &str) -> String {
        let put = |text: String, (word, value): &(&str, String)| text.replace(word, value);
        self.words.iter().fold(text.to_owned(), put)
    }

    fn token(&self, who: Who) -> Option<String> {
        let role = |sub, role| Some(self.node.token(sub, role));
        match who {
            Who::Nobody => None,
            Who::Junk => Some("no.token.at-all".to_owned()),
            Who::Teacher => role("teacher", Role::Teacher),
            Who::Other => Some(self.node.publishing_student("other")),
            Who::Viewer => role("viewer", Role::Viewer),
            Who::Admin => role("head", Role::Admin),
            Who::Elsewhere => {
                let grant = VideoGrant {
                    room: Some("physics".into()),
                    ..VideoGrant::default()
                };
                Some(self.node.token_with("viewer", Role::Viewer, grant))
            }
        }
    }

    async fn ask(&self, row: &Row) -> Answer {
        let (method, path) = row.request.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(self.fill(path));
        if let Some(token) = self.token(row.who) {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in row.headers {
            request = request.header(*name, self.fill(value));
        }
        let line = |name: &str| WHIP.lines().find(|line| line.starts_with(name)).unwrap();
        let body = match row.body {
            "" => String::new(),
            "offer" if path.contains("whip") => WHIP.to_owned(),
            "offer" => WHEP.to_owned(),
            "sendonly offer" => WHEP.replace("a=recvonly", "a=sendonly"),
            "VP9 viewer" => WHEP.replace("VP8/90000", "XX/90000"),
            "answer" => ANSWER.to_owned(),
            "trickle" => format!(
                "{}\r\n{}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1 1 udp 1 0f.local 9 typ host\r\na=candidate:2 1 tcp 1 192.0.2.1 9 typ host tcptype active\r\na=candidate:3 1 udp 1 no.such.name 9 typ host\r\n",
                line("a=ice-ufrag"),
                line("a=ice-pwd")
            ),
            "restart" => "a=ice-ufrag:fresh\r\na=ice-pwd:0123456789012345678901\r\n".to_owned(),
            other => other.to_owned(),
        };
        self.node
            .send(request.body(Body::from(body)).unwrap())
            .await
    }
}

/// What is wrong with an answer.
fn faults(row: &Row, answer: &Answer) -> Vec<String> {
    let mut faults = Vec::new();
    if answer.status.as_u16() != row.status {
        faults.push(format!("{} {}", answer.status, answer.body));
    }
    for (name, check) in row.answer {
        let values: Vec<&str> = answer
            .headers
            .get_all(*name)
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect();
        let holds = match check {
            Check::Is(wanted) => values == [*wanted],
            Check::Begins(start) => values.iter().any(|value| value.starts_with(start)),
            Check::Each(wanted) => values == *wanted,
            Check::Absent => values.is_empty(),
        };
        if !holds {
            faults.push(format!("{name}: {values:?}"));
        }
    }
    if let Some(slug) = row.problem {
        let expected = format!("\"type\":\"urn:lectern:problem:{slug}\"");
        if !answer.body.contains(&expected) {
            faults.push(answer.body.clone());
        }
    }
    for word in row.says {
        if !answer.body.contains(word) {
            faults.push(format!("no {word:?} in {}", answer.body));
        }
    }
    faults
}

#[tokio::test]
async fn every_line_of_the_table_holds() {
    let mut failed = Vec::new();
    let mut markdown = String::from(table::PREFACE);
    for row in ROWS {
        let scene = Scene::set(row.live, row.lenient).await;
        let answer = scene.ask(row).await;
        for fault in faults(row, &answer) {
            failed.push(format!(
                "{} {} ({}): {fault}",
                row.section, row.request, row.when
            ));
        }
        writeln!(markdown, "{}", row.markdown()).unwrap();
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    // Seen with --nocapture.
    let _seen = std::io::Write::write_all(&mut std::io::stdout(), markdown.as_bytes());
    expect_test::expect_file!["../../../docs/conformance.md"].assert_eq(&markdown);
}
