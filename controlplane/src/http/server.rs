//! The listening side: ports, TLS, and the time limits of a connection.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;

use super::capacity::Capacity;
use super::idle::{IdleGuard, Idles};
use crate::config::{Network, TlsFiles};

/// Longest time a request's head may take, and longest silence between two requests of a connection.
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);

/// Longest request head, bytes: the longest token in a header twice over.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Requests that one HTTP/2 connection may have open.
const STREAMS_MAX: u32 = 64;

/// An HTTP/2 connection that does not answer a ping is closed after twice this.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// How long requests that run may take to end when the server stops.
const STOP_TIME_MAX: Duration = Duration::from_secs(1);

/// A bound port that serves nobody yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Tls>,
    trusted_proxies: Vec<Network>,
    capacity: Capacity,
}

/// The certificate in force; clones share it, so a reload reaches the running server.
#[derive(Clone, Debug)]
pub struct Tls {
    files: TlsFiles,
    config: RustlsConfig,
}

/// Stops a running server; clones stop the same one.
#[derive(Clone, Debug)]
pub struct Stop {
    handle: Handle<SocketAddr>,
}

impl Tls {
    /// Reads the certificate and its key.
    ///
    /// # Errors
    /// When one of the files cannot be read or they are no pair; the text names both.
    pub async fn load(files: TlsFiles) -> anyhow::Result<Tls> {
        check_readable(&files)?;
        let config = RustlsConfig::from_pem_file(&files.cert, &files.key)
            .await
            .with_context(|| not_a_pair(&files))?;
        Ok(Tls { files, config })
    }

    /// Reads both files again (SIGHUP). After an error the old certificate stays in force.
    ///
    /// # Errors
    /// As [`Tls::load`].
    pub async fn reload(&self) -> anyhow::Result<()> {
        check_readable(&self.files)?;
        self.config
            .reload_from_pem_file(&self.files.cert, &self.files.key)
            .await
            .with_context(|| not_a_pair(&self.files))
    }
}

fn check_readable(files: &TlsFiles) -> anyhow::Result<()> {
    for (flag, path) in [("--tls-cert", &files.cert), ("--tls-key", &files.key)] {
        std::fs::File::open(path)
            .with_context(|| format!("cannot read {flag} {}", Path::new(path).display()))?;
    }
    Ok(())
}

fn not_a_pair(files: &TlsFiles) -> String {
    format!(
        "{} and {} are not a certificate chain and its private key in PEM",
        files.cert.display(),
        files.key.display()
    )
}

impl Server {
    /// Takes the port; `flag` is the setting to name when that fails.
    ///
    /// # Errors
    /// When the port is taken, reserved or not of this host; the text says what to do.
    pub fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<Server> {
        let listener = match TcpListener::bind(address) {
            Ok(listener) => listener,
            Err(error) => bail!("{}", cannot_bind(flag, address, &error)),
        };
        listener
            .set_nonblocking(true)
            .context("cannot make a socket non-blocking")?;
        let address = listener
            .local_addr()
            .context("cannot read the bound address")?;
        Ok(Server {
            listener,
            address,
            tls: None,
            trusted_proxies: Vec::new(),
            capacity: Capacity::of_process(),
        })
    }

    /// The same port with HTTPS.
    #[must_use]
    pub fn tls(mut self, tls: Option<Tls>) -> Server {
        self.tls = tls;
        self
    }

    /// Connections from these networks are not counted by address: many people share them.
    #[must_use]
    pub fn trusted_proxies(mut self, networks: Vec<Network>) -> Server {
        self.trusted_proxies = networks;
        self
    }

    /// Holds no more connections than this; otherwise what the process's limit of descriptors leaves.
    #[must_use]
    pub fn capacity(mut self, capacity: Capacity) -> Server {
        self.capacity = capacity;
        self
    }

    /// Where it listens, with the real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until [`Stop::now`] of the returned handle; the future ends then. Needs a Tokio runtime.
    ///
    /// # Errors
    /// When the socket cannot be given to the runtime.
    pub fn serve(
        self,
        router: Router,
    ) -> anyhow::Result<(Stop, impl Future<Output = io::Result<()>> + Send)> {
        let handle = Handle::new();
        let mut server = axum_server::from_tcp(self.listener)?.handle(handle.clone());
        limit(server.http_builder());
        let guard = IdleGuard::new(Idles::new(self.trusted_proxies), self.capacity);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let running = async move {
            match self.tls {
                Some(tls) => {
                    let acceptor = RustlsAcceptor::new(tls.config).acceptor(guard);
                    server.acceptor(acceptor).serve(service).await
                }
                None => server.acceptor(guard).serve(service).await,
            }
        };
        Ok((Stop { handle }, running))
    }
}

