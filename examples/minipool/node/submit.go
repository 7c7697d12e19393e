// Blocks for the node.

package node

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

const (
	// submitTimeout is how long the node may take to check a block.
	submitTimeout = 2 * time.Minute

	// longestSubmitPause is the longest pause between two tries to submit: each second counts.
	longestSubmitPause = time.Second
)

// Submit offers a block to the node. It returns nil if and only if the node has it in its best chain,
// and an ErrRefused with the node's reason if it has not. When the node doesn't answer, the block is
// offered again and again; ctx ends that, and then what became of the block isn't known: the error
// wraps that of ctx.
func (n *Node) Submit(ctx context.Context, block *wire.MsgBlock) error {
	var raw bytes.Buffer
	if err := block.Serialize(&raw); err != nil {
		return fmt.Errorf("submit: %w: %w", ErrRefused, err)
	}
	text, hash := hex.EncodeToString(raw.Bytes()), block.BlockHash()
	for wait := firstPause; ; wait = min(2*wait, longestSubmitPause) {
		reason, err := n.submitOnce(ctx, text, hash)
		switch {
		case err == nil && reason == "":
			n.look()
			return nil
		case err == nil:
			return fmt.Errorf("%w: %s", ErrRefused, reason)
		case ctx.Err() != nil:
			return fmt.Errorf("the pool stopped before the node answered: %w: %w", ctx.Err(), err)
		}
		n.log.Error("a block waits for the node", "hash", hash, "node", n.rpc.url, "err", err,
			"next_try", wait)
		pause(ctx, wait)
	}
}

// submitOnce returns the reason of a refusal, or none when the block is in the best chain. An error
// means that the node has not decided.
func (n *Node) submitOnce(ctx context.Context, block string, hash chainhash.Hash) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, submitTimeout)
	defer cancel()
	// One that was away and is back on another chain must not refuse the block.
	if _, err := n.askChain(ctx, n.network); err != nil {
		return "", err
	}
	var answer *string
	err := n.rpc.call(ctx, &answer, "submitblock", block)
	var refusal *rpcError
	switch {
	case errors.As(err, &refusal) && refusal.Code == codeDecode:
		return refusal.Message, nil
	case err != nil:
		return "", err
	case answer != nil && !undecided(*answer):
		return strings.TrimPrefix(*answer, "rejected: "), nil // as btcd puts it
	}
	// Nodes differ in what null means: to Bitcoin Core that the block was the tip, to btcd that it
	// broke no rule, though it be on a side chain. And "duplicate" may be the block that an earlier
	// try has brought. So ask where it is.
	var header struct {
		Confirmations int64 `json:"confirmations"`
	}
	err = n.rpc.call(ctx, &header, "getblockheader", hash.String())
	switch {
	case errors.As(err, &refusal) &&
		(refusal.Code == codeUnknownBlock || refusal.Code == codeInternal):
		// btcd has an internal error for a block of a side chain.
	case err != nil:
		return "", err
	case header.Confirmations > 0:
		return "", nil
	}
	reason := "not in the best chain: another block came first, or the node doesn't know its parent"
	if answer != nil {
		reason = *answer + ": " + reason
	}
	return reason, nil
}

// undecided says whether a node's answer to submitblock (BIP22) leaves it open whether the block is in
// the best chain. Other answers are reasons of a refusal.
func undecided(answer string) bool {
	switch answer {
	case "duplicate", "inconclusive", "duplicate-inconclusive":
		return true
	}
	// btcd says it in a sentence.
	return strings.HasPrefix(answer, "rejected: already have block")
}
