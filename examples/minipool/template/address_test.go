// Promises of payout addresses.

package template

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/address/v2"
	"github.com/btcsuite/btcd/address/v2/bech32"
	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/chaincfg/v2"
)

func TestPayoutScriptsOfRegtestAddresses(t *testing.T) {
	hash20, hash32 := bytes.Repeat([]byte{7}, 20), bytes.Repeat([]byte{9}, 32)
	regtest := &chaincfg.RegressionNetParams
	make20 := func(a address.Address, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return a.EncodeAddress()
	}
	p2pkh, err1 := address.NewAddressPubKeyHash(hash20, regtest)
	p2sh, err2 := address.NewAddressScriptHashFromHash(hash20, regtest)
	p2wpkh, err3 := address.NewAddressWitnessPubKeyHash(hash20, regtest)
	p2wsh, err4 := address.NewAddressWitnessScriptHash(hash32, regtest)
	p2tr, err5 := address.NewAddressTaproot(hash32, regtest)
	hex20, hex32 := hex.EncodeToString(hash20), hex.EncodeToString(hash32)
	for addr, want := range map[string]string{
		make20(p2pkh, err1):                   "76a914" + hex20 + "88ac",
		make20(p2sh, err2):                    "a914" + hex20 + "87",
		make20(p2wpkh, err3):                  "0014" + hex20,
		strings.ToUpper(make20(p2wpkh, err3)): "0014" + hex20,
		make20(p2wsh, err4):                   "0020" + hex32,
		make20(p2tr, err5):                    "5120" + hex32,
	} {
		script, err := PayoutScript(addr, &chaincfg.RegressionNetParams)
		if err != nil || hex.EncodeToString(script) != want {
			t.Errorf("%s: script %x, %v; want %s", addr, script, err, want)
		}
	}
}

func TestRejectsInvalidAddresses(t *testing.T) {
	mainnet, err := address.NewAddressWitnessPubKeyHash(make([]byte, 20), &chaincfg.MainNetParams)
	if err != nil {
		t.Fatal(err)
	}
	legacy, err := address.NewAddressPubKeyHash(make([]byte, 20), &chaincfg.MainNetParams)
	if err != nil {
		t.Fatal(err)
	}
	regtest, err := address.NewAddressWitnessPubKeyHash(
		make([]byte, 20), &chaincfg.RegressionNetParams)
	if err != nil {
		t.Fatal(err)
	}
	words, err := bech32.ConvertBits(make([]byte, 20), 8, 5, true)
	if err != nil {
		t.Fatal(err)
	}
	shortV1, err := bech32.EncodeM("bcrt", append([]byte{1}, words...))
	if err != nil {
		t.Fatal(err)
	}
	anchor, err := address.NewAddressPayToAnchor(&chaincfg.RegressionNetParams)
	if err != nil {
		t.Fatal(err)
	}
	key, err := btcec.NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, addr := range map[string]string{
		"empty":                  "",
		"no address":             "worker",
		"mainnet":                mainnet.EncodeAddress(),
		"mainnet P2PKH":          legacy.EncodeAddress(),
		"checksum":               regtest.EncodeAddress()[:43] + "q",
		"version 1 of 20 bytes":  shortV1,
		"public key":             hex.EncodeToString(key.PubKey().SerializeCompressed()),
		"anyone can spend":       anchor.EncodeAddress(),
		"surrounded by a blank":  regtest.EncodeAddress() + " ",
		"address with a dot":     regtest.EncodeAddress() + ".worker",
		"an address of any size": strings.Repeat("bcrt1", 1000),
	} {
		if script, err := PayoutScript(addr, &chaincfg.RegressionNetParams); err == nil {
			t.Errorf("%s (%s): accepted, script %x", name, addr, script)
		}
	}
}
