//! Routes: each is declared once, with its handler and the types that it takes and gives. The server and the `OpenAPI` page
//! are made of the same list.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use futures_util::StreamExt;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::problem::{Code, Problem};
use crate::studio::Studio;

/// The largest JSON or TOML that is taken.
const MOST_TEXT: u64 = 48 << 20;

/// So many bytes are read of what is too large, before that is said.
const DRAINED: usize = 64 << 20;
/// So long a client may send nothing in the middle of a request.
const PATIENCE: Duration = Duration::from_secs(30);

/// The state of every handler.
pub(crate) type Shared = Arc<Studio>;

/// Makes a schema, and keeps the types in it.
pub(crate) type Describe = fn(&mut SchemaGenerator) -> Schema;

/// A path with a method.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) about: &'static str,
    pub(crate) query: Option<Describe>,
    /// Content type and schema.
    pub(crate) body: Option<(&'static str, Option<Describe>)>,
    pub(crate) answer: (u16, &'static str, Option<Describe>),
    pub(crate) handler: MethodRouter<Shared>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.method, self.path)
    }
}

/// No query.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoQuery {}

/// A body without fields.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Empty {}

/// No body.
#[derive(Debug)]
pub(crate) struct NoBody;

/// A body of JSON, or an answer of it.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

/// An answer of JSON with another status than 200.
#[derive(Debug)]
pub(crate) struct With<T>(pub(crate) StatusCode, pub(crate) T);

/// A body of TOML.
#[derive(Debug)]
pub(crate) struct Toml(pub(crate) String);

/// A body of any bytes, in a file that is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Upload(pub(crate) tempfile::NamedTempFile);

/// An answer without content.
#[derive(Debug)]
pub(crate) struct Done;

/// An answer of bytes.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) content_type: &'static str,
    pub(crate) bytes: Vec<u8>,
    /// Whether the same address always gives the same.
    pub(crate) is_lasting: bool,
}

/// What a body can be read as.
pub(crate) trait Input: Sized + Send + 'static {
    /// The content type, and what is in it.
    const KIND: Option<(&'static str, Option<Describe>)>;

    /// Reads it.
    fn read(studio: &Studio, request: Request) -> impl Future<Output = Result<Self, Problem>> + Send;
}

/// What an answer can be made of.
pub(crate) trait Output: Send + 'static {
    /// Status, content type, and what is in it.
    const KIND: (u16, &'static str, Option<Describe>);

    /// Makes it.
    fn answer(self) -> Response;
}

fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl Input for NoBody {
    const KIND: Option<(&'static str, Option<Describe>)> = None;

    async fn read(_: &Studio, _: Request) -> Result<Self, Problem> {
        Ok(Self)
    }
}

impl<T: DeserializeOwned + JsonSchema + Send + 'static> Input for Json<T> {
    const KIND: Option<(&'static str, Option<Describe>)> = Some(("application/json", Some(schema_of::<T>)));

    async fn read(_: &Studio, request: Request) -> Result<Self, Problem> {
        content_type(&request, &["application/json"])?;
        let bytes = text(request).await?;
        let read = serde_json::from_slice(&bytes);
        read.map(Self).map_err(|error| Problem::malformed(format!("the request is no such JSON: {error}")))
    }
}

impl Input for Toml {
    const KIND: Option<(&'static str, Option<Describe>)> = Some(("application/toml", None));

    async fn read(_: &Studio, request: Request) -> Result<Self, Problem> {
        content_type(&request, &["application/toml", "text/plain"])?;
        let text = String::from_utf8(text(request).await?.into());
        text.map(Self).map_err(|_| Problem::malformed("the request is no text in UTF-8"))
    }
}

impl Input for Upload {
    const KIND: Option<(&'static str, Option<Describe>)> = Some(("application/octet-stream", None));

    async fn read(studio: &Studio, request: Request) -> Result<Self, Problem> {
        content_type(&request, &["application/octet-stream"])?;
        let _one = studio.uploading()?;
        let limit = studio.options.max_upload;
        if let Err(problem) = refuse_length(&request, limit) {
            drain(request.into_body().into_data_stream()).await;
            return Err(problem);
        }
        let file = tempfile::NamedTempFile::new_in(studio.place.incoming())?;
        let mut out = tokio::fs::File::from_std(file.reopen()?);
        let mut size = 0;
        let mut body = request.into_body().into_data_stream();
        while let Some(part) = next_part(&mut body).await? {
            size += part.len() as u64;
            if size > limit {
                drain(body).await;
                return Err(too_large(limit));
            }
            tokio::io::AsyncWriteExt::write_all(&mut out, &part).await?;
        }
        tokio::io::AsyncWriteExt::flush(&mut out).await?;
        Ok(Self(file))
    }
}

impl<T: Serialize + JsonSchema + Send + 'static> Output for Json<T> {
    const KIND: (u16, &'static str, Option<Describe>) = (200, "application/json", Some(schema_of::<T>));

    fn answer(self) -> Response {
        json(StatusCode::OK, &self.0)
    }
}

impl<T: Serialize + JsonSchema + Send + 'static> Output for With<T> {
    const KIND: (u16, &'static str, Option<Describe>) = (201, "application/json", Some(schema_of::<T>));

    fn answer(self) -> Response {
        json(self.0, &self.1)
    }
}

impl Output for Done {
    const KIND: (u16, &'static str, Option<Describe>) = (204, "", None);

    fn answer(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl Output for Blob {
    const KIND: (u16, &'static str, Option<Describe>) = (200, "application/octet-stream", None);

    fn answer(self) -> Response {
        let mut response = self.bytes.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        let cache = if self.is_lasting { "private, max-age=3600" } else { "no-cache" };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
        response
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => {
            let mut response = (status, bytes).into_response();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(error) => Problem::new(Code::Failed, error.to_string()).into_response(),
    }
}

fn content_type(request: &Request, wanted: &[&str]) -> Result<(), Problem> {
    let said =
        request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let said = said.split(';').next().unwrap_or_default().trim();
    if wanted.iter().any(|wanted| said.eq_ignore_ascii_case(wanted)) {
        return Ok(());
    }
    Err(Problem::new(Code::ContentType, format!("the content type must be {}", wanted[0])))
}

fn too_large(limit: u64) -> Problem {
    Problem::new(Code::TooLarge, format!("the request has more than {} MiB", limit >> 20))
}

/// Reads on for a while: a client that is cut off while it sends does not hear why.
async fn drain(mut body: BodyDataStream) {
    let mut left = DRAINED;
    while let Ok(Some(part)) = next_part(&mut body).await
        && left > part.len()
    {
        left -= part.len();
    }
}

fn refuse_length(request: &Request, limit: u64) -> Result<(), Problem> {
    let length = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit) { Err(too_large(limit)) } else { Ok(()) }
}

/// What comes next of a body, from a client that goes on sending.
async fn next_part(body: &mut BodyDataStream) -> Result<Option<Bytes>, Problem> {
    let part = timeout(PATIENCE, body.next()).await;
    let part = part.map_err(|_| Problem::malformed("the request stopped half-way; send it again"))?;
    part.transpose().map_err(|_| Problem::malformed("the request ended too early"))
}

async fn text(request: Request) -> Result<Bytes, Problem> {
    refuse_length(&request, MOST_TEXT)?;
    let mut body = request.into_body().into_data_stream();
    let mut text = Vec::new();
    while let Some(part) = next_part(&mut body).await? {
        if (text.len() + part.len()) as u64 > MOST_TEXT {
            return Err(too_large(MOST_TEXT));
        }
        text.extend_from_slice(&part);
    }
    Ok(text.into())
}

impl Route {
    /// A route whose handler may wait: it has a thread of its own while it works.
    pub(crate) fn new<P, Q, I, O>(
        method: &Method,
        path: &'static str,
        about: &'static str,
        handler: fn(&Shared, P, Q, I) -> Result<O, Problem>,
    ) -> Self
    where
        P: DeserializeOwned + Send + 'static,
        Q: DeserializeOwned + JsonSchema + Send + 'static,
        I: Input,
        O: Output,
    {
        let handle = move |State(studio): State<Shared>, request: Request| async move {
            let outcome = handled::<P, Q, I, O>(&studio, request, handler).await;
            outcome
                .map_or_else(|problem| problem.without(studio.place.runs()).into_response(), Output::answer)
        };
        let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
        Self {
            method: method.clone(),
            path,
            about,
            query: Some(schema_of::<Q>),
            body: I::KIND,
            answer: O::KIND,
            handler: on(filter, handle),
        }
    }

    /// A GET route whose handler takes the request as it is.
    pub(crate) fn raw<F>(
        path: &'static str,
        about: &'static str,
        content_type: &'static str,
        handler: fn(Shared, Request<Body>) -> F,
    ) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let handle = move |State(studio): State<Shared>, request: Request| handler(studio, request);
        Self {
            method: Method::GET,
            path,
            about,
            query: None,
            body: None,
            answer: (200, content_type, None),
            handler: on(MethodFilter::GET, handle),
        }
    }

    /// With the content type that the answer has.
    #[must_use]
    pub(crate) fn gives(mut self, content_type: &'static str) -> Self {
        self.answer.1 = content_type;
        self
    }
}

async fn handled<P, Q, I, O>(
    studio: &Shared,
    request: Request,
    handler: fn(&Shared, P, Q, I) -> Result<O, Problem>,
) -> Result<O, Problem>
where
    P: DeserializeOwned + Send + 'static,
    Q: DeserializeOwned + JsonSchema + Send + 'static,
    I: Input,
    O: Output,
{
    let (mut parts, body) = request.into_parts();
    let Path(path) = Path::<P>::from_request_parts(&mut parts, studio)
        .await
        .map_err(|_| Problem::not_found("there is nothing of this name"))?;
    let Query(query) = Query::<Q>::from_request_parts(&mut parts, studio)
        .await
        .map_err(|error| Problem::malformed(error.body_text()))?;
    let input = I::read(studio, Request::from_parts(parts, body)).await?;
    let studio = Arc::clone(studio);
    let work = spawn_blocking(move || handler(&studio, path, query, input)).await;
    work.map_err(|error| Problem::new(Code::Failed, format!("the request failed: {error}")))?
}
