// Package node gets the pool's work from a Bitcoin node and gives blocks back to it, over JSON-RPC:
// Bitcoin Core, btcd, or another node with getblocktemplate (BIP22, BIP23, BIP9, BIP145).
//
// A Node keeps the newest template at hand. One request waits at the node for the next tip (long
// polling), another asks at intervals for fresh transactions; when the node is away, the last template
// serves for a bounded time while the Node tries to reach it again. A block is offered until the node
// has taken or refused it.
//
// What the node's address and chain are is fixed when it is opened. Errors say what an operator can do.
//
// Byte order: every [32]byte hash in this package is in internal order, the reverse of the order in
// which a node prints it.
package node
