//! A payment processor for the tests, made from our own copy of the protocol. It keeps what was
//! paid and tells all of it on each check, as the protocol wants it; the tests say what goes over
//! the stream.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// What is generated from `proto/cdk_payment_processor.proto`.
#[allow(missing_docs, clippy::large_enum_variant, clippy::enum_variant_names)]
pub mod rpc {
    include!(concat!(env!("OUT_DIR"), "/cdk_payment_processor.rs"));
}

use rpc::cdk_payment_processor_server::{CdkPaymentProcessor, CdkPaymentProcessorServer};
use rpc::incoming_payment_options::Options;
use rpc::payment_event_response::Event;
use rpc::payment_identifier::Value;

/// The version that the mint must say it speaks.
const VERSION: &str = "4.0.0";

/// One payment request and what was paid for it.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// The mint's quote.
    pub quote_id: String,
    /// NUT-20 key, hex.
    pub pubkey: Option<String>,
    /// Payments, by id.
    pub paid: Vec<(String, u64)>,
    /// When the mint asked for the payments.
    pub checks: Vec<Instant>,
}

#[derive(Debug)]
struct State {
    unit: String,
    orders: HashMap<String, Order>,
    streams: Vec<mpsc::Sender<Result<rpc::PaymentEventResponse, Status>>>,
}

/// The processor; keeps its orders when it is stopped and started again.
#[derive(Debug)]
pub struct Fake {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

#[derive(Debug)]
struct Service(Arc<Mutex<State>>);

impl Fake {
    /// Starts one that pays in `hash`; with mutual TLS when there is a folder of certificates.
    pub async fn start(tls: Option<&Path>) -> Self {
        Self::paying_in("hash", tls).await
    }

    /// Starts one that pays in another unit.
    pub async fn paying_in(unit: &str, tls: Option<&Path>) -> Self {
        let state = State { unit: unit.into(), orders: HashMap::new(), streams: Vec::new() };
        let mut fake = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            state: Arc::new(Mutex::new(state)),
            running: None,
        };
        fake.resume(tls).await;
        fake
    }

    /// Starts to listen again, where it did before.
    pub async fn resume(&mut self, tls: Option<&Path>) {
        let listener = TcpListener::bind(self.address).await.expect("a port");
        self.address = listener.local_addr().expect("an address");
        let mut server = Server::builder();
        if let Some(dir) = tls {
            let read = |name| std::fs::read(dir.join(name)).expect(name);
            let config = ServerTlsConfig::new()
                .identity(Identity::from_pem(read("server.pem"), read("server.key")))
                .client_ca_root(Certificate::from_pem(read("ca.pem")));
            server = server.tls_config(config).expect("certificates");
        }
        let service =
            CdkPaymentProcessorServer::with_interceptor(Service(self.state.clone()), version);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            server
                .add_service(service)
                .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
                    let _ = stopped.await;
                })
                .await
                .expect("served");
        });
        self.running = Some((stop, task));
    }

    /// Stops listening and ends every stream.
    pub async fn stop(&mut self) {
        let (stop, task) = self.running.take().expect("running");
        let _ = stop.send(());
        self.state().streams.clear();
        task.await.expect("ended");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test has failed in here")
    }

    /// The order of a quote: its identifier, and itself.
    pub fn order(&self, quote_id: &str) -> (String, Order) {
        let state = self.state();
        let found = state.orders.iter().find(|(_, order)| order.quote_id == quote_id);
        let (id, order) = found.expect("the mint has asked for it");
        (id.clone(), order.clone())
    }

    /// Pays, and keeps it, but nothing of it goes over the stream: the event got lost.
    pub fn keep(&self, quote_id: &str, payment_id: &str, amount: u64) {
        let (id, _) = self.order(quote_id);
        let mut state = self.state();
        let order = state.orders.get_mut(&id).expect("found before");
        if !order.paid.iter().any(|(paid, _)| paid == payment_id) {
            order.paid.push((payment_id.into(), amount));
        }
    }

    /// Pays: keeps it, and tells it over the stream.
    pub async fn pay(&self, quote_id: &str, payment_id: &str, amount: u64) {
        self.keep(quote_id, payment_id, amount);
        let (id, _) = self.order(quote_id);
        self.send(&id, payment_id, amount).await;
    }

    /// Tells of a payment over the stream that the mint has open; waits until it has one.
    pub async fn send(&self, identifier: &str, payment_id: &str, amount: u64) {
        let event = Event::PaymentReceived(payment(identifier, payment_id, amount));
        crate::programs::until("the mint opens its stream", || async {
            let streams = self.state().streams.clone();
            for stream in streams {
                let event = rpc::PaymentEventResponse { event: Some(event.clone()) };
                if stream.send(Ok(event)).await.is_ok() {
                    return true;
                }
            }
            false
        })
        .await;
    }
}

