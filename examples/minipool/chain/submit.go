// Submitting blocks, and what follows a new tip.

package chain

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/btcutil/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

var (
	// ErrInvalidBlock wraps every violation of a consensus rule. errors.As finds btcd's
	// blockchain.RuleError in the same error, unless the block couldn't even be serialized.
	ErrInvalidBlock = errors.New("the block violates a consensus rule")

	// ErrStale says that the block doesn't build on the tip: its parent is an older block, or
	// unknown.
	ErrStale = errors.New("the block is stale")

	// ErrDuplicate says that the chain has seen this block before, valid or not.
	ErrDuplicate = errors.New("the block is a duplicate")

	// ErrNotDurable says that the block is the new tip, but could not be written to the data
	// directory: a crash would lose it. The next block that is written brings it along, and a
	// clean Close keeps it, too.
	ErrNotDurable = errors.New("the block is the tip, but a crash would lose it")
)

// Submit validates a block against all consensus rules and makes it the tip. When it returns nil the
// block is the new tip, the wallet has booked it and the subscribers have been told; with a data
// directory the block is on disk. With ErrNotDurable all that is true but the last.
//
// The block is not the tip with ErrInvalidBlock (which has the rule in its text), ErrStale,
// ErrDuplicate and ErrClosed, nor with the error of a ctx that has ended by the time it is the block's
// turn; a check under way is not broken off. All are found by errors.Is. Any other error is one of
// reading the chain; Tip says what came of it. The block is copied, the caller keeps it, and must not
// change it during the call.
func (c *Chain) Submit(ctx context.Context, block *wire.MsgBlock) error {
	owned, err := copyBlock(block)
	if err != nil {
		return fmt.Errorf("submit: %w: %w", ErrInvalidBlock, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("submit %v: %w", owned.Hash(), err)
	}
	if err := c.process(owned); err != nil {
		return fmt.Errorf("submit %v: %w", owned.Hash(), err)
	}
	return nil
}

func (c *Chain) process(block *btcutil.Block) error {
	prev := &block.MsgBlock().Header.PrevBlock
	known, err := c.blocks.HaveBlock(prev)
	if err != nil {
		return fmt.Errorf("look up parent: %w", err)
	}
	if !known {
		// Not given to btcd, which would keep it in memory and wait for the parent.
		return fmt.Errorf("%w: its parent %v is unknown", ErrStale, prev)
	}
	onTip, _, err := c.blocks.ProcessBlock(block, blockchain.BFNone)
	var notDurable error
	if err == nil && c.store.journal != nil {
		if failed := c.store.journal.append(block); failed != nil {
			notDurable = fmt.Errorf("%w: %w", ErrNotDurable, failed)
		}
	}
	// Whatever came out, mempool and wallet follow the tip that there is now.
	if err := c.follow(block); err != nil {
		return errors.Join(err, notDurable)
	}
	var rule blockchain.RuleError
	switch {
	case isDuplicate(err):
		return fmt.Errorf("%w: %w", ErrDuplicate, err)
	case errors.As(err, &rule):
		return fmt.Errorf("%w: %w", ErrInvalidBlock, err)
	case err != nil:
		return fmt.Errorf("process block: %w", err)
	case !onTip:
		return fmt.Errorf("%w: it builds on %v, which isn't the tip", ErrStale, prev)
	}
	return notDurable
}

// follow brings mempool and wallet to the present tip, block being the one processed last.
func (c *Chain) follow(block *btcutil.Block) error {
	best := c.blocks.BestSnapshot()
	if best.Hash == c.synced {
		return nil
	}
	if best.Hash != *block.Hash() || block.MsgBlock().Header.PrevBlock != c.synced {
		c.log.Debug("reorganization", "height", best.Height, "tip", best.Hash)
		if err := c.resync(); err != nil {
			return fmt.Errorf("follow reorganization: %w", err)
		}
	} else {
		for _, tx := range block.Transactions()[1:] {
			c.pool.RemoveTransaction(tx, false)
			c.pool.RemoveDoubleSpends(tx)
		}
		c.wallet.scan(block, best.Height)
		c.synced = best.Hash
		c.cached = nil
		c.wallet.fillMempool(c.pool, best.Height+1, c.log)
	}
	c.log.Debug("the chain has grown", "height", best.Height, "tip", best.Hash, "txs", best.NumTxns)
	c.notify()
	return nil
}

// copyBlock makes a copy that shares no memory with the original, for btcd keeps parts of it.
func copyBlock(block *wire.MsgBlock) (*btcutil.Block, error) {
	if block == nil {
		return nil, errors.New("no block")
	}
	for i, tx := range block.Transactions {
		if tx == nil {
			return nil, fmt.Errorf("transaction %d is nil", i)
		}
	}
	var raw bytes.Buffer
	if err := block.Serialize(&raw); err != nil {
		return nil, fmt.Errorf("serialize: %w", err)
	}
	owned, err := btcutil.NewBlockFromBytes(raw.Bytes())
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	return owned, nil
}