impl Stop {
    /// Takes no connection from now on and ends those that run within a second.
    pub fn now(&self) {
        self.handle.graceful_shutdown(Some(STOP_TIME_MAX));
    }
}

fn limit(builder: &mut Builder<TokioExecutor>) {
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL);
}

/// What failed, why, and what to do.
fn cannot_bind(flag: &str, address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    let kind = error.kind();
    let fix = if kind == io::ErrorKind::AddrInUse {
        format!(
            "another program listens there. Choose another port with {flag}, or stop that program \
             (`ss -ltnp 'sport = :{port}'` names it)"
        )
    } else if kind == io::ErrorKind::PermissionDenied {
        format!(
            "ports below 1024 need CAP_NET_BIND_SERVICE. Choose another port with {flag}, or grant it \
             (`AmbientCapabilities=CAP_NET_BIND_SERVICE` in the systemd unit)"
        )
    } else if kind == io::ErrorKind::AddrNotAvailable {
        format!(
            "no interface of this host has that address. Choose one of `ip addr`, or 0.0.0.0 for all, \
             with {flag}"
        )
    } else {
        format!("{error}. Choose another address with {flag}")
    };
    format!("cannot listen on {address}: {fix}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    #[test]
    fn a_port_in_use_names_the_flag_and_the_way_to_find_the_culprit() {
        let first = Server::bind("--http", "127.0.0.1:0".parse().unwrap()).unwrap();
        let error = Server::bind("--http", first.address())
            .unwrap_err()
            .to_string();
        let port = first.address().port();
        assert!(error.starts_with(&format!(
            "cannot listen on 127.0.0.1:{port}: another program"
        )));
        assert!(
            error.contains("with --http") && error.contains(&format!("sport = :{port}")),
            "{error}"
        );
    }

    #[test]
    fn an_address_of_another_host_is_said_to_be_one() {
        let error = Server::bind("--ops", "192.0.2.1:0".parse().unwrap())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no interface of this host") && error.contains("--ops"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_server_answers_and_stops_when_told() {
        let server = Server::bind("--http", "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = server.address();
        let router = Router::new().route("/", axum::routing::get(|| async { "hello" }));
        let (stop, running) = server.serve(router).unwrap();
        let running = tokio::spawn(running);
        let mut client = TcpStream::connect(address).await.unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hello"),
            "{answer}"
        );
        stop.now();
        running.await.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    fn write_certificate(files: &TlsFiles) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&files.cert, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    }

    #[tokio::test]
    async fn a_renewed_certificate_is_taken_over_and_a_broken_one_is_not() {
        // Another test may have been first; there is only this one to install.
        let _installed = rustls::crypto::aws_lc_rs::default_provider()
            .install_default()
            .is_ok();
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles {
            cert: dir.path().join("c.pem"),
            key: dir.path().join("k.pem"),
        };
        write_certificate(&files);
        let tls = Tls::load(files.clone()).await.unwrap();
        let in_force = || tls.config.get_inner();
        let first = in_force();
        write_certificate(&files);
        tls.reload().await.unwrap();
        let second = in_force();
        assert!(!std::sync::Arc::ptr_eq(&first, &second));
        // A certificate that was renewed without its key.
        let key = std::fs::read(&files.key).unwrap();
        write_certificate(&files);
        std::fs::write(&files.key, key).unwrap();
        tls.reload().await.unwrap_err();
        assert!(std::sync::Arc::ptr_eq(&second, &in_force()));
    }

    #[tokio::test]
    async fn files_that_are_no_certificate_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles {
            cert: dir.path().join("c.pem"),
            key: dir.path().join("k.pem"),
        };
        let error = format!("{:#}", Tls::load(files.clone()).await.unwrap_err());
        assert!(
            error.contains("cannot read --tls-cert") && error.contains("c.pem"),
            "{error}"
        );
        std::fs::write(&files.cert, "x").unwrap();
        std::fs::write(&files.key, "x").unwrap();
        let error = format!("{:#}", Tls::load(files).await.unwrap_err());
        assert!(
            error.contains("are not a certificate chain and its private key"),
            "{error}"
        );
    }
}
