//! Files as they are, with ranges, and in a sandbox: nothing in them may run.

use std::path::Path;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use tower_http::services::ServeFile;

use crate::page::content_type;
use crate::problem::Problem;

/// What a file of a run may load when it is opened by itself: pictures beside it.
const SANDBOX: &str = "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'; \
                       frame-ancestors 'self'";

/// A file.
pub(crate) async fn serve(path: &Path, request: Request<Body>) -> Response {
    if !path.is_file() {
        return Problem::not_found("there is no file of this name").into_response();
    }
    let Ok(answer) = ServeFile::new(path).try_call(request).await else {
        return Problem::not_found("the file cannot be read").into_response();
    };
    let mut response = answer.map(Body::new);
    let headers = response.headers_mut();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(&name)));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(SANDBOX));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// A segment of a path, decoded; the first is 0.
pub(crate) fn segment(path: &str, index: usize) -> Option<String> {
    decoded(path.trim_start_matches('/').split('/').nth(index)?)
}

/// All segments from one on, decoded.
pub(crate) fn rest(path: &str, from: usize) -> Option<String> {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').skip(from).collect();
    decoded(&parts.join("/"))
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_decoded_once() {
        assert_eq!(segment("/api/clips/run%3Aa%2Fb/file", 2).as_deref(), Some("run:a/b"));
        assert_eq!(rest("/api/runs/a/files/masks/x%20y.png", 4).as_deref(), Some("masks/x y.png"));
        assert_eq!(rest("/api/runs/a/files/%252e%252e/x", 4).as_deref(), Some("%2e%2e/x"));
        assert_eq!((segment("/a/%ff", 1), segment("/a/%4", 1)), (None, None));
    }
}
