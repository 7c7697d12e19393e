// Coinbase and block assembly, merkle paths and the witness commitment.

package template

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/btcutil/v2"
	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/txscript/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

const (
	// MaxScriptSigLen is the longest scriptSig, in bytes, that consensus allows in a coinbase.
	MaxScriptSigLen = blockchain.MaxCoinbaseScriptLen

	// MaxExtranonceLen is the longest extranonce, in bytes, prefix and rollable part together
	// (SV2 carries it as B0_32).
	MaxExtranonceLen = 32

	maxDirectPush = 75 // longest push whose opcode is its length
)

// CoinbaseSpec says what a pool puts into the coinbase of one template.
type CoinbaseSpec struct {
	// Outputs are the payouts, in order; at least one. Values are satoshis and together at most
	// Template.CoinbaseValue (what is left over is burnt). The witness commitment is added after
	// them by Template.Coinbase. The slice is only read.
	Outputs []*wire.TxOut

	// Tag names the pool in the scriptSig; it may be empty.
	Tag string

	// ExtranonceLen is the length in bytes of the whole extranonce, prefix and rollable part
	// together: 1 to MaxExtranonceLen.
	ExtranonceLen int
}

// Coinbase builds the coinbase transaction for this template and returns its serialization without
// witness, cut where the extranonce goes: prefix + extranonce + suffix is the transaction whose
// double SHA-256 is the coinbase txid (SV2 coinbase_tx_prefix and coinbase_tx_suffix). The
// scriptSig is the BIP34 height, the tag, and one push of the extranonce; the last output is the
// witness commitment (BIP141), if the template has one. Both slices are the caller's.
//
// Errors: no or too many payouts for the coinbase value, an extranonce length out of range, a
// scriptSig over MaxScriptSigLen bytes.
func (t *Template) Coinbase(spec CoinbaseSpec) (prefix, suffix []byte, err error) {
	if spec.ExtranonceLen < 1 || spec.ExtranonceLen > MaxExtranonceLen {
		return nil, nil, fmt.Errorf("coinbase: extranonce of %d bytes, want 1 to %d",
			spec.ExtranonceLen, MaxExtranonceLen)
	}
	if err := t.checkPayouts(spec.Outputs); err != nil {
		return nil, nil, fmt.Errorf("coinbase: %w", err)
	}
	script, err := txscript.NewScriptBuilder().AddInt64(int64(t.Height)).Script()
	if err != nil {
		return nil, nil, fmt.Errorf("coinbase: height push: %w", err)
	}
	script = appendTag(script, spec.Tag)
	script = append(script, byte(spec.ExtranonceLen))
	head := len(script)
	script = append(script, make([]byte, spec.ExtranonceLen)...)
	if len(script) > MaxScriptSigLen {
		return nil, nil, fmt.Errorf("coinbase: scriptSig of %d bytes, consensus allows %d: "+
			"shorten the tag (%d bytes) or the extranonce (%d bytes)",
			len(script), MaxScriptSigLen, len(spec.Tag), spec.ExtranonceLen)
	}

	tx := wire.NewMsgTx(2)
	tx.AddTxIn(&wire.TxIn{
		PreviousOutPoint: wire.OutPoint{Index: wire.MaxPrevOutIndex},
		SignatureScript:  script,
		Sequence:         wire.MaxTxInSequenceNum,
	})
	for _, out := range spec.Outputs {
		tx.AddTxOut(out)
	}
	if len(t.WitnessCommitment) > 0 {
		tx.AddTxOut(&wire.TxOut{PkScript: t.WitnessCommitment})
	}

	var raw bytes.Buffer
	raw.Grow(tx.SerializeSizeStripped())
	if err := tx.SerializeNoWitness(&raw); err != nil {
		return nil, nil, fmt.Errorf("coinbase: serialize: %w", err)
	}
	// Version, input count, outpoint and the one-byte script length come before the script.
	cut := 4 + 1 + 36 + 1 + head
	serialized := raw.Bytes()
	// One piece of memory: both parts live and die together.
	return serialized[:cut:cut], serialized[cut+spec.ExtranonceLen:], nil
}

func (t *Template) checkPayouts(outputs []*wire.TxOut) error {
	if len(outputs) == 0 {
		return errors.New("no payout outputs, want at least one")
	}
	left := t.CoinbaseValue
	for i, out := range outputs {
		if out == nil {
			return fmt.Errorf("payout %d is nil", i)
		}
		// Compared with what is left, so that no sum can overflow.
		if out.Value < 0 || out.Value > left {
			return fmt.Errorf("payout %d of %d satoshis, %d of the coinbase value of %d are left",
				i, out.Value, left, t.CoinbaseValue)
		}
		left -= out.Value
	}
	return nil
}

