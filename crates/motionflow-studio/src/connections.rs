//! Connections of browsers and programs.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

/// How long a request's head may take, and how long a connection may be idle.
const HEAD: Duration = Duration::from_secs(10);
/// How long to wait where the system has no connections left.
const PAUSE: Duration = Duration::from_millis(200);

/// Answers all who connect, until the process ends.
pub(crate) async fn answer(listener: TcpListener, router: Router) {
    let service = TowerToHyperService::new(router);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = http.serve_connection(TokioIo::new(stream), service.clone());
                // Who breaks a connection off has nothing to be told.
                tokio::spawn(async move { connection.await.ok() });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
