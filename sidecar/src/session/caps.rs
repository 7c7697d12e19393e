//! The longest payload that each message of a miner can have. The header says the type before the
//! payload comes, so that a longer one is refused before a byte of it is kept.

use common_messages_sv2::MESSAGE_TYPE_SETUP_CONNECTION;
use extensions_sv2::{EXTENSION_TYPE_EXTENSIONS_NEGOTIATION, MESSAGE_TYPE_REQUEST_EXTENSIONS};
use mining_sv2::{
    MESSAGE_TYPE_CLOSE_CHANNEL, MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL,
    MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL, MESSAGE_TYPE_SET_CUSTOM_MINING_JOB,
    MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED, MESSAGE_TYPE_SUBMIT_SHARES_STANDARD,
    MESSAGE_TYPE_UPDATE_CHANNEL,
};

/// A text or bytes with a length byte in front.
const STR0_255: usize = 256;
const U256: usize = 32;
/// Room for the TLVs of extensions behind a message: the longest known is a worker's name, 36
/// bytes; unknown ones are to be ignored, not to be closed for.
const TLVS: usize = 1_024;

/// Protocol, versions, flags, port, and five texts. No TLVs: no extension is in force yet.
const SETUP: usize = 1 + 2 + 2 + 4 + 2 + 5 * STR0_255;
/// Request id, user, hash rate, target; an extended one has the size of its extranonce too.
const OPEN: usize = 4 + STR0_255 + 4 + U256 + 2;
/// Channel, hash rate, target.
const UPDATE: usize = 4 + 4 + U256;
/// Channel, reason.
const CLOSE: usize = 4 + STR0_255;
/// Six words, and an extranonce of up to 32 bytes with its length.
const SUBMIT: usize = 6 * 4 + 1 + 32;
/// Eight words; token, prev-hash, coinbase prefix, outputs, path.
const CUSTOM_JOB: usize = 8 * 4 + 2 * STR0_255 + U256 + (2 + 65_535) + (1 + 255 * U256);
/// Request id and a list of 65,535 numbers.
const REQUEST_EXTENSIONS: usize = 2 + 2 + 65_535 * 2;

/// The cap of a message before SetupConnection; `None`: whatever the state allows.
pub(super) fn before_setup(extension_type: u16, message_type: u8) -> Option<usize> {
    match (extension_type, message_type) {
        (0, MESSAGE_TYPE_SETUP_CONNECTION) => Some(SETUP),
        _ => None,
    }
}

/// The cap of a message after it; `None`: a type that is unknown here, and will be ignored.
pub(super) fn after_setup(extension_type: u16, message_type: u8) -> Option<usize> {
    let cap = match (extension_type, message_type) {
        (0, MESSAGE_TYPE_SETUP_CONNECTION) => return Some(SETUP),
        (
            0,
            MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL | MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL,
        ) => OPEN,
        (0, MESSAGE_TYPE_UPDATE_CHANNEL) => UPDATE,
        (0, MESSAGE_TYPE_CLOSE_CHANNEL) => CLOSE,
        (0, MESSAGE_TYPE_SUBMIT_SHARES_STANDARD | MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED) => SUBMIT,
        (0, MESSAGE_TYPE_SET_CUSTOM_MINING_JOB) => CUSTOM_JOB,
        (EXTENSION_TYPE_EXTENSIONS_NEGOTIATION, MESSAGE_TYPE_REQUEST_EXTENSIONS) => {
            return Some(REQUEST_EXTENSIONS)
        }
        _ => return None,
    };
    Some(cap + TLVS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fr_12_knows_the_longest_payload_of_each_type() {
        let caps = [SETUP, OPEN, UPDATE, CLOSE, SUBMIT, CUSTOM_JOB, REQUEST_EXTENSIONS];
        assert_eq!(caps, [1_291, 298, 40, 260, 57, 74_274, 131_074]);
        assert_eq!(before_setup(0, 0), Some(1_291));
        assert_eq!(before_setup(0, 0x13), None);
        for (extension, message, cap) in [
            (0, 0x00, Some(1_291)),
            (0, 0x10, Some(1_322)),
            (0, 0x13, Some(1_322)),
            (0, 0x16, Some(1_064)),
            (0, 0x18, Some(1_284)),
            (0, 0x1a, Some(1_081)),
            (0, 0x1b, Some(1_081)),
            (0, 0x22, Some(75_298)),
            (1, 0x00, Some(131_074)),
            (1, 0x13, None),
            (0, 0x7f, None),
            (2, 0x00, None),
        ] {
            assert_eq!(after_setup(extension, message), cap, "{extension} {message:#04x}");
        }
    }
}
