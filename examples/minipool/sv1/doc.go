// Package sv1 is a Stratum V1 door for an [sv2.Host]: the same pool, the same share check, the same books.
// Each connection is an extended channel of the host.
//
// It speaks mining.subscribe, authorize, configure (version-rolling and minimum-difficulty, BIP310),
// suggest_difficulty, extranonce.subscribe, submit and ping, and tells of mining.notify,
// set_difficulty, client.show_message. Stratum V1 has neither encryption nor authentication: whoever is
// between a miner and this port can take his shares.
//
// Errors are [code, text, null]; the text is the error string that Stratum V2 has for it. A block is
// answered when the node has taken it or not: true, or an error with the node's words. The share itself
// counts in either case.
package sv1
