//! Secrets that do not show, and tokens that are fetched once.

use std::fmt;
use std::time::Duration;

use reqwest::header::HeaderValue;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// A new token is fetched this long before the old one ends, as Azure's own SDKs do.
const REFRESH_AHEAD: Duration = Duration::from_secs(300);

/// No token of Azure's lasts longer; who says so is not followed, nor can a clock count that far.
const LIFETIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// A text that is in no log and in no error.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, to be sent and nothing else.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(hidden)")
    }
}

/// What Azure knows the identity by, for a time.
#[derive(Clone, Debug)]
pub(super) struct Token {
    secret: Secret,
    expires: Instant,
    refresh: Instant,
}

impl Token {
    /// A token of which Azure says how long it lasts.
    pub(super) fn new(secret: Secret, lifetime: Duration) -> Token {
        let (now, lifetime) = (Instant::now(), lifetime.min(LIFETIME_MAX));
        // One that lasts less than the time ahead is not fetched with each request.
        let refresh = now + lifetime.saturating_sub(REFRESH_AHEAD).max(lifetime / 2);
        Token { secret, expires: now + lifetime, refresh }
    }

    /// The header's value; `None` when Azure's text is none.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.secret.reveal())).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// How long it lasts.
    pub(super) fn ends_in(&self) -> Duration {
        self.expires.saturating_duration_since(Instant::now())
    }

    pub(super) fn reveal(&self) -> &str {
        self.secret.reveal()
    }
}

/// The token in use.
#[derive(Default)]
pub(super) struct Tokens(Mutex<Option<Token>>);

impl Tokens {
    /// The token in use, fetched anew when it is about to end; who asks meanwhile waits for the same.
    pub(super) async fn get<E>(&self, fetch: impl AsyncFnOnce() -> Result<Token, E>) -> Result<Token, E> {
        let mut held = self.0.lock().await;
        let now = Instant::now();
        if let Some(token) = held.as_ref().filter(|token| now < token.refresh) {
            return Ok(token.clone());
        }
        match fetch().await {
            Ok(token) => Ok(held.insert(token).clone()),
            // The old one still serves while there is no new one.
            Err(error) => held.clone().filter(|token| now < token.expires).ok_or(error),
        }
    }

    /// Forgets a token that Azure refused, unless it has been replaced since.
    pub(super) async fn forget(&self, refused: &Token) {
        let mut held = self.0.lock().await;
        if held.as_ref().is_some_and(|token| token.secret == refused.secret) {
            *held = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_does_not_show() {
        let token = Token::new(Secret::new("eyJsecret"), Duration::from_secs(60));
        assert!(!format!("{token:?} {:?} {:?}", token.authorization(), token.secret).contains("eyJ"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_fetched_ahead_of_its_end_and_the_old_one_serves_while_there_is_no_new_one() {
        let tokens = Tokens::default();
        let new = |text: &'static str| {
            async move || Ok::<Token, &str>(Token::new(Secret::new(text), Duration::from_secs(3600)))
        };
        let reveal = |token: Result<Token, &'static str>| token.map(|token| token.reveal().to_owned());
        assert_eq!(reveal(tokens.get(new("a")).await).unwrap(), "a");
        tokio::time::advance(Duration::from_secs(3299)).await;
        assert_eq!(reveal(tokens.get(new("b")).await).unwrap(), "a");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(reveal(tokens.get(async || Err("down")).await).unwrap(), "a");
        assert_eq!(reveal(tokens.get(new("c")).await).unwrap(), "c");
        tokio::time::advance(Duration::from_secs(3601)).await;
        assert_eq!(reveal(tokens.get(async || Err("down")).await).unwrap_err(), "down");
    }
}
