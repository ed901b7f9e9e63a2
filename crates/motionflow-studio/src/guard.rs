//! Who may ask: the token, the names that the server answers to, and pages of its own alone.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::{Code, Problem};
use crate::route::Shared;

/// What the page may load: what the server has, and pictures that it draws itself.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src \
                           'self' blob:; connect-src 'self'; font-src 'self'; frame-src 'self'; form-action 'none'; base-uri \
                           'none'; frame-ancestors 'none'";
const COOKIE: &str = "motionflow_token";

/// The address that the server is reached at, and the token that it wants.
#[derive(Debug)]
pub(crate) struct Door {
    /// Names for `Host`, without the port.
    pub(crate) names: Vec<String>,
    pub(crate) port: u16,
    pub(crate) token: Option<String>,
    /// Whether it is bound to every address, so that any IP address is its own.
    pub(crate) is_everywhere: bool,
}

impl Door {
    /// Whether a `Host` header names this server.
    fn knows(&self, host: &str) -> bool {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
            _ => (host, Some(80)),
        };
        let name = name.trim_start_matches('[').trim_end_matches(']').to_lowercase();
        let is_address = self.is_everywhere && name.parse::<std::net::IpAddr>().is_ok();
        port == Some(self.port) && (is_address || self.names.contains(&name))
    }

    fn check(&self, method: &Method, headers: &HeaderMap, is_entry: bool) -> Result<(), Problem> {
        let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("\0"));
        let host = text(header::HOST).unwrap_or_default();
        if !self.knows(host) {
            let message = "the server does not answer under this name; open the address that it printed, or give the name with --host";
            return Err(Problem::new(Code::Host, message));
        }
        let is_own =
            |origin: &str| origin.strip_prefix("http://").is_some_and(|rest| rest.eq_ignore_ascii_case(host));
        let is_foreign = text(header::ORIGIN).is_some_and(|origin| !is_own(origin));
        let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
        let changes = !matches!(*method, Method::GET | Method::HEAD);
        if is_foreign || (changes && site.is_some_and(|site| !matches!(site, "same-origin" | "none"))) {
            return Err(Problem::new(Code::Origin, "the request comes from another site"));
        }
        let Some(token) = &self.token else { return Ok(()) };
        let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let cookies = text(header::COOKIE).unwrap_or_default().split(';');
        let cookie = cookies.filter_map(|pair| pair.trim().split_once('=')).find(|(name, _)| *name == COOKIE);
        let said = bearer.or(cookie.map(|(_, value)| value));
        if is_entry || said.is_some_and(|said| is_same(said, token)) {
            return Ok(());
        }
        Err(Problem::new(
            Code::Token,
            "the token is missing or wrong; open the address that the program printed",
        ))
    }
}

/// Compares without telling by its time where two texts differ.
fn is_same(one: &str, other: &str) -> bool {
    one.len() == other.len()
        && one.bytes().zip(other.bytes()).fold(0, |all, (one, other)| all | (one ^ other)) == 0
}

/// Lets in who may, and says what browsers may do with the answer.
pub(crate) async fn guard(State(studio): State<Shared>, request: Request, next: Next) -> Response {
    let door = &studio.door;
    let given = token_in(&request);
    let is_entry = match (&given, &door.token) {
        (Some(given), Some(token)) => is_same(given, token),
        _ => false,
    };
    let mut response = match door.check(request.method(), request.headers(), is_entry) {
        Err(problem) => problem.into_response(),
        Ok(()) if is_entry => entered(given.as_deref().unwrap_or_default()),
        Ok(()) => next.run(request).await,
    };
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set("content-security-policy", PAGE_POLICY);
    set("x-content-type-options", "nosniff");
    set("referrer-policy", "no-referrer");
    set("cross-origin-resource-policy", "same-origin");
    set("cross-origin-opener-policy", "same-origin");
    response
}

/// The token in the address of the page.
fn token_in(request: &Request) -> Option<String> {
    if request.uri().path() != "/" || *request.method() != Method::GET {
        return None;
    }
    let mut pairs = request.uri().query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == "token").map(|(_, value)| value.to_owned())
}

/// Keeps the token in a cookie, and takes it out of the address.
fn entered(token: &str) -> Response {
    let cookie = format!("{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/");
    let response = Response::builder().status(StatusCode::SEE_OTHER).header(header::LOCATION, "/");
    let response = response.header(header::SET_COOKIE, cookie).body(Body::empty());
    response.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(token: Option<&str>) -> Door {
        let names = ["127.0.0.1", "localhost", "::1"].map(str::to_owned).to_vec();
        Door { names, port: 7860, token: token.map(str::to_owned), is_everywhere: false }
    }

    fn code(door: &Door, method: &Method, headers: &[(&'static str, &'static str)]) -> Option<Code> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        door.check(method, &headers.collect(), false).err().map(|problem| problem.code)
    }

    #[test]
    fn other_names_and_sites_stay_out() {
        let door = door(None);
        for host in ["127.0.0.1:7860", "localhost:7860", "LOCALHOST:7860", "[::1]:7860"] {
            assert_eq!(code(&door, &Method::POST, &[("host", host)]), None, "{host}");
        }
        for host in [
            "evil.example:7860",
            "127.0.0.1",
            "127.0.0.1:80",
            "",
            "127.0.0.1.evil.example:7860",
            "10.0.0.1:7860",
        ] {
            assert_eq!(code(&door, &Method::GET, &[("host", host)]), Some(Code::Host), "{host}");
        }
        for origin in [
            "http://evil.example",
            "null",
            "https://127.0.0.1:7860",
            "http://127.0.0.1:7861",
            "http://127.0.0.1",
        ] {
            let headers = [("host", "127.0.0.1:7860"), ("origin", origin)];
            assert_eq!(code(&door, &Method::GET, &headers), Some(Code::Origin), "{origin}");
        }
        let own = [("host", "127.0.0.1:7860"), ("origin", "http://127.0.0.1:7860")];
        assert_eq!(code(&door, &Method::POST, &own), None);
        let cross = [("host", "127.0.0.1:7860"), ("sec-fetch-site", "cross-site")];
        assert_eq!(code(&door, &Method::POST, &cross), Some(Code::Origin));
        assert_eq!(code(&door, &Method::GET, &cross), None);
    }

    #[test]
    fn the_token_is_asked_for() {
        let door = door(Some("s3cret"));
        let with = |header: (&'static str, &'static str)| {
            code(&door, &Method::GET, &[("host", "localhost:7860"), header])
        };
        assert_eq!(with(("authorization", "Bearer s3cret")), None);
        assert_eq!(with(("cookie", "a=b; motionflow_token=s3cret")), None);
        for header in [("authorization", "Bearer s3cre"), ("cookie", "motionflow_token=x"), ("accept", "*/*")]
        {
            assert_eq!(with(header), Some(Code::Token), "{header:?}");
        }
    }
}
