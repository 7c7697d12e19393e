// Promises of Submit: which blocks are refused, as what, and that a refusal leaves no trace.

package chain

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/btcutil/v2"
	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/gopool-sv2/gopool-sv2/examples/minipool/template"
)

// matureChain has transactions in its template.
func matureChain(t *testing.T) (*Chain, *template.Template) {
	t.Helper()
	c := openEasy(t, "")
	mine(t, c, 2)
	tmpl := mustTemplate(t, c)
	if len(tmpl.Transactions) == 0 {
		t.Fatal("no transactions to test with")
	}
	return c, tmpl
}

func TestRejectsInvalidBlocks(t *testing.T) {
	coinbase := func(t *testing.T, c *Chain, tmpl *template.Template) []byte {
		return coinbaseFor(t, tmpl, c.PoolScript(), "extranonce")
	}
	cases := map[string]struct {
		code blockchain.ErrorCode
		make func(t *testing.T, c *Chain, tmpl *template.Template) *wire.MsgBlock
	}{
		"merkle root": {blockchain.ErrBadMerkleRoot,
			func(t *testing.T, c *Chain, tmpl *template.Template) *wire.MsgBlock {
				tmpl.MerklePath[0][5] ^= 1
				return solved(t, tmpl, coinbase(t, c, tmpl))
			}},
		"witness commitment": {blockchain.ErrWitnessCommitmentMismatch,
			func(t *testing.T, c *Chain, tmpl *template.Template) *wire.MsgBlock {
				tmpl.WitnessCommitment[10] ^= 1
				return solved(t, tmpl, coinbase(t, c, tmpl))
			}},
		"missing witness commitment": {blockchain.ErrUnexpectedWitness,
			func(t *testing.T, c *Chain, tmpl *template.Template) *wire.MsgBlock {
				tmpl.WitnessCommitment = tmpl.WitnessCommitment[:6]
				return solved(t, tmpl, coinbase(t, c, tmpl))
			}},
		"witness": {blockchain.ErrWitnessCommitmentMismatch,
			func(t *testing.T, c *Chain, tmpl *template.Template) *wire.MsgBlock {
				tmpl.Transactions[0].TxIn[0].Witness[0][10] ^= 1
				return solved(t, tmpl, coinbase(t, c, tmpl))
			}},
		"proof of work": {blockchain.ErrHighHash,
			func(t *testing.T, c *Chain, tmpl *template.Template) *wire.MsgBlock {
				raw := coinbase(t, c, tmpl)
				header := headerFor(tmpl, raw)
				grind(t, &header, false)
				block, err := tmpl.Block(raw, header)
				if err != nil {
					t.Fatal(err)
				}
				return block
			}},
		"bits": {blockchain.ErrUnexpectedDifficulty,
			func(t *testing.T, c *Chain, tmpl *template.Template) *wire.MsgBlock {
				tmpl.Bits = 0x207ffffe
				return solved(t, tmpl, coinbase(t, c, tmpl))
			}},
		"height push": {blockchain.ErrBadCoinbaseHeight,
			func(t *testing.T, c *Chain, tmpl *template.Template) *wire.MsgBlock {
				tmpl.Height++
				return solved(t, tmpl, coinbase(t, c, tmpl))
			}},
		"coinbase value": {blockchain.ErrBadCoinbaseValue,
			func(t *testing.T, c *Chain, tmpl *template.Template) *wire.MsgBlock {
				tmpl.CoinbaseValue++
				return solved(t, tmpl, coinbase(t, c, tmpl))
			}},
		"time": {blockchain.ErrTimeTooOld,
			func(t *testing.T, c *Chain, tmpl *template.Template) *wire.MsgBlock {
				tmpl.CurTime = tmpl.MinTime - 1
				return solved(t, tmpl, coinbase(t, c, tmpl))
			}},
		"version": {blockchain.ErrBlockVersionTooOld,
			func(t *testing.T, c *Chain, tmpl *template.Template) *wire.MsgBlock {
				tmpl.Version = 1
				return solved(t, tmpl, coinbase(t, c, tmpl))
			}},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			c, tmpl := matureChain(t)
			before, height := c.Tip()
			wantRule(t, c.Submit(t.Context(), test.make(t, c, tmpl)), test.code)
			wantTip(t, c, before, height)

			good := mustTemplate(t, c)
			if err := c.Submit(t.Context(), solved(t, good, coinbase(t, c, good))); err != nil {
				t.Fatalf("a good block after the bad one: %v", err)
			}
		})
	}
}