fn payment(identifier: &str, payment_id: &str, amount: u64) -> rpc::WaitIncomingPaymentResponse {
    rpc::WaitIncomingPaymentResponse {
        payment_identifier: Some(custom_id(identifier)),
        payment_amount: Some(rpc::AmountMessage { value: amount, unit: "hash".into() }),
        payment_id: payment_id.into(),
    }
}

fn custom_id(id: &str) -> rpc::PaymentIdentifier {
    rpc::PaymentIdentifier {
        r#type: rpc::PaymentIdentifierType::CustomId.into(),
        value: Some(Value::Id(id.into())),
    }
}

#[allow(clippy::result_large_err)] // the form of an interceptor
fn version(request: Request<()>) -> Result<Request<()>, Status> {
    match request.metadata().get("x-cdk-protocol-version") {
        Some(version) if version == VERSION => Ok(request),
        other => {
            Err(Status::failed_precondition(format!("version {VERSION} is due, not {other:?}")))
        }
    }
}

fn no_melting() -> Status {
    Status::unimplemented("nothing can be paid out")
}

#[tonic::async_trait]
impl CdkPaymentProcessor for Service {
    type WaitPaymentEventStream = ReceiverStream<Result<rpc::PaymentEventResponse, Status>>;

    async fn get_settings(
        &self,
        _: Request<rpc::EmptyRequest>,
    ) -> Result<Response<rpc::SettingsResponse>, Status> {
        let unit = self.0.lock().expect("state").unit.clone();
        let custom = HashMap::from([("ehash".to_owned(), "{}".to_owned())]);
        Ok(Response::new(rpc::SettingsResponse { unit, custom, ..Default::default() }))
    }

    async fn create_payment(
        &self,
        request: Request<rpc::CreatePaymentRequest>,
    ) -> Result<Response<rpc::CreatePaymentResponse>, Status> {
        let Some(Options::Custom(wanted)) = request.into_inner().options.and_then(|o| o.options)
        else {
            return Err(Status::invalid_argument("no custom method"));
        };
        if wanted.pubkey.is_none() {
            return Err(Status::invalid_argument("a quote must be locked to a key"));
        }
        let mut state = self.0.lock().expect("state");
        let id = format!("gp1q:{}", state.orders.len());
        let Order { paid, checks, .. } = Order::default();
        let order = Order { quote_id: wanted.quote_id, pubkey: wanted.pubkey, paid, checks };
        state.orders.insert(id.clone(), order);
        Ok(Response::new(rpc::CreatePaymentResponse {
            request: format!("ehash:{id}"),
            request_identifier: Some(custom_id(&id)),
            ..Default::default()
        }))
    }

    async fn check_incoming_payment(
        &self,
        request: Request<rpc::CheckIncomingPaymentRequest>,
    ) -> Result<Response<rpc::CheckIncomingPaymentResponse>, Status> {
        let identifier = request.into_inner().request_identifier;
        let Some(Value::Id(id)) = identifier.and_then(|identifier| identifier.value) else {
            return Err(Status::invalid_argument("no identifier of ours"));
        };
        let mut state = self.0.lock().expect("state");
        let order = state.orders.get_mut(&id).ok_or_else(|| Status::not_found("no order"))?;
        order.checks.push(Instant::now());
        let payments =
            order.paid.iter().map(|(paid, amount)| payment(&id, paid, *amount)).collect();
        Ok(Response::new(rpc::CheckIncomingPaymentResponse { payments }))
    }

    async fn wait_payment_event(
        &self,
        _: Request<rpc::EmptyRequest>,
    ) -> Result<Response<Self::WaitPaymentEventStream>, Status> {
        let (events, stream) = mpsc::channel(16);
        self.0.lock().expect("state").streams.push(events);
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn get_payment_quote(
        &self,
        _: Request<rpc::PaymentQuoteRequest>,
    ) -> Result<Response<rpc::PaymentQuoteResponse>, Status> {
        Err(no_melting())
    }

    async fn make_payment(
        &self,
        _: Request<rpc::MakePaymentRequest>,
    ) -> Result<Response<rpc::MakePaymentResponse>, Status> {
        Err(no_melting())
    }

    async fn check_outgoing_payment(
        &self,
        _: Request<rpc::CheckOutgoingPaymentRequest>,
    ) -> Result<Response<rpc::MakePaymentResponse>, Status> {
        Err(no_melting())
    }
}
