//go:build node

// The whole line behind a node: minipool, the sidecar, and its miner.

package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/address/v2"
	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcutil/v2"
	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/txscript/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

// nodePool starts a minipool for a node, with shares of this difficulty, which stands still.
func nodePool(t testing.TB, n *bitcoinNode, difficulty float64, more ...string) *process {
	t.Helper()
	// A Unix socket's path is short: keep it out of the test's deep directory.
	dir, err := os.MkdirTemp("", "mp-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return launchArgs(t, dir, slices.Concat([]string{
		"-socket", filepath.Join(dir, "sock"), "-journal", filepath.Join(dir, "journal"),
		"-log-level", "debug", "-pool-fee", "0",
		"-min-difficulty", fmt.Sprint(difficulty), "-max-difficulty", fmt.Sprint(difficulty),
	}, n.flags, more))
}

// line is a sidecar in front of a minipool.
type line struct {
	t       testing.TB
	dir     string
	url     string
	program string
}

func newLine(t testing.TB, p *process) *line {
	t.Helper()
	l := &line{t: t, dir: filepath.Dir(p.socket), program: sidecarProgram(t)}
	key := filepath.Join(l.dir, "authority.key")
	if output, err := exec.Command(l.program, "keygen", "--out", key).CombinedOutput(); err != nil {
		t.Fatalf("keygen: %v: %s", err, output)
	}
	config := filepath.Join(l.dir, "sidecar.toml")
	text := fmt.Sprintf("[listen]\naddress = \"127.0.0.1:0\"\n[authority]\nkey_file = %q\n"+
		"[pool]\naddress = %q\n[log]\nformat = \"human\"\n", key, "unix:"+p.socket)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sidecar := startDaemon(t, l.program, "serve", "--config", config)
	l.url = sidecar.await(t, "miners type: ")
	sidecar.await(t, "link to the pool is up")
	return l
}

// mine runs a miner until it has submitted so many shares, and returns what its journal says of them.
func (l *line) mine(user, kind string, shares int) (journal string) {
	l.t.Helper()
	path := filepath.Join(l.dir, "miner.journal")
	if err := os.RemoveAll(path); err != nil {
		l.t.Fatal(err)
	}
	miner := exec.CommandContext(l.t.Context(), l.program, "miner", l.url, "--user", user, "--"+kind,
		"--threads", "1", "--hash-rate", "1000000", "--shares", fmt.Sprint(shares), "--seconds", "50",
		"--journal", path)
	if output, err := miner.CombinedOutput(); err != nil {
		l.t.Fatalf("miner: %v\n%s", err, output)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		l.t.Fatal(err)
	}
	return string(text)
}

// purse is a key with money on it, so that templates carry transactions.
type purse struct {
	key     *btcec.PrivateKey
	address string
	script  []byte
}

func newPurse(t testing.TB) *purse {
	t.Helper()
	key, err := btcec.NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	hash := address.Hash160(key.PubKey().SerializeCompressed())
	addr, err := address.NewAddressWitnessPubKeyHash(hash, &chaincfg.RegressionNetParams)
	if err != nil {
		t.Fatal(err)
	}
	script, err := txscript.PayToAddrScript(addr)
	if err != nil {
		t.Fatal(err)
	}
	return &purse{key, addr.EncodeAddress(), script}
}

// spend has the node take a signed segwit transaction that spends the coinbase at a height, and
// returns its id.
func (p *purse) spend(n *bitcoinNode, height int) string {
	n.t.Helper()
	var hash, raw string
	n.must(&hash, "getblockhash", height)
	n.must(&raw, "getblock", hash, 0)
	bytesOf, err := hex.DecodeString(raw)
	if err != nil {
		n.t.Fatal(err)
	}
	block, err := btcutil.NewBlockFromBytes(bytesOf)
	if err != nil {
		n.t.Fatal(err)
	}
	coinbase := block.Transactions()[0]
	output := coinbase.MsgTx().TxOut[0]
	if !bytes.Equal(output.PkScript, p.script) {
		n.t.Fatalf("the coinbase at %d pays %x", height, output.PkScript)
	}
	tx := wire.NewMsgTx(2)
	tx.AddTxIn(wire.NewTxIn(&wire.OutPoint{Hash: *coinbase.Hash()}, nil, nil))
	tx.AddTxOut(wire.NewTxOut(output.Value-10_000, p.script))
	fetcher := txscript.NewCannedPrevOutputFetcher(output.PkScript, output.Value)
	tx.TxIn[0].Witness, err = txscript.WitnessSignature(tx, txscript.NewTxSigHashes(tx, fetcher), 0,
		output.Value, output.PkScript, txscript.SigHashAll, p.key, true)
	if err != nil {
		n.t.Fatal(err)
	}
	var serialized bytes.Buffer
	if err := tx.Serialize(&serialized); err != nil {
		n.t.Fatal(err)
	}
	var id string
	n.must(&id, "sendrawtransaction", hex.EncodeToString(serialized.Bytes()))
	if _, err := chainhash.NewHashFromStr(id); err != nil {
		n.t.Fatalf("sendrawtransaction: %q", id)
	}
	return id
}

// regtestCore is a Core on regtest with a chain of 101 blocks that pays the purse.
func regtestCore(t testing.TB, args ...string) (*bitcoinNode, *purse) {
	t.Helper()
	n, p := startCore(t, "regtest", args...), newPurse(t)
	n.must(nil, "generatetoaddress", 101, p.address)
	return n, p
}

// regtestBtcd is the same with btcd.
func regtestBtcd(t testing.TB) (*bitcoinNode, *purse) {
	t.Helper()
	p := newPurse(t)
	n := startBtcd(t, p.address)
	n.must(nil, "generate", 101)
	return n, p
}

// blockLines are what the journal says of blocks, once there are so many.
func (p *process) blockLines(least int) []bookLine {
	p.t.Helper()
	var lines []bookLine
	eventually(p.t, fmt.Sprintf("%d blocks are in the journal", least), func() bool {
		lines = readJournal(p.t, p.journal, "block")
		return len(lines) >= least
	})
	return lines
}

// acceptedShares counts the answers in a miner's journal.
func acceptedShares(journal string) int {
	return strings.Count(journal, `"event":"accepted"`)
}
