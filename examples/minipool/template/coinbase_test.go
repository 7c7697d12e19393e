// Promises of the coinbase assembly.

package template

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/wire/v2"
)

func sampleTemplate(height int32) *Template {
	return &Template{
		Height: height, CoinbaseValue: 1000, WitnessCommitment: WitnessCommitment(nil),
	}
}

func pay(values ...int64) []*wire.TxOut {
	var outs []*wire.TxOut
	for _, value := range values {
		outs = append(outs, wire.NewTxOut(value, []byte{0x51}))
	}
	return outs
}

func TestCoinbaseIsCutAroundTheExtranonce(t *testing.T) {
	long := strings.Repeat("t", 76)
	cases := []struct {
		height int32
		tag    string
		length int
		head   string // scriptSig before the extranonce, hexadecimal
	}{
		{1, "", 12, "510c"},
		{16, "/p/", 12, "60032f702f0c"},
		{17, "/p/", 20, "0111032f702f14"},
		{128, "\x05", 32, "028000010520"},
		{840000, "/p/", 1, "0340d10c032f702f01"},
		{840000, long, 12, "0340d10c4c4c" + hex.EncodeToString([]byte(long)) + "0c"},
	}
	for _, test := range cases {
		tmpl := sampleTemplate(test.height)
		prefix, suffix, err := tmpl.Coinbase(CoinbaseSpec{
			Outputs: pay(600, 400), Tag: test.tag, ExtranonceLen: test.length,
		})
		if err != nil {
			t.Errorf("height %d, tag %q: %v", test.height, test.tag, err)
			continue
		}
		extranonce := bytes.Repeat([]byte{0xee}, test.length)
		block, err := tmpl.Block(slices.Concat(prefix, extranonce, suffix), [80]byte{})
		if err != nil {
			t.Errorf("height %d, tag %q: %v", test.height, test.tag, err)
			continue
		}
		tx := block.Transactions[0]
		want := test.head + hex.EncodeToString(extranonce)
		if got := hex.EncodeToString(tx.TxIn[0].SignatureScript); got != want {
			t.Errorf("height %d, tag %q: scriptSig %s, want %s", test.height, test.tag, got, want)
		}
		if len(tx.TxOut) != 3 || tx.TxOut[0].Value != 600 || tx.TxOut[1].Value != 400 ||
			!bytes.Equal(tx.TxOut[2].PkScript, tmpl.WitnessCommitment) {
			t.Errorf("height %d, tag %q: outputs %v", test.height, test.tag, tx.TxOut)
		}
		if w := tx.TxIn[0].Witness; len(w) != 1 || !bytes.Equal(w[0], make([]byte, 32)) {
			t.Errorf("height %d, tag %q: coinbase witness %x", test.height, test.tag, w)
		}
	}
}

func TestRejectsUnfitCoinbaseSpecs(t *testing.T) {
	// Height 840000 takes 4 bytes, a tag of n bytes n+1, an extranonce of 32 bytes 33.
	fits := CoinbaseSpec{Outputs: pay(1000), Tag: strings.Repeat("t", 62), ExtranonceLen: 32}
	if _, _, err := sampleTemplate(840000).Coinbase(fits); err != nil {
		t.Errorf("scriptSig of exactly 100 bytes: %v", err)
	}
	for name, spec := range map[string]CoinbaseSpec{
		"scriptSig of 101 bytes": {
			Outputs: pay(1000), Tag: strings.Repeat("t", 63), ExtranonceLen: 32},
		"tag of 300 bytes": {
			Outputs: pay(1000), Tag: strings.Repeat("t", 300), ExtranonceLen: 8},
		"no extranonce":       {Outputs: pay(1000)},
		"negative extranonce": {Outputs: pay(1000), ExtranonceLen: -1},
		"long extranonce":     {Outputs: pay(1000), ExtranonceLen: 33},
		"no payout":           {ExtranonceLen: 12},
		"nil payout":          {Outputs: []*wire.TxOut{nil}, ExtranonceLen: 12},
		"paying too much":     {Outputs: pay(600, 401), ExtranonceLen: 12},
		"negative payout":     {Outputs: pay(-1), ExtranonceLen: 12},
		"overflowing payouts": {Outputs: pay(1<<62, 1<<62, 1<<62), ExtranonceLen: 12},
	} {
		if _, _, err := sampleTemplate(840000).Coinbase(spec); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestBlockRejectsWhatIsNoCoinbase(t *testing.T) {
	tmpl := sampleTemplate(5)
	prefix, suffix, err := tmpl.Coinbase(CoinbaseSpec{Outputs: pay(1000), ExtranonceLen: 10})
	if err != nil {
		t.Fatal(err)
	}
	good := slices.Concat(prefix, []byte("extranonce"), suffix)
	spending := bytes.Clone(good)
	spending[5] = 1 // an outpoint that isn't null
	for name, raw := range map[string][]byte{
		"nothing":        nil,
		"cut off":        good[:len(good)-1],
		"trailing byte":  append(bytes.Clone(good), 0),
		"spending input": spending,
	} {
		if _, err := tmpl.Block(raw, [80]byte{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestWithoutACommitmentTheCoinbaseHasNoWitness(t *testing.T) {
	tmpl := &Template{Height: 7, CoinbaseValue: 1000}
	prefix, suffix, err := tmpl.Coinbase(CoinbaseSpec{Outputs: pay(1000), ExtranonceLen: 4})
	if err != nil {
		t.Fatal(err)
	}
	block, err := tmpl.Block(slices.Concat(prefix, make([]byte, 4), suffix), [80]byte{})
	if err != nil {
		t.Fatal(err)
	}
	if tx := block.Transactions[0]; len(tx.TxOut) != 1 || tx.HasWitness() {
		t.Errorf("outputs %v, witness %x", tx.TxOut, tx.TxIn[0].Witness)
	}
}