func TestRejectsMalformedBlocks(t *testing.T) {
	c := openEasy(t, "")
	for name, block := range map[string]*wire.MsgBlock{
		"nil":                    nil,
		"no transactions":        {},
		"nil transaction":        {Transactions: []*wire.MsgTx{nil}},
		"transaction of nothing": {Transactions: []*wire.MsgTx{wire.NewMsgTx(2)}},
	} {
		if err := c.Submit(t.Context(), block); !errors.Is(err, ErrInvalidBlock) && !errors.Is(err, ErrStale) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	wantTip(t, c, *c.Params().GenesisHash, 0)
}

func TestRejectsStaleBlocks(t *testing.T) {
	c, tmpl := matureChain(t)
	late := solved(t, tmpl, coinbaseFor(t, tmpl, c.PoolScript(), "late"))
	mine(t, c, 1)
	tip, height := c.Tip()
	if err := c.Submit(t.Context(), late); !errors.Is(err, ErrStale) || errors.Is(err, ErrInvalidBlock) {
		t.Errorf("parent below the tip: got %v", err)
	}
	unknown := mustTemplate(t, c)
	unknown.PrevHash[0] ^= 1
	orphan := solved(t, unknown, coinbaseFor(t, unknown, c.PoolScript(), "orphan"))
	if err := c.Submit(t.Context(), orphan); !errors.Is(err, ErrStale) {
		t.Errorf("unknown parent: got %v", err)
	}
	hash := orphan.BlockHash()
	if have, err := c.blocks.HaveBlock(&hash); have || err != nil {
		t.Errorf("the block of unknown parent is kept (%v)", err)
	}
	wantTip(t, c, tip, height)
}

func TestRejectsDuplicateBlocks(t *testing.T) {
	c, tmpl := matureChain(t)
	block := solved(t, tmpl, coinbaseFor(t, tmpl, c.PoolScript(), "once"))
	if err := c.Submit(t.Context(), block); err != nil {
		t.Fatal(err)
	}
	if err := c.Submit(t.Context(), block); !errors.Is(err, ErrDuplicate) || errors.Is(err, ErrInvalidBlock) {
		t.Errorf("second time: got %v", err)
	}
	wantTip(t, c, block.BlockHash(), tmpl.Height)
}

func TestSurvivesReorganization(t *testing.T) {
	c, fork := matureChain(t)
	mine(t, c, 2) // the branch that loses; its blocks spend coins of the wallet
	parent := fork.PrevHash
	for i := range int32(3) {
		branch := &template.Template{
			Height: fork.Height + i, Version: fork.Version, PrevHash: parent, Bits: fork.Bits,
			CurTime: fork.CurTime + uint32(i), CoinbaseValue: 50 * 1e8,
			WitnessCommitment: template.WitnessCommitment(nil),
		}
		block := solved(t, branch, coinbaseFor(t, branch, c.PoolScript(), "branch"))
		err := c.Submit(t.Context(), block)
		if wantStale := i < 2; errors.Is(err, ErrStale) != wantStale || !wantStale && err != nil {
			t.Fatalf("block %d of the branch: got %v", i, err)
		}
		parent = block.BlockHash()
	}
	wantTip(t, c, parent, fork.Height+2)
	// Coins spent on the lost branch are spendable again, and its own coins are gone.
	for range 3 {
		if len(mustTemplate(t, c).Transactions) == 0 {
			t.Error("no transactions after the reorganization")
		}
		mine(t, c, 1)
	}
}

func TestMempoolSurvivesBlockWithoutItsTransactions(t *testing.T) {
	c, tmpl := matureChain(t)
	kept := tmpl.Transactions[0].TxHash()
	empty := *tmpl
	empty.Transactions, empty.MerklePath, empty.CoinbaseValue = nil, nil, 50*1e8
	empty.WitnessCommitment = template.WitnessCommitment(nil)
	block := solved(t, &empty, coinbaseFor(t, &empty, c.PoolScript(), "empty"))
	if err := c.Submit(t.Context(), block); err != nil {
		t.Fatal(err)
	}
	for _, tx := range mustTemplate(t, c).Transactions {
		if tx.TxHash() == kept {
			return
		}
	}
	t.Error("the transaction that was not mined is gone")
}

func TestMempoolDropsWhatABlockDoubleSpends(t *testing.T) {
	c, tmpl := matureChain(t)
	outpoint := tmpl.Transactions[0].TxIn[0].PreviousOutPoint
	other, err := c.wallet.spend(2, []coin{c.wallet.coins[outpoint]})
	if err != nil {
		t.Fatal(err)
	}
	tmpl.Transactions = []*wire.MsgTx{other}
	tmpl.MerklePath = template.MerklePath([]chainhash.Hash{other.TxHash()})
	tmpl.WitnessCommitment = template.WitnessCommitment([]*btcutil.Tx{btcutil.NewTx(other)})
	tmpl.CoinbaseValue = 50 * 1e8
	block := solved(t, tmpl, coinbaseFor(t, tmpl, c.PoolScript(), "conflict"))
	if err := c.Submit(t.Context(), block); err != nil {
		t.Fatal(err)
	}
	if tx := c.pool.CheckSpend(outpoint); tx != nil {
		t.Errorf("the mempool still spends %v in %v", outpoint, tx.Hash())
	}
	mine(t, c, 2)
}

func TestSubscribersHearOfTheNewTip(t *testing.T) {
	c := openEasy(t, "")
	tips, cancel := c.Subscribe()
	gone, cancelGone := c.Subscribe()
	cancelGone()
	mine(t, c, 3)
	select {
	case <-tips:
	default:
		t.Error("no notification after three blocks")
	}
	select {
	case <-tips:
		t.Error("notifications did not coalesce")
	case <-gone:
		t.Error("notification after the end of the subscription")
	default:
	}
	tmpl := mustTemplate(t, c)
	tmpl.CoinbaseValue++
	if c.Submit(t.Context(), solved(t, tmpl, coinbaseFor(t, tmpl, c.PoolScript(), "x"))) == nil {
		t.Fatal("bad block accepted")
	}
	select {
	case <-tips:
		t.Error("notification for a block that was refused")
	default:
	}
	cancel()
}

func TestSurvivesConcurrentUse(t *testing.T) {
	c := openEasy(t, "")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			tips, cancel := c.Subscribe()
			defer cancel()
			for range 5 {
				if _, err := c.MineBlock(context.Background()); err != nil {
					t.Error(err)
				}
				select {
				case <-tips:
				default:
					t.Error("no notification of the block just mined")
				}
				if _, err := c.Template(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if _, height := c.Tip(); height != 20 {
		t.Errorf("height %d after 20 mined blocks", height)
	}
}

func TestMineBlockEndsWithItsContextAndWithTheChain(t *testing.T) {
	hard, err := Open(Options{NetworkBits: 0x03010000})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := hard.MineBlock(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	hard.mu.Lock()
	hard.cached = nil
	hard.mu.Unlock()
	ended := make(chan error)
	go func() {
		_, err := hard.MineBlock(context.Background())
		ended <- err
	}()
	for mining := false; !mining; runtime.Gosched() {
		hard.mu.Lock()
		mining = hard.cached != nil // it has asked for its template
		hard.mu.Unlock()
	}
	mustClose(t, hard)
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

func TestSolveFindsExactlyWhatMeetsTheTarget(t *testing.T) {
	target := targetBytes(0x1f0fffff) // one hash in 4096
	var header [80]byte
	binary.LittleEndian.PutUint32(header[72:], 0x1f0fffff)
	if !solve(&header, &target, 0, 1<<18) {
		t.Fatal("nothing found in 2^18 hashes")
	}
	want := header
	grind(t, &want, true) // the first nonce by big-number arithmetic
	if header != want {
		t.Errorf("nonce %x, want %x", header[76:], want[76:])
	}
}
