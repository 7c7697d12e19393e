//! A miner hears of its credits when it has agreed to, and is left alone otherwise.

use proptest::prelude::*;

use super::tests::{asked, fresh, open, opened, received, setup, told};
use super::*;
use crate::backend::{Event, MintNews};
use crate::types::{Kind, MINT_CREDITS};

fn session(credits: bool, requested: &[u16]) -> Session {
    let mut session = fresh().crediting(credits);
    received(&mut session, setup(0, (2, 2), 0));
    if !requested.is_empty() {
        let requested = requested.to_vec();
        received(&mut session, Inbound::RequestExtensions { request_id: 1, requested });
    }
    session
}

/// Opens a channel.
fn channel(session: &mut Session) -> ChannelKey {
    let key = asked(&received(session, open(Kind::Extended)));
    told(session, vec![opened(key, Kind::Extended, 1)]);
    key
}

fn credited(quote_id: &str, mint_url: &str) -> MintNews {
    let (quote_id, mint_url) = (quote_id.to_owned(), mint_url.into());
    MintNews::Credited { credit_seq: 9, quote_id, amount: 3, amount_paid: 12, mint_url }
}

fn failed(error_code: &str) -> MintNews {
    MintNews::Failed { error_code: error_code.to_owned() }
}

fn news(channels: &[ChannelKey], news: MintNews) -> Event {
    Event::MintCredit { channels: channels.to_vec(), news: Arc::new(news) }
}

/// What the miner is told; nothing else happens.
fn heard(session: &mut Session, event: Event) -> Vec<Outbound> {
    let fx = told(session, vec![event]);
    assert!(fx.commands.is_empty() && fx.close.is_none(), "{fx:?}");
    fx.out
}

#[test]
fn a_miner_that_agreed_hears_of_credits_and_of_failures_on_its_channel() {
    let mut session = session(true, &[MINT_CREDITS]);
    let key = channel(&mut session);
    for said in [credited("q", "https://mint.example"), failed("mint-unavailable")] {
        let news = Arc::new(said.clone());
        let want = Outbound::MintCredit { channel_id: 1, news };
        assert_eq!(heard(&mut session, super::credit_tests::news(&[key], said)), [want]);
    }
}

#[test]
fn a_miner_that_did_not_agree_hears_nothing() {
    for (credits, requested) in [(true, &[][..]), (true, &[2]), (false, &[]), (false, &[0x4548])] {
        let mut session = session(credits, requested);
        let key = channel(&mut session);
        assert_eq!(heard(&mut session, news(&[key], credited("q", ""))), [], "{requested:?}");
        assert_eq!(heard(&mut session, news(&[key], failed("f"))), [], "{requested:?}");
    }
}

#[test]
fn rejects_the_extension_where_nothing_is_credited() {
    for (credits, granted) in [(true, true), (false, false)] {
        let mut session = session(credits, &[]);
        let requested = vec![MINT_CREDITS];
        let request = Inbound::RequestExtensions { request_id: 1, requested: requested.clone() };
        let want = if granted {
            Outbound::ExtensionsSuccess { request_id: 1, supported: requested }
        } else {
            let required = Vec::new();
            Outbound::ExtensionsError { request_id: 1, unsupported: requested, required }
        };
        assert_eq!(received(&mut session, request).out, [want]);
    }
}

#[test]
fn the_pool_is_told_of_both_extensions_in_ascending_order() {
    let mut session = session(true, &[MINT_CREDITS, 2]);
    let fx = received(&mut session, open(Kind::Extended));
    let [Command::Open { connection, .. }] = fx.commands.as_slice() else { panic!("{fx:?}") };
    assert_eq!(connection.extensions, [2, MINT_CREDITS]);
}

#[test]
fn rejects_the_extension_while_a_required_one_is_missing() {
    let mut session = fresh().crediting(true).requiring([2].into());
    received(&mut session, setup(0, (2, 2), 0));
    let request =
        |id, list: &[u16]| Inbound::RequestExtensions { request_id: id, requested: list.to_vec() };
    let fx = received(&mut session, request(1, &[MINT_CREDITS]));
    let (unsupported, required) = (Vec::new(), vec![2]);
    assert_eq!(fx.out, [Outbound::ExtensionsError { request_id: 1, unsupported, required }]);
    assert!(!session.extensions.has(MINT_CREDITS));
    let fx = received(&mut session, request(2, &[MINT_CREDITS, 2]));
    let supported = vec![MINT_CREDITS, 2];
    assert_eq!(fx.out, [Outbound::ExtensionsSuccess { request_id: 2, supported }]);
    let key = channel(&mut session);
    assert_eq!(heard(&mut session, news(&[key], failed("f"))).len(), 1);
}

#[test]
fn of_several_channels_the_lowest_is_told_and_only_once() {
    let mut session = session(true, &[MINT_CREDITS]);
    let keys = [channel(&mut session), channel(&mut session)];
    let backwards = [keys[1], keys[0]];
    let out = heard(&mut session, news(&backwards, failed("f")));
    assert_eq!(out.iter().map(Outbound::channel_id).collect::<Vec<_>>(), [Some(1)]);
    received(&mut session, Inbound::Close { channel_id: 1 });
    let out = heard(&mut session, news(&backwards, failed("f")));
    assert_eq!(out.iter().map(Outbound::channel_id).collect::<Vec<_>>(), [Some(3)]);
    received(&mut session, Inbound::Close { channel_id: 3 });
    assert_eq!(heard(&mut session, news(&backwards, failed("f"))), []);
}

