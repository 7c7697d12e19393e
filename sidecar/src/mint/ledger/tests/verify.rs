//! The check of the whole ledger finds what is wrong, and nothing else: one thing at a time is
//! damaged in a copy of the file.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rusqlite::Connection;

use super::*;

/// The wallet's quote that credit 5 is to be paid on.
const WALLETS: u64 = 1;

/// A ledger with something of everything. Credit 1 (account 1, carried, its share is pruned),
/// 2 (confirmed on the quote `qa`), 3 (sent there), 4 (account 2, sealed, without a quote),
/// 5 (account 3, assigned to a wallet's quote), 6 (account 4, without a key),
/// 7 (account 5, closed), 8 (account 1, open).
async fn full() -> Stand {
    let mut stand = Stand::new();
    let mine = Some(key(1));
    let many = |from, to| (from..=to).map(|n| share(n, "a", mine)).collect();
    stand.record(share(1, "a", mine)).await;
    assert_eq!(stand.seal(1_500).await, Sealing { sealed: 0, carried: 1 });
    stand.record_all(many(2, 9)).await;
    assert_eq!(stand.seal(2_000).await, Sealing { sealed: 1, carried: 0 });
    let account = stand.books("a", mine).await.id;
    let paid = stand.send(account, "qa").await.remove(0);
    let reading = stand.ledger().confirm("qa".into(), paid.amount, 2, 4_000).await;
    assert_eq!((paid.credit_id, reading), (2, Ok(Reading::Even(1))));
    stand.record_all(many(11, 12)).await;
    stand.seal(5_000).await;
    assert_eq!(stand.ledger().assign(256, 5_000).await, Ok(1));
    stand.ledger().mark_sent(vec![3], 5_000).await.unwrap();
    stand.record_all((21..=22).map(|n| share(n, "b", Some(key(2)))).collect()).await;
    stand.seal(6_000).await;
    let quote = stand.wallet_quote(WALLETS, key(3), 6_000).await;
    let named = |n| LedgerShare { quote: Some(quote), ..share(n, "c", Some(key(3))) };
    stand.record_all((31..=32).map(named).collect()).await;
    stand.seal(7_000).await;
    assert_eq!(stand.prove_quotes(7_000).await, ["w1"]);
    assert_eq!(stand.ledger().assign(256, 7_000).await, Ok(1));
    stand.record(share(41, "d", None)).await;
    stand.record(share(51, "e", Some(key(5)))).await;
    assert_eq!(stand.ledger().close_due(NOW, 8_000).await, Ok(1));
    stand.record(share(61, "a", mine)).await;
    // Nobody takes events: those of the first credit go, too.
    stand.ledger().prune(2_000, i64::MAX, 100).await.unwrap();
    let (last, first) = stand.ledger().event_range().await.unwrap();
    assert!(1 < first && first + 3 < last, "{first} to {last}");
    let credits = [
        CreditState::Carried,
        CreditState::Confirmed,
        CreditState::Sent,
        CreditState::Sealed,
        CreditState::Assigned,
        CreditState::Open,
        CreditState::Closed,
        CreditState::Open,
    ];
    for (id, state) in (1..).zip(credits) {
        assert_eq!(stand.credit(id).await.state, state, "credit {id}");
    }
    stand
}

/// A sound file, and copies of it to be damaged.
struct Copies {
    stand: Stand,
    sound: PathBuf,
}

impl Copies {
    async fn new() -> Self {
        let stand = full().await;
        let sound = stand.folder.join("sound.db");
        let conn = Connection::open(&stand.settings.path).unwrap();
        conn.execute("VACUUM INTO ?1", [sound.to_str().unwrap()]).unwrap();
        fs::set_permissions(&sound, fs::Permissions::from_mode(0o600)).unwrap();
        Self { stand, sound }
    }

