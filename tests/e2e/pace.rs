//! Limits by time, with real processes: each set low enough to be met within a test.

use gopool_sv2_tests::attacker::Attacker;
use gopool_sv2_tests::{Line, LineOptions};

use crate::abuse::now;

const SETUP_SUCCESS: u8 = 0x01;
const RECONNECT: u8 = 0x04;
const OPEN_ERROR: u8 = 0x12;
const OPEN_SUCCESS: u8 = 0x14;
const CLOSE: u8 = 0x18;
const SHARE_ERROR: u8 = 0x1d;
const SET_TARGET: u8 = 0x21;

/// A line whose pool says nothing by itself for long.
fn line(limits: &str) -> Line {
    Line::start(LineOptions {
        network_bits: "1d100000",
        minipool: ["-template-seconds", "3600", "-share-seconds", "600"].map(Into::into).to_vec(),
        limits: limits.into(),
        ..LineOptions::default()
    })
    .unwrap()
}

fn mining(line: &Line) -> Attacker {
    let mut peer = Attacker::new(line);
    peer.set_up().open(&line.address);
    peer
}

/// The code of an error whose last field that is.
fn code((_, payload): &(u8, Vec<u8>)) -> String {
    String::from_utf8_lossy(&payload[9..]).into_owned()
}

#[test]
fn sc_15_a_connection_without_a_channel_ends_and_one_with_a_channel_stays() {
    let mut line = line("first_open_timeout_ms = 1000");
    let mut mining = mining(&line);
    let mut idle = Attacker::new(&line);
    assert_eq!(idle.set_up().until_closed(), [(SETUP_SUCCESS, vec![2, 0, 0, 0, 0, 0])]);
    line.sidecar.wait_for("cause=no-channel").unwrap();
    assert_eq!(mining.junk(1, now()).next_frame().0, SHARE_ERROR);
    line.stop().unwrap();
}

#[test]
fn a_connection_that_says_nothing_ends() {
    let mut line = line("idle_timeout_ms = 1000");
    assert_eq!(mining(&line).until_closed(), []);
    line.sidecar.wait_for("cause=idle").unwrap();
    line.stop().unwrap();
}

#[test]
fn jb_13_a_silent_channel_is_told_its_target_again() {
    let line = line("channel_silence_ms = 500");
    let mut peer = Attacker::new(&line);
    peer.set_up().send_open(9, &line.address);
    assert_eq!(peer.next_frame().0, SETUP_SUCCESS);
    let (kind, opened) = peer.next_frame();
    assert_eq!(kind, OPEN_SUCCESS);
    // Request, channel, target.
    let told = [&opened[4..8], &opened[8..40]].concat();
    // The job and its prev-hash.
    assert_eq!([0; 2].map(|_| peer.next_frame().0), [0x1f, 0x20]);
    for _ in 0..3 {
        assert_eq!(peer.next_frame(), (SET_TARGET, told.clone()));
    }
    line.stop().unwrap();
}

#[test]
fn oc_16_opens_beyond_the_rate_are_refused_and_the_channels_stay() {
    // As many at once as there may be channels; then one a minute.
    let line = line("opens_per_min = 1\nmax_channels_per_connection = 2");
    let mut peer = mining(&line);
    // CloseChannel(1, ""): what was closed doesn't count as open, but was opened.
    peer.send(0x8000, CLOSE, &[1, 0, 0, 0, 0]).send_open(9, &line.address);
    assert_eq!([0; 3].map(|_| peer.next_frame().0), [OPEN_SUCCESS, 0x1f, 0x20]);
    for request in 0..3 {
        let refused = peer.send_open(request, &line.address).next_frame();
        assert_eq!((refused.0, refused.1[0]), (OPEN_ERROR, request as u8));
        assert_eq!(&refused.1[5..], b"rate-limited");
    }
    // The second channel is open all the same: shares for it reach it.
    peer.send(0x8000, 0x1b, &share(3, 7));
    assert_eq!(code(&peer.next_frame()), "invalid-job-id");
    line.stop().unwrap();
}

/// A share for a job that no channel has.
fn share(channel: u8, sequence: u8) -> Vec<u8> {
    let mut share = vec![0; 24];
    (share[0], share[4], share[11]) = (channel, sequence, 0xff);
    [share, vec![8, 0, 0, 0, 0, 0, 0, 0, 0]].concat()
}

#[test]
fn sh_18_refused_shares_beyond_the_rate_are_answered_and_end_the_connection() {
    let mut line = line("bad_shares_per_min = 10");
    let mut honest = mining(&line);
    let mut peer = mining(&line);
    for sequence in 1..=100 {
        peer.junk(sequence, now());
    }
    let answers = peer.until_closed();
    // Ten are allowed; how many more were on their way already is a matter of luck.
    assert!(answers.len() > 10, "{}", answers.len());
    for (answer, sequence) in answers.iter().zip(1_u32..) {
        assert_eq!((answer.0, &answer.1[4..8]), (SHARE_ERROR, &sequence.to_le_bytes()[..]));
        assert_eq!(code(answer), "difficulty-too-low");
    }
    line.sidecar.wait_for("cause=bad-shares").unwrap();
    for sequence in 1..=5 {
        assert_eq!(honest.junk(sequence, now()).next_frame().0, SHARE_ERROR);
    }
    line.stop().unwrap();
}

#[test]
fn messages_beyond_twice_the_usual_end_the_connection() {
    let mut line = line("messages_per_min = 20");
    let unknown = |peer: &mut Attacker, count| {
        for _ in 0..count {
            peer.send(0, 0x7f, &[]);
        }
    };
    // The setup and the open are two.
    let mut calm = mining(&line);
    unknown(&mut calm, 37);
    assert_eq!(calm.junk(1, now()).next_frame().0, SHARE_ERROR, "up to 40 are taken");
    let mut peer = mining(&line);
    unknown(&mut peer, 400);
    assert_eq!(peer.until_closed(), []);
    line.sidecar.wait_for("cause=message-rate").unwrap();
    line.stop().unwrap();
}

#[test]
fn cl_5_miners_of_a_sidecar_that_stops_are_sent_on() {
    let line = line("");
    let mut peer = mining(&line);
    let mut stranger = Attacker::new(&line);
    assert_eq!(peer.junk(1, now()).next_frame().0, SHARE_ERROR);
    line.stop().unwrap();
    // To the same host and port; whoever serves them next.
    assert_eq!(peer.until_closed(), [(RECONNECT, vec![0, 0, 0])]);
    assert_eq!(stranger.until_closed(), [], "nothing comes before the answer to the setup");
}
