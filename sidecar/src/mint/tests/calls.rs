//! What the processor answers to each call, and to calls that no honest mint makes.

use gopool_sv2_proto::cdk_payment_processor as cdk;
use gopool_sv2_proto::cdk_payment_processor::cdk_payment_processor_client as generated;
use gopool_sv2_proto::cdk_payment_processor::incoming_payment_options::Options;
use gopool_sv2_proto::cdk_payment_processor::payment_identifier::Value;
use serde_json::json;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use super::*;
use crate::mint::processor::{Asker, Wish, VERSION, VERSION_HEADER};

pub(super) type Client = generated::CdkPaymentProcessorClient<Channel>;

pub(super) async fn client(endpoint: &super::Endpoint) -> Client {
    let to = format!("http://{}", endpoint.address);
    Client::new(Endpoint::from_shared(to).unwrap().connect().await.unwrap())
}

/// A call of the version that is spoken here.
pub(super) fn call<T>(message: T) -> Request<T> {
    of_version(message, VERSION)
}

fn of_version<T>(message: T, version: &'static str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(VERSION_HEADER, MetadataValue::from_static(version));
    request
}

/// A request for a quote that is fine in everything but what `change` does to it.
fn create(
    change: impl FnOnce(&mut cdk::CustomIncomingPaymentOptions),
) -> cdk::CreatePaymentRequest {
    let mut options = cdk::CustomIncomingPaymentOptions {
        amount: Some(cdk::AmountMessage { value: 1, unit: "hash".into() }),
        quote_id: "019a0000-0000-7000-8000-000000000001".into(),
        pubkey: Some(KEYS[0].into()),
        ..Default::default()
    };
    change(&mut options);
    let options = Some(cdk::IncomingPaymentOptions { options: Some(Options::Custom(options)) });
    cdk::CreatePaymentRequest { options }
}

async fn start(wallet_quotes_per_s: u32) -> (Arc<Books>, super::Endpoint, Client) {
    let books = Arc::new(Books::default());
    let settings = Settings { wallet_quotes_per_s, ..settings() };
    let endpoint = super::Endpoint::open(&books, settings).await.unwrap();
    let client = client(&endpoint).await;
    (books, endpoint, client)
}

#[tokio::test]
async fn rejects_other_versions_of_the_protocol() {
    let (_, _endpoint, mut client) = start(1).await;
    for version in ["3.0.0", "4.0.1", "5.0.0", "4.0.0 "] {
        let refused = client.get_settings(of_version(cdk::EmptyRequest {}, version)).await;
        let status = refused.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        let said = status.message();
        assert!(said.contains(version.trim()) && said.contains(VERSION), "{said}");
    }
    let status = client.get_settings(Request::new(cdk::EmptyRequest {})).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("none"), "{status}");
    let status = client.create_payment(Request::new(create(|_| {}))).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let settings = client.get_settings(call(cdk::EmptyRequest {})).await.unwrap().into_inner();
    assert_eq!(settings.unit, "hash");
    assert_eq!(settings.custom, [("ehash".to_owned(), "{}".to_owned())].into());
}

#[tokio::test]
async fn rejects_a_mint_of_another_version_at_its_start() {
    let (_, endpoint, _) = start(1).await;
    let mint = Mint { version: "3.9.9", ..Mint::new(endpoint.address) };
    let error = FakeMint::start(mint, Database::default()).await.unwrap_err();
    assert!(error.contains("3.9.9") && error.contains(VERSION), "{error}");
}

#[tokio::test]
async fn rejects_payments_out() {
    let (_, _endpoint, mut client) = start(1).await;
    let quote = client.get_payment_quote(call(cdk::PaymentQuoteRequest::default())).await;
    let payment = client.make_payment(call(cdk::MakePaymentRequest::default())).await;
    let check = client.check_outgoing_payment(call(cdk::CheckOutgoingPaymentRequest::default()));
    let codes = [quote.unwrap_err(), payment.unwrap_err(), check.await.unwrap_err()];
    assert_eq!(codes.map(|status| status.code()), [Code::Unimplemented; 3]);
}

