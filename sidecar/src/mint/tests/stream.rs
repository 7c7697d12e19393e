//! The stream of payments: what comes, in which order, and what a mint that misbehaves costs.

use std::sync::atomic::Ordering::Relaxed;

use gopool_sv2_proto::cdk_payment_processor as cdk;
use gopool_sv2_proto::cdk_payment_processor::payment_event_response::Event;
use tonic::{Code, Status, Streaming};

use super::calls::{call, client, Client};
use super::*;

type Stream = Streaming<cdk::PaymentEventResponse>;

async fn start() -> (Arc<Books>, Endpoint, Client) {
    let books = Arc::new(Books::default());
    let endpoint = Endpoint::open(&books, settings()).await.unwrap();
    let client = client(&endpoint).await;
    (books, endpoint, client)
}

async fn listen(client: &mut Client) -> Result<Stream, Status> {
    let opened = soon(client.wait_payment_event(call(cdk::EmptyRequest {}))).await;
    opened.map(tonic::Response::into_inner)
}

/// The names of the next payments.
async fn names(stream: &mut Stream, count: usize) -> Vec<String> {
    let mut names = Vec::new();
    while names.len() < count {
        match soon(stream.message()).await.unwrap().unwrap().event {
            Some(Event::PaymentReceived(payment)) => names.push(payment.payment_id),
            None => panic!("an event of no kind"),
        }
    }
    names
}

#[tokio::test]
async fn begins_with_all_that_is_unconfirmed_and_goes_on_with_what_is_sent() {
    let (books, _endpoint, mut client) = start().await;
    for (id, amount) in [("p1", 1), ("p2", 2), ("p3", 3)] {
        books.send("a", id, amount);
    }
    books.confirm("p2");
    let mut stream = listen(&mut client).await.unwrap();
    assert_eq!(names(&mut stream, 2).await, ["p1", "p3"]);
    books.send("b", "p4", 4);
    assert_eq!(names(&mut stream, 1).await, ["p4"]);
    books.confirm("p1");
    // Another stream begins anew.
    let mut second = listen(&mut client).await.unwrap();
    assert_eq!(names(&mut second, 2).await, ["p3", "p4"]);
    books.send("b", "p5", 5);
    assert_eq!(names(&mut stream, 1).await, ["p5"]);
    assert_eq!(names(&mut second, 1).await, ["p5"]);
}

#[tokio::test]
async fn misses_nothing_that_is_sent_while_it_reads() {
    let (books, _endpoint, mut client) = start().await;
    let mut stream = listen(&mut client).await.unwrap();
    let sender = Arc::clone(&books);
    let sending = tokio::spawn(async move {
        for number in 0..1_000 {
            sender.send("a", &format!("p{number}"), 1);
            tokio::task::yield_now().await;
        }
    });
    let wanted: Vec<String> = (0..1_000).map(|number| format!("p{number}")).collect();
    assert_eq!(names(&mut stream, 1_000).await, wanted);
    sending.await.unwrap();
}

#[tokio::test]
async fn survives_a_mint_that_does_not_read() {
    let (books, endpoint, mut client) = start().await;
    for number in 0..20_000 {
        books.note("a", &format!("{number:0500}"), 1);
    }
    let deaf = listen(&mut client).await.unwrap();
    let mut other = self::client(&endpoint).await;
    // Another connection is served, first to last, while that one stands still.
    let mut stream = listen(&mut other).await.unwrap();
    assert_eq!(names(&mut stream, 20_000).await.len(), 20_000);
    let written = endpoint.figures.events.load(Relaxed) - 20_000;
    assert!(written < 10_000, "{written} payments wait in memory for a mint that does not read");
    client.get_settings(call(cdk::EmptyRequest {})).await.unwrap();
    drop(deaf);
}

#[tokio::test]
async fn rejects_more_streams_than_one_mint_needs() {
    let (_, endpoint, mut client) = start().await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(listen(&mut client).await.unwrap());
    }
    let status = listen(&mut client).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    streams.pop();
    // The seat is free as soon as the end was heard of.
    let again = async {
        loop {
            match listen(&mut client).await {
                Ok(stream) => return stream,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    streams.push(soon(again).await);
    endpoint.stop().await;
}

#[tokio::test]
async fn ends_when_the_books_fail_and_the_mint_comes_back_for_all() {
    let line = Line::start().await;
    let quote = line.create("a").await.unwrap();
    line.books.send("a", "p1", 5);
    soon(line.mint.until(|seen| seen.credited == 1)).await;
    line.books.state().broken = true;
    line.books.note("a", "p2", 6);
    line.books.wake();
    soon(line.mint.until(|seen| seen.streams_ended > 0)).await;
    line.books.state().broken = false;
    soon(line.mint.until(|seen| seen.credited == 2)).await;
    assert_eq!(line.quote(&quote.quote_id).await.unwrap().amount_paid, 11);
}

#[tokio::test]
async fn ends_when_payments_are_out_of_order() {
    let (books, _endpoint, mut client) = start().await;
    books.send("a", "p1", 1);
    books.send("a", "p2", 2);
    books.state().disorder = true;
    let mut stream = listen(&mut client).await.unwrap();
    assert_eq!(names(&mut stream, 1).await, ["p2"]);
    let status = soon(stream.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test]
async fn stop_ends_streams_and_closes_the_port() {
    let (books, endpoint, mut client) = start().await;
    let mut stream = listen(&mut client).await.unwrap();
    books.send("a", "p1", 1);
    assert_eq!(names(&mut stream, 1).await, ["p1"]);
    let address = endpoint.address;
    endpoint.stop().await;
    assert!(soon(stream.message()).await.map_or(true, |event| event.is_none()));
    let again = Settings { listen: address, ..settings() };
    Endpoint::open(&books, again).await.unwrap();
}
