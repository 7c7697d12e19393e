// What several tests of the package need: an easy chain, and blocks made the way a pool makes them.

package chain

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/gopool-sv2/gopool-sv2/examples/minipool/template"
)

// easyBits lets every second hash be a block.
const easyBits = 0x207fffff

// complaints fails the test on warnings and errors that the chain logs, unless expected.
type complaints struct {
	t        *testing.T
	expected string
}

func (c complaints) Write(line []byte) (int, error) {
	if c.expected == "" || !strings.Contains(string(line), c.expected) {
		c.t.Errorf("logged: %s", line)
	}
	return len(line), nil
}

func openEasy(t *testing.T, dir string) *Chain {
	t.Helper()
	return openComplaining(t, dir, "")
}

// openComplaining opens a chain that may log warnings with the expected text, and no other.
func openComplaining(t *testing.T, dir, expected string) *Chain {
	t.Helper()
	log := slog.New(slog.NewTextHandler(
		complaints{t, expected}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c, err := Open(Options{DataDir: dir, NetworkBits: easyBits, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustClose(t, c) })
	return c
}

func mustClose(t *testing.T, c *Chain) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func mustTemplate(t *testing.T, c *Chain) *template.Template {
	t.Helper()
	tmpl, err := c.Template()
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

func mine(t *testing.T, c *Chain, blocks int) {
	t.Helper()
	for range blocks {
		if _, err := c.MineBlock(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

// coinbaseFor returns the coinbase without witness, paying everything to script.
func coinbaseFor(t *testing.T, tmpl *template.Template, script []byte, extranonce string) []byte {
	t.Helper()
	prefix, suffix, err := tmpl.Coinbase(template.CoinbaseSpec{
		Outputs:       []*wire.TxOut{wire.NewTxOut(tmpl.CoinbaseValue, script)},
		Tag:           "/test/",
		ExtranonceLen: len(extranonce),
	})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(prefix, []byte(extranonce), suffix)
}

// headerFor serializes the header independently of the package's own assembly.
func headerFor(tmpl *template.Template, coinbase []byte) [80]byte {
	root := template.FoldMerkle(chainhash.DoubleHashH(coinbase), tmpl.MerklePath)
	var header [80]byte
	raw := binary.LittleEndian.AppendUint32(header[:0], uint32(tmpl.Version))
	raw = append(raw, tmpl.PrevHash[:]...)
	raw = append(raw, root[:]...)
	raw = binary.LittleEndian.AppendUint32(raw, tmpl.CurTime)
	binary.LittleEndian.AppendUint32(raw, tmpl.Bits)
	return header
}

// grind finds a nonce whose hash meets the bits of the header (or doesn't, with valid false).
func grind(t *testing.T, header *[80]byte, valid bool) {
	t.Helper()
	target := blockchain.CompactToBig(binary.LittleEndian.Uint32(header[72:]))
	for nonce := range uint32(math.MaxUint32) {
		binary.LittleEndian.PutUint32(header[76:], nonce)
		hash := chainhash.DoubleHashH(header[:])
		if (blockchain.HashToBig(&hash).Cmp(target) <= 0) == valid {
			return
		}
	}
	t.Fatal("no such nonce")
}

// solved returns the full block for a coinbase without witness.
func solved(t *testing.T, tmpl *template.Template, coinbase []byte) *wire.MsgBlock {
	t.Helper()
	header := headerFor(tmpl, coinbase)
	grind(t, &header, true)
	block, err := tmpl.Block(coinbase, header)
	if err != nil {
		t.Fatal(err)
	}
	return block
}

// wantTip fails unless the chain is at the block.
func wantTip(t *testing.T, c *Chain, hash chainhash.Hash, height int32) {
	t.Helper()
	gotHash, gotHeight := c.Tip()
	if gotHash != hash || gotHeight != height {
		t.Fatalf("tip is %v at %d, want %v at %d",
			chainhash.Hash(gotHash), gotHeight, hash, height)
	}
}

// wantRule fails unless err is the violation of the given rule.
func wantRule(t *testing.T, err error, code blockchain.ErrorCode) {
	t.Helper()
	if !errors.Is(err, ErrInvalidBlock) {
		t.Fatalf("got %v, want an invalid block", err)
	}
	var rule blockchain.RuleError
	if !errors.As(err, &rule) || rule.ErrorCode != code {
		t.Fatalf("got %v, want rule %v", err, code)
	}
}
