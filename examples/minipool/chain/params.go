// The parameters of the private network: difficulty, genesis block, rules, addresses.

package chain

import (
	"fmt"
	"time"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/txscript/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

const (
	// DefaultNetworkBits is the compact form of the target 2^228: a block takes 2^28 hashes on
	// average, half a minute to a minute for one CPU core.
	DefaultNetworkBits uint32 = 0x1d100000

	// CoinbaseMaturity is the number of blocks after which a coinbase output may be spent: an
	// output created at height h is spendable from height h+2 on.
	CoinbaseMaturity = 2

	// networkMagic is the network's own message start (ASCII "mnpl", little-endian).
	networkMagic wire.BitcoinNet = 0x6c706e6d

	genesisUnixTime = 1735689600 // 2025-01-01T00:00:00Z
	genesisMessage  = "minipool: a private chain for one pool and its miners"
	genesisSubsidy  = 50 * 1e8
)

// ValidateBits reports whether networkBits is a usable compact target: positive, at most 256 bits
// wide and in canonical form. The chain never retargets, so these bits hold for every block.
func ValidateBits(networkBits uint32) error {
	target := blockchain.CompactToBig(networkBits)
	const remedy = "choose a compact target such as 0x1d100000 (2^28 hashes a block) or " +
		"0x207fffff (two hashes a block)"
	switch {
	case target.Sign() < 0:
		return fmt.Errorf("network bits 0x%08x encode a negative target: %s", networkBits, remedy)
	case target.Sign() == 0:
		return fmt.Errorf("network bits 0x%08x encode a zero target: %s", networkBits, remedy)
	case target.BitLen() > 256:
		return fmt.Errorf("network bits 0x%08x encode a target over 256 bits: %s",
			networkBits, remedy)
	case blockchain.BigToCompact(target) != networkBits:
		return fmt.Errorf("network bits 0x%08x are not canonical, the same target is 0x%08x: %s",
			networkBits, blockchain.BigToCompact(target), remedy)
	}
	return nil
}

// Params returns the parameters of the private network "minipool" whose every block, the genesis
// block included, has the compact target networkBits. Addresses are those of regtest (HRP "bcrt",
// regtest base58 versions). BIP34, BIP65, BIP66, CSV, segwit and taproot hold from height 1.
//
// The bits are not checked here; Open does (see ValidateBits). Each call returns a fresh value:
// btcd stores the clock of a chain inside its parameters, so two chains must not share one.
func Params(networkBits uint32) *chaincfg.Params {
	genesis := genesisBlock(networkBits)
	genesisHash := genesis.BlockHash()
	params := &chaincfg.Params{
		Name:                     "minipool",
		Net:                      networkMagic,
		DefaultPort:              "18454",
		GenesisBlock:             genesis,
		GenesisHash:              &genesisHash,
		PowLimit:                 blockchain.CompactToBig(networkBits),
		PowLimitBits:             networkBits,
		PoWNoRetargeting:         true,
		BIP0034Height:            1,
		BIP0065Height:            1,
		BIP0066Height:            1,
		CoinbaseMaturity:         CoinbaseMaturity,
		SubsidyReductionInterval: 210000,
		// The three below are divisors inside btcd even though the chain never retargets.
		TargetTimespan:           14 * 24 * time.Hour,
		TargetTimePerBlock:       10 * time.Minute,
		RetargetAdjustmentFactor: 4,
		GenerateSupported:        true,

		RuleChangeActivationThreshold: 108,
		MinerConfirmationWindow:       144,

		Bech32HRPSegwit:  "bcrt",
		PubKeyHashAddrID: 0x6f,
		ScriptHashAddrID: 0xc4,
		PrivateKeyID:     0xef,
		HDPrivateKeyID:   [4]byte{0x04, 0x35, 0x83, 0x94},
		HDPublicKeyID:    [4]byte{0x04, 0x35, 0x87, 0xcf},
		HDCoinType:       1,
	}
	// The dummy deployments are active too: one that is being voted on would set its bit in the
	// version of every template.
	for id, bit := range map[int]uint8{
		chaincfg.DeploymentTestDummy:              28,
		chaincfg.DeploymentTestDummyMinActivation: 22,
		chaincfg.DeploymentTestDummyAlwaysActive:  27,
		chaincfg.DeploymentCSV:                    0,
		chaincfg.DeploymentSegwit:                 1,
		chaincfg.DeploymentTaproot:                2,
	} {
		params.Deployments[id] = chaincfg.ConsensusDeployment{
			BitNumber:          bit,
			AlwaysActiveHeight: 1,
			DeploymentStarter:  chaincfg.NewMedianTimeDeploymentStarter(time.Time{}),
			DeploymentEnder:    chaincfg.NewMedianTimeDeploymentEnder(time.Time{}),
		}
	}
	return params
}

// genesisBlock builds the first block of the network. It depends on nothing but the bits. Its
// proof of work is never checked (no node checks its genesis block) and its output, an OP_RETURN,
// can't be spent.
func genesisBlock(networkBits uint32) *wire.MsgBlock {
	message := []byte(genesisMessage)
	coinbase := wire.NewMsgTx(1)
	coinbase.AddTxIn(&wire.TxIn{
		PreviousOutPoint: wire.OutPoint{Index: wire.MaxPrevOutIndex},
		SignatureScript:  append([]byte{byte(len(message))}, message...),
		Sequence:         wire.MaxTxInSequenceNum,
	})
	coinbase.AddTxOut(&wire.TxOut{Value: genesisSubsidy, PkScript: []byte{txscript.OP_RETURN}})
	return &wire.MsgBlock{
		Header: wire.BlockHeader{
			Version:    1,
			PrevBlock:  chainhash.Hash{},
			MerkleRoot: coinbase.TxHash(),
			Timestamp:  time.Unix(genesisUnixTime, 0),
			Bits:       networkBits,
		},
		Transactions: []*wire.MsgTx{coinbase},
	}
}
