//! Connections of both servers: accepted until the server stops, and closed if the client neither sends nor reads.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use igpt::{Error, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;
use tower_layer::Layer;

/// Interval between checks whether the server is to stop.
const GLANCE: Duration = Duration::from_millis(50);
/// Pause before connections are accepted again, after the system has refused one.
const BREATH: Duration = Duration::from_millis(200);

/// Time limits of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Time for the whole head of a request, and for a client to resume reading.
    pub(crate) client: Duration,
    /// Time for all open requests to finish, once the server is told to stop.
    pub(crate) grace: Duration,
}

/// Serves `router` at `listen` until `stop` is raised, then finishes open requests; returns whether all of them
/// finished.
///
/// `ready` receives the address.
///
/// # Errors
/// When the address is in use.
pub(crate) async fn serve(
    router: Router,
    listen: SocketAddr,
    stop: Arc<AtomicBool>,
    patience: Patience,
    ready: &mut dyn FnMut(SocketAddr),
) -> Result<bool> {
    let taken = |e| Error::Invalid(format!("{listen} can't be listened on ({e}): choose another address or port"));
    let listener = TcpListener::bind(listen).await.map_err(taken)?;
    ready(listener.local_addr().map_err(taken)?);
    let open = GracefulShutdown::new();
    tokio::select! {
        never = take_all(&listener, &router, &open, patience.client) => match never {},
        () = raised(stop) => {}
    }
    drop(listener);
    Ok(tokio::time::timeout(patience.grace, open.shutdown()).await.is_ok())
}

async fn take_all(listener: &TcpListener, router: &Router, open: &GracefulShutdown, patience: Duration) -> Infallible {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => take(stream, client, router.clone(), open, patience),
            Err(problem) => {
                tracing::warn!("a connection could not be taken: {problem}");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// Serves one connection in a task of its own.
fn take(stream: TcpStream, client: SocketAddr, router: Router, open: &GracefulShutdown, patience: Duration) {
    // Pixels are sent as they are drawn. If the option can't be set, they arrive a little later.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(patience));
    let service = TowerToHyperService::new(Extension(ConnectInfo(client)).layer(router));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let connection = open.watch(connection);
    // A connection's errors concern only its client.
    tokio::spawn(async move { connection.await.ok() });
}

/// Waits until `stop` is raised.
async fn raised(stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(GLANCE).await;
    }
}