    /// What the check says of a copy with this damage.
    fn damaged(&self, sql: &str) -> std::result::Result<Audit, LedgerError> {
        let path = self.stand.folder.join("damaged.db");
        fs::copy(&self.sound, &path).unwrap();
        damage(&path, sql);
        Books::open(&path).unwrap().verify()
    }

    /// Demands these faults of each copy with one of these damages, and no others.
    fn find(&self, cases: &[(&str, &[&str])]) {
        for (sql, wanted) in cases {
            let found = self.damaged(sql).unwrap().faults;
            let all = found.len() == wanted.len()
                && found.iter().zip(*wanted).all(|(fault, part)| fault.contains(part));
            assert!(all, "{sql}\nfound: {found:#?}\nwanted: {wanted:#?}");
        }
    }
}

/// Changes a file as nobody does who keeps to its rules; it has to change something.
fn damage(path: &Path, sql: &str) {
    let conn = Connection::open(path).unwrap();
    let free = "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON";
    conn.execute_batch(free).unwrap();
    let before = conn.total_changes();
    conn.execute_batch(sql).unwrap();
    assert!(conn.total_changes() > before, "nothing was damaged: {sql}");
}

#[tokio::test]
async fn finds_nothing_in_a_sound_ledger() {
    let copies = Copies::new().await;
    let audit = copies.stand.assert_sound().await;
    assert_eq!((audit.accounts, audit.credits, audit.shares), (5, 8, 8 + 2 + 2 + 2 + 3));
    // Nor in one that has less by its own will.
    copies.find(&[
        ("DELETE FROM event WHERE seq < (SELECT max(seq) FROM event)", &[]),
        ("DELETE FROM event", &[]),
        ("DELETE FROM share WHERE credit_id = 2; UPDATE credit SET pruned = 2 WHERE id = 2", &[]),
    ]);
}

#[tokio::test]
async fn rejects_shares_that_are_not_what_their_credit_says() {
    let one = "share_hash = (SELECT min(share_hash) FROM share WHERE credit_id = 2)";
    let set = |what: &str| format!("UPDATE share SET {what} WHERE {one}");
    let work = "credit 2 is not the work of its shares";
    let count = "credit 2 counts 8 shares, the table has 7";
    let root = "the root of credit 2 is not that of its shares";
    // Each counts the same: only the roots tell.
    let swapped = format!(
        "{}; UPDATE share SET credit_id = 2 WHERE share_hash = \
         (SELECT min(share_hash) FROM share WHERE credit_id = 3)",
        set("credit_id = 3")
    );
    Copies::new().await.find(&[
        (&set("work = zeroblob(16)"), &[work]),
        (&set("share_hash = zeroblob(32)"), &[root]),
        (&format!("DELETE FROM share WHERE {one}"), &[count, work, root]),
        (
            &set("credit_id = 99"),
            &["a row of share points nowhere", count, work, root, "1 shares have no credit"],
        ),
        (
            &set("credit_id = 3"),
            &[
                count,
                work,
                root,
                "credit 3 counts 2 shares, the table has 3",
                "credit 3 is not the work of its shares",
                "the root of credit 3 is not that of its shares",
            ],
        ),
        // To one that has no root yet.
        (
            &set("credit_id = 6"),
            &[
                count,
                work,
                root,
                "credit 6 counts 1 shares, the table has 2",
                "credit 6 is not the work of its shares",
            ],
        ),
        // Not settled yet, so nobody may have deleted any.
        (
            "DELETE FROM share WHERE credit_id = 3; UPDATE credit SET pruned = 2 WHERE id = 3",
            &["credit 3 is sent, and shares of it were deleted"],
        ),
        (&swapped, &["the root of credit 2", "the root of credit 3"]),
    ]);
}

