// The part of the command line that is about a Bitcoin node.

package main

import (
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/gopool-sv2/gopool-sv2/examples/minipool/node"
)

// nodeSettings say where the node is; all empty when the chain of this process is the source.
type nodeSettings struct {
	nodeRPC      string
	nodeCookie   string
	nodeAuthFile string
	nodeCA       string
	nodeChain    string
	nodeAway     time.Duration
	poolAddress  string
}

// defaultNodeAway is how long a node may take to restart before miners are sent to another pool.
const defaultNodeAway = 2 * time.Minute

// builtinFlags are of no use with a node, nodeFlags of none without.
var (
	builtinFlags = []string{"datadir", "network-bits", "test-tip-every"}
	nodeFlags    = []string{"node-cookie", "node-auth-file", "node-ca", "node-away", "pool-address"}
)

func (s *nodeSettings) define(set *flag.FlagSet) {
	set.StringVar(&s.nodeRPC, "node-rpc", "",
		"`URL` of a Bitcoin node's RPC server, http://HOST:PORT (https: for a node with TLS), that gives\n"+
			"the templates and takes the blocks; empty: the chain of this process")
	set.StringVar(&s.nodeCookie, "node-cookie", "",
		"the .cookie `file` of Bitcoin Core, in its data directory (below the chain's name)")
	set.StringVar(&s.nodeAuthFile, "node-auth-file", "",
		"`file` with USER:PASSWORD for the node, instead of -node-cookie")
	set.StringVar(&s.nodeCA, "node-ca", "",
		"certificate `file` of a node with TLS, btcd's rpc.cert; empty: those the system trusts")
	set.StringVar(&s.nodeChain, "node-chain", "",
		"`name` of the chain that the node must be on: main, test, testnet4, signet, regtest or simnet;\n"+
			"empty: any")
	set.DurationVar(&s.nodeAway, "node-away", defaultNodeAway,
		"`time` for which miners go on with the last template when the node doesn't answer; then they\n"+
			"are sent away")
	set.StringVar(&s.poolAddress, "pool-address", "",
		"`address` on the node's chain that -pool-fee goes to")
}

// check names everything that is wrong. given has the names of the flags on the command line.
func (s nodeSettings) check(given map[string]bool, poolFee float64) error {
	var faults []error
	useless := nodeFlags
	why := "without -node-rpc it has no meaning"
	if s.nodeRPC != "" {
		useless, why = builtinFlags, "with -node-rpc it has no meaning, the chain is the node's"
		if (s.nodeCookie == "") == (s.nodeAuthFile == "") {
			faults = append(faults, errors.New("-node-rpc: give either -node-cookie or -node-auth-file"))
		}
		if poolFee > 0 && s.poolAddress == "" {
			faults = append(faults, fmt.Errorf(
				"-pool-fee %v: give the -pool-address that it goes to, or -pool-fee 0", poolFee))
		}
		if s.nodeAway <= 0 {
			faults = append(faults, fmt.Errorf("-node-away %v: give more than 0, such as 2m", s.nodeAway))
		}
	}
	for _, name := range useless {
		if given[name] {
			faults = append(faults, fmt.Errorf("-%s: %s", name, why))
		}
	}
	if s.nodeChain != "" {
		if _, err := node.Network(s.nodeChain); err != nil {
			faults = append(faults, fmt.Errorf("-node-chain: %w", err))
		}
	}
	return errors.Join(faults...)
}
