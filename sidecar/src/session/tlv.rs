//! TLVs behind a message (SV2 spec 3.4.3), and the worker among them (extension 0x0002).

use extensions_sv2::{MAX_USER_IDENTITY_LENGTH as WORKER_MAX, TLV_FIELD_TYPE_USER_IDENTITY};

use crate::types::WORKERS;

/// What TLVs say of a share's worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named<'a> {
    /// Opaque; empty when they name none.
    pub(super) worker: &'a [u8],
    /// Its numbers came in big-endian order.
    pub(super) swapped: bool,
}

/// A worker's name is longer than the extension allows: the message is to be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a worker's name of {0} bytes, at most {WORKER_MAX} are allowed")]
pub(super) struct TooLong(pub(super) usize);

/// Finds the worker in what follows a submit. Other TLVs are skipped, in any order; bytes that are
/// no whole TLV end the search and cost nothing else.
///
/// All numbers are little-endian, but the specification's own example has them the other way round:
/// bytes that only make sense so are read so.
pub(super) fn worker(tlvs: &[u8]) -> Result<Named<'_>, TooLong> {
    let (found, whole) = walk(tlvs, u16::from_le_bytes);
    if !whole {
        if let (Some(worker), true) = walk(tlvs, u16::from_be_bytes) {
            return checked(worker, true);
        }
    }
    checked(found.unwrap_or_default(), false)
}

fn checked(worker: &[u8], swapped: bool) -> Result<Named<'_>, TooLong> {
    match worker.len() {
        0..=WORKER_MAX => Ok(Named { worker, swapped }),
        len => Err(TooLong(len)),
    }
}

/// The first worker, or one that is too long; and whether the bytes end where a TLV does.
fn walk(mut rest: &[u8], word: fn([u8; 2]) -> u16) -> (Option<&[u8]>, bool) {
    let mut found: Option<&[u8]> = None;
    while !rest.is_empty() {
        let Some((&[e0, e1, field, l0, l1], behind)) = rest.split_first_chunk() else {
            return (found, false);
        };
        let Some((value, next)) = behind.split_at_checked(word([l0, l1]).into()) else {
            return (found, false);
        };
        let is_worker = word([e0, e1]) == WORKERS && field == TLV_FIELD_TYPE_USER_IDENTITY;
        if is_worker && (found.is_none() || value.len() > WORKER_MAX) {
            found = Some(value);
        }
        rest = next;
    }
    (found, true)
}

#[cfg(test)]
mod tests;
