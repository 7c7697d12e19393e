//! The fuzz targets as property tests, on any toolchain: made-up inputs, and the inputs that are
//! kept in `fuzz/corpus`, whole and with a bit of change.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stderr)]

mod bodies;

use std::fs;
use std::path::{Path, PathBuf};

use bodies::{channel, config, frames, messages, noise, pool, proxy, session, TARGETS};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Any bytes; half of them such that many are zero, which is the first of many choices.
fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..most),
        prop::collection::vec(prop_oneof![0_u8..16, any::<u8>()], 0..most),
    ]
}

/// As many cases as cost a second or so.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn hs_3_the_responder_survives_any_bytes(data in bytes(300)) {
        noise::responder_any_bytes(&data);
    }

    #[test]
    fn hs_8_both_ends_agree_in_any_interleaving(data in bytes(300)) {
        noise::two_sided_interleave(&data);
    }

    #[test]
    fn fr_2_the_reader_takes_frames_in_any_pieces(data in bytes(120)) {
        frames::stream_fragmented(&data);
    }
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn fr_9_messages_are_read_and_written_as_the_reference_does(data in bytes(400)) {
        messages::roundtrip_all_types(&data);
    }

    #[test]
    fn sh_1_each_share_has_one_answer_whatever_miner_and_pool_say(data in bytes(1500)) {
        session::state_machine(&data);
    }

    #[test]
    fn sh_15_a_channel_does_as_the_naive_model(data in bytes(1500)) {
        channel::ops_model(&data);
    }

    #[test]
    fn a_configuration_of_any_bytes_is_read_or_refused_with_a_place(data in bytes(400)) {
        config::toml_any(&data);
    }

    #[test]
    fn a_proxy_header_of_any_bytes_is_read_as_by_the_naive_reader(data in bytes(600)) {
        proxy::protocol_v2(&data);
    }
}

#[test]
fn the_model_of_a_session_is_put_to_use() {
    let mut random = StdRng::seed_from_u64(7);
    for _ in 0..3000 {
        let mut data = vec![0; 1200];
        random.fill(data.as_mut_slice());
        // No limits on rates: they end many runs early.
        data[0] = 2;
        session::state_machine(&data);
    }
    let met = pool::MET.lock().unwrap();
    for what in [
        "setup",
        "opened",
        "open error",
        "new tip",
        "job",
        "target",
        "update error",
        "success",
        "success of several",
        "error",
        "close",
        "reconnect",
        "others",
    ] {
        let count = met.get(what).copied().unwrap_or_default();
        assert!(count >= 5, "{what} was met only {count} times: {met:?}");
    }
}

fn corpus(target: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let entries = fs::read_dir(root.join(target)).unwrap_or_else(|e| panic!("{target}: {e}"));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn survives_what_is_kept_in_the_corpora() {
    for (target, body) in TARGETS {
        let files = corpus(target);
        assert!(files.len() >= 3, "{target}: {} inputs are kept", files.len());
        for file in files {
            let data = fs::read(&file).unwrap();
            eprintln!("{}", file.display());
            body(&data);
            // Cut short, and with one byte changed.
            body(&data[..data.len() / 2]);
            let mut changed = data.clone();
            if let Some(byte) = changed.get_mut(data.len() / 3) {
                *byte ^= 0x11;
                body(&changed);
            }
        }
    }
}