#[test]
fn survives_news_of_which_no_message_can_be_made() {
    let mut session = session(true, &[MINT_CREDITS]);
    let key = channel(&mut session);
    let long = "x".repeat(256);
    let bad = [
        credited("", ""),
        credited(&long, ""),
        credited("q", &long),
        credited("q\n", ""),
        credited("q", "https://mint.example/\u{e9}"),
        credited("\u{7f}", ""),
        failed(""),
        failed("\u{1b}[2J"),
        failed(&long),
    ];
    for said in bad {
        assert_eq!(heard(&mut session, news(&[key], said.clone())), [], "{said:?}");
    }
    assert_eq!(heard(&mut session, news(&[key], credited(&long[1..], &long[1..]))).len(), 1);
}

/// Both messages as bytes.
mod wire {
    use binary_sv2::to_bytes;
    use noise_sv2::{Initiator, Responder};

    use super::super::credits::{MintCreditFailure, MintCreditNotification};
    use super::{credited, failed, Arc, MintNews, Outbound};
    use crate::frame::{Writer, ENCRYPTED_HEADER_LEN};

    /// The header and the payload that a miner decrypts.
    fn sent(news: MintNews) -> (Vec<u8>, Vec<u8>) {
        let keypair =
            secp256k1::Keypair::new(&secp256k1::Secp256k1::new(), &mut rand::thread_rng());
        let mut initiator = Initiator::without_pk().unwrap();
        let act1 = initiator.step_0().unwrap();
        let (act2, server) = Responder::new(keypair, 60).step_1(act1).unwrap();
        let mut miner = initiator.step_2(act2).unwrap().into_split().1;
        let mut writer = Writer::new(server.into_split().0);
        let message = Outbound::MintCredit { channel_id: 0x0102, news: Arc::new(news) };
        message.write(&mut writer).unwrap();
        let (header, payload) = writer.pending().split_at(ENCRYPTED_HEADER_LEN);
        let (mut header, mut payload) = (header.to_vec(), payload.to_vec());
        miner.decrypt(&mut header).unwrap();
        miner.decrypt(&mut payload).unwrap();
        (header, payload)
    }

    #[test]
    fn frames_name_the_extension_with_the_channel_bit() {
        let (header, payload) = sent(credited("q", "u"));
        assert_eq!(header, [0x48, 0xc5, 0x00, 32, 0, 0]);
        let want =
            [&[2, 1, 0, 0, 9][..], &[0; 7], &[1, b'q', 3], &[0; 7], &[12], &[0; 7], b"\x01u"];
        assert_eq!(payload, want.concat());
        let (header, payload) = sent(failed("f"));
        assert_eq!(header, [0x48, 0xc5, 0x01, 6, 0, 0]);
        assert_eq!(payload, [2, 1, 0, 0, 1, b'f']);
    }

    #[test]
    fn a_notification_is_these_bytes() {
        let message = MintCreditNotification {
            channel_id: 0x0403_0201,
            credit_seq: 0x0807_0605_0403_0201,
            quote_id: b"q-1".as_slice().try_into().unwrap(),
            amount: 3,
            amount_paid: 0x0100,
            mint_url: b"http://m".as_slice().try_into().unwrap(),
        };
        let want = [
            &[1, 2, 3, 4][..],
            &[1, 2, 3, 4, 5, 6, 7, 8],
            &[3, b'q', b'-', b'1'],
            &[3, 0, 0, 0, 0, 0, 0, 0],
            &[0, 1, 0, 0, 0, 0, 0, 0],
            &[8, b'h', b't', b't', b'p', b':', b'/', b'/', b'm'],
        ];
        assert_eq!(to_bytes(message).unwrap(), want.concat());
    }

    #[test]
    fn a_failure_is_these_bytes() {
        let error_code = b"f-2".as_slice().try_into().unwrap();
        let message = MintCreditFailure { channel_id: 7, error_code };
        assert_eq!(to_bytes(message).unwrap(), [7, 0, 0, 0, 3, b'f', b'-', b'2']);
    }
}

/// A text that may be anything, and often is one that can be sent.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,300}",
        any::<String>(),
        prop::collection::vec(any::<char>(), 0..300).prop_map(String::from_iter),
    ]
}

proptest! {
    #[test]
    fn whatever_a_mint_says_is_told_whole_or_not_at_all(
        first in text(), second in text(), is_credit in any::<bool>(),
    ) {
        let mut session = session(true, &[MINT_CREDITS]);
        let key = channel(&mut session);
        let said = if is_credit { credited(&first, &second) } else { failed(&first) };
        let plain = |t: &str| t.len() <= 255 && t.chars().all(|c| matches!(c, ' '..='~'));
        let good = !first.is_empty() && plain(&first) && (!is_credit || plain(&second));
        let fx = told(&mut session, vec![news(&[key], said)]);
        prop_assert!(fx.close.is_none());
        prop_assert_eq!(fx.out.len(), usize::from(good));
    }
}
