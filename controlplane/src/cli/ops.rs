//! Asks a running node's ops port.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};

/// Longest wait for a port of this host.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Longest answer, bytes: far beyond any room.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// `GET path`: the status and the body.
///
/// HTTP/1.0, so the answer ends with the connection and needs no decoding (RFC 9112 section 6.3).
///
/// # Errors
/// When nobody listens there, or not in HTTP.
pub(super) fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)
        .with_context(|| format!("no node answers at {address}: start one, or name its `--ops`"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut answer)
        .context("the node stopped answering")?;
    let answer = String::from_utf8_lossy(&answer);
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("what listens at {address} does not speak HTTP");
    };
    let status = head
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .with_context(|| format!("what listens at {address} does not speak HTTP"))?;
    Ok((status, body.to_owned()))
}
