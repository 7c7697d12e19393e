//! Both ends of an encrypted connection.

use gopool_sv2::frame::{Reader, Writer};
use noise_sv2::{Initiator, Responder};
use secp256k1::{Keypair, Secp256k1};

/// Longest payload that either end takes.
const MAX_PAYLOAD: usize = 1 << 16;

/// A frame in the clear: message type and payload.
pub type Message = (u8, Vec<u8>);

/// The listener's key; the same in every run.
#[must_use]
pub fn authority() -> Keypair {
    Keypair::from_seckey_slice(&Secp256k1::new(), &[0x44; 32]).unwrap()
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct Ends {
    /// The miner writes here,
    pub to_listener: Writer,
    /// and the listener reads it.
    pub from_miner: Reader,
    /// The listener writes here,
    pub to_miner: Writer,
    /// and the miner reads it.
    pub from_listener: Reader,
}

impl Ends {
    /// Goes through a handshake.
    #[must_use]
    pub fn new() -> Self {
        let mut initiator = Initiator::without_pk().unwrap();
        let mut responder = Responder::new(authority(), 3_600);
        let (act_2, listener) = responder.step_1(initiator.step_0().unwrap()).unwrap();
        let miner = initiator.step_2(act_2).unwrap();
        let (miner, listener) = (miner.into_split(), listener.into_split());
        Self {
            to_listener: Writer::new(miner.0),
            from_miner: Reader::new(listener.1, MAX_PAYLOAD),
            to_miner: Writer::new(listener.0),
            from_listener: Reader::new(miner.1, MAX_PAYLOAD),
        }
    }

    /// What the miner hears: all that waits to be sent. Must be called for the first frame and each
    /// after it, or the keys are out of step.
    pub fn heard(&mut self) -> Vec<Message> {
        self.from_listener.room().extend_from_slice(self.to_miner.pending());
        self.to_miner.advance(self.to_miner.pending().len());
        let mut heard = Vec::new();
        while let Some(frame) = self.from_listener.next_frame().unwrap() {
            heard.push((frame.message_type, frame.payload.to_vec()));
        }
        heard
    }
}

impl Default for Ends {
    fn default() -> Self {
        Self::new()
    }
}
