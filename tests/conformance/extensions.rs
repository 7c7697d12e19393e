//! EX: extensions 0x0001 and 0x0002 (SV2 spec 3.4, extensions).

use crate::message::Message;
use crate::miner::{Miner, Wish};
use crate::rig::rig;

/// Asks for extensions and returns the answer to it.
fn request(miner: &mut Miner, id: u16, wanted: &[u16]) -> Message {
    let mut payload = [id.to_le_bytes(), (wanted.len() as u16).to_le_bytes()].concat();
    payload.extend(wanted.iter().flat_map(|extension| extension.to_le_bytes()));
    miner.peer.send(1, 0, &payload);
    miner.until("answer to RequestExtensions", |message| match message {
        Message::ExtensionsSuccess { request, .. } | Message::ExtensionsError { request, .. }
            if *request == id =>
        {
            Some(message.clone())
        }
        _ => None,
    })
}

#[test]
fn ex_2_what_nobody_supports_is_refused_and_an_empty_list_too() {
    let _tip = rig().same_tip();
    for wanted in [&[][..], &[0x4abc], &[0xfffe, 0x4abc]] {
        let mut miner = Miner::new();
        let id = 0x1234;
        match request(&mut miner, id, wanted) {
            Message::ExtensionsError { unsupported, required, .. } => {
                assert_eq!(unsupported, wanted);
                assert!(required.is_empty());
            }
            other => panic!("{wanted:?}: {other:?}"),
        }
        let channel = miner.open(&Wish::extended());
        assert_eq!(miner.judge(&channel.share(1)), Ok(()), "a refusal is not the end");
    }
}

#[test]
fn ex_10_a_worker_without_the_extension_is_ignored() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    let channel = miner.open(&Wish::extended());
    // Whole, in the other byte order, too long, cut short.
    let long = [&[2, 0, 1, 40, 0][..], &[b'w'; 40]].concat();
    let tlvs = [b"\x02\x00\x01\x03\x00rig", b"\x00\x02\x01\x00\x03rig", &long[..], b"\x02\x00\x01"];
    for (index, tlv) in tlvs.into_iter().enumerate() {
        let share = channel.share(1 + index as u32);
        miner.say(0x1b, &[&share.payload()[..], tlv].concat());
        assert_eq!(miner.verdict(share.sequence), Ok(()), "{tlv:?}");
    }
}