#[tokio::test]
async fn rejects_requests_that_make_no_quote() {
    let (books, endpoint, mut client) = start(100).await;
    let changes: [fn(&mut cdk::CustomIncomingPaymentOptions); 12] = [
        |options| options.amount.as_mut().unwrap().unit = "sat".into(),
        |options| options.quote_id.clear(),
        |options| options.quote_id = "a/../b".into(),
        |options| options.quote_id = "x".repeat(129),
        |options| options.pubkey = None,
        |options| options.pubkey = Some(String::new()),
        |options| options.pubkey = Some(KEYS[0][2..].into()),
        |options| options.pubkey = Some("ff".repeat(33)),
        |options| options.pubkey = Some(format!("02{}", "ff".repeat(32))),
        |options| options.extra_json = Some("{".into()),
        |options| options.extra_json = Some(format!("{{\"a\":{:?}}}", "x".repeat(5_000))),
        |options| options.extra_json = Some("[".repeat(4_000)),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let status = client.create_payment(call(create(change))).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{index}: {status}");
    }
    for options in [None, Some(cdk::IncomingPaymentOptions { options: None })] {
        let request = cdk::CreatePaymentRequest { options };
        let status = client.create_payment(call(request)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
    assert!(books.state().wishes.is_empty());
    assert_eq!(endpoint.figures.refused.load(std::sync::atomic::Ordering::Relaxed), 14);
    client.create_payment(call(create(|_| {}))).await.unwrap();
}

#[tokio::test]
async fn rejects_forged_tokens() {
    let (books, _endpoint, mut client) = start(100).await;
    books.ask("a", key(0));
    let good = secret().token("a", &key(0)).to_hex();
    let other_key = secret().token("a", &key(1)).to_hex();
    let other_name = secret().token("b", &key(0)).to_hex();
    let other_secret = QuoteSecret::new([8; 32]).token("a", &key(0)).to_hex();
    let long = "a".repeat(129);
    let long_token = secret().token(&long, &key(0)).to_hex();
    for extra in [
        json!({ "ref": "a", "tok": other_key }),
        json!({ "ref": "a", "tok": other_name }),
        json!({ "ref": "a", "tok": other_secret }),
        json!({ "ref": "a", "tok": &good[2..] }),
        json!({ "ref": "a", "tok": "" }),
        json!({ "ref": "a", "tok": null }),
        json!({ "ref": "a", "tok": 7 }),
        json!({ "ref": ["a"], "tok": good }),
        json!({ "tok": good }),
        json!({ "ref": long, "tok": long_token }),
    ] {
        let request = create(|options| options.extra_json = Some(extra.to_string()));
        let status = client.create_payment(call(request)).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{extra}");
    }
    // The right token with another key.
    let extra = Some(json!({ "ref": "a", "tok": good }).to_string());
    let request = create(|options| {
        options.extra_json.clone_from(&extra);
        options.pubkey = Some(KEYS[1].into());
    });
    let status = client.create_payment(call(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(books.state().wishes.is_empty());
    let request = create(|options| options.extra_json.clone_from(&extra));
    client.create_payment(call(request.clone())).await.unwrap();
    // Whoever saw it may say it again: the quote has its id.
    let status = client.create_payment(call(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn pool_made_quotes_keep_their_name_and_tell_no_token() {
    let (books, _endpoint, mut client) = start(0).await;
    books.ask("gp1q:a", key(0));
    let tok = secret().token("gp1q:a", &key(0)).to_hex();
    let extra = json!({ "ref": "gp1q:a", "tok": tok, "else": { "x": [1] } }).to_string();
    let request = create(|options| options.extra_json = Some(extra));
    let made = client.create_payment(call(request)).await.unwrap().into_inner();
    assert!(!format!("{made:?}").contains(&tok));
    assert_eq!(made.extra_json, None);
    assert_eq!((made.request.as_str(), made.expiry), ("ehash:gp1q:a", Some(2_000_000_000)));
    let identifier = made.request_identifier.unwrap();
    assert_eq!(identifier.r#type, i32::from(cdk::PaymentIdentifierType::CustomId));
    assert_eq!(identifier.value, Some(Value::Id("gp1q:a".into())));
    let wish = Wish {
        quote_id: "019a0000-0000-7000-8000-000000000001".into(),
        payout_key: key(0),
        asker: Asker::Pool { reference: "gp1q:a".into() },
    };
    assert_eq!(books.state().wishes, [wish]);
}

#[tokio::test]
async fn wallet_made_quotes_never_choose_their_name() {
    let (books, _endpoint, mut client) = start(100).await;
    for extra in [None, Some("{}"), Some("null"), Some("[]"), Some(r#"{"ref":"a","x":1}"#)] {
        let request = create(|options| options.extra_json = extra.map(str::to_owned));
        let made = client.create_payment(call(request)).await.unwrap().into_inner();
        assert!(made.request.starts_with("ehash:gp1q:wallet"), "{made:?}");
    }
    assert!(books.state().wishes.iter().all(|wish| wish.asker == Asker::Wallet));
    let (books, _endpoint, mut client) = start(0).await;
    let status = client.create_payment(call(create(|_| {}))).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(books.state().wishes.is_empty());
}

#[tokio::test]
async fn survives_books_that_refuse_or_fail() {
    let (books, _endpoint, mut client) = start(100).await;
    books.ask("mine", key(1));
    let pool = |reference: &str| {
        let tok = secret().token(reference, &key(0)).to_hex();
        let extra = json!({ "ref": reference, "tok": tok }).to_string();
        call(create(|options| options.extra_json = Some(extra)))
    };
    let status = client.create_payment(pool("unheard")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let status = client.create_payment(pool("mine")).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    books.state().broken = true;
    let status = client.create_payment(call(create(|_| {}))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let status = client.check_incoming_payment(check("mine")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    books.state().broken = false;
    client.create_payment(call(create(|_| {}))).await.unwrap();
}

fn check(identifier: &str) -> Request<cdk::CheckIncomingPaymentRequest> {
    let request_identifier = Some(cdk::PaymentIdentifier {
        r#type: cdk::PaymentIdentifierType::CustomId.into(),
        value: Some(Value::Id(identifier.to_owned())),
    });
    call(cdk::CheckIncomingPaymentRequest { request_identifier })
}

#[tokio::test]
async fn answers_a_check_with_all_that_was_ever_sent_on_the_quote() {
    let (books, _endpoint, mut client) = start(1).await;
    books.send("a", "p1", 5);
    books.send("b", "p2", 6);
    books.send("a", "p3", 7);
    books.confirm("p1");
    let paid = client.check_incoming_payment(check("a")).await.unwrap().into_inner().payments;
    let told: Vec<_> = paid
        .iter()
        .map(|payment| {
            let amount = payment.payment_amount.as_ref().unwrap();
            assert_eq!(payment.payment_identifier, check("a").into_inner().request_identifier);
            (payment.payment_id.as_str(), amount.value, amount.unit.as_str())
        })
        .collect();
    assert_eq!(told, [("p1", 5, "hash"), ("p3", 7, "hash")]);
    let none = client.check_incoming_payment(check("unheard")).await.unwrap().into_inner();
    assert!(none.payments.is_empty());
    let mut other = check("a");
    other.get_mut().request_identifier.as_mut().unwrap().r#type =
        cdk::PaymentIdentifierType::QuoteId.into();
    let nothing = call(cdk::CheckIncomingPaymentRequest::default());
    for request in [other, nothing] {
        let status = client.check_incoming_payment(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn rejects_messages_that_are_too_long() {
    let (_, _endpoint, mut client) = start(1).await;
    let request = create(|options| options.description = Some("x".repeat(100_000)));
    let status = client.create_payment(call(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
}
