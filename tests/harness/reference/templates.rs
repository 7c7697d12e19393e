//! A template provider (SV2 spec, chapter 7) with tips and templates as they are asked for.

#![allow(clippy::unwrap_used)]

use std::io::{copy, sink, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use noise_sv2::Responder;

use crate::{Heard, RawPeer};

const SETUP: u8 = 0x00;
const SETUP_SUCCESS: u8 = 0x01;
const OUTPUT_CONSTRAINTS: u8 = 0x70;
const NEW_TEMPLATE: u8 = 0x71;
const SET_NEW_PREV_HASH: u8 = 0x72;
/// A pool that says nothing for that long before it has said what it wants is gone.
const SILENCE: Duration = Duration::from_secs(3600);
/// Difficulty 1: a block takes 2^32 hashes.
const BITS: u32 = 0x1d00_ffff;
/// Height of the first tip's successor.
const HEIGHT: u32 = 100_000;
/// Wishes that may wait.
const WAITING: usize = 64;

/// What a provider is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// A template for a new tip, and the tip.
    Tip,
    /// Another template on the tip that is.
    Template,
}

/// Has every pool that is served get what is asked for. Clones ask together.
#[derive(Debug, Clone, Default)]
pub struct Asker(Arc<Mutex<Vec<SyncSender<Wish>>>>);

impl Asker {
    /// Asks. Pools that are gone are forgotten.
    pub fn ask(&self, wish: Wish) {
        self.pools().retain(|pool| pool.send(wish).is_ok());
    }

    fn pools(&self) -> std::sync::MutexGuard<'_, Vec<SyncSender<Wish>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves every pool that connects, with a certificate of `authority`, for ever. Each begins with
/// one template and its tip, and gets what `asker` is asked for from then on.
pub fn serve(listener: &TcpListener, authority: secp256k1::Keypair, asker: &Asker) {
    for stream in listener.incoming() {
        let (stream, asker) = (stream.unwrap(), asker.clone());
        thread::spawn(move || {
            if let Some(pool) = greet(stream, authority) {
                let (wish, wishes) = sync_channel(WAITING);
                asker.pools().push(wish);
                provide(pool, &wishes);
            }
        });
    }
}

/// Up to the message by which a pool asks for templates; `None` when it goes away before.
fn greet(mut stream: TcpStream, authority: secp256k1::Keypair) -> Option<RawPeer> {
    // Two small messages in a row are not to wait for an acknowledgement.
    stream.set_nodelay(true).unwrap();
    let mut act1 = [0; 64];
    stream.read_exact(&mut act1).ok()?;
    let (act2, engine) = Responder::new(authority, 3600).step_1(act1).unwrap();
    stream.write_all(&act2).unwrap();
    let (encryptor, decryptor) = engine.into_split();
    let mut pool = RawPeer::after_handshake(stream, encryptor, decryptor);
    while let Heard::Frame(frame) = pool.hear(SILENCE) {
        match frame.message_type {
            // Version 2, no flags.
            SETUP => drop(pool.send(0, SETUP_SUCCESS, &[2, 0, 0, 0, 0, 0])),
            OUTPUT_CONSTRAINTS => return Some(pool),
            _ => {}
        }
    }
    None
}

fn provide(mut pool: RawPeer, wishes: &Receiver<Wish>) {
    // Transaction data and solutions are nobody's wish here: what the pool says is not looked at.
    let mut rest = pool.socket.try_clone().unwrap();
    rest.set_read_timeout(None).unwrap();
    thread::spawn(move || copy(&mut rest, &mut sink()));
    let (mut template, mut tip) = (0, 0);
    let mut wish = Wish::Tip;
    loop {
        template += 1;
        tip += u32::from(wish == Wish::Tip);
        let future = wish == Wish::Tip;
        let message = new_template(template, tip, future);
        let mut bytes = pool.seal(0, NEW_TEMPLATE, &message, message.len());
        if future {
            let message = set_new_prev_hash(template, tip);
            bytes.extend(pool.seal(0, SET_NEW_PREV_HASH, &message, message.len()));
        }
        pool.write(&bytes);
        match wishes.recv() {
            Ok(next) => wish = next,
            Err(_) => return,
        }
    }
}

/// A template: subsidy 50, any witness commitment, and a merkle path of transactions that nobody
/// asks for, other ones each time.
fn new_template(template: u64, tip: u32, future: bool) -> Vec<u8> {
    let mut message = template.to_le_bytes().to_vec();
    message.push(u8::from(future));
    message.extend(0x2000_0000_u32.to_le_bytes());
    message.extend(2_u32.to_le_bytes());
    let height = (HEIGHT + tip).to_le_bytes();
    message.extend([4, 0x03, height[0], height[1], height[2]]);
    message.extend(u32::MAX.to_le_bytes());
    message.extend(5_000_000_000_u64.to_le_bytes());
    message.extend(1_u32.to_le_bytes());
    // Value 0, OP_RETURN and BIP141's commitment of 32 bytes.
    let mut output = vec![0; 8];
    output.extend([38, 0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed]);
    output.extend([0x77; 32]);
    message.extend((output.len() as u16).to_le_bytes());
    message.extend(output);
    message.extend(0_u32.to_le_bytes());
    message.push(2);
    message.extend(numbered([0x33; 32], template));
    message.extend([0x44; 32]);
    message
}

fn set_new_prev_hash(template: u64, tip: u32) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32;
    let mut message = template.to_le_bytes().to_vec();
    message.extend(numbered([0x11; 32], tip.into()));
    message.extend(now.to_le_bytes());
    message.extend(BITS.to_le_bytes());
    // The target of the bits, least significant byte first.
    let mut target = [0; 32];
    target[26..28].copy_from_slice(&[0xff, 0xff]);
    message.extend(target);
    message
}

/// A hash with a number in its first bytes.
fn numbered(mut hash: [u8; 32], number: u64) -> [u8; 32] {
    hash[..8].copy_from_slice(&number.to_le_bytes());
    hash
}
