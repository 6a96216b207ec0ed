//! Why Azure gave no token or no listing.

use std::path::PathBuf;
use std::time::Duration;

use super::super::arm::ArmError;
use super::super::private_dns::PrivateZoneError;

/// Longest text of others that a message repeats.
const REPEATED_CHARS_MAX: usize = 300;

/// Why Azure gave no token or no listing; no variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum AzureError {
    #[error("HTTPS cannot be set up: {0}")]
    Setup(String),
    #[error("{what} cannot be read from {}: {why}", path.display())]
    File { what: &'static str, path: PathBuf, why: String },
    #[error("the client certificate cannot sign")]
    Signing,
    #[error("the environment variable {0} is not set")]
    Environment(String),
    #[error("the Azure CLI gives no token: {0}")]
    Cli(String),
    #[error("the identity endpoint wants a key from {}, which is not one of Azure Arc's", path.display())]
    ArcKey { path: PathBuf },
    #[error("no token from {host}: {status} {code}: {message}")]
    Token { host: String, status: u16, code: String, message: String },
    #[error("no token from {host}: its answer is not understood")]
    TokenBody { host: String },
    #[error("{host} cannot be reached: {why}")]
    Unreachable { host: String, why: String },
    #[error("Azure says {status} {code}: {message}")]
    Refused { status: u16, code: String, message: String },
    #[error("Azure says {status} {code} and wants to be asked again in {} s", wait.as_secs())]
    Throttled { status: u16, code: String, wait: Duration },
    #[error("page {page} cannot be read")]
    Page { page: usize, source: ArmError },
    #[error("page {page} holds a text of more than {max} bytes")]
    LongText { page: usize, max: usize },
    #[error("a page is larger than {max} bytes")]
    LargePage { max: usize },
    #[error("the next page is said to be at {host}, which is not Azure Resource Manager's: it was not asked")]
    ForeignLink { host: String },
    #[error("page {page} leads back to a page before")]
    RepeatedLink { page: usize },
    #[error("the listing has more than {max} pages")]
    ManyPages { max: usize },
    #[error("the listing tells of {id}, which belongs elsewhere")]
    Stranger { id: String },
    #[error("the listing changed while it was read: {id} is there twice")]
    Duplicate { id: String },
    #[error(transparent)]
    PrivateZone(#[from] PrivateZoneError),
    #[error("the listing took longer than {} s", max.as_secs())]
    Slow { max: Duration },
    #[error("the identity sees no subscription: it needs a role in one")]
    NoSubscription,
    #[error("the subscriptions of the management group are told in part only")]
    Truncated,
    #[error("reading it met with a fault of this program")]
    Fault,
    #[error(
        "the identity no longer sees the subscription; if it is gone for good, exclude_subscriptions lets its \
         records go"
    )]
    Vanished,
}

/// The start of a text of others, on one line and without the secrets that it may repeat.
pub(super) fn repeated(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "…");
    }
    let printable = text.chars().map(|it| if it.is_control() { ' ' } else { it });
    printable.take(REPEATED_CHARS_MAX).collect::<String>().trim().to_owned()
}
