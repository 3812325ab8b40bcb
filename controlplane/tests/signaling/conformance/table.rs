//! The rows.

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// No token.
    Nobody,
    /// Something that is no token.
    Junk,
    /// Publishes.
    Teacher,
    /// May publish, does not moderate, and owns nothing here.
    Other,
    /// Watches.
    Viewer,
    /// `video.roomAdmin`.
    Admin,
    /// The viewer, with a token of another room.
    Elsewhere,
}

/// What a header of the answer must be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Check {
    /// This, once.
    Is(&'static str),
    /// One of its values begins so.
    Begins(&'static str),
    /// These, each in a header of its own.
    Each(&'static [&'static str]),
    /// Not there.
    Absent,
}

/// One line. In `request` and `headers`, `{whip}`, `{whep}` and `{offer}` are session URLs, `{etag}` is the
/// publisher's ETag and `{viewer}` the viewer's token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) section: &'static str,
    pub(super) when: &'static str,
    pub(super) request: &'static str,
    pub(super) who: Who,
    pub(super) headers: &'static [(&'static str, &'static str)],
    pub(super) body: &'static str,
    /// Somebody publishes.
    pub(super) live: bool,
    /// `whip.lenient_patch`.
    pub(super) lenient: bool,
    pub(super) status: u16,
    pub(super) problem: Option<&'static str>,
    pub(super) answer: &'static [(&'static str, Check)],
    pub(super) says: &'static [&'static str],
}

impl Row {
    pub(super) fn markdown(&self) -> String {
        let header = |(name, check): &(&str, Check)| match check {
            Check::Is(value) => format!("`{name}: {value}`"),
            Check::Begins(value) => format!("`{name}: {value}…`"),
            Check::Each(values) => {
                let each = values.iter().map(|value| format!("`{name}: {value}`"));
                each.collect::<Vec<_>>().join(", ")
            }
            Check::Absent => format!("no `{name}`"),
        };
        let mut answer: Vec<String> = vec![self.status.to_string()];
        answer.extend(self.problem.map(|slug| format!("`{slug}`")));
        answer.extend(self.answer.iter().map(header));
        answer.extend(self.says.iter().map(|word| format!("`{word}`")));
        let sent = |(name, value): &(&str, &str)| format!(" `{name}: {value}`");
        let sent: String = self.headers.iter().map(sent).collect();
        format!(
            "| {} | {} | `{}`{sent} | {} |",
            self.section,
            self.when,
            self.request,
            answer.join(", ")
        )
    }
}

pub(super) const PREFACE: &str = "\
# WHIP and WHEP, line by line

What this node answers, by section of RFC 9725 (WHIP) and of draft-ietf-wish-whep-04 (WHEP). The tests of the control
plane send every request of this table and write it; errors are problems of the catalogue (`urn:lectern:problem:` and
the name given here). `{whip}` and `{whep}` are session URLs, `{offer}` is one that waits for the answer to the node's
own offer, `{etag}` is the publisher's ETag, `{viewer}` the viewer's token.

Held by other tests of the control plane: bodies beyond 256 KiB and SDP beyond 64 KiB are 413 (`tests/limits`); a drain is 503
`draining` and a lost media process 503 `media-down`, both with `Retry-After`; event streams themselves (`tests/signaling`).
Not built: 307 to another node, and the selection of layers.

| section | when | request | answer |
| --- | --- | --- | --- |
";

/// A request that nothing is said of, to be filled in.
const ROW: Row = Row {
    section: "",
    when: "",
    request: "",
    who: Who::Nobody,
    headers: &[],
    body: "",
    live: true,
    lenient: false,
    status: 0,
    problem: None,
    answer: &[],
    says: &[],
};

const SDP: (&str, &str) = ("content-type", "application/sdp");
const FRAGMENT: (&str, &str) = ("content-type", "application/trickle-ice-sdpfrag");
const NOW: (&str, &str) = ("if-match", "{etag}");
const ANY: (&str, &str) = ("if-match", "*");
const PREFLIGHT: (&str, &str) = ("access-control-request-method", "POST");
const METHODS: &str = "OPTIONS, GET, HEAD, POST, PATCH, DELETE";
const EXPOSED: &str = "Location, ETag, Link, Accept-Post, Accept-Patch";

