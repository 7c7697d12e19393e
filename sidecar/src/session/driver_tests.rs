//! Promises of the driver, on a real socket.

use std::sync::Arc;
use std::time::Duration;

use noise_sv2::Initiator;
use secp256k1::Keypair;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout, Instant};

use super::driver::run;
use super::{Context, Passage, Peer};
use crate::backend::Backend;
use crate::config::Limits;
use crate::frame::{FrameError, Reader, Writer};
use crate::noise::Acceptor;
use crate::obs::Journal;
use crate::types::{ConnId, Seats};

const SETUP: [u8; 16] = [0, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const SHARE_ERROR: u8 = 0x1d;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// One without a pool.
pub(crate) fn context() -> Context {
    let authority = Keypair::new(&secp256k1::Secp256k1::new(), &mut rand::thread_rng());
    let limits = Limits { outbox_bytes: 64 * 1024, bad_shares_per_min: 0, ..Limits::default() };
    Context {
        acceptor: Acceptor::new(authority, 3_600, PATIENCE, 1),
        backend: Backend::new(1).0,
        limits,
        required_extensions: [].into(),
        ledger: None,
        journal: Journal::off(),
        clients: Default::default(),
        counts: Default::default(),
        strangers: Arc::default(),
        coming: Passage::new(1),
        going: Passage::new(1),
    }
}

fn put(writer: &mut Writer, message_type: u8, channel_msg: bool, payload: &[u8]) {
    let fill = |room: &mut [u8]| -> Result<(), FrameError> {
        room.copy_from_slice(payload);
        Ok(())
    };
    writer.push_with(payload.len(), 0, message_type, channel_msg, fill).unwrap();
}

/// A connection after its handshake, and the miner's end of it. What the sockets hold is little.
struct Connection {
    miner: TcpStream,
    reader: Reader,
    writer: Writer,
    served: JoinHandle<()>,
}

async fn connect(context: &Context, stops: &watch::Receiver<bool>) -> Connection {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2_048).unwrap();
    let mut miner = socket.connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, from) = listener.accept().await.unwrap();
    SockRef::from(&stream).set_send_buffer_size(2_048).unwrap();
    let peer = Peer { conn: ConnId(1), address: from.to_string(), channels: Seats::new(1) };
    let served = tokio::spawn(run(stream, Instant::now(), peer, context.clone(), stops.clone()));

    let mut initiator = Initiator::without_pk().unwrap();
    miner.write_all(&initiator.step_0().unwrap()).await.unwrap();
    let mut act2 = [0; noise_sv2::INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE];
    miner.read_exact(&mut act2).await.unwrap();
    let (encryptor, decryptor) = initiator.step_2(act2).unwrap().into_split();
    Connection {
        miner,
        reader: Reader::new(decryptor, 1_024),
        writer: Writer::new(encryptor),
        served,
    }
}

/// A SubmitSharesExtended for a channel that nobody has: it is answered here and at once.
fn share(sequence: u8) -> [u8; 33] {
    let mut share = [0; 33];
    (share[0], share[4], share[24]) = (9, sequence, 8);
    share
}

/// All of a burst is in one read. Its answers don't fit the sockets, so that most of its frames
/// wait until the peer reads; then nothing comes any more that would wake anybody.
#[tokio::test]
async fn frames_that_waited_for_room_are_answered_when_the_peer_reads() {
    const BURST: u8 = 220;
    let (stop, stops) = watch::channel(false);
    let Connection { mut miner, mut reader, mut writer, served } =
        connect(&context(), &stops).await;
    put(&mut writer, 0, false, &SETUP);
    miner.write_all(writer.pending()).await.unwrap();
    writer.advance(writer.pending().len());
    for sequence in 0..BURST {
        put(&mut writer, 0x1b, true, &share(sequence));
    }
    miner.write_all(writer.pending()).await.unwrap();
    sleep(Duration::from_millis(300)).await;

    let mut answered = Vec::new();
    let all = async {
        while answered.len() < usize::from(BURST) {
            let read = miner.read_buf(reader.room()).await.unwrap();
            assert!(read > 0, "closed after {} answers", answered.len());
            while let Some(frame) = reader.next_frame().unwrap() {
                if frame.message_type == SHARE_ERROR {
                    answered.push(frame.payload[4]);
                }
            }
        }
    };
    let all = timeout(PATIENCE, all).await;
    assert!(all.is_ok() && answered.iter().copied().eq(0..BURST), "only {answered:?}");
    stop.send(true).unwrap();
    drop(miner);
    served.await.unwrap();
}

