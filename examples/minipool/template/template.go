// Package template is what a pool needs to know to make work: a block template, wherever it comes
// from, with the assembly of the coinbase and of the block, and payout addresses. Package chain
// makes templates of its own, package node gets them from a Bitcoin node.
//
// Byte order: every [32]byte hash in this package is in internal order, the order of the block
// header on the wire, which is the reverse of the order block explorers print.
package template

import (
	"encoding/binary"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

// Template is everything a pool needs to build work on the present tip. It is a snapshot that
// doesn't change later.
type Template struct {
	// Height is the height of the block to be found, one above the tip.
	Height int32

	// Version is the block version, with the top bits 001 of BIP9. Bits under a version rolling
	// mask (BIP320) are free for the miner.
	Version int32

	// RequiredBits are bits of Version that miners may not roll, though the mask has them (BIP9,
	// vbrequired of getblocktemplate). Usually none.
	RequiredBits uint32

	// PrevHash is the hash of the tip in internal byte order.
	PrevHash [32]byte

	// Bits is the compact network target, the difficulty of a block.
	Bits uint32

	// MinTime is the earliest valid header time (median time past + 1), in Unix seconds.
	MinTime uint32

	// CurTime is the time the template was asked for, in Unix seconds, or MinTime if that is
	// later.
	CurTime uint32

	// CoinbaseValue is the subsidy plus all fees of Transactions, in satoshis.
	CoinbaseValue int64

	// Transactions follow the coinbase in the block, in this order.
	Transactions []*wire.MsgTx

	// MerklePath leads from the coinbase txid to the merkle root, deepest node first, in internal
	// byte order (see FoldMerkle). It is empty without Transactions.
	MerklePath [][32]byte

	// WitnessCommitment is the output script that commits to the witnesses (BIP141, 38 bytes).
	// It is computed with a witness reserved value of 32 zero bytes. Empty: the block carries no
	// commitment, and then no transaction may carry a witness.
	WitnessCommitment []byte
}

// Header serializes the header for a coinbase without witness, with a nonce of zero.
func (t *Template) Header(coinbase []byte, unixTime uint32) [80]byte {
	root := FoldMerkle(chainhash.DoubleHashH(coinbase), t.MerklePath)
	var h [80]byte
	binary.LittleEndian.PutUint32(h[0:], uint32(t.Version))
	copy(h[4:], t.PrevHash[:])
	copy(h[36:], root[:])
	binary.LittleEndian.PutUint32(h[68:], unixTime)
	binary.LittleEndian.PutUint32(h[72:], t.Bits)
	return h
}
