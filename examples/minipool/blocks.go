// Blocks: put together, submitted, reported; and those that tests ask for.

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/btcsuite/btcd/wire/v2"

	"github.com/gopool-sv2/gopool-sv2/examples/minipool/chain"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// maxWantedBlocks is how many requests for test blocks may wait.
const maxWantedBlocks = 64

// onBlock is sv2.PoolConfig.OnBlock: a share whose hash meets the network target. The error goes to the
// sidecar as the block's result. New work follows from the source's own notification, as with any tip
// (see follow).
//
// The share is judged by its hash alone, its verdict stands whatever becomes of the block: a template
// that the node doesn't want back is not the miner's fault.
func (m *minipool) onBlock(ctx context.Context, b sv2.Block) error {
	transactions, err := m.submitBlock(ctx, b)
	if journalErr := m.journal.block(b, err); journalErr != nil {
		m.log.Error("block is not in the journal", "hash", b.Hash, "err", journalErr)
	}
	attributes := []any{"height", b.Job.Height, "hash", b.Hash,
		"user", escape(b.Channel.UserIdentity), "worker", escape(b.Worker), "channel", b.Channel.ID}
	switch {
	case sv2.Undecided(err):
		m.log.Error("what became of a block is unknown", append(attributes, "err", err)...)
		return err
	case err != nil:
		m.log.Error("block rejected", append(attributes, "err", err)...)
		return err
	}
	m.log.Info("block accepted", append(attributes, "transactions", transactions)...)
	return nil
}

// submitBlock puts the block together: the header and the coinbase are the miner's, the other
// transactions those of the template that the job was made of.
func (m *minipool) submitBlock(ctx context.Context, b sv2.Block) (transactions int, err error) {
	block, err := m.assemble(b)
	if err != nil {
		return 0, err
	}
	return len(block.Transactions), m.kept(m.offer(ctx, block))
}

// assemble is the whole block. What it can't put together the operator may, so the error has all that the
// miner gave to it.
func (m *minipool) assemble(b sv2.Block) (*wire.MsgBlock, error) {
	t, err := m.work.of(b.Job)
	var block *wire.MsgBlock
	if err == nil {
		block, err = t.Block(b.Coinbase, b.Header)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w; header %x, coinbase without witness %x",
			sv2.ErrUndecided, err, b.Header, b.Coinbase)
	}
	return block, nil
}

// kept takes the error of a block that the chain has accepted but could not write: what remains is for
// the operator.
func (m *minipool) kept(err error) error {
	if !errors.Is(err, chain.ErrNotDurable) {
		return err
	}
	m.log.Error("block accepted, but not on disk: make room in -datadir; the next block written, or a "+
		"clean stop, saves it", "err", err)
	return nil
}

// wantBlock asks for a block mined in this process, for tests and for a first look at new tips.
func (m *minipool) wantBlock() {
	if m.chain == nil {
		m.log.Warn("blocks are mined here on the chain of this process only, not for a node")
		return
	}
	select {
	case m.wanted <- struct{}{}:
	default:
		m.log.Warn("too many blocks are asked for already", "waiting", maxWantedBlocks)
	}
}

// mineTestBlocks mines in this process: one block for each wantBlock, and one each -test-tip-every.
func (m *minipool) mineTestBlocks(ctx context.Context) {
	var tick <-chan time.Time
	if m.settings.testTipEvery > 0 {
		ticker := time.NewTicker(m.settings.testTipEvery)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wanted:
		case <-tick:
		}
		block, err := m.chain.MineBlock(ctx)
		switch err = m.kept(err); {
		case ctx.Err() != nil:
			return
		case err != nil:
			m.log.Error("no test block", "err", fmt.Errorf("mine in this process: %w", err))
		default:
			m.log.Debug("test block mined in this process", "hash", block.BlockHash())
		}
	}
}
