//! The extensions of the protocol (SV2 spec 3.4) that are known here. 0x0001, by which the others
//! are agreed on, needs no agreement and is not among them.

/// 0x0002: a share names the worker it is of.
pub const WORKERS: u16 = extensions_sv2::EXTENSION_TYPE_WORKER_HASHRATE_TRACKING;

/// 0x4548, of the experimental range: the miner is told when a mint shows a credit of its account.
pub const MINT_CREDITS: u16 = 0x4548;

/// All that a miner may ask for anywhere, and an operator may require.
pub const SUPPORTED_EXTENSIONS: &[u16] = &[WORKERS];

/// All that a miner may ask for where credit goes to payout keys.
pub const CREDITING_EXTENSIONS: &[u16] = &[WORKERS, MINT_CREDITS];