#[tokio::test]
async fn rejects_credits_that_do_not_follow_from_their_shares() {
    let (name, books) = ("the name of the payment of credit 2", "the amounts and the carry of");
    Copies::new().await.find(&[
        (
            "UPDATE credit SET share_root = zeroblob(32) WHERE id = 2",
            &["the root of credit 2 is not that of its shares", name],
        ),
        ("UPDATE credit SET share_root = NULL WHERE id = 2", &["credit 2 has no root", name]),
        (
            "UPDATE credit SET share_root = NULL, payment_id = NULL WHERE id = 2",
            &["credit 2 has no root"],
        ),
        // Its shares are gone, rightly.
        (
            "DELETE FROM share WHERE credit_id = 2; \
             UPDATE credit SET pruned = 2, share_root = zeroblob(32) WHERE id = 2",
            &[name],
        ),
        ("UPDATE credit SET payment_id = 'gp1c:0' WHERE id = 2", &[name]),
        ("UPDATE credit SET payment_id = NULL WHERE id = 2", &[name]),
        (
            "UPDATE credit SET scheme = 'hashpool_pow2:8' WHERE id = 2",
            &["credit 2 counts shares by `hashpool_pow2:8`, the ledger by `linear`"],
        ),
        // The ledger of another pool.
        (
            "UPDATE meta SET value = zeroblob(16) WHERE key = 'pool_id'",
            &[name, "the name of the payment of credit 3", "credit 4", "credit 5"],
        ),
        (
            "UPDATE credit SET amount = amount + 1 WHERE id = 4",
            &["the amount of credit 4 does not follow from its work", books],
        ),
        (
            "UPDATE credit SET amount = amount + 1 WHERE id = 2",
            &[
                "the amount of credit 2 does not follow from its work",
                "the amounts and the carry of account 1 are not its work",
                "account 1 does not count what was confirmed right",
            ],
        ),
        (
            "UPDATE credit SET amount = 0 WHERE id = 4",
            &["the amount of credit 4", "credit 4 pays nothing", books],
        ),
        ("UPDATE credit SET amount = 1 WHERE id = 1", &["credit 1 was carried, and pays", books]),
        (
            "UPDATE credit SET work = zeroblob(16) WHERE id = 4",
            &["credit 4 is not the work of its shares", "the amount of credit 4", books],
        ),
        (
            "UPDATE credit SET unit_work = carry_in WHERE id = 4",
            &["the amount of credit 4 does not follow from its work", books],
        ),
        (
            "UPDATE credit SET carry_in = X'000000000000000000000064FFFFFFFF' WHERE id = 4",
            &["the amount of credit 4 does not follow from its work"],
        ),
    ]);
}

#[tokio::test]
async fn rejects_accounts_that_are_not_the_sum_of_their_credits() {
    let carry = "the amounts and the carry of account 1 are not its work";
    let (second, third) = (carry.replace('1', "2"), carry.replace('1', "3"));
    Copies::new().await.find(&[
        ("UPDATE account SET carry = zeroblob(16) WHERE id = 1", &[carry]),
        ("UPDATE account SET carry = X'FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF' WHERE id = 1", &[carry]),
        ("UPDATE naming SET carry = zeroblob(16)", &[&third]),
        (
            "UPDATE account SET confirmed = zeroblob(16) WHERE id = 1",
            &["account 1 does not count what was confirmed right"],
        ),
        (
            "UPDATE account SET closed_shares = closed_shares + 1 WHERE id = 1",
            &["account 1 does not count its shares right"],
        ),
        // A credit that was given to somebody else; the wrong of both shows.
        (
            "UPDATE credit SET account_id = 1 WHERE id = 4",
            &[carry, "account 1 does not count its shares", &second, "account 2 does not count"],
        ),
        (
            "UPDATE account SET payout_key = NULL WHERE id = 2",
            &["account 2 has no key, but sealed credits"],
        ),
        // Its state says less than its books.
        (
            "UPDATE credit SET state = 4 WHERE id = 2",
            &["account 1 does not count what was confirmed right"],
        ),
    ]);
}

