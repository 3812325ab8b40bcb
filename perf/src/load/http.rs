//! WHIP and WHEP requests (RFC 9725): an offer out, an answer and a session URL back.

use std::time::Duration;

use anyhow::{Context as _, bail};
use ureq::Agent;

/// A node that takes longer than this to answer an offer is broken.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest answer read.
const BODY_BYTES_MAX: u64 = 256 << 10;

/// The node's answer to a request, as far as anybody wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The value of `ETag`; empty when there was none.
    pub(crate) etag: String,
    pub(crate) body: String,
    location: Option<String>,
    retry_after: Duration,
}

/// A blocking client of one node.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    agent: Agent,
    base: String,
}

/// A session that was made by an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// The session's URL.
    pub(crate) url: String,
    /// The SDP answer.
    pub(crate) answer: String,
    /// The value of `ETag`, with its quotation marks; empty when there was none.
    pub(crate) etag: String,
}

/// Why an offer was not answered.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The stream is not live (yet), or the node is busy: the same offer may succeed later, after this long.
    Later(anyhow::Error, Duration),
    /// Nobody answers.
    Gone(anyhow::Error),
    /// Trying again does not help.
    Never(anyhow::Error),
}

impl Http {
    /// A client of the node at `base`, such as `http://127.0.0.1:8080`.
    pub(crate) fn new(base: &str) -> Http {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(REQUEST_TIMEOUT))
            .build();
        Http {
            agent: config.new_agent(),
            base: base.trim_end_matches('/').to_owned(),
        }
    }

    /// The same, with a connection for each request: one that was kept may lead to a process that is gone.
    pub(crate) fn unpooled(base: &str) -> Http {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(REQUEST_TIMEOUT))
            .max_idle_connections(0);
        Http {
            agent: config.build().new_agent(),
            ..Http::new(base)
        }
    }

    /// The same resource at this client's node, which may have moved to another port meanwhile.
    pub(crate) fn here(&self, url: &str) -> String {
        let path = url.splitn(4, '/').nth(3).unwrap_or_default();
        format!("{}/{path}", self.base)
    }

    /// Posts an offer to `/{endpoint}`.
    pub(crate) fn offer(
        &self,
        endpoint: &str,
        token: &str,
        offer: &str,
    ) -> Result<Session, Refused> {
        let url = format!("{}/{endpoint}", self.base);
        let headers = [("Content-Type", "application/sdp")];
        let answer = self
            .request("POST", &url, token, &headers, offer)
            .map_err(Refused::Gone)?;
        let (status, body) = (answer.status, &answer.body);
        match (status, &answer.location) {
            (201, Some(location)) => Ok(Session {
                url: self.absolute(location),
                answer: answer.body,
                etag: answer.etag,
            }),
            (201, None) => Err(Refused::Never(anyhow::anyhow!(
                "POST {url} answers 201 without Location"
            ))),
            (409 | 429 | 503, _) => Err(Refused::Later(
                anyhow::anyhow!("POST {url}: {status} {body}"),
                answer.retry_after,
            )),
            (status, _) => Err(Refused::Never(anyhow::anyhow!(
                "POST {url}: {status} {body}"
            ))),
        }
    }

    /// Ends a session.
    pub(crate) fn delete(&self, session: &str, token: &str) -> anyhow::Result<()> {
        let status = self.request("DELETE", session, token, &[], "")?.status;
        if !(200..300).contains(&status) {
            bail!("DELETE {session}: {status}");
        }
        Ok(())
    }

    /// Any request with a token; every status is an answer.
    ///
    /// # Errors
    /// When nobody answers.
    pub(crate) fn request(
        &self,
        method: &str,
        url: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> anyhow::Result<Answer> {
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        if !token.is_empty() {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = if body.is_empty() {
            self.agent.run(request.body(())?)
        } else {
            self.agent.run(request.body(body)?)
        };
        let mut response = sent.with_context(|| format!("{method} {url}"))?;
        let header = |name: &str| -> Option<String> {
            let value = response.headers().get(name)?;
            Some(value.to_str().ok()?.to_owned())
        };
        let (etag, location) = (header("etag").unwrap_or_default(), header("location"));
        let retry_after = header("retry-after").and_then(|seconds| seconds.parse().ok());
        let body = response
            .body_mut()
            .with_config()
            .limit(BODY_BYTES_MAX)
            .read_to_string()
            .with_context(|| format!("{method} {url}"))?;
        Ok(Answer {
            status: response.status().as_u16(),
            etag,
            body,
            location,
            retry_after: Duration::from_secs(retry_after.unwrap_or(0)),
        })
    }

    fn absolute(&self, location: &str) -> String {
        if location.starts_with("http://") || location.starts_with("https://") {
            location.to_owned()
        } else {
            format!("{}/{}", self.base, location.trim_start_matches('/'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    /// Answers one request with `response` and returns what was asked.
    fn serve(response: &'static str, ask: impl FnOnce(Http)) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut chunk = [0; 4096];
            while !request.ends_with(b"v=0\r\n") {
                let read = stream.read(&mut chunk).unwrap();
                assert!(read > 0, "the request ended early");
                request.extend_from_slice(&chunk[..read]);
            }
            stream.write_all(response.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        ask(Http::new(&base));
        server.join().unwrap()
    }

    #[test]
    fn an_offer_is_posted_with_its_token_and_the_session_is_absolute() {
        let request = serve(
            "HTTP/1.1 201 Created\r\nLocation: /whep/r/main/abc\r\nETag: \"e\"\r\nContent-Length: 4\r\n\r\nv=0\n",
            |http| {
                let session = http.offer("whep/r", "t0ken", "v=0\r\n").unwrap();
                assert!(session.url.starts_with("http://127.0.0.1:"));
                assert!(session.url.ends_with("/whep/r/main/abc"));
                assert_eq!(session.answer, "v=0\n");
                assert_eq!(session.etag, "\"e\"");
                let moved = Http::unpooled("http://127.0.0.1:9/");
                let there = moved.here(&session.url);
                assert_eq!(there, "http://127.0.0.1:9/whep/r/main/abc");
            },
        );
        let request = request.to_ascii_lowercase();
        assert!(request.starts_with("post /whep/r http/1.1"));
        assert!(request.contains("authorization: bearer t0ken"));
        assert!(request.contains("content-type: application/sdp"));
    }

    #[test]
    fn a_stream_that_is_not_live_may_be_asked_for_again_a_wrong_token_may_not() {
        serve(
            "HTTP/1.1 409 Conflict\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n",
            |http| {
                assert!(matches!(
                    http.offer("whep/r", "t", "v=0\r\n"),
                    Err(Refused::Later(_, after)) if after == Duration::from_secs(2)
                ))
            },
        );
        serve(
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
            |http| {
                assert!(matches!(
                    http.offer("whep/r", "t", "v=0\r\n"),
                    Err(Refused::Never(_))
                ))
            },
        );
    }
}
