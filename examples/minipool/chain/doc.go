// Package chain is a small, real blockchain that lives inside the process of the example pool.
//
// It gives a pool what a Bitcoin node would give it over RPC: block templates that carry signed
// transactions and a witness commitment, full consensus validation of submitted blocks, and a
// notification on every new tip. Consensus, storage, mempool policy and transaction selection are
// btcd's own packages; this package adds a private network (its own magic and genesis block, a
// fixed difficulty) and a one-key wallet that keeps the mempool busy. Work is assembled from the
// templates by package template.
//
// Byte order: every [32]byte hash in this package is in internal order, the order of the block
// header on the wire, which is the reverse of the order block explorers print.
//
// All methods of Chain are safe for use from any goroutine. A template belongs to its caller.
package chain
