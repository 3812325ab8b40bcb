//! HTTPS: a certificate that is valid, for the name people use, and for a while yet.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

use super::super::controlplane;
use super::{Row, fail, ok, warn};
use crate::config::{Config, TlsFiles};
use crate::http::server::Tls;

/// A certificate that ends sooner should be renewed now.
const CERTIFICATE_TIME_MIN: Duration = Duration::from_secs(14 * 24 * 3600);

pub(super) fn https(config: &Config, now: SystemTime) -> Row {
    const NAME: &str = "certificate";
    if let Some(files) = &config.tls {
        if let Err(error) = load_tls(files) {
            return fail(
                NAME,
                format!("{error:#}"),
                "give --tls-cert a chain and --tls-key its key, both PEM",
            );
        }
        return match fs::read(&files.cert)
            .map_err(anyhow::Error::from)
            .and_then(|pem| Ok((expiry(&pem)?, names(&pem)?)))
        {
            Ok((_, names)) if !public_host(config).is_none_or(|host| covers(&names, host)) => fail(
                NAME,
                format!(
                    "is for {}, and public_url names another host",
                    names.join(", ")
                ),
                "get one for the host of public_url: browsers refuse any other",
            ),
            Ok((end, _)) => certificate(end, now),
            Err(error) => fail(
                NAME,
                format!("{error:#}"),
                "give --tls-cert a chain in PEM, the node's own first",
            ),
        };
    }
    let elsewhere = config
        .public_url
        .as_deref()
        .is_some_and(|url| url.starts_with("https://"));
    if elsewhere {
        ok(NAME, "none here; public_url says that a proxy speaks HTTPS")
    } else if config.http.ip().is_loopback() {
        ok(NAME, "none; not needed on localhost")
    } else {
        warn(
            NAME,
            "none: browsers give pages a camera only over https:// or on localhost",
            "set tls_cert and tls_key, or put an HTTPS proxy in front and set public_url",
        )
    }
}

/// The certificate and its key, as the node would take them.
pub(super) fn load_tls(files: &TlsFiles) -> anyhow::Result<Tls> {
    controlplane::install_crypto();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(Tls::load(files.clone()))
}

/// When the first certificate of a chain ends.
pub(super) fn expiry(pem: &[u8]) -> anyhow::Result<SystemTime> {
    let (pem, _) = Pem::read(io::Cursor::new(pem)).context("no certificate in PEM")?;
    let certificate = pem.parse_x509().context("not an X.509 certificate")?;
    let end_s = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    Ok(UNIX_EPOCH + Duration::from_secs(end_s))
}

pub(super) fn certificate(end: SystemTime, now: SystemTime) -> Row {
    const NAME: &str = "certificate";
    const RENEW: &str = "renew it, then SIGHUP: the node rereads it without a restart";
    match end.duration_since(now) {
        Err(_) => fail(NAME, "has expired", RENEW),
        Ok(left) => {
            let says = format!("ends in {} days", left.as_secs() / 86_400);
            if left < CERTIFICATE_TIME_MIN {
                warn(NAME, says, RENEW)
            } else {
                ok(NAME, says)
            }
        }
    }
}

/// The host by which `public_url` names this node.
pub(super) fn public_host(config: &Config) -> Option<&str> {
    let rest = config.public_url.as_deref()?.strip_prefix("https://")?;
    let authority = rest.split('/').next()?;
    match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next(),
        None => authority.split(':').next(),
    }
}

/// The names and addresses that a chain's first certificate is for (RFC 5280 section 4.2.1.6).
pub(super) fn names(pem: &[u8]) -> anyhow::Result<Vec<String>> {
    let (pem, _) = Pem::read(io::Cursor::new(pem)).context("no certificate in PEM")?;
    let certificate = pem.parse_x509().context("not an X.509 certificate")?;
    let alternatives = certificate
        .subject_alternative_name()
        .context("its names cannot be read")?;
    let names = alternatives
        .iter()
        .flat_map(|names| &names.value.general_names);
    Ok(names
        .filter_map(|name| {
            if let GeneralName::DNSName(name) = name {
                return Some((*name).to_owned());
            }
            let GeneralName::IPAddress(bytes) = name else {
                return None;
            };
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        })
        .collect())
}

/// RFC 9525 section 6.3: whole names, or `*` in place of the leftmost label.
pub(super) fn covers(names: &[String], host: &str) -> bool {
    names.iter().any(|name| {
        name.eq_ignore_ascii_case(host)
            || name.strip_prefix("*.").is_some_and(|parent| {
                host.split_once('.')
                    .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent))
            })
    })
}
