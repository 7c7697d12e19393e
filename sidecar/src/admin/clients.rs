//! Connections and channels in the shape of SRI's monitoring, with fields of our own after its.

use serde_json::{json, Map, Value};

use super::View;
use crate::obs::clients::{difficulty_of, ChannelBook, Client, Sums};
use crate::obs::printable;
use crate::types::{Connection, Hash, Kind};

/// Connections that are summed up at a time: the list is locked for no more.
const STEP: usize = 512;

/// Letters of an address that are shown at its beginning and at its end.
const SHOWN: (usize, usize) = (6, 4);

/// What all connections have together.
pub(super) fn all(view: &View) -> Sums {
    let (mut sums, mut last) = (Sums::default(), 0);
    loop {
        let page = view.clients.after(last, STEP);
        let Some(end) = page.last() else { return sums };
        last = end.id;
        sums = page.iter().fold(sums, |sums, client| sums.and(client.sums()));
    }
}

/// What kind of a client it is, in SRI's words.
fn kind(setup: Option<&Connection>) -> &'static str {
    match setup {
        Some(setup) if setup.vendor.is_empty() && setup.hardware_version.is_empty() => "unknown",
        Some(Connection { vendor, hardware_version, .. })
            if &vendor[..] == b"SRI" && &hardware_version[..] == b"Translator Proxy" =>
        {
            "translator_proxy"
        }
        Some(_) => "miner",
        None => "unknown",
    }
}

/// A connection without its channels.
pub(super) fn client(view: &View, client: &Client) -> Value {
    let (sums, setup) = (client.sums(), client.setup());
    let setup = setup.as_deref();
    let address = view.show_addresses.then_some(&client.address);
    json!({
        "client_id": client.id,
        "client_kind": kind(setup),
        "extended_channels_count": sums.extended,
        "standard_channels_count": sums.standard,
        "total_hashrate": sums.hash_rate,
        "address": address,
        "connected_ms": client.connected_ms,
        "last_activity_ms": client.active_ms(),
        "bytes_in": client.bytes_in.get(),
        "bytes_out": client.bytes_out.get(),
        "vendor": setup.map(|setup| printable(&setup.vendor)),
        "hardware_version": setup.map(|setup| printable(&setup.hardware_version)),
        "firmware": setup.map(|setup| printable(&setup.firmware)),
        "setup_flags": setup.map(|setup| setup.setup_flags),
        "extensions": setup.map(|setup| setup.extensions.clone()),
    })
}

/// One page of the channels of a connection, of each kind by itself, as SRI does it.
pub(super) fn channels(view: &View, client: &Client, offset: usize, limit: usize) -> Value {
    let books = client.channels();
    let of = |kind: Kind| books.iter().filter(move |book| book.kind == kind);
    let page = |kind: Kind| -> Vec<Value> {
        of(kind).skip(offset).take(limit).map(|book| channel(view, book)).collect()
    };
    json!({
        "client_id": client.id,
        "offset": offset,
        "limit": limit,
        "total_extended": of(Kind::Extended).count(),
        "total_standard": of(Kind::Standard).count(),
        "extended_channels": page(Kind::Extended),
        "standard_channels": page(Kind::Standard),
    })
}

fn channel(view: &View, book: &ChannelBook) -> Value {
    let (target, max_target) = book.targets();
    let reasons = book.rejected.read().filter(|(_, count)| *count > 0);
    let reasons: Map<String, Value> =
        reasons.map(|(reason, count)| (reason.as_str().to_owned(), count.into())).collect();
    let work = book.work.get();
    let hash_rate = f64::from(book.nominal_hash_rate());
    // A share of difficulty 1 takes 2^32 hashes.
    let hashes = difficulty_of(&Hash(target.0)) * 2.0_f64.powi(32);
    let mut out = json!({
        "channel_id": book.id,
        "user_identity": identity(view, &book.user_identity),
        "nominal_hashrate": hash_rate,
        // It is what the miner says; nothing is estimated here.
        "stable_hashrate": true,
        "target_hex": target.to_string(),
        "requested_max_target_hex": max_target.to_string(),
        "extranonce_prefix_hex": hex(&book.prefix),
        "expected_shares_per_minute": hash_rate * 60.0 / hashes,
        "shares_accepted": book.accepted.get(),
        "shares_rejected": book.rejected.sum(),
        "shares_rejected_by_reason": reasons,
        "share_work_sum": work.whole as f64 + f64::from(work.fraction) / 2.0_f64.powi(32),
        "last_share_sequence_number": book.last_sequence.get(),
        "best_diff": book.best(),
        "last_batch_accepted": book.last_batch.get(),
        "last_batch_work_sum": book.last_batch_work.get(),
        // A Success leaves as soon as there is one to tell.
        "share_batch_size": 1,
        "blocks_found": book.blocks.get(),
        "opened_ms": book.opened_ms,
        "last_share_ms": Some(book.last_share_ms.get()).filter(|at| *at > 0),
    });
    if let (Kind::Extended, Some(out)) = (book.kind, out.as_object_mut()) {
        let rolled = usize::from(book.extranonce_size);
        out.insert("full_extranonce_size".into(), (book.prefix.len() + rolled).into());
        out.insert("rollable_extranonce_size".into(), rolled.into());
    }
    out
}

/// Whose work it is: escaped, and unless addresses are shown, shortened like goPool shows them.
fn identity(view: &View, identity: &[u8]) -> String {
    let text = printable(identity);
    if view.show_addresses {
        return text;
    }
    let (address, worker) = match text.split_once('.') {
        Some((address, worker)) => (address, Some(worker)),
        None => (text.as_str(), None),
    };
    let (first, last) = SHOWN;
    // Printable text is ASCII.
    let short = match (address.get(..first), address.get(address.len().saturating_sub(last)..)) {
        (Some(head), Some(tail)) if address.len() > 2 * (first + last) => {
            format!("{head}...{tail}")
        }
        _ => address.to_owned(),
    };
    worker.map_or_else(|| short.clone(), |worker| format!("{short}.{worker}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
