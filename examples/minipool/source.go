// Where templates come from and blocks go: a chain in this process, or a Bitcoin node.

package main

import (
	"context"
	"fmt"

	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/gopool-sv2/gopool-sv2/examples/minipool/chain"
	"github.com/gopool-sv2/gopool-sv2/examples/minipool/node"
	"github.com/gopool-sv2/gopool-sv2/examples/minipool/template"
)

// source is all that the pool wants of a blockchain. *chain.Chain is one, *node.Node the other; both
// are safe for concurrent use.
type source interface {
	// Tip is the hash (internal byte order) and the height of the block to build on.
	Tip() (hash [32]byte, height int32)
	// Template is work on the tip. It must not be changed. An error means that there is no work.
	Template() (*template.Template, error)
	// Subscribe returns a channel that receives a value when it is time to ask for a Template.
	Subscribe() (news <-chan struct{}, unsubscribe func())
	// Submit offers a block, and returns nil if and only if the best chain has it. It may wait as
	// long as ctx allows.
	Submit(ctx context.Context, block *wire.MsgBlock) error
	// Params are those of the network; addresses are judged by them.
	Params() *chaincfg.Params
	// Close ends it.
	Close() error
}

var (
	_ source = (*chain.Chain)(nil)
	_ source = (*node.Node)(nil)
)

// openSource opens the chain or the node that the flags ask for, and returns the output script for the
// pool's fee; nil when it takes none.
func (m *minipool) openSource() (poolScript []byte, err error) {
	s := m.settings
	if s.nodeRPC == "" {
		m.chain, err = chain.Open(chain.Options{
			DataDir: s.dataDir, NetworkBits: uint32(s.networkBits), Logger: m.log})
		if err != nil {
			return nil, err
		}
		m.source = m.chain
		// The wallet of the chain spends the fee, so that templates carry transactions.
		return m.chain.PoolScript(), nil
	}
	bitcoin, err := node.Open(m.ctx, node.Options{
		URL: s.nodeRPC, CookieFile: s.nodeCookie, AuthFile: s.nodeAuthFile, CAFile: s.nodeCA,
		Chain: s.nodeChain, Away: s.nodeAway, Logger: m.log,
		// Half as old at most as the work made of it.
		Refresh: s.templateEvery / 2,
	})
	if err != nil {
		return nil, err
	}
	m.source = bitcoin
	if s.poolAddress == "" {
		return nil, nil
	}
	if poolScript, err = template.PayoutScript(s.poolAddress, bitcoin.Params()); err != nil {
		return nil, fmt.Errorf("-pool-address: %w", err)
	}
	return poolScript, nil
}

// network is the one whose addresses -test-address makes.
func (s settings) network() (*chaincfg.Params, error) {
	if s.nodeChain == "" {
		return chain.Params(uint32(s.networkBits)), nil
	}
	params, err := node.Network(s.nodeChain)
	if err != nil {
		return nil, fmt.Errorf("-node-chain: %w", err)
	}
	return params, nil
}
