// Which chain a node is on.

package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// networks are the chains of Bitcoin, by the names that Bitcoin Core gives them, with btcd's second.
var networks = []struct {
	names  []string
	params *chaincfg.Params
}{
	{[]string{"main", "mainnet"}, &chaincfg.MainNetParams},
	{[]string{"test", "testnet3"}, &chaincfg.TestNet3Params},
	{[]string{"testnet4"}, &chaincfg.TestNet4Params},
	{[]string{"signet"}, &chaincfg.SigNetParams},
	{[]string{"regtest"}, &chaincfg.RegressionNetParams},
	{[]string{"simnet"}, &chaincfg.SimNetParams},
}

// trivialChallenge is OP_TRUE, the one signet challenge that a block meets without a signature.
const trivialChallenge = "51"

// Network returns the parameters of a chain by its name, which may be Bitcoin Core's (main, test,
// testnet4, signet, regtest) or btcd's (mainnet, testnet3, simnet). They must not be changed.
func Network(name string) (*chaincfg.Params, error) {
	var known []string
	for _, network := range networks {
		if slices.Contains(network.names, name) {
			return network.params, nil
		}
		known = append(known, network.names[0])
	}
	return nil, fmt.Errorf("chain %q is unknown, these are known: %s", name, strings.Join(known, ", "))
}

// chainInfo is what matters of getblockchaininfo.
type chainInfo struct {
	Chain           string `json:"chain"`
	Blocks          int32  `json:"blocks"`
	InitialDownload bool   `json:"initialblockdownload"` // btcd doesn't say
	SignetChallenge string `json:"signet_challenge"`     // btcd doesn't say
	network         *chaincfg.Params
}

// askChain asks which chain the node is on. It must be the wanted one, or any if that is nil.
func (n *Node) askChain(ctx context.Context, wanted *chaincfg.Params) (*chainInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var info chainInfo
	if err := n.rpc.call(ctx, &info, "getblockchaininfo"); err != nil {
		return nil, err
	}
	var err error
	info.network, err = Network(info.Chain)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the node's %w", err)
	case wanted != nil && info.network != wanted:
		return nil, fmt.Errorf("the node is on the wrong chain: it is on %s, wanted is %s: "+
			"start the node of that chain, or give its port", info.network.Name, wanted.Name)
	case info.SignetChallenge != "" && info.SignetChallenge != trivialChallenge:
		return nil, errors.New("blocks of this signet must be signed with a key, which minipool can't " +
			"do: use a signet of your own with signetchallenge=51, or another chain")
	}
	return &info, nil
}
