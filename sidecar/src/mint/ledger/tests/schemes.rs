//! Each credit says how its shares were valued.

use super::*;

/// The n-th hash with this many leading zero bits.
fn hash(n: u8, zeros: u32) -> Hash {
    let mut bytes = [n; 32];
    let ones = u128::MAX >> zeros;
    bytes[16..].copy_from_slice(&ones.to_le_bytes());
    Hash(bytes)
}

/// Records shares of those leading zero bits, each of difficulty 7 and a half, under a scheme, and
/// seals them; answers their credit, and its scheme as the table has it.
async fn sealed(scheme: Scheme, zeros: &[u32]) -> (Credit, String) {
    let mut stand = Stand::new();
    stand.settings.path = stand.folder.join("other.db");
    stand.settings.scheme = scheme;
    stand.reopen();
    let of = |(n, zeros): (u8, &u32)| LedgerShare {
        hash: hash(n, *zeros),
        ..share(n.into(), "a", Some(key(1)))
    };
    let outcomes = stand.record_all((1..).zip(zeros).map(of).collect()).await;
    assert_eq!(outcomes, vec![Outcome::Recorded; zeros.len()]);
    assert_eq!(stand.ledger().close_due(NOW, 2_000).await, Ok(1));
    let terms = Terms { unit_work: Work::DIFFICULTY_1, min_amount: 1 };
    assert_eq!(stand.ledger().seal(terms, 10, 2_000).await.unwrap().sealed, 1);
    // It is the file that says so.
    stand.reopen();
    assert_eq!(stand.ledger().identity().scheme, scheme);
    stand.assert_sound().await;
    let books = Books::open(&stand.settings.path).unwrap();
    let text = "SELECT scheme FROM credit WHERE id = 1";
    let text = books.conn.query_row(text, [], |row| row.get(0)).unwrap();
    (stand.credit(1).await, text)
}

#[tokio::test]
async fn mq_7_a_sealed_credit_says_that_its_hashes_counted() {
    let scheme = Scheme::HashpoolPow2 { min_zero_bits: 8 };
    let (credit, text) = sealed(scheme, &[7, 8, 11]).await;
    assert_eq!((credit.scheme, text.as_str()), (scheme, "hashpool_pow2:8"));
    // Nothing, 1 and 8: not what the pool credited.
    assert_eq!((credit.state, credit.amount, credit.shares), (CreditState::Sealed, 9, 3));
    assert_eq!(credit.work, Work(9 << 32));
}

#[tokio::test]
async fn mq_7_a_sealed_credit_says_that_the_pools_credit_counted() {
    let (credit, text) = sealed(Scheme::Linear, &[7, 8, 11]).await;
    assert_eq!((credit.scheme, text.as_str()), (Scheme::Linear, "linear"));
    assert_eq!((credit.state, credit.amount, credit.shares), (CreditState::Sealed, 22, 3));
    assert_eq!(credit.work, worth(3));
}
