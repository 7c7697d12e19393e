//! What a probe reports: steps that went well, and the failure that ended it.

use std::fmt;
use std::time::Duration;

use crate::types::Kind;

/// A step of the way from an address to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The name of the host becomes addresses.
    Resolve,
    /// TCP.
    Connect,
    /// The Noise handshake.
    Handshake,
    /// The certificate in it.
    Certificate,
    /// SetupConnection.
    Setup,
    /// OpenStandardMiningChannel or OpenExtendedMiningChannel.
    Open,
    /// The first job one could work on.
    Job,
    /// A new tip after it.
    Tip,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Self; 8] = [
        Self::Resolve,
        Self::Connect,
        Self::Handshake,
        Self::Certificate,
        Self::Setup,
        Self::Open,
        Self::Job,
        Self::Tip,
    ];

    /// One word, lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::Certificate => "certificate",
            Self::Setup => "setup",
            Self::Open => "open",
            Self::Job => "job",
            Self::Tip => "tip",
        }
    }

    /// The program's exit code when it ends here: 10 to 17, part of its interface.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Resolve => 10,
            Self::Connect => 11,
            Self::Handshake => 12,
            Self::Certificate => 13,
            Self::Setup => 14,
            Self::Open => 15,
            Self::Job => 16,
            Self::Tip => 17,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One value that a step found out, for machines.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// Text; of the server's only printable ASCII.
    Text(String),
    /// A count, an id, Unix seconds, or bits.
    Number(u64),
    /// A difference in seconds, or a difficulty.
    Fraction(f64),
    /// Yes or no.
    Flag(bool),
}

impl From<&str> for Fact {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Fact {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Fact {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Fact {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u16> for Fact {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<f64> for Fact {
    fn from(number: f64) -> Self {
        Self::Fraction(number)
    }
}

impl From<bool> for Fact {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// Names and values. The names are part of the program's interface.
pub type Facts = Vec<(&'static str, Fact)>;

/// A step that went well.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Which.
    pub stage: Stage,
    /// The kind of channel its connection is for; `None` before there is one.
    pub channel: Option<Kind>,
    /// How long it took.
    pub elapsed: Duration,
    /// What it found, for people: one line.
    pub text: String,
    /// The same for machines.
    pub facts: Facts,
    /// What is worth a look although it is no failure, each a sentence or two.
    pub notes: Vec<String>,
}

/// What is wrong, as one word that tests and scripts can rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The name has no address, or there is nobody to ask for it.
    NameUnknown,
    /// Nothing listens on the port.
    PortClosed,
    /// No answer at all to the attempts to connect.
    ConnectTimeout,
    /// There is no way to the host.
    Unreachable,
    /// The system refused to connect for another reason.
    ConnectFailed,
    /// Connected, and then silence, whatever it is asked.
    Silent,
    /// It closed the connection instead of an answer.
    Closed,
    /// The connection was reset.
    Reset,
    /// Stratum V1.
    StratumV1,
    /// TLS.
    Tls,
    /// HTTP.
    Http,
    /// SSH.
    Ssh,
    /// Something that is none of those.
    NotStratumV2,
    /// The certificate is not signed by the key in the URL.
    WrongAuthority,
    /// The certificate's time has passed.
    CertificateExpired,
    /// The certificate's time has not begun.
    CertificateNotYetValid,
    /// The certificate makes no sense.
    CertificateInvalid,
    /// SetupConnection was refused; the code says why.
    SetupRefused,
    /// The opening of the channel was refused; the code says why.
    OpenRefused,
    /// A request got no answer in time.
    NoAnswer,
    /// Bytes or messages that a Stratum V2 server must not send.
    ProtocolBroken,
    /// The server wants its miners to connect elsewhere.
    Redirected,
    /// The server closed the channel; the code says why.
    ChannelClosed,
    /// A channel, and no work on it.
    NoJob,
    /// Work, and no new tip in the time given.
    NoTip,
}

impl Cause {
    /// The word, in lower case with hyphens. Part of the program's interface.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NameUnknown => "name-unknown",
            Self::PortClosed => "port-closed",
            Self::ConnectTimeout => "connect-timeout",
            Self::Unreachable => "unreachable",
            Self::ConnectFailed => "connect-failed",
            Self::Silent => "silent",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::StratumV1 => "stratum-v1",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Ssh => "ssh",
            Self::NotStratumV2 => "not-stratum-v2",
            Self::WrongAuthority => "wrong-authority",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateNotYetValid => "certificate-not-yet-valid",
            Self::CertificateInvalid => "certificate-invalid",
            Self::SetupRefused => "setup-refused",
            Self::OpenRefused => "open-refused",
            Self::NoAnswer => "no-answer",
            Self::ProtocolBroken => "protocol-broken",
            Self::Redirected => "redirected",
            Self::ChannelClosed => "channel-closed",
            Self::NoJob => "no-job",
            Self::NoTip => "no-tip",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A failure in words. What the server said is in it as printable ASCII only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// The word for it.
    pub cause: Cause,
    /// The server's error code, where it gave one; empty otherwise.
    pub code: String,
    /// What is wrong.
    pub what: String,
    /// Why that is likely, or what was seen.
    pub why: String,
    /// What to do.
    pub remedy: String,
}

impl Diagnosis {
    pub(super) fn new(
        cause: Cause,
        what: impl Into<String>,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (what, why, remedy) = (what.into(), why.into(), remedy.into());
        Self { cause, code: String::new(), what, why, remedy }
    }

    pub(super) fn with_code(mut self, code: &str) -> Self {
        code.clone_into(&mut self.code);
        self
    }
}

/// The failure that ended a probe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{stage}: {}", .diagnosis.what)]
pub struct Failure {
    /// Where it stopped; gives the exit code.
    pub stage: Stage,
    /// The kind of channel the connection was for; `None` before there was one.
    pub channel: Option<Kind>,
    /// How long the failed step took, further questions to the server included.
    pub elapsed: Duration,
    /// What is wrong.
    pub diagnosis: Diagnosis,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn exit_codes_are_distinct_and_none_of_those_in_use() {
        let codes: BTreeSet<u8> = Stage::ALL.into_iter().map(Stage::exit_code).collect();
        assert_eq!(codes.len(), Stage::ALL.len());
        // 0 good, 1 failed, 2 shells, 64 to 78 sysexits, 126 and more shells.
        assert!(codes.iter().all(|code| (3..64).contains(code)), "{codes:?}");
    }
}