#[tokio::test]
async fn rejects_credits_on_quotes_that_are_not_theirs() {
    let wallets = QuoteRef::from_number(WALLETS.into()).to_string();
    let other = "(SELECT payout_key FROM account WHERE id = 2)";
    let stray = "has no open quote of its own account, nor the one it named";
    let locked = |quote: &str| format!("UPDATE quote SET payout_key = {other} WHERE {quote}");
    let moved = format!("UPDATE credit SET quote_ref = '{wallets}' WHERE id = 3");
    let unnamed = format!("quote {wallets} was named for a credit, and nobody wrote down by whom");
    let unfit = format!("quote {wallets} is not there, or not open, or of another key");
    let left = format!("quote {wallets} takes no more credits, and something is carried for it");
    let third = "the amounts and the carry of account 3 are not its work";
    Copies::new().await.find(&[
        (
            &locked("quote_ref = 'qa'"),
            &[stray, "quote qa is locked to another key than its account's"],
        ),
        (&locked("account_id IS NULL"), &[&format!("credit 5 {stray}"), &unfit]),
        (&moved, &[&format!("credit 3 {stray}")]),
        ("UPDATE credit SET quote_ref = NULL WHERE id = 3", &[&format!("credit 3 {stray}")]),
        ("UPDATE quote SET quote_id = NULL WHERE quote_ref = 'qa'", &[stray]),
        ("UPDATE credit SET wish = NULL WHERE id = 5", &[&format!("credit 5 {stray}")]),
        ("DELETE FROM naming", &[third, &unnamed]),
        ("UPDATE naming SET takes = 0", &[&left]),
        ("UPDATE quote SET state = 3 WHERE account_id IS NULL", &[&unfit]),
    ]);
}

#[tokio::test]
async fn rejects_events_with_a_gap() {
    let gap = " were written";
    Copies::new().await.find(&[
        ("DELETE FROM event WHERE seq = (SELECT max(seq) - 1 FROM event)", &[gap]),
        ("DELETE FROM event WHERE seq = (SELECT min(seq) + 1 FROM event)", &[gap]),
        ("DELETE FROM event WHERE seq = (SELECT max(seq) FROM event)", &[gap]),
        ("UPDATE meta SET value = value + 1 WHERE key = 'event_seq'", &[gap]),
        ("UPDATE meta SET value = value - 1 WHERE key = 'event_seq'", &[gap]),
    ]);
}

#[tokio::test]
async fn rejects_what_sqlite_itself_finds_wrong_and_what_can_not_be_read() {
    let copies = Copies::new().await;
    copies.find(&[
        (
            "UPDATE account SET identity = zeroblob(256) WHERE id = 4",
            &["SQLite finds: CHECK constraint failed in account"],
        ),
        ("DELETE FROM account WHERE id = 4", &["a row of credit points nowhere"]),
    ]);
    for sql in [
        "UPDATE credit SET state = 77 WHERE id = 2",
        "UPDATE credit SET scheme = 'x' WHERE id = 2",
        "UPDATE share SET work = X'00' WHERE credit_id = 2",
        "DELETE FROM meta WHERE key = 'event_seq'",
    ] {
        let found = copies.damaged(sql);
        assert!(matches!(found, Err(LedgerError::Storage(_))), "{sql}: {found:?}");
    }
}

#[tokio::test]
async fn lists_no_more_faults_than_anybody_reads() {
    let copies = Copies::new().await;
    let many = "WITH RECURSIVE n(id) AS (VALUES(100) UNION ALL SELECT id + 1 FROM n LIMIT 150) \
                INSERT INTO account(id, identity, payout_key, closed_shares) \
                SELECT id, CAST(id AS BLOB), NULL, 1 FROM n";
    let audit = copies.damaged(many).unwrap();
    assert_eq!((audit.accounts, audit.faults.len()), (155, 100));
}
