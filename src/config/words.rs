//! Values that are written as text. Those of lists are read apart from the list, so that errors tell which one is wrong.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::Deserialize;

use crate::dns::{Name, Rcode};
use crate::observe::AnswerPath;
use crate::telemetry::{LogFormat, did_you_mean, nearest};
use crate::{answer, privatelink, zone};

/// Response codes that have words are below this.
const RCODES_END: u16 = 32;

/// `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ClientRange(pub IpNet);

/// `0.0.0.0:53`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ListenAddress(pub SocketAddr);

/// `SERVFAIL`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RcodeWord(pub Rcode);

/// `cached`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PathWord(pub AnswerPath);

/// A domain or zone.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Domain(pub Name);

/// What `on_missing` may be.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum OnMissing {
    AskPublic,
    #[serde(rename = "nxdomain")]
    NxDomain,
}

/// What `public_names` may be.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PublicNames {
    Splice,
    Local,
}

/// What `private_reverse` may be.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PrivateReverse {
    Ask,
    Here,
}

/// What `log_format` may be.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    Text,
    Json,
}

/// What `cloud` may be.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Cloud {
    Public,
    UsGov,
    China,
    Custom,
}

/// What `kind` of a source may be.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SourceKind {
    Arm,
    Directory,
    PrivateDns,
}

/// What `credential` of live Azure may be.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Credential {
    ManagedIdentity,
    AzureArc,
    WorkloadIdentity,
    ClientSecret,
    ClientCertificate,
    AzureCli,
}

impl FromStr for ClientRange {
    type Err = String;

    fn from_str(text: &str) -> Result<ClientRange, String> {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        let range = text.parse::<IpNet>().or_else(|_| address());
        range.map(|range| ClientRange(range.trunc())).map_err(|_| {
            format!("`{text}` is no address range such as 10.0.0.0/8 or fd00::/8, and no address")
        })
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<ListenAddress, String> {
        text.parse()
            .map(ListenAddress)
            .map_err(|_| format!("`{text}` is no address with a port, such as 0.0.0.0:53 or [::]:53"))
    }
}

impl FromStr for RcodeWord {
    type Err = String;

    fn from_str(text: &str) -> Result<RcodeWord, String> {
        let known = || (0..RCODES_END).map(Rcode).filter(|rcode| !rcode.to_string().starts_with("RCODE"));
        let found = known().find(|rcode| rcode.to_string().eq_ignore_ascii_case(text));
        found.map(RcodeWord).ok_or_else(|| {
            let words: Vec<String> = known().map(|rcode| rcode.to_string()).collect();
            let near = nearest(text, words.iter().map(String::as_str));
            format!("`{text}` is no response code: {}{}", words.join(", "), did_you_mean(near.as_deref()))
        })
    }
}

impl FromStr for PathWord {
    type Err = String;

    fn from_str(text: &str) -> Result<PathWord, String> {
        let found = AnswerPath::ALL.into_iter().find(|path| path.word() == text);
        found.map(PathWord).ok_or_else(|| {
            let words = AnswerPath::ALL.map(AnswerPath::word);
            let near = nearest(text, words);
            format!("`{text}` is no path: {}{}", words.join(", "), did_you_mean(near.as_deref()))
        })
    }
}

impl TryFrom<String> for Domain {
    type Error = String;

    fn try_from(text: String) -> Result<Domain, String> {
        if text.is_empty() {
            return Err("a name is empty; the root is written as \".\"".to_owned());
        }
        text.parse().map(Domain).map_err(|error| format!("`{text}` is no name: {error}"))
    }
}

impl From<OnMissing> for zone::OnMissing {
    fn from(word: OnMissing) -> zone::OnMissing {
        match word {
            OnMissing::AskPublic => zone::OnMissing::AskPublic,
            OnMissing::NxDomain => zone::OnMissing::NxDomain,
        }
    }
}

impl From<PublicNames> for answer::PublicNames {
    fn from(word: PublicNames) -> answer::PublicNames {
        match word {
            PublicNames::Splice => answer::PublicNames::Splice,
            PublicNames::Local => answer::PublicNames::Local,
        }
    }
}

impl From<PrivateReverse> for answer::PrivateReverse {
    fn from(word: PrivateReverse) -> answer::PrivateReverse {
        match word {
            PrivateReverse::Ask => answer::PrivateReverse::Ask,
            PrivateReverse::Here => answer::PrivateReverse::Here,
        }
    }
}

impl From<Format> for LogFormat {
    fn from(word: Format) -> LogFormat {
        match word {
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        }
    }
}

impl From<Cloud> for privatelink::Cloud {
    fn from(word: Cloud) -> privatelink::Cloud {
        match word {
            Cloud::Public => privatelink::Cloud::Public,
            Cloud::UsGov => privatelink::Cloud::UsGov,
            Cloud::China => privatelink::Cloud::China,
            Cloud::Custom => privatelink::Cloud::Custom,
        }
    }
}