/// What thousands that are cut off at once cost must not come in one piece.
#[tokio::test]
async fn a_connection_that_is_cut_off_waits_for_its_turn_to_go() {
    let context = context();
    let (_stop, stops) = watch::channel(false);
    let cut = connect(&context, &stops).await;
    let other = context.going.turn().await;
    cut.miner.set_zero_linger().unwrap();
    drop(cut.miner);
    sleep(Duration::from_millis(100)).await;
    assert!(!cut.served.is_finished());
    drop(other);
    timeout(PATIENCE, cut.served).await.unwrap().unwrap();
    assert!(context.going.is_free(1));
}

/// Nor what thousands cost that come.
#[tokio::test]
async fn a_newcomer_waits_for_its_turn_to_be_answered() {
    let context = context();
    let (_stop, stops) = watch::channel(false);
    let mut came = connect(&context, &stops).await;
    let other = context.coming.turn().await;
    put(&mut came.writer, 0, false, &SETUP);
    came.miner.write_all(came.writer.pending()).await.unwrap();
    let mut byte = [0];
    let early = timeout(Duration::from_millis(100), came.miner.read(&mut byte)).await;
    assert!(early.is_err(), "answered before its turn");
    drop(other);
    timeout(PATIENCE, came.miner.read_exact(&mut byte)).await.unwrap().unwrap();
    assert!(context.coming.is_free(1));
}

/// A line that does not move holds up nobody for ever, and nobody when we stop.
#[tokio::test]
async fn a_newcomer_whose_turn_does_not_come_goes_on_without() {
    for stopping in [false, true] {
        let context = context();
        let (stop, stops) = watch::channel(false);
        let mut came = connect(&context, &stops).await;
        let _other = context.coming.turn().await;
        put(&mut came.writer, 0, false, &SETUP);
        came.miner.write_all(came.writer.pending()).await.unwrap();
        sleep(Duration::from_millis(100)).await;
        stop.send(stopping).unwrap();
        let mut byte = [0];
        let within = if stopping { Duration::from_secs(3) } else { PATIENCE };
        timeout(within, came.miner.read_exact(&mut byte)).await.unwrap().unwrap();
        drop(came.miner);
        timeout(PATIENCE, came.served).await.unwrap().unwrap();
    }
}

/// However long it has said nothing before: the time that a stop takes begins with the stop.
#[tokio::test]
async fn a_miner_that_was_quiet_has_its_time_when_we_stop() {
    let mut context = context();
    context.limits.drain_timeout_ms = 4_000;
    let (stop, stops) = watch::channel(false);
    let Connection { mut miner, mut reader, mut writer, served } = connect(&context, &stops).await;
    put(&mut writer, 0, false, &SETUP);
    miner.write_all(writer.pending()).await.unwrap();
    writer.advance(writer.pending().len());
    // Longer than a stop may take, less what is kept for the last words.
    sleep(Duration::from_millis(2_500)).await;
    stop.send(true).unwrap();
    sleep(Duration::from_millis(200)).await;
    put(&mut writer, 0x1b, true, &share(1));
    miner.write_all(writer.pending()).await.unwrap();
    let answer = async {
        loop {
            if miner.read_buf(reader.room()).await.unwrap() == 0 {
                return false;
            }
            while let Some(frame) = reader.next_frame().unwrap() {
                if frame.message_type == SHARE_ERROR {
                    return true;
                }
            }
        }
    };
    assert!(timeout(PATIENCE, answer).await.unwrap(), "what it sent then was not looked at");
    drop(miner);
    served.await.unwrap();
}
