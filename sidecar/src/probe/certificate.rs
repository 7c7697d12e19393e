//! The certificate: who vouches for the server, and for how long.

use codec_sv2::Transport;

use super::greet::Greeting;
use super::report::{Cause, Diagnosis};
use super::run::Seen;
use super::time::{span, utc};
use crate::client::{Certificate, CertificateFault, ClientError};

/// Below this many seconds the rest of its validity is worth a word.
const SHORT: u32 = 60;

/// Judges the certificate at `now` (Unix seconds) for the authority of the URL, `None` when it
/// names none. First the signature, whatever the clocks say, then the time: which of the two is
/// wrong makes a different remedy.
pub(super) fn judge(
    greeting: Greeting,
    authority: Option<[u8; 32]>,
    now: u32,
) -> Result<Seen<Transport>, Diagnosis> {
    let Greeting { handshake, act2, certificate } = greeting;
    let Certificate { version, valid_from, not_valid_after } = certificate;
    if valid_from > not_valid_after {
        return Err(invalid(&format!(
            "it is valid from {} until {}: it ends before it begins",
            utc(valid_from),
            utc(not_valid_after)
        )));
    }
    let fault = certificate.fault(now);
    if let Some(CertificateFault::Version(version)) = fault {
        return Err(invalid(&format!("it has version {version}, known is 0")));
    }
    let inside = now.clamp(valid_from, not_valid_after);
    let transport = handshake.finish(&act2, inside).map_err(|error| match error {
        ClientError::Certificate(CertificateFault::WrongAuthority) => wrong(&certificate, now),
        other => invalid(&other.to_string()),
    })?;
    match fault {
        Some(CertificateFault::Expired { .. }) => {
            return Err(Diagnosis::new(
                Cause::CertificateExpired,
                format!(
                    "the server's certificate expired at {}, {} ago by the clock here",
                    utc(not_valid_after),
                    span(u64::from(now - not_valid_after))
                ),
                clocks(now, authority.is_some(), "hands out an old certificate, or its is slow"),
                "see that the clock here is right (`timedatectl`); if it is, the pool's operator \
                 must renew the certificate: look at the server's clock, then restart the \
                 listener",
            ));
        }
        Some(CertificateFault::NotYetValid { .. }) => {
            return Err(Diagnosis::new(
                Cause::CertificateNotYetValid,
                format!(
                    "the server's certificate is valid only from {}, in {} by the clock here",
                    utc(valid_from),
                    span(u64::from(valid_from - now))
                ),
                clocks(now, authority.is_some(), "has a clock that is fast"),
                "set the clock here (`timedatectl set-ntp true`); if it is right, the pool's \
                 operator must set the server's",
            ));
        }
        Some(CertificateFault::Version(_) | CertificateFault::WrongAuthority) | None => {}
    }
    Ok(good(transport, &certificate, authority.is_some(), now)
        .fact("version", u64::from(version))
        .fact("valid_from", u64::from(valid_from))
        .fact("not_valid_after", u64::from(not_valid_after))
        .fact("verified", authority.is_some()))
}

fn good(
    transport: Transport,
    certificate: &Certificate,
    verified: bool,
    now: u32,
) -> Seen<Transport> {
    let left = certificate.not_valid_after.saturating_sub(now);
    let signed = match verified {
        true => "signed by the key in the URL",
        false => "NOT VERIFIED (no key in the URL)",
    };
    let text = format!(
        "{signed}; valid from {} until {}, {} left",
        utc(certificate.valid_from),
        utc(certificate.not_valid_after),
        span(u64::from(left))
    );
    let mut seen = Seen::new(transport, text).fact("seconds_left", u64::from(left));
    if !verified {
        seen = seen.note(
            "who this server belongs to was not verified: the URL has no authority key, and a \
             certificate does not tell which key signed it. The pool's operator has the key: \
             `gopool-sv2 keygen` printed it, and `gopool-sv2 serve` logs the whole URL behind \
             \"miners type:\"",
        );
    }
    if left < SHORT {
        seen = seen.note(
            "the certificate ends soon: miners whose clock is fast refuse it; the server should \
             make a new one for each connection, or earlier",
        );
    }
    seen
}

fn wrong(certificate: &Certificate, now: u32) -> Diagnosis {
    let time = match certificate.fault(now) {
        Some(_) => format!(
            "; it is out of its time as well (valid from {} until {})",
            utc(certificate.valid_from),
            utc(certificate.not_valid_after)
        ),
        None => String::new(),
    };
    Diagnosis::new(
        Cause::WrongAuthority,
        format!("the server's certificate is not signed by the key in the URL{time}"),
        "it is a Stratum V2 server, but the URL is outdated or has another pool's key, or the \
         server was set up with a new key, or somebody on the way answers in the pool's place",
        "get the URL anew from the pool, by a way you trust (its operator: `gopool-sv2 serve` \
         logs it behind \"miners type:\"); do not mine here before the key fits. The same URL \
         without its key shows the rest, unverified",
    )
}

fn invalid(fault: &str) -> Diagnosis {
    Diagnosis::new(
        Cause::CertificateInvalid,
        format!("the server's certificate makes no sense: {fault}"),
        "the server is newer than this program, or its clock or configuration is off",
        "update this program; have the server's clock and the lifetime of its certificates \
         looked at",
    )
}

fn clocks(now: u32, verified: bool, server: &str) -> String {
    let signature = match verified {
        true => "its signature is good, so this is the right server",
        false => "whether the server is the right one is unknown (no key in the URL)",
    };
    format!("{signature}; either the clock here is wrong (it says {}) or the server {server}", {
        utc(now)
    })
}
