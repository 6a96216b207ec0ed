//! The description of the API, and a page that shows it.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Extension, Request};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use serde_json::{Value, json};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    Components, Content, Info, License, OpenApi, Ref, RefOr, ResponseBuilder, ServerBuilder, Tag,
};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::{docs, statuses};
use crate::admin::App;
use crate::admin::problem::{PROBLEM_JSON, Problem};

/// The name of the security scheme.
const BEARER: &str = "bearer";

/// In the words of SPDX.
const LICENSE: &str = env!("CARGO_PKG_LICENSE");

/// What the page may do: its own script and style, and the spec.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                           img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SCRIPT: &str = include_str!("docs/page.js");
const STYLE: &str = include_str!("docs/page.css");

/// The finished description, as JSON and as a page.
#[derive(Clone)]
pub(super) struct Document {
    json: Bytes,
    page: Bytes,
}

impl Document {
    /// Adds what holds for all routes: problems, and how one says who one is.
    pub(super) fn of(mut spec: OpenApi) -> Document {
        let components = spec.components.get_or_insert_with(Components::default);
        components.schemas.insert(Problem::name().into_owned(), Problem::schema());
        let bearer = Http::builder()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token of `privatelink-dns token create`, or an access token of Entra ID"))
            .build();
        components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
        let secret = ApiKeyValue::with_description("secret", "The secret of `[admin]` for events");
        components.add_security_scheme("event_secret", SecurityScheme::ApiKey(ApiKey::Query(secret)));
        spec.security = Some(vec![SecurityRequirement::new(BEARER, Vec::<String>::new())]);
        let problem = || {
            let schema = RefOr::Ref(Ref::from_schema_name(Problem::name()));
            let content = Content::new(Some(schema));
            ResponseBuilder::new()
                .description("What was wrong and what to do")
                .content(PROBLEM_JSON, content)
                .build()
        };
        let below_door = spec.paths.paths.iter_mut().filter(|(path, _)| path.starts_with("/api/v1"));
        for (_, path) in below_door {
            let operations =
                [&mut path.get, &mut path.put, &mut path.post, &mut path.delete, &mut path.patch];
            for operation in operations.into_iter().flatten() {
                let responses = &mut operation.responses.responses;
                responses.entry("default".to_owned()).or_insert_with(|| RefOr::T(problem()));
            }
        }
        let mut spec = serde_json::to_value(&spec).expect("a description is made of strings and numbers");
        for (path, item) in spec["paths"].as_object_mut().into_iter().flatten() {
            for (method, operation) in item.as_object_mut().into_iter().flatten() {
                statuses::complete(path, method, operation);
            }
        }
        refer_to_items(&mut spec["components"]["schemas"]);
        Document { json: spec.to_string().into(), page: docs::page(&spec).into() }
    }
}

/// Pages name the schema of their items, where utoipa writes it out once more.
fn refer_to_items(schemas: &mut Value) {
    let names: Vec<String> =
        schemas.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    for page in names.iter().filter(|name| name.starts_with("Page_")) {
        let item = page.trim_start_matches("Page_");
        if names.iter().any(|name| name == item) {
            let reference = json!({"$ref": format!("#/components/schemas/{item}")});
            schemas[page]["properties"]["items"]["items"] = reference;
        }
    }
}

/// What stands above the routes.
pub(super) fn description() -> OpenApi {
    let mut info = Info::new("privatelink-dns", env!("CARGO_PKG_VERSION"));
    info.license = Some(License::builder().name("MIT or Apache-2.0").identifier(Some(LICENSE)).build());
    info.description = Some(
        "Zones, records, forwarding and sync of a DNS server for Azure Private Link. When a write is answered, the \
         next DNS query sees it, and it is stored for good. Errors are problem details (RFC 9457), but for heads of \
         requests that are no HTTP (400) or too large (431), whose answers have no body, and for heads that come too \
         slowly, after which the connection ends; lists have pages (`limit`, `after`); what can change has an `ETag`."
            .to_owned(),
    );
    let mut spec = OpenApi::new(info, utoipa::openapi::Paths::new());
    let own =
        ServerBuilder::new().url("/").description(Some("The server that this description is read from"));
    spec.servers = Some(vec![own.build()]);
    let tag = |name: &str, about: &str| {
        let mut tag = Tag::new(name);
        tag.description = Some(about.to_owned());
        tag
    };
    spec.tags = Some(vec![
        tag("zones", "Which there are, whom they are for, and a zone as a master file"),
        tag(
            "record sets",
            "What is served: one name and type at a time. What operators write goes before what endpoints and files say",
        ),
        tag("changes", "Many changes at once, all or none; and who changed what, when and from where"),
        tag("forwarders", "Where names are asked that no zone holds; these rules lie over those of config"),
        tag("tokens", "Who may use this API"),
        tag("backup", "All that is kept, in one file"),
        tag("server", "Who the server takes you for"),
        tag("sync", "Sources of inventories, and the private endpoints that they list"),
        tag("networks", "By what clients are told apart"),
        tag("catalogue", "What is known of Azure's names"),
        tag("answers", "Why a question is answered as it is, and what is cached"),
        tag("probes", "Health and numbers; no token needed"),
    ]);
    spec
}

/// The spec and its page; none of them is part of the spec.
pub(super) fn routes() -> OpenApiRouter<App> {
    let asset = |media_type: &'static str, text: &'static str| {
        get(move || async move {
            ([(CONTENT_TYPE, media_type), (CONTENT_SECURITY_POLICY, PAGE_POLICY)], text).into_response()
        })
    };
    OpenApiRouter::new()
        .route("/", get(|| async { Redirect::temporary("/api/docs") }))
        .route("/api/openapi.json", get(document))
        .route("/api/docs", get(page))
        .route("/api/docs/page.js", asset("text/javascript; charset=utf-8", SCRIPT))
        .route("/api/docs/page.css", asset("text/css; charset=utf-8", STYLE))
}

/// Hands the document to its route; it exists only when all routes do.
pub(super) async fn with_document(document: Document, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(Arc::new(document));
    next.run(request).await
}

async fn document(document: Extension<Arc<Document>>) -> Response {
    ([(CONTENT_TYPE, "application/json")], document.json.clone()).into_response()
}

async fn page(document: Extension<Arc<Document>>) -> Response {
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, PAGE_POLICY)];
    (headers, document.page.clone()).into_response()
}
