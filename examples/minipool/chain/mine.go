// Mining inside the process.

package chain

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/gopool-sv2/gopool-sv2/examples/minipool/template"
)

const (
	mineTag           = "/minipool/"
	mineExtranonceLen = 16
	mineBatch         = 1 << 16 // hashes between two looks at the context and the tip
)

// MineBlock searches on one CPU core for a block that pays everything to the wallet, submits it and
// returns it once it is the tip. It is meant for tests and for starting a chain: with
// DefaultNetworkBits it takes a minute or more. When another block comes first it starts over on
// that one. It ends with the context's error when ctx is done, and with ErrClosed after Close. With
// ErrNotDurable the block is returned, too.
func (c *Chain) MineBlock(ctx context.Context) (*wire.MsgBlock, error) {
	for {
		block, err := c.mineOnTip(ctx)
		if err == nil && block != nil {
			err = c.Submit(ctx, block)
			switch {
			case err == nil:
				return block, nil
			case errors.Is(err, ErrNotDurable):
				return block, fmt.Errorf("mine: %w", err)
			}
		}
		if err != nil && !errors.Is(err, ErrStale) {
			return nil, fmt.Errorf("mine: %w", err)
		}
	}
}

// mineOnTip returns a solved block, or nil when the tip changed or all nonces were tried.
func (c *Chain) mineOnTip(ctx context.Context) (*wire.MsgBlock, error) {
	t, err := c.Template()
	if err != nil {
		return nil, err
	}
	prefix, suffix, err := t.Coinbase(template.CoinbaseSpec{
		Outputs:       []*wire.TxOut{wire.NewTxOut(t.CoinbaseValue, c.PoolScript())},
		Tag:           mineTag,
		ExtranonceLen: mineExtranonceLen,
	})
	if err != nil {
		return nil, err
	}
	extranonce := make([]byte, mineExtranonceLen)
	if _, err := rand.Read(extranonce); err != nil {
		return nil, fmt.Errorf("extranonce: %w", err)
	}
	coinbase := slices.Concat(prefix, extranonce, suffix)
	header := t.Header(coinbase, t.CurTime)
	target := targetBytes(t.Bits)
	for first := uint64(0); first <= math.MaxUint32; first += mineBatch {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if c.isClosed() {
			return nil, ErrClosed
		}
		if tip, _ := c.Tip(); tip != t.PrevHash {
			return nil, nil
		}
		if solve(&header, &target, uint32(first), mineBatch) {
			return t.Block(coinbase, header)
		}
	}
	return nil, nil
}

// solve tries count nonces from first on and reports whether the header, left with the nonce that
// fits, hashes to the target or below.
func solve(header *[80]byte, target *[32]byte, first uint32, count int) bool {
	for i := range count {
		binary.LittleEndian.PutUint32(header[76:], first+uint32(i))
		once := sha256.Sum256(header[:])
		hash := sha256.Sum256(once[:])
		if meetsTarget(&hash, target) {
			return true
		}
	}
	return false
}

// meetsTarget compares a hash in internal byte order, which is a little-endian number, with a
// target in the same order.
func meetsTarget(hash, target *[32]byte) bool {
	for i := len(hash) - 1; i >= 0; i-- {
		if hash[i] != target[i] {
			return hash[i] < target[i]
		}
	}
	return true
}

// targetBytes expands compact bits, which ValidateBits has accepted, to little-endian bytes.
func targetBytes(bits uint32) [32]byte {
	var target [32]byte
	blockchain.CompactToBig(bits).FillBytes(target[:])
	slices.Reverse(target[:])
	return target
}
