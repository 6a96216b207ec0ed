//! Which subscriptions there are: all that the identity sees, or those of a management group.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::json;

use super::super::arm::ArmError;
use super::Azure;
use super::asking::{PAGES_MAX, Pages, Question, quota_resets_after};
use super::error::AzureError;
use super::http::Patience;
use super::trust;

/// Of the list of subscriptions.
pub(super) const SUBSCRIPTIONS_API_VERSION: &str = "2022-12-01";

/// Of Resource Graph.
const RESOURCE_GRAPH_API_VERSION: &str = "2022-10-01";

/// The most rows that Resource Graph gives at once (facts §4).
const ROWS_MAX: usize = 1000;

/// Ordered by a unique column, without which the pages may overlap (facts §4).
const QUERY: &str = "resourcecontainers | where type =~ 'microsoft.resources/subscriptions' | project subscriptionId, \
                     state = tostring(properties.state) | order by subscriptionId asc";

/// What became of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// Also when it is disabled or unpaid: what it has is still there.
    Lives,
    /// Azure says that it is gone, which to see no more of it does not prove.
    Deleted,
}

/// By id in lower case.
pub(super) type Found = BTreeMap<Arc<str>, Life>;

/// `GET /subscriptions`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subscriptions {
    value: Vec<Subscription>,
    next_link: Option<String>,
    /// Never beside a list, unless the list is not what it seems.
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subscription {
    subscription_id: String,
    #[serde(default)]
    state: Option<String>,
}

/// `POST /providers/Microsoft.ResourceGraph/resources`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GraphPage {
    data: Vec<Subscription>,
    /// A text: "true" or "false".
    #[serde(default)]
    result_truncated: String,
    #[serde(default, rename = "$skipToken")]
    skip_token: Option<String>,
}

impl Azure {
    /// All subscriptions that there are for the settings.
    pub(super) async fn discover(&self) -> Result<Found, AzureError> {
        let found = match &self.settings.management_group {
            Some(group) => self.subscriptions_of(group).await?,
            None => self.visible_subscriptions().await?,
        };
        if found.is_empty() { Err(AzureError::NoSubscription) } else { Ok(found) }
    }

    async fn visible_subscriptions(&self) -> Result<Found, AzureError> {
        let mut pages = Pages::of(self.url("/subscriptions", SUBSCRIPTIONS_API_VERSION));
        let mut found = Found::new();
        while let Some(bytes) = self.next_page(&mut pages, Patience::new(&self.settings)).await? {
            let page: Subscriptions = read(&bytes, pages.number())?;
            if page.error.is_some() {
                return Err(AzureError::Page { page: pages.number(), source: ArmError::Unrecognised });
            }
            for subscription in &page.value {
                found.extend([subscription.found(pages.number())?]);
            }
            pages.follow(page.next_link, self)?;
        }
        Ok(found)
    }

    /// The subscriptions below a management group, as Resource Graph knows them: maybe half a minute late.
    async fn subscriptions_of(&self, management_group: &str) -> Result<Found, AzureError> {
        let url = self.url("/providers/Microsoft.ResourceGraph/resources", RESOURCE_GRAPH_API_VERSION);
        let mut found = Found::new();
        let (mut token, mut tokens): (Option<String>, HashSet<String>) = Default::default();
        for page in 1..=PAGES_MAX {
            let mut options = json!({"$top": ROWS_MAX, "resultFormat": "objectArray"});
            if let Some(token) = &token {
                options["$skipToken"] = token.as_str().into();
            }
            let body = json!({"managementGroups": [management_group], "query": QUERY, "options": options});
            let question = Question::Post(&url, body.to_string());
            let answered = self.ask(question, Patience::new(&self.settings)).await?;
            let rows: GraphPage = read(&answered.body, page)?;
            for subscription in &rows.data {
                found.extend([subscription.found(page)?]);
            }
            token = rows.skip_token.filter(|token| !token.is_empty());
            match &token {
                None if rows.result_truncated.eq_ignore_ascii_case("true") => {
                    return Err(AzureError::Truncated);
                }
                None => return Ok(found),
                Some(token) if !tokens.insert(token.clone()) => {
                    return Err(AzureError::RepeatedLink { page });
                }
                Some(_) => {}
            }
            if let Some(wait) = quota_resets_after(&answered.headers)
                && !Patience::new(&self.settings).wait(Some(wait)).await
            {
                let code = "RateLimiting".to_owned();
                return Err(AzureError::Throttled { status: 429, code, wait });
            }
        }
        Err(AzureError::ManyPages { max: PAGES_MAX })
    }
}

impl Subscription {
    fn found(&self, page: usize) -> Result<(Arc<str>, Life), AzureError> {
        let is_deleted = self.state.as_deref().is_some_and(|state| state.eq_ignore_ascii_case("Deleted"));
        let life = if is_deleted { Life::Deleted } else { Life::Lives };
        Ok((trust::subscription_id(&self.subscription_id, page)?, life))
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8], page: usize) -> Result<T, AzureError> {
    serde_json::from_slice(bytes).map_err(|error| AzureError::Page { page, source: ArmError::from(error) })
}