use Check::{Absent, Begins, Each, Is};

/// The table.
#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    // WHIP: the endpoint.
    Row { section: "RFC 9725 4.2", when: "a preflight, without a token", request: "OPTIONS /whip/math-7", headers: &[PREFLIGHT], status: 204,
        answer: &[("accept-post", Is("application/sdp")), ("access-control-allow-methods", Is(METHODS)), ("access-control-allow-headers", Is("Authorization, Content-Type, If-Match")),
            ("access-control-expose-headers", Is(EXPOSED)), ("access-control-allow-credentials", Absent)], ..ROW },
    Row { section: "RFC 9725 4.1", when: "what is there", request: "GET /whip/math-7", status: 204, answer: &[("access-control-expose-headers", Is(EXPOSED))], ..ROW },
    Row { section: "RFC 9725 4.1", when: "what is there, briefly", request: "HEAD /whip/math-7", status: 204, ..ROW },
    Row { section: "RFC 9725 4.2", when: "somebody publishes", request: "POST /whip/math-7", who: Who::Teacher, headers: &[SDP], body: "offer", live: false, status: 201,
        answer: &[("content-type", Is("application/sdp")), ("location", Begins("/whip/math-7/main/")), ("etag", Begins("\"")), ("accept-patch", Is("application/trickle-ice-sdpfrag")),
            ("link", Each(&["<stun:stun.example.net>; rel=\"ice-server\"", "<turn:turn.example.net>; rel=\"ice-server\"; username=\"u\"; credential=\"c\"; credential-type=\"password\""]))],
        says: &["a=recvonly", "a=setup:passive", "a=rtcp-mux", "a=rtcp-mux-only", "a=group:BUNDLE 0 1", "a=ice-lite", "a=end-of-candidates"], ..ROW },
    Row { section: "RFC 9725 4.2", when: "the token stands in the URL", request: "POST /whep/math-7?jwt={viewer}", headers: &[SDP], body: "offer", status: 201, answer: &[("location", Begins("/whep/math-7/main/"))], ..ROW },
    Row { section: "RFC 9725 4.2", when: "another media type", request: "POST /whip/math-7", who: Who::Teacher, headers: &[("content-type", "application/json")], body: "offer", live: false, status: 415, problem: Some("wrong-type"), ..ROW },
    Row { section: "RFC 9725 4.2", when: "no SDP", request: "POST /whip/math-7", who: Who::Teacher, headers: &[SDP], body: "hello", live: false, status: 400, problem: Some("bad-sdp"), ..ROW },
    Row { section: "RFC 9725 4.2", when: "nothing is sent in it: no partial answers", request: "POST /whip/math-7", who: Who::Teacher, headers: &[SDP],
        body: "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n",
        live: false, status: 422, problem: Some("unsupported-offer"), ..ROW },
    Row { section: "RFC 9725 4.2", when: "another person publishes there", request: "POST /whip/math-7", who: Who::Other, headers: &[SDP], body: "offer", status: 409, problem: Some("already-publishing"), answer: &[("retry-after", Is("2"))], ..ROW },
    Row { section: "RFC 9725 4.2", when: "the same person does, and not silently", request: "POST /whip/math-7", who: Who::Teacher, headers: &[SDP], body: "offer", status: 409, problem: Some("already-publishing"), answer: &[("retry-after", Is("2"))], ..ROW },
    Row { section: "RFC 9725 4.7", when: "no token", request: "POST /whip/math-7", headers: &[SDP], body: "offer", live: false, status: 401, problem: Some("unauthenticated"), answer: &[("www-authenticate", Begins("Bearer"))], ..ROW },
    Row { section: "RFC 9725 4.7", when: "no grant", request: "POST /whip/math-7", who: Who::Viewer, headers: &[SDP], body: "offer", live: false, status: 403, problem: Some("not-allowed"), ..ROW },
    Row { section: "RFC 9725 4.7", when: "another room's token", request: "POST /whip/math-7", who: Who::Elsewhere, headers: &[SDP], body: "offer", live: false, status: 403, problem: Some("wrong-room"), ..ROW },
    // WHIP: the session.
    Row { section: "RFC 9725 4.3", when: "a preflight, without a token", request: "OPTIONS {whip}", headers: &[PREFLIGHT], status: 204, answer: &[("accept-patch", Is("application/trickle-ice-sdpfrag")), ("access-control-allow-methods", Is(METHODS))], ..ROW },
    Row { section: "RFC 9725 4.1", when: "its owner looks", request: "GET {whip}", who: Who::Teacher, status: 204, answer: &[("etag", Begins("\""))], ..ROW },
    Row { section: "RFC 9725 4.3.2", when: "trickle: mDNS, TCP and names without an address are passed over", request: "PATCH {whip}", who: Who::Teacher, headers: &[FRAGMENT, NOW], body: "trickle", status: 204, answer: &[("etag", Absent)], ..ROW },
    Row { section: "RFC 9725 4.3.2", when: "trickle for whichever ICE session", request: "PATCH {whip}", who: Who::Teacher, headers: &[FRAGMENT, ANY], body: "trickle", status: 204, answer: &[("etag", Absent)], ..ROW },
    Row { section: "RFC 9725 4.3.3", when: "restart", request: "PATCH {whip}", who: Who::Teacher, headers: &[FRAGMENT, ANY], body: "restart", status: 200,
        answer: &[("content-type", Is("application/trickle-ice-sdpfrag")), ("etag", Begins("\""))], says: &["a=ice-ufrag:", "a=ice-pwd:", "a=candidate:", "a=ice-lite"], ..ROW },
    Row { section: "RFC 9725 4.3.3", when: "restart, as its example spells it", request: "PATCH {whip}", who: Who::Teacher, headers: &[FRAGMENT, ("if-match", "\"*\"")], body: "restart", status: 200, answer: &[("etag", Begins("\""))], ..ROW },
    Row { section: "RFC 9725 4.3.3", when: "restart with the present ETag: the ufrag decides", request: "PATCH {whip}", who: Who::Teacher, headers: &[FRAGMENT, NOW], body: "restart", status: 200, answer: &[("etag", Begins("\""))], ..ROW },
    Row { section: "RFC 9725 4.3.1", when: "no `If-Match`", request: "PATCH {whip}", who: Who::Teacher, headers: &[FRAGMENT], body: "trickle", status: 428, problem: Some("etag-missing"), ..ROW },
    Row { section: "RFC 9725 4.3.1", when: "no `If-Match`, and `whip.lenient_patch`", request: "PATCH {whip}", who: Who::Teacher, headers: &[FRAGMENT], body: "trickle", lenient: true, status: 204, ..ROW },
    Row { section: "RFC 9725 4.3.1", when: "restart without `If-Match`, and `whip.lenient_patch`", request: "PATCH {whip}", who: Who::Teacher, headers: &[FRAGMENT], body: "restart", lenient: true, status: 200, ..ROW },
    Row { section: "RFC 9725 4.3.1", when: "an earlier ETag, and `whip.lenient_patch`", request: "PATCH {whip}", who: Who::Teacher, headers: &[FRAGMENT, ("if-match", "\"earlier\"")], body: "trickle", lenient: true, status: 412, problem: Some("etag-stale"), ..ROW },
    Row { section: "RFC 9725 4.3.1", when: "an earlier ETag", request: "PATCH {whip}", who: Who::Teacher, headers: &[FRAGMENT, ("if-match", "\"earlier\"")], body: "trickle", status: 412, problem: Some("etag-stale"), ..ROW },
    Row { section: "RFC 9725 4.3.1", when: "a weak tag never matches", request: "PATCH {whip}", who: Who::Teacher, headers: &[FRAGMENT, ("if-match", "W/{etag}")], body: "trickle", status: 412, problem: Some("etag-stale"), ..ROW },
    Row { section: "RFC 9725 4.3", when: "another media type", request: "PATCH {whip}", who: Who::Teacher, headers: &[SDP, ANY], body: "answer", status: 415, problem: Some("wrong-type"), ..ROW },
    Row { section: "RFC 9725 4.3", when: "no fragment", request: "PATCH {whip}", who: Who::Teacher, headers: &[FRAGMENT, ANY], body: "hello", status: 400, problem: Some("bad-sdp"), ..ROW },
    Row { section: "RFC 9725 4.2", when: "its owner ends it, whatever `If-Match` says", request: "DELETE {whip}", who: Who::Teacher, headers: &[("if-match", "\"earlier\"")], status: 200, ..ROW },
    Row { section: "RFC 9725 4.2", when: "a moderator ends it", request: "DELETE {whip}", who: Who::Admin, status: 200, ..ROW },
    Row { section: "RFC 9725 4.2", when: "no such session", request: "DELETE /whip/math-7/main/AAAAAAAAAAAAAAAAAAAAAA", who: Who::Teacher, status: 404, problem: Some("unknown-session"), ..ROW },
    Row { section: "RFC 9725 5", when: "another person's session", request: "DELETE {whip}", who: Who::Other, status: 403, problem: Some("not-allowed"), ..ROW },
    Row { section: "RFC 9725 5", when: "no token", request: "DELETE {whip}", status: 401, problem: Some("unauthenticated"), ..ROW },
    Row { section: "RFC 9725 5", when: "no real token", request: "PATCH {whip}", who: Who::Junk, headers: &[FRAGMENT, ANY], body: "restart", status: 401, problem: Some("unauthenticated"), ..ROW },
    // WHEP.
    Row { section: "WHEP 4.2", when: "a preflight, without a token", request: "OPTIONS /whep/math-7", headers: &[PREFLIGHT], status: 204, answer: &[("accept-post", Is("application/sdp")), ("access-control-expose-headers", Is(EXPOSED))], ..ROW },
    Row { section: "WHEP 4.1", when: "what is there", request: "GET /whep/math-7", status: 204, ..ROW },
    Row { section: "WHEP 4.1", when: "whether WHEP is there", request: "HEAD /whep/math-7", status: 200, answer: &[("content-type", Is("application/sdp"))], ..ROW },
    Row { section: "WHEP 4.2.1", when: "somebody watches", request: "POST /whep/math-7", who: Who::Viewer, headers: &[SDP], body: "offer", status: 201,
        answer: &[("content-type", Is("application/sdp")), ("location", Begins("/whep/math-7/main/")), ("etag", Begins("\"")), ("accept-patch", Is("application/trickle-ice-sdpfrag, application/sdp")),
            ("link", Begins("</whep/math-7/main/")), ("link", Begins("<stun:stun.example.net>; rel=\"ice-server\""))], says: &["a=sendonly", "a=setup:passive", "a=msid:main "], ..ROW },
    Row { section: "WHEP 4.2", when: "nobody publishes", request: "POST /whep/math-7", who: Who::Viewer, headers: &[SDP], body: "offer", live: false, status: 409, problem: Some("not-live"), answer: &[("retry-after", Is("2"))], ..ROW },
    Row { section: "WHEP 4.2", when: "the publisher's codec is not offered", request: "POST /whep/math-7", who: Who::Viewer, headers: &[SDP], body: "VP9 viewer", status: 422, problem: Some("no-common-codec"), ..ROW },
    Row { section: "WHEP 4.2", when: "another media type", request: "POST /whep/math-7", who: Who::Viewer, headers: &[("content-type", "text/plain")], body: "offer", status: 415, problem: Some("wrong-type"), ..ROW },
    Row { section: "WHEP 4.2.2", when: "nothing is offered", request: "POST /whep/math-7", who: Who::Viewer, status: 406,
        answer: &[("content-type", Begins("application/sdp; valid-until=\"")), ("location", Begins("/whep/math-7/main/")), ("etag", Begins("\"")), ("link", Begins("</whep/math-7/main/")), ("link", Begins("<stun:"))],
        says: &["a=sendonly", "a=setup:actpass", "a=rtcp-mux-only", "a=group:BUNDLE 0 1", "a=msid:main ", "a=ssrc-group:FID "], ..ROW },
    Row { section: "WHEP 4.2.2", when: "nothing is offered that could receive", request: "POST /whep/math-7", who: Who::Viewer, headers: &[SDP], body: "sendonly offer", status: 406, says: &["a=setup:actpass"], ..ROW },
    Row { section: "WHEP 4.2.2", when: "the answer to the node's offer", request: "PATCH {offer}", who: Who::Viewer, headers: &[SDP], body: "answer", status: 204, answer: &[("etag", Absent)], ..ROW },
    Row { section: "WHEP 4.2.2", when: "the answer, with `If-Match`", request: "PATCH {offer}", who: Who::Viewer, headers: &[SDP, ANY], body: "answer", status: 204, ..ROW },
    Row { section: "WHEP 4.2.2", when: "the answer to another ICE session", request: "PATCH {offer}", who: Who::Viewer, headers: &[SDP, ("if-match", "\"earlier\"")], body: "answer", status: 412, problem: Some("etag-stale"), ..ROW },
    Row { section: "WHEP 4.2.2", when: "no answer", request: "PATCH {offer}", who: Who::Viewer, headers: &[SDP], body: "hello", status: 400, problem: Some("bad-sdp"), ..ROW },
    Row { section: "WHEP 4.2.2", when: "a fragment before the answer", request: "PATCH {offer}", who: Who::Viewer, headers: &[FRAGMENT, ANY], body: "restart", status: 422, problem: Some("unsupported-offer"), ..ROW },
    Row { section: "WHEP 4.2.2", when: "an answer where nothing was offered", request: "PATCH {whep}", who: Who::Viewer, headers: &[SDP], body: "answer", status: 422, problem: Some("unsupported-offer"), ..ROW },
    Row { section: "WHEP 4.4.3", when: "restart", request: "PATCH {whep}", who: Who::Viewer, headers: &[FRAGMENT, ANY], body: "restart", status: 200, answer: &[("etag", Begins("\""))], ..ROW },
    Row { section: "WHEP 4.4.1", when: "no `If-Match`", request: "PATCH {whep}", who: Who::Viewer, headers: &[FRAGMENT], body: "restart", status: 428, problem: Some("etag-missing"), ..ROW },
    Row { section: "WHEP 4.3", when: "its owner ends it", request: "DELETE {whep}", who: Who::Viewer, status: 200, ..ROW },
    Row { section: "WHEP 4.3", when: "the token stands in the URL", request: "DELETE {whep}?token={viewer}", status: 200, ..ROW },
    Row { section: "WHEP 4.8", when: "another person's session", request: "DELETE {whep}", who: Who::Other, status: 403, problem: Some("not-allowed"), ..ROW },
    // WHEP: server-sent events.
    Row { section: "WHEP 4.9.1", when: "a stream of two events", request: "POST {whep}/sse", who: Who::Viewer, headers: &[("content-type", "application/json")], body: "[\"active\",\"viewercount\"]", status: 201, answer: &[("location", Begins("/whep/math-7/main/"))], ..ROW },
    Row { section: "WHEP 4.9.1", when: "a stream of every event", request: "POST {whep}/sse", who: Who::Viewer, status: 201, answer: &[("location", Begins("/whep/math-7/main/"))], ..ROW },
    Row { section: "WHEP 4.9.1", when: "no list of events", request: "POST {whep}/sse", who: Who::Viewer, headers: &[("content-type", "application/json")], body: "{\"events\":1}", status: 400, ..ROW },
    Row { section: "WHEP 4.9.1", when: "another media type", request: "POST {whep}/sse", who: Who::Viewer, headers: &[SDP], body: "[]", status: 415, problem: Some("wrong-type"), ..ROW },
    Row { section: "WHEP 4.9.1", when: "no such stream", request: "GET {whep}/sse/x", who: Who::Viewer, status: 404, ..ROW },
    Row { section: "WHEP 4.9.1", when: "another person's session", request: "POST {whep}/sse", who: Who::Other, status: 403, problem: Some("not-allowed"), ..ROW },
    Row { section: "WHEP 4.9.1", when: "no token", request: "GET {whep}/sse", status: 401, problem: Some("unauthenticated"), ..ROW },
    Row { section: "WHEP 4.9.1", when: "WHIP makes no streams of events", request: "POST {whip}/sse", who: Who::Teacher, status: 405, ..ROW },
    Row { section: "WHEP 4.9.1", when: "a preflight, without a token", request: "OPTIONS {whep}/sse", headers: &[PREFLIGHT], status: 204, answer: &[("accept-post", Is("application/json"))], ..ROW },
];
