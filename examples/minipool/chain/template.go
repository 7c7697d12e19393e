// Block templates.

package chain

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/btcutil/v2"
	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/mining"
	"github.com/btcsuite/btcd/wire/v2"
)

// Template is everything a pool needs to build work on the present tip. It is a snapshot: nothing
// in it changes later, and nothing the caller does to it reaches the chain.
type Template struct {
	// Height is the height of the block to be found, one above the tip.
	Height int32

	// Version is the block version, with the top bits 001 of BIP9. Bits under a version rolling
	// mask (BIP320) are free for the miner.
	Version int32

	// PrevHash is the hash of the tip in internal byte order.
	PrevHash [32]byte

	// Bits is the compact network target, the same for every block of a chain.
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
	// It is always there and is computed with a witness reserved value of 32 zero bytes.
	WitnessCommitment []byte
}

// Template returns a template on the present tip. All calls between two tips return the same work
// but for CurTime. The transactions are those of the mempool, selected by btcd; a block made from
// the template has passed all consensus checks except for its proof of work.
func (c *Chain) Template() (*Template, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if c.cached == nil {
		t, err := c.buildTemplate()
		if err != nil {
			return nil, fmt.Errorf("template: %w", err)
		}
		c.cached = t
	}
	t := *c.cached
	t.Transactions = make([]*wire.MsgTx, len(c.cached.Transactions))
	for i, tx := range c.cached.Transactions {
		t.Transactions[i] = tx.Copy()
	}
	t.MerklePath = slices.Clone(c.cached.MerklePath)
	t.WitnessCommitment = bytes.Clone(c.cached.WitnessCommitment)
	t.CurTime = max(uint32(c.time.AdjustedTime().Unix()), t.MinTime)
	return &t, nil
}

func (c *Chain) buildTemplate() (*Template, error) {
	selected, err := c.generator.NewBlockTemplate(nil)
	if err != nil {
		return nil, fmt.Errorf("select transactions: %w", err)
	}
	header := &selected.Block.Header
	t := &Template{
		Height:        selected.Height,
		Version:       header.Version,
		PrevHash:      header.PrevBlock,
		Bits:          header.Bits,
		MinTime:       uint32(mining.MinimumMedianTime(c.blocks.BestSnapshot()).Unix()),
		CurTime:       uint32(header.Timestamp.Unix()),
		CoinbaseValue: blockchain.CalcBlockSubsidy(selected.Height, c.params) - selected.Fees[0],
		Transactions:  selected.Block.Transactions[1:],
	}
	txs := make([]*btcutil.Tx, len(t.Transactions))
	txids := make([]chainhash.Hash, len(t.Transactions))
	for i, tx := range t.Transactions {
		txs[i] = btcutil.NewTx(tx)
		txids[i] = *txs[i].Hash()
	}
	t.MerklePath = merklePath(txids)
	t.WitnessCommitment = witnessCommitment(txs)
	return t, c.checkTemplate(t)
}

// checkTemplate runs the consensus checks on the block that a miner of this template would find.
// btcd has checked its own version of it, which has another coinbase.
func (c *Chain) checkTemplate(t *Template) error {
	prefix, suffix, err := t.Coinbase(CoinbaseSpec{
		Outputs:       []*wire.TxOut{wire.NewTxOut(t.CoinbaseValue, c.wallet.script)},
		ExtranonceLen: MaxExtranonceLen,
	})
	if err != nil {
		return err
	}
	coinbase := slices.Concat(prefix, make([]byte, MaxExtranonceLen), suffix)
	header := t.header(coinbase, t.CurTime)
	msgBlock, err := t.Block(coinbase, header)
	if err != nil {
		return err
	}
	block := btcutil.NewBlock(msgBlock)
	block.SetHeight(t.Height)
	if err := c.blocks.CheckConnectBlockTemplate(block); err != nil {
		return fmt.Errorf("check against consensus: %w", err)
	}
	return nil
}

// header serializes the header for a coinbase without witness, with a nonce of zero.
func (t *Template) header(coinbase []byte, unixTime uint32) [80]byte {
	root := FoldMerkle(chainhash.DoubleHashH(coinbase), t.MerklePath)
	var h [80]byte
	binary.LittleEndian.PutUint32(h[0:], uint32(t.Version))
	copy(h[4:], t.PrevHash[:])
	copy(h[36:], root[:])
	binary.LittleEndian.PutUint32(h[68:], unixTime)
	binary.LittleEndian.PutUint32(h[72:], t.Bits)
	return h
}
