//! A template provider (SV2 spec, chapter 7) with one tip and one template.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gopool_sv2_tests::{Heard, RawPeer};
use noise_sv2::Responder;

const SETUP: u8 = 0x00;
const SETUP_SUCCESS: u8 = 0x01;
const OUTPUT_CONSTRAINTS: u8 = 0x70;
const NEW_TEMPLATE: u8 = 0x71;
const SET_NEW_PREV_HASH: u8 = 0x72;
/// A pool that says nothing for that long is gone.
const SILENCE: Duration = Duration::from_secs(3600);
/// Of the only template.
const TEMPLATE: u64 = 1;
/// Difficulty 1: a block takes 2^32 hashes.
const BITS: u32 = 0x1d00_ffff;

/// Serves every pool that connects, with a certificate of `authority`, for ever.
pub fn serve(listener: &TcpListener, authority: secp256k1::Keypair) {
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        thread::spawn(move || provide(stream, authority));
    }
}

fn provide(mut stream: TcpStream, authority: secp256k1::Keypair) {
    let mut act1 = [0; 64];
    stream.read_exact(&mut act1).unwrap();
    let (act2, engine) = Responder::new(authority, 3600).step_1(act1).unwrap();
    stream.write_all(&act2).unwrap();
    let (encryptor, decryptor) = engine.into_split();
    let mut pool = RawPeer::after_handshake(stream, encryptor, decryptor);
    while let Heard::Frame(frame) = pool.hear(SILENCE) {
        match frame.message_type {
            // Version 2, no flags.
            SETUP => drop(pool.send(0, SETUP_SUCCESS, &[2, 0, 0, 0, 0, 0])),
            OUTPUT_CONSTRAINTS => {
                pool.send(0, NEW_TEMPLATE, &new_template());
                pool.send(0, SET_NEW_PREV_HASH, &set_new_prev_hash());
            }
            // Transaction data and solutions are nobody's wish here.
            _ => {}
        }
    }
}

/// A future template: height 100,000, subsidy 50, any witness commitment, and a merkle path of
/// transactions that nobody asks for.
fn new_template() -> Vec<u8> {
    let mut message = TEMPLATE.to_le_bytes().to_vec();
    message.push(1);
    message.extend(0x2000_0000_u32.to_le_bytes());
    message.extend(2_u32.to_le_bytes());
    message.extend([4, 0x03, 0xa0, 0x86, 0x01]);
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
    message.extend([[0x33; 32], [0x44; 32]].concat());
    message
}

fn set_new_prev_hash() -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32;
    let mut message = TEMPLATE.to_le_bytes().to_vec();
    message.extend([0x11; 32]);
    message.extend(now.to_le_bytes());
    message.extend(BITS.to_le_bytes());
    // The target of the bits, least significant byte first.
    let mut target = [0; 32];
    target[26..28].copy_from_slice(&[0xff, 0xff]);
    message.extend(target);
    message
}