// appendTag pushes the tag as it is. The script builder would turn some one-byte tags into opcodes.
func appendTag(script []byte, tag string) []byte {
	switch {
	case len(tag) == 0:
		return script
	case len(tag) <= maxDirectPush:
		script = append(script, byte(len(tag)))
	default:
		// A tag over 255 bytes wraps here and is refused by the length check of the caller.
		script = append(script, txscript.OP_PUSHDATA1, byte(len(tag)))
	}
	return append(script, tag...)
}

// Block assembles a full block from a solved header (80 bytes, as hashed), the coinbase without
// witness (prefix + extranonce + suffix) and the transactions of this template. Where the template
// has a witness commitment, the coinbase gets its witness, 32 zero bytes (BIP141). Nothing is judged
// here, whoever takes the block does that; an error means that the coinbase is not the serialization
// of a one-input transaction. The block shares the transactions with the template.
func (t *Template) Block(coinbaseNonWitness []byte, header [80]byte) (*wire.MsgBlock, error) {
	var coinbase wire.MsgTx
	reader := bytes.NewReader(coinbaseNonWitness)
	if err := coinbase.DeserializeNoWitness(reader); err != nil {
		return nil, fmt.Errorf("block: coinbase is not a transaction without witness: %w", err)
	}
	if reader.Len() != 0 {
		return nil, fmt.Errorf("block: %d bytes after the coinbase", reader.Len())
	}
	if !blockchain.IsCoinBaseTx(&coinbase) {
		return nil, errors.New("block: the first transaction is not a coinbase")
	}
	if len(t.WitnessCommitment) > 0 {
		coinbase.TxIn[0].Witness = wire.TxWitness{make([]byte, blockchain.CoinbaseWitnessDataLen)}
	}

	block := &wire.MsgBlock{Transactions: make([]*wire.MsgTx, 0, 1+len(t.Transactions))}
	if err := block.Header.Deserialize(bytes.NewReader(header[:])); err != nil {
		return nil, fmt.Errorf("block: header: %w", err)
	}
	block.Transactions = append(block.Transactions, &coinbase)
	block.Transactions = append(block.Transactions, t.Transactions...)
	return block, nil
}

// FoldMerkle returns the merkle root (internal byte order) of a block whose coinbase has the given
// txid: the txid is hashed with each node of the path in turn, deepest first.
func FoldMerkle(coinbaseTxid [32]byte, path [][32]byte) [32]byte {
	root := chainhash.Hash(coinbaseTxid)
	for i := range path {
		right := chainhash.Hash(path[i])
		root = blockchain.HashMerkleBranches(&root, &right)
	}
	return root
}

// MerklePath returns the nodes that lead from the coinbase, which is not in txids, to the merkle
// root (see FoldMerkle).
func MerklePath(txids []chainhash.Hash) [][32]byte {
	var path [][32]byte
	// level[0] stands for the branch of the coinbase and is never read.
	level := append(make([]chainhash.Hash, 1, 1+len(txids)), txids...)
	for len(level) > 1 {
		path = append(path, level[1])
		if len(level)%2 == 1 {
			level = append(level, level[len(level)-1])
		}
		next := make([]chainhash.Hash, 1, len(level)/2)
		for i := 2; i < len(level); i += 2 {
			next = append(next, blockchain.HashMerkleBranches(&level[i], &level[i+1]))
		}
		level = next
	}
	return path
}

// WitnessCommitment returns the OP_RETURN script that commits to the witnesses of the transactions
// with a witness reserved value of 32 zero bytes (BIP141). The coinbase counts as a zero wtxid,
// whatever it holds.
func WitnessCommitment(txs []*btcutil.Tx) []byte {
	placeholder := btcutil.NewTx(wire.NewMsgTx(2))
	placeholder.SetIndex(0)
	leaves := append([]*btcutil.Tx{placeholder}, txs...)
	root := blockchain.CalcMerkleRoot(leaves, true)
	var preimage [2 * chainhash.HashSize]byte // root, then the reserved value
	copy(preimage[:], root[:])
	return append(bytes.Clone(blockchain.WitnessMagicBytes), chainhash.DoubleHashB(preimage[:])...)
}
