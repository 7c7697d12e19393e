//! The two ends of the mint of tests: its HTTP API, and its client of the payment processor.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use gopool_sv2_proto::cdk_payment_processor as cdk;
use gopool_sv2_proto::cdk_payment_processor::cdk_payment_processor_client as generated;
use gopool_sv2_proto::cdk_payment_processor::payment_event_response::Event;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::transport::{Channel, Endpoint};

use super::desk::{Desk, Fault};
use super::Settings;

pub(super) type Client = generated::CdkPaymentProcessorClient<Channel>;

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A call as the mint makes it: with the version of its protocol.
pub(super) fn call<T>(message: T, settings: &Settings) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let version = tonic::metadata::MetadataValue::from_static(settings.version);
    request.metadata_mut().insert("x-cdk-protocol-version", version);
    request
}

/// Connects to the processor; later it connects again by itself.
pub(super) async fn dial(settings: &Settings) -> Result<Client, String> {
    let to = settings.processor;
    let tls = settings.tls_dir.as_deref().map(client_config).transpose()?;
    let connector = tower::service_fn(move |_| {
        let tls = tls.clone();
        async move {
            let stream = TcpStream::connect(to).await?;
            let wire: Box<dyn Wire> = match tls {
                None => Box::new(stream),
                Some(tls) => {
                    let name = ServerName::IpAddress(to.ip().into());
                    Box::new(TlsConnector::from(tls).connect(name, stream).await?)
                }
            };
            Ok::<_, io::Error>(TokioIo::new(wire))
        }
    });
    let scheme = if settings.tls_dir.is_some() { "https" } else { "http" };
    let endpoint =
        Endpoint::from_shared(format!("{scheme}://{to}")).map_err(|e| format!("{e:?}"))?;
    let channel = endpoint.connect_with_connector(connector).await;
    channel.map(Client::new).map_err(|error| format!("{error:?}"))
}

fn client_config(directory: &Path) -> Result<Arc<ClientConfig>, String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let file = |name: &str| directory.join(name);
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(file("ca.pem")).map_err(|e| words(&e))?;
    roots.add(ca).map_err(|e| words(&e))?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| words(&e))?
        .with_root_certificates(roots);
    let mut config = match file("client.pem").exists() {
        false => config.with_no_client_auth(),
        true => {
            let chain = CertificateDer::from_pem_file(file("client.pem")).map_err(|e| words(&e))?;
            let key = PrivateKeyDer::from_pem_file(file("client.key")).map_err(|e| words(&e))?;
            config.with_client_auth_cert(vec![chain], key).map_err(|e| words(&e))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// What the processor can do.
pub(super) async fn settings(
    client: &mut Client,
    settings: &Settings,
) -> Result<cdk::SettingsResponse, String> {
    let found = client.get_settings(call(cdk::EmptyRequest {}, settings)).await;
    found.map(tonic::Response::into_inner).map_err(|status| status.to_string())
}

/// Listens for payments for ever, and opens the stream again when it ends.
pub(super) async fn wait_for_payments(desk: Arc<Desk>) {
    let (shortest, longest) = desk.settings().backoff;
    let mut pause = shortest;
    loop {
        let request = call(cdk::EmptyRequest {}, desk.settings());
        match desk.client().wait_payment_event(request).await {
            Ok(stream) => {
                pause = shortest;
                desk.count(|seen| seen.streams += 1);
                let mut stream = stream.into_inner();
                while let Ok(Some(event)) = stream.message().await {
                    if let Some(Event::PaymentReceived(payment)) = event.event {
                        desk.event(&payment);
                    }
                }
                desk.count(|seen| seen.streams_ended += 1);
            }
            Err(_) => {
                desk.count(|seen| seen.streams_refused += 1);
                pause = (pause * 2).min(longest);
            }
        }
        sleep(pause).await;
    }
}

/// Opens the HTTP API.
pub(super) async fn listen(
    settings: &Settings,
    desk: Arc<Desk>,
) -> Result<(SocketAddr, JoinHandle<()>), String> {
    let listener = TcpListener::bind(settings.listen).await.map_err(|e| e.to_string())?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    let task = tokio::spawn(async move {
        // They end with this task.
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream, Arc::clone(&desk)));
        }
    });
    Ok((address, task))
}

async fn serve(stream: TcpStream, desk: Arc<Desk>) {
    let wire: Box<dyn Wire> = match desk.settings().https.clone() {
        None => Box::new(stream),
        Some(config) => match TlsAcceptor::from(config).accept(stream).await {
            Ok(stream) => Box::new(stream),
            Err(_) => return,
        },
    };
    let answer = service_fn(move |request| answer(request, Arc::clone(&desk)));
    // A client that goes is nobody's fault.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(wire), answer).await;
}

/// A request that is not answered yet.
struct Open(Arc<Desk>);

impl Open {
    fn new(desk: Arc<Desk>) -> Self {
        desk.count(|seen| {
            seen.requests += 1;
            seen.requests_open += 1;
            seen.requests_at_once = seen.requests_at_once.max(seen.requests_open);
        });
        Self(desk)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.count(|seen| seen.requests_open -= 1);
    }
}

/// One HTTP request. An error cuts the connection.
async fn answer(
    request: Request<Incoming>,
    desk: Arc<Desk>,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let _open = Open::new(Arc::clone(&desk));
    let slow = desk.faults().slow;
    sleep(slow).await;
    let place = format!("/v1/mint/quote/{}", desk.settings().method);
    let (head, body) = request.into_parts();
    let rest = head.uri.path().strip_prefix(&place).map(str::to_owned);
    let said = match (head.method, rest.as_deref()) {
        (Method::POST, Some("")) => {
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            let is_json = head.headers.get("content-type").is_some_and(|t| t == "application/json");
            match serde_json::from_slice(&body) {
                Ok(body) if is_json => {
                    let said = desk.post(body).await;
                    let mut faults = desk.faults();
                    if faults.lose_answers > 0 {
                        faults.lose_answers -= 1;
                        return Err(io::Error::other("the answer is lost"));
                    }
                    said
                }
                _ => return Ok(plain(StatusCode::UNSUPPORTED_MEDIA_TYPE)),
            }
        }
        (Method::GET, Some(rest)) if rest.starts_with('/') => desk.get(&rest[1..]).await,
        _ => return Ok(plain(StatusCode::NOT_FOUND)),
    };
    let (status, body) = match said {
        Ok(body) => (StatusCode::OK, body),
        Err(Fault(code, detail)) => {
            (StatusCode::BAD_REQUEST, serde_json::json!({ "code": code, "detail": detail }))
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    Ok(response)
}

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"no")));
    *response.status_mut() = status;
    response
}
