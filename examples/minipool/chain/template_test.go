// Promises of templates: what they hold, and that blocks made from them are accepted.

package chain

import (
	"bytes"
	"testing"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/btcutil/v2"
	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/mining"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/gopool-sv2/gopool-sv2/examples/minipool/template"
)

func TestAcceptsBlockMadeFromTemplate(t *testing.T) {
	c := openEasy(t, "")
	genesis, height := c.Tip()
	if genesis != *c.Params().GenesisHash || height != 0 {
		t.Fatalf("a new chain starts at %x, height %d", genesis, height)
	}
	tmpl := mustTemplate(t, c)
	if tmpl.PrevHash != genesis || tmpl.Height != 1 || tmpl.Bits != easyBits {
		t.Fatalf("template is not on the genesis block: %+v", tmpl)
	}
	if top := uint32(tmpl.Version) >> 29; top != 1 || tmpl.Version != 0x20000000 {
		t.Errorf("version %#x, want only the top bits 001", tmpl.Version)
	}
	if tmpl.MinTime != genesisUnixTime+1 || tmpl.CurTime < tmpl.MinTime {
		t.Errorf("min time %d, current time %d", tmpl.MinTime, tmpl.CurTime)
	}
	if tmpl.CoinbaseValue != 50*1e8 {
		t.Errorf("coinbase value %d, want the subsidy", tmpl.CoinbaseValue)
	}
	if _, found := blockchain.ExtractWitnessCommitment(coinbaseTx(tmpl.WitnessCommitment)); !found {
		t.Errorf("script %x commits to no witnesses", tmpl.WitnessCommitment)
	}
	block := solved(t, tmpl, coinbaseFor(t, tmpl, c.PoolScript(), "0123456789ab"))
	if err := c.Submit(t.Context(), block); err != nil {
		t.Fatal(err)
	}
	wantTip(t, c, block.BlockHash(), 1)
	if next := mustTemplate(t, c); next.PrevHash != block.BlockHash() || next.Height != 2 {
		t.Errorf("next template is on %x at height %d", next.PrevHash, next.Height)
	}
}

func TestTemplatesCarryWalletTransactionsAfterMaturity(t *testing.T) {
	c := openEasy(t, "")
	mine(t, c, 1)
	if tmpl := mustTemplate(t, c); len(tmpl.Transactions) != 0 {
		t.Fatalf("height %d: the coinbase is not mature, yet spent", tmpl.Height)
	}
	mine(t, c, 1)
	tmpl := mustTemplate(t, c)
	if len(tmpl.Transactions) == 0 || !tmpl.Transactions[0].HasWitness() {
		t.Fatalf("height %d: no witness transaction", tmpl.Height)
	}
	first, err := c.blocks.BlockByHeight(1)
	if err != nil {
		t.Fatal(err)
	}
	spent := tmpl.Transactions[0].TxIn[0].PreviousOutPoint
	if spent.Hash != *first.Transactions()[0].Hash() {
		t.Errorf("spends %v, not the first coinbase", spent)
	}
	fee := first.MsgBlock().Transactions[0].TxOut[0].Value
	for _, out := range tmpl.Transactions[0].TxOut {
		fee -= out.Value
	}
	size := mempoolSize(tmpl.Transactions[0])
	if fee < size || fee > 10*size {
		t.Errorf("fee of %d satoshis for %d virtual bytes", fee, size)
	}
	if tmpl.CoinbaseValue != 50*1e8+fee {
		t.Errorf("coinbase value %d lacks the fee of %d", tmpl.CoinbaseValue, fee)
	}
	block := solved(t, tmpl, coinbaseFor(t, tmpl, c.PoolScript(), "extranonce"))
	if err := c.Submit(t.Context(), block); err != nil {
		t.Fatal(err)
	}
	wantTip(t, c, block.BlockHash(), 3)
	if entry, err := c.blocks.FetchUtxoEntry(spent); err != nil || entry != nil {
		t.Errorf("output %v is still unspent (%v)", spent, err)
	}
}

func TestWalletKeepsEveryTemplateBusyAndItsCoinsBounded(t *testing.T) {
	c := openEasy(t, "")
	mine(t, c, CoinbaseMaturity)
	depths := make(map[int]bool)
	for range 60 {
		tmpl := mustTemplate(t, c)
		if len(tmpl.Transactions) == 0 {
			t.Fatalf("height %d: no transactions", tmpl.Height)
		}
		depths[len(tmpl.MerklePath)] = true
		mine(t, c, 1)
	}
	if len(depths) < 3 {
		t.Errorf("merkle paths were of %d lengths only: %v", len(depths), depths)
	}
	if coins := len(c.wallet.coins); coins > 2*walletCoins+CoinbaseMaturity {
		t.Errorf("the wallet has grown to %d coins", coins)
	}
}

func TestMerklePathFoldsToTheRootOfBtcd(t *testing.T) {
	for count := range 18 {
		txs := []*btcutil.Tx{coinbaseTx([]byte{0x51})}
		var txids []chainhash.Hash
		for i := range count {
			tx := wire.NewMsgTx(2)
			tx.LockTime = uint32(1 + i)
			txs = append(txs, btcutil.NewTx(tx))
			txids = append(txids, tx.TxHash())
		}
		want := blockchain.CalcMerkleRoot(txs, false)
		if got := template.FoldMerkle(*txs[0].Hash(), template.MerklePath(txids)); got != want {
			t.Errorf("%d transactions: root %x, want %x", count, got, want)
		}
		// The generator of btcd computes the commitment by its own code.
		model := coinbaseTx([]byte{0x51})
		mining.AddWitnessCommitment(model, append([]*btcutil.Tx{model}, txs[1:]...))
		outs := model.MsgTx().TxOut
		if want := outs[len(outs)-1].PkScript; !bytes.Equal(template.WitnessCommitment(txs[1:]), want) {
			t.Errorf("%d transactions: commitment %x, want %x",
				count, template.WitnessCommitment(txs[1:]), want)
		}
	}
}

func TestTemplateIsOutOfReachOfOtherCallers(t *testing.T) {
	c := openEasy(t, "")
	mine(t, c, 2)
	spoilt := mustTemplate(t, c)
	spoilt.Transactions[0].TxOut[0].Value = 1
	spoilt.MerklePath[0] = [32]byte{}
	clear(spoilt.WitnessCommitment)
	clear(c.PoolScript())

	tmpl := mustTemplate(t, c)
	block := solved(t, tmpl, coinbaseFor(t, tmpl, c.PoolScript(), "extranonce"))
	if err := c.Submit(t.Context(), block); err != nil {
		t.Fatal(err)
	}
	// A submitted block is the caller's again: the chain must not read it any more.
	block.Transactions[0].TxOut[0].PkScript[0] ^= 0xff
	block.Transactions[1].TxOut[0].PkScript[0] ^= 0xff
	mine(t, c, 3)
}

func mempoolSize(tx *wire.MsgTx) int64 {
	return (blockchain.GetTransactionWeight(btcutil.NewTx(tx)) + 3) / 4
}

// coinbaseTx returns a coinbase with one output.
func coinbaseTx(script []byte) *btcutil.Tx {
	tx := wire.NewMsgTx(2)
	tx.AddTxIn(wire.NewTxIn(wire.NewOutPoint(&chainhash.Hash{}, wire.MaxPrevOutIndex), nil, nil))
	tx.AddTxOut(wire.NewTxOut(0, script))
	return btcutil.NewTx(tx)
}
