// Block templates.

package chain

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/btcutil/v2"
	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/mining"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/gopool-sv2/gopool-sv2/examples/minipool/template"
)

// Template returns a template on the present tip. All calls between two tips return the same work
// but for CurTime. The transactions are those of the mempool, selected by btcd; a block made from
// the template has passed all consensus checks except for its proof of work.
func (c *Chain) Template() (*template.Template, error) {
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

func (c *Chain) buildTemplate() (*template.Template, error) {
	selected, err := c.generator.NewBlockTemplate(nil)
	if err != nil {
		return nil, fmt.Errorf("select transactions: %w", err)
	}
	header := &selected.Block.Header
	t := &template.Template{
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
	t.MerklePath = template.MerklePath(txids)
	t.WitnessCommitment = template.WitnessCommitment(txs)
	return t, c.checkTemplate(t)
}

// checkTemplate runs the consensus checks on the block that a miner of this template would find.
// btcd has checked its own version of it, which has another coinbase.
func (c *Chain) checkTemplate(t *template.Template) error {
	prefix, suffix, err := t.Coinbase(template.CoinbaseSpec{
		Outputs:       []*wire.TxOut{wire.NewTxOut(t.CoinbaseValue, c.wallet.script)},
		ExtranonceLen: template.MaxExtranonceLen,
	})
	if err != nil {
		return err
	}
	coinbase := slices.Concat(prefix, make([]byte, template.MaxExtranonceLen), suffix)
	header := t.Header(coinbase, t.CurTime)
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
