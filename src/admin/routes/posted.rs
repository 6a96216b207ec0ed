//! A POST of JSON that can be planned, and is done once under its key.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, OriginalUri, Request};
use axum::http::{Method, Uri};
use serde::Serialize;

use super::owned::{DryRun, once};
use crate::admin::body;
use crate::admin::budget::Share;
use crate::admin::extract::MaybeKey;
use crate::admin::problem::Problem;
use crate::admin::query::Query;
use crate::ledger::edit::Edit;
use crate::ledger::idempotency::IdempotencyKey;
use crate::ledger::{Mode, Who, Write};

/// What was sent, by whom, and how it is recognised when it comes again.
pub(super) struct Posted {
    pub who: Who,
    pub key: Option<IdempotencyKey>,
    pub bytes: Bytes,
    /// What the body takes of the memory for all; more may be taken for what is read out of it.
    pub memory: Arc<Share>,
    mode: Mode,
    method: Method,
    uri: Uri,
}

impl<S: Send + Sync> FromRequest<S> for Posted {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Posted, Problem> {
        let (mut parts, body) = request.into_parts();
        let who = Who::from_request_parts(&mut parts, state).await?;
        let Query(dry_run) = Query::<DryRun>::from_request_parts(&mut parts, state).await?;
        let MaybeKey(key) = MaybeKey::from_request_parts(&mut parts, state).await?;
        let method = parts.method.clone();
        // Behind the door the URI lacks the prefix of the API.
        let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |uri| &uri.0).clone();
        let memory = body::memory(&parts.extensions);
        let bytes = body::read(Request::from_parts(parts, body), &["application/json"]).await?;
        Ok(Posted { who, key, bytes, memory, mode: dry_run.mode(), method, uri })
    }
}

impl Posted {
    /// The write that it asks for, and what it is answered with again, beside revision and serials.
    pub(super) fn write(self, edits: Vec<Edit>, comment: Option<Arc<str>>, answer: &impl Serialize) -> Write {
        let once = once(self.key, &self.who, &self.method, &self.uri, &self.bytes, answer);
        Write { who: self.who, edits, comment, mode: self.mode, once }
    }
}
