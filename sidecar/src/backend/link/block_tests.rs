//! What became of a block is told as the pool tells it: taken, refused, or not known.

use v1::session_response::Message as FromPool;

use super::tests::key;
use super::*;
use crate::types::ConnId;

#[tokio::test]
async fn a_block_that_nobody_decided_on_is_neither_taken_nor_refused() {
    let directory = Directory::default();
    let mut link = Link::new(1, directory.clone(), Journal::off());
    let (mut events, ..) = directory.attach(ConnId(1), 8);
    for fate in [Some(true), Some(false), None] {
        let result = v1::BlockResult {
            channel_id: key(1, 1).to_wire(),
            block_hash: vec![7; 32].into(),
            accepted: fate,
            ..v1::BlockResult::default()
        };
        link.receive(FromPool::BlockResult(result), &mut Vec::new());
        let Some(Event::BlockResult { accepted, .. }) = events.recv().await else {
            panic!("no result")
        };
        assert_eq!(accepted, fate);
    }
}
