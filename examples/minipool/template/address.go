// Payout addresses.

package template

import (
	"fmt"
	"strings"

	"github.com/btcsuite/btcd/address/v2"
	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/txscript/v2"
)

// PayoutScript returns the output script that pays to the given address, which must be one of the
// network: P2PKH, P2SH, P2WPKH, P2WSH or P2TR. Anything else is an error that names the reason.
func PayoutScript(addr string, network *chaincfg.Params) ([]byte, error) {
	decoded, err := address.DecodeAddress(addr, network)
	if err != nil {
		return nil, fmt.Errorf("payout address %q: %w", addr, err)
	}
	if !decoded.IsForNet(network) {
		return nil, fmt.Errorf("payout address %q is of another network: this one is %s, "+
			"whose addresses begin with %s1", addr, network.Name, network.Bech32HRPSegwit)
	}
	// The decoder also takes bare public keys, and reads a program of 20 bytes as version 0
	// whatever its version is: money sent there would not be the owner's of the address.
	if enc := decoded.EncodeAddress(); enc != addr && enc != strings.ToLower(addr) {
		return nil, fmt.Errorf("payout address %q is not of a supported type", addr)
	}
	if _, anyoneCanSpend := decoded.(*address.AddressPayToAnchor); anyoneCanSpend {
		return nil, fmt.Errorf("payout address %q is spendable by anyone", addr)
	}
	script, err := txscript.PayToAddrScript(decoded)
	if err != nil {
		return nil, fmt.Errorf("payout address %q: %w", addr, err)
	}
	return script, nil
}
