//! The log under load.

use super::*;

/// Bytes that the log has under load.
const LONG: u64 = 24_000 * (4_096 + 24);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_grows_ahead_of_a_busy_writer_is_recovered_whole() {
    let mut stand = Stand::new();
    let log = stand.folder.join("ledger.db-wal");
    let mut n = 0;
    // One by one: each has a commit of its own, also while the log is made longer.
    while fs::metadata(&log).unwrap().len() < LONG {
        n += 1;
        assert!(n < 20_000, "the log has not grown");
        assert_eq!(stand.record(share(n, "a", None)).await, Outcome::Recorded);
    }
    // It is not the shares that made it so long.
    let end = fs::read(&log).unwrap();
    assert!(end[end.len() - (1 << 20)..].iter().all(|byte| *byte == 0));
    for _ in 0..100 {
        n += 1;
        assert_eq!(stand.record(share(n, "a", None)).await, Outcome::Recorded);
    }
    // What a process leaves that was killed.
    let mut copy = Stand::new();
    copy.ledger = None;
    fs::copy(&stand.settings.path, &copy.settings.path).unwrap();
    fs::copy(&log, copy.folder.join("ledger.db-wal")).unwrap();
    copy.reopen();
    let audit = copy.ledger().verify().await.unwrap();
    assert_eq!((audit.shares, audit.faults), (n, Vec::new()));
}
