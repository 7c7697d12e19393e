//! Names as people see them.

/// Letters of an address that are shown at its beginning and at its end.
const SHOWN: (usize, usize) = (6, 4);

/// A printable identity with its address shortened, as the admin address of a sidecar does it:
/// `bc1qab...wxyz.worker`.
pub(super) fn short(label: &str) -> String {
    let (address, worker) = match label.split_once('.') {
        Some((address, worker)) => (address, Some(worker)),
        None => (label, None),
    };
    let (first, last) = SHOWN;
    // Printable text is ASCII.
    let ends = (address.get(..first), address.get(address.len().saturating_sub(last)..));
    let short = match ends {
        (Some(head), Some(tail)) if address.len() > 2 * (first + last) => {
            format!("{head}...{tail}")
        }
        _ => address.to_owned(),
    };
    worker.map_or_else(|| short.clone(), |worker| format!("{short}.{worker}"))
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: impl IntoIterator<Item = u8>) -> String {
    bytes.into_iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortens_addresses_and_leaves_workers() {
        let address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
        assert_eq!(short(address), "bc1qw5...f3t4");
        assert_eq!(short(&format!("{address}.rig.1")), "bc1qw5...f3t4.rig.1");
        assert_eq!(short("alice.rig"), "alice.rig");
        assert_eq!(short(""), "");
    }
}
