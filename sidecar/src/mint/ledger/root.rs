//! What a credit commits to: the root of a Merkle tree over its share hashes, and the name of its
//! payment that follows from it.
//!
//! The tree is that of RFC 6962 section 2.1, with SHA-256 and the sorted share hashes as leaves, so
//! that anyone who holds one share can be shown that it is in a credit.

use sha2::{Digest as _, Sha256};

/// Goes before a leaf, so that no leaf passes for a node (RFC 6962).
const LEAF: [u8; 1] = [0];
/// Goes before the two halves of a node.
const NODE: [u8; 1] = [1];

/// A Merkle root in the making. Holds one hash for each level of the tree.
#[derive(Debug, Default)]
pub struct ShareRoot {
    /// Roots of full trees, largest first, each with its height.
    full: Vec<(u32, [u8; 32])>,
    leaves: u64,
}

impl ShareRoot {
    /// Adds the next share hash, 32 bytes in internal order. They come sorted, as bytes.
    pub fn add(&mut self, hash: &[u8; 32]) {
        let mut height = 0;
        let mut root: [u8; 32] =
            Sha256::new().chain_update(LEAF).chain_update(hash).finalize().into();
        while let Some((_, left)) = self.full.pop_if(|(other, _)| *other == height) {
            root = node(&left, &root);
            height += 1;
        }
        self.full.push((height, root));
        self.leaves += 1;
    }

    /// How many were added.
    #[must_use]
    pub const fn leaves(&self) -> u64 {
        self.leaves
    }

    /// The root of all that was added, 32 bytes; of none the SHA-256 of nothing.
    #[must_use]
    pub fn root(mut self) -> [u8; 32] {
        let Some((_, mut root)) = self.full.pop() else { return Sha256::digest([]).into() };
        while let Some((_, left)) = self.full.pop() {
            root = node(&left, &root);
        }
        root
    }
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(NODE).chain_update(left).chain_update(right).finalize().into()
}

/// The name under which a credit is paid at the mint: `gp1c:` and the SHA-256 of the pool's id (16
/// bytes), the credit's id (8 bytes, big-endian) and its share root, in hexadecimal. Fixed once the
/// credit is sealed, so that a mint that has seen it refuses to pay it again.
#[must_use]
pub fn payment_id(pool: &[u8; 16], credit: u64, root: &[u8; 32]) -> String {
    let hash = Sha256::new()
        .chain_update(pool)
        .chain_update(credit.to_be_bytes())
        .chain_update(root)
        .finalize();
    let mut text = String::with_capacity(5 + 64);
    text.push_str("gp1c:");
    for byte in hash {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(digit.into(), 16));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962 word for word: splits at the largest power of two below the number of leaves.
    fn by_the_book(leaves: &[[u8; 32]]) -> [u8; 32] {
        match leaves {
            [] => Sha256::digest([]).into(),
            [leaf] => Sha256::digest([&LEAF[..], leaf].concat()).into(),
            leaves => {
                let split = leaves.len().next_power_of_two() / 2;
                let (left, right) = leaves.split_at(split);
                node(&by_the_book(left), &by_the_book(right))
            }
        }
    }

    #[test]
    fn agrees_with_the_recursive_definition() {
        let leaves: Vec<[u8; 32]> = (0..70).map(|n| Sha256::digest([n]).into()).collect();
        for count in 0..=leaves.len() {
            let mut root = ShareRoot::default();
            leaves[..count].iter().for_each(|leaf| root.add(leaf));
            assert_eq!(root.leaves(), count as u64);
            assert_eq!(root.root(), by_the_book(&leaves[..count]), "{count} leaves");
        }
    }

    #[test]
    fn names_payments_by_their_content() {
        let name = payment_id(&[1; 16], 7, &[2; 32]);
        assert_eq!(name.len(), 69);
        let bytes = [&[1_u8; 16][..], &[0, 0, 0, 0, 0, 0, 0, 7], &[2; 32]].concat();
        let hash: [u8; 32] = Sha256::digest(bytes).into();
        let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(name, format!("gp1c:{digits}"));
        assert_ne!(name, payment_id(&[1; 16], 8, &[2; 32]));
    }
}
