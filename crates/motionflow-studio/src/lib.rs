//! The studio: the whole of `motionflow` in a browser, over an HTTP API that others use, too.
//!
//! [`Server::bind`] opens the runs folder, its queue and the address; [`Server::serve`] answers until the process ends. Jobs are
//! done by the engine on one thread ([`work`]); what they tell goes to the pages as server-sent events ([`events`]). Each route
//! is declared once with the types that it takes and gives ([`route`]), and the `OpenAPI` page is made of that ([`mod@openapi`]).

#![allow(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "every handler takes and gives what the router has"
)]
#![allow(clippy::struct_field_names, reason = "fields have their names in JSON")]
#![allow(rustdoc::private_intra_doc_links, reason = "this is read in the source")]

mod clips;
mod cluster;
mod comparisons;
mod connections;
mod events;
mod files;
mod general;
mod guard;
mod jobs;
mod looks;
mod many;
mod motion;
mod openapi;
mod page;
mod place;
mod problem;
mod prompts;
mod queue;
mod remote;
mod reports;
mod request;
mod route;
mod runs;
mod settings;
mod studio;
mod uploads;
mod watch;
mod work;

use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use axum::http::Method;
use axum::routing::MethodRouter;
use axum::{Router, middleware};
use motionflow_engine::error::Misuse;
use serde_json::Value;

use crate::problem::{Code, Problem};
use crate::route::{Json, NoBody, NoQuery, Route, Shared};
pub use crate::studio::Options;
use crate::studio::Studio;

/// Threads that answer; work that waits has threads of its own.
const ANSWERING: usize = 2;
/// Requests at work at once.
const WORKING: usize = 16;

/// A server that is bound to its address.
#[derive(Debug)]
pub struct Server {
    studio: Shared,
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Opens the folder, the queue and the address.
    ///
    /// # Errors
    /// When the address is not this machine's or taken, or the folder cannot be written to.
    pub fn bind(options: Options) -> Result<Self> {
        let Options { host, port, .. } = &options;
        let wanted = (host.trim_matches(['[', ']']), *port);
        let addresses = wanted.to_socket_addrs().map_err(|error| {
            Misuse(format!(
                "--host {host}: is no address: {error}; give one of this machine's, such as 127.0.0.1"
            ))
        })?;
        let addresses: Vec<SocketAddr> = addresses.collect();
        let listener = TcpListener::bind(addresses.as_slice()).with_context(|| {
            format!("{host}:{port}: cannot be listened at; give another --port or --host")
        })?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let studio = Arc::new(Studio::open(options, address.ip(), address.port())?);
        Ok(Self { studio, listener, address })
    }

    /// Where the page is, with the token where one is needed.
    pub fn url(&self) -> String {
        let host = match self.address.ip() {
            ip if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            ip => ip,
        };
        let address = SocketAddr::new(host, self.address.port());
        match &self.studio.door.token {
            Some(token) => format!("http://{address}/?token={token}"),
            None => format!("http://{address}/"),
        }
    }

    /// Answers, and does the jobs.
    ///
    /// # Errors
    /// When the system refuses threads.
    pub fn serve(self) -> Result<()> {
        let Self { studio, listener, .. } = self;
        let worker = Arc::clone(&studio);
        thread::Builder::new().name("work".to_owned()).spawn(move || {
            worker.get_ready();
            work::run(&worker);
        })?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(ANSWERING)
            .max_blocking_threads(WORKING)
            .enable_all()
            .build()?;
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            connections::answer(listener, router(studio)).await;
            Ok(())
        })
    }
}

/// Every route.
fn routes() -> Vec<Route> {
    let mut routes = general::routes();
    routes.push(Route::new(&Method::GET, "/api/openapi.json", "This page", openapi_page));
    routes.extend(clips::routes());
    routes.extend(uploads::routes());
    routes.extend(prompts::routes());
    routes.extend(looks::routes());
    routes.extend(motion::routes());
    routes.extend(settings::routes());
    routes.extend(jobs::routes());
    routes.extend(many::routes());
    routes.extend(watch::routes());
    routes.extend(cluster::routes());
    routes.extend(runs::routes());
    routes.extend(reports::routes());
    routes.extend(comparisons::routes());
    routes
}

fn router(studio: Shared) -> Router {
    let mut paths: Vec<(&'static str, MethodRouter<Shared>)> = Vec::new();
    for route in routes() {
        match paths.iter_mut().find(|(path, _)| *path == route.path) {
            Some((_, methods)) => *methods = std::mem::take(methods).merge(route.handler),
            None => paths.push((route.path, route.handler)),
        }
    }
    let mut router = Router::new();
    for (path, methods) in paths {
        router = router.route(
            path,
            methods.fallback(|| async { Problem::new(Code::Method, "this address takes no such method") }),
        );
    }
    router
        .fallback(page::serve)
        .layer(middleware::from_fn_with_state(Arc::clone(&studio), guard::guard))
        .with_state(studio)
}

fn openapi_page(_: &Shared, (): (), _: NoQuery, _: NoBody) -> Result<Json<Value>, Problem> {
    Ok(Json(openapi::page(&routes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_on_the_openapi_page_and_in_the_docs() {
        let page = openapi::page(&routes());
        let docs = include_str!("../../../docs/studio-api.md");
        for route in routes() {
            let path = route.path.replace("{*", "{");
            let operation = &page["paths"][&path][route.method.as_str().to_lowercase()];
            assert!(operation["summary"].is_string(), "{route:?}");
            assert!(docs.contains(&path), "{route:?}");
        }
        let text = page.to_string();
        for name in text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(page["components"]["schemas"][name].is_object(), "{name}");
        }
    }
}
