//! Parameters of a request's URI.

use axum::extract::{FromRequestParts, Query as AxumQuery};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::body::unknown_field;
use super::problem::{Kind, Problem};

/// Query parameters; unknown ones are refused if `T` denies them.
#[derive(Clone, Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query<T>, Problem> {
        match AxumQuery::<T>::try_from_uri(&parts.uri) {
            Ok(AxumQuery(query)) => Ok(Query(query)),
            Err(wrong) => Err(problem(&wrong.body_text())),
        }
    }
}

/// Tells the parameter from axum's text: "Failed to deserialize query string: name: why".
fn problem(text: &str) -> Problem {
    let why = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(text);
    let (parameter, why) = why.split_once(": ").filter(|(name, _)| !name.contains(' ')).unwrap_or(("", why));
    match (unknown_field(why), parameter) {
        (Some(name), _) => Problem::new(Kind::UnknownField, why.to_owned()).at(name),
        (None, "") => Problem::new(Kind::Invalid, why.to_owned()),
        (None, name) => Problem::invalid(name, why.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::page::{After, Limit};
    use axum::http::Request;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Filter {
        name: Option<String>,
        limit: Option<Limit>,
        #[expect(dead_code, reason = "only read")]
        after: Option<After>,
    }

    async fn read(uri: &str) -> Result<Filter, (u16, Option<String>)> {
        let (mut parts, ()) = Request::builder().uri(uri).body(()).unwrap().into_parts();
        let query = Query::from_request_parts(&mut parts, &()).await;
        query.map(|Query(it)| it).map_err(|problem| (problem.kind.status().as_u16(), problem.field))
    }

    #[tokio::test]
    async fn the_parameter_at_fault_is_named() {
        let filter = read("/?name=a%20b&limit=7").await.unwrap();
        assert_eq!((filter.name.as_deref(), filter.limit.unwrap().get()), (Some("a b"), 7));
        let at = |name: &str| Some((422, Some(name.to_owned())));
        assert_eq!(read("/?limit=1001").await.err(), at("limit"));
        assert_eq!(read("/?after=x").await.err(), at("after"));
        assert_eq!(read("/?nam=a").await.err(), at("nam"));
        assert_eq!(read("/?name=a&name=b").await.err().map(|it| it.0), Some(422));
    }
}
