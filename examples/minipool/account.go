// Who may mine, and who is paid.

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"

	"github.com/btcsuite/btcd/address/v2"
	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/gopool-sv2/gopool-sv2/examples/minipool/template"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

const (
	maxIdentity = 255 // bytes, what SV2 can carry
	maxDetail   = 255 // bytes of sv2.Refusal.Detail
)

// account is what the pool knows about whom a channel mines for. Package sv2 carries it, unread, from
// Authorize to every place that needs it.
type account struct {
	// script is the output that blocks of this miner pay to.
	script []byte
	// group is the same for all whose coinbases are.
	group any
}

// jobGroup is sv2.PoolConfig.JobGroup: a coinbase differs by whom it pays, and by the extranonce.
func jobGroup(of any) any {
	if account, ok := of.(*account); ok {
		return account.group
	}
	return nil
}

// authorize takes every miner whose user identity is ADDRESS or ADDRESS.worker. The bytes are the
// miner's: they may be anything, and go nowhere unescaped.
func (m *minipool) authorize(_ context.Context, request sv2.OpenRequest) (any, error) {
	identity := request.UserIdentity
	if len(identity) == 0 || len(identity) > maxIdentity {
		return nil, &sv2.Refusal{Reason: sv2.RefuseInvalidUserIdentity,
			Detail: fmt.Sprintf("user identity of %d bytes: give ADDRESS or ADDRESS.worker, at most %d",
				len(identity), maxIdentity)}
	}
	payout, _, _ := bytes.Cut(identity, []byte{'.'})
	script, err := template.PayoutScript(string(payout), m.source.Params())
	if err != nil {
		return nil, &sv2.Refusal{Reason: sv2.RefuseUnknownUser,
			Detail: shorten("no payout address: " + escape([]byte(err.Error())))}
	}
	return &account{script: script, group: string(script)}, nil
}

// shorten cuts text of ASCII to what a refusal can carry.
func shorten(text string) string {
	const dots = "..."
	if len(text) <= maxDetail {
		return text
	}
	return text[:maxDetail-len(dots)] + dots
}

// payouts splits the value of a block between the miner and the pool.
type payouts struct {
	pool        []byte // output script
	basisPoints int64  // of 10000, for the pool
}

func newPayouts(poolScript []byte, feePercent float64) payouts {
	return payouts{pool: poolScript, basisPoints: int64(math.Round(feePercent * 100))}
}

// outputs pay the miner first. The sum is exactly the value; nothing is burnt.
func (p payouts) outputs(value int64, miner []byte) []*wire.TxOut {
	fee := value * p.basisPoints / 10_000
	var outputs []*wire.TxOut
	if fee < value {
		outputs = append(outputs, wire.NewTxOut(value-fee, miner))
	}
	if fee > 0 {
		outputs = append(outputs, wire.NewTxOut(fee, p.pool))
	}
	return outputs
}

// newTestAddress makes a key, forgets it, and returns its address: valid, and nobody can spend what is
// paid to it.
func newTestAddress(network *chaincfg.Params) (string, error) {
	key, err := btcec.NewPrivateKey()
	if err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	hash := address.Hash160(key.PubKey().SerializeCompressed())
	addr, err := address.NewAddressWitnessPubKeyHash(hash, network)
	if err != nil {
		return "", fmt.Errorf("make an address: %w", err)
	}
	return addr.EncodeAddress(), nil
}

// printTestAddress does -test-address and returns the exit code.
func printTestAddress(s settings, stdout, stderr io.Writer) int {
	network, err := s.network()
	if err != nil {
		fmt.Fprintf(stderr, "minipool: %v\n", err)
		return exitUsage
	}
	addr, err := newTestAddress(network)
	if err != nil {
		fmt.Fprintf(stderr, "minipool: %v\n", err)
		return exitFailure
	}
	fmt.Fprintln(stdout, addr)
	return exitOK
}
