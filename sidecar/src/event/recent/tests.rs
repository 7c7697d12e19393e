//! Promises of the ring.

use super::*;

fn event() -> v1::event::Event {
    v1::event::Event::Snapshot(v1::Snapshot::default())
}

fn ring(max: usize) -> Recent {
    Recent::new(max, Arc::default())
}

fn push(ring: &Recent, count: usize) {
    (0..count).for_each(|_| ring.push(event()));
}

async fn numbers(ring: &Recent, after: u64, max: usize) -> Vec<u64> {
    ring.read(after, max).await.unwrap().iter().map(|event| event.seq).collect()
}

#[tokio::test]
async fn numbers_from_1_without_a_gap_and_forgets_what_the_sink_has() {
    let ring = ring(10);
    assert_eq!((ring.oldest().await.unwrap(), *ring.newest().borrow()), (1, 0));
    push(&ring, 5);
    assert_eq!(numbers(&ring, 0, 3).await, [1, 2, 3]);
    assert_eq!(numbers(&ring, 3, 9).await, [4, 5]);
    assert!(numbers(&ring, 5, 9).await.is_empty());
    ring.acked("stats", 3).await.unwrap();
    assert_eq!((ring.oldest().await.unwrap(), *ring.newest().borrow()), (4, 5));
    assert!(ring.oldest_ms() > 0);
    ring.acked("stats", 5).await.unwrap();
    assert_eq!((ring.oldest().await.unwrap(), ring.oldest_ms()), (6, 0));
    push(&ring, 1);
    assert_eq!(numbers(&ring, 5, 9).await, [6]);
    assert_eq!(ring.dropped.get(), 0);
}

#[tokio::test]
async fn drops_the_oldest_when_it_is_full_and_counts_them() {
    let ring = ring(10);
    push(&ring, 5);
    assert!(!ring.is_crowded());
    push(&ring, 1);
    assert!(ring.is_crowded(), "more than half");
    push(&ring, 20);
    assert_eq!((ring.dropped.get(), ring.oldest().await.unwrap()), (16, 17));
    assert_eq!(numbers(&ring, 16, 99).await, (17..=26).collect::<Vec<_>>());
    assert!(ring.read(15, 9).await.is_err(), "a stream must not skip over what is gone");
}

#[tokio::test]
async fn knows_when_a_sink_missed_something() {
    let ring = ring(10);
    push(&ring, 5);
    ring.begun("stats", 0).await;
    assert!(!ring.take_missed(), "it hears all from the beginning");
    ring.acked("stats", 3).await.unwrap();
    ring.begun("stats", 3).await;
    assert!(!ring.take_missed(), "it goes on where it was");
    ring.begun("stats", 0).await;
    assert!(ring.take_missed() && !ring.take_missed(), "it has lost what it had");
    push(&ring, 20);
    ring.begun("stats", 14).await;
    assert!(ring.take_missed(), "too much was dropped meanwhile");
}

#[test]
fn two_rings_are_two_sequences() {
    assert_ne!(ring(1).id(), ring(1).id());
}
