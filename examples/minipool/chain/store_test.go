// Promises of the data directory: what survives a stop or a crash, and what is refused.

package chain

import (
	"bytes"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/blockchain"
)

func TestSurvivesReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "chain")
	c := openEasy(t, dir)
	mine(t, c, 5)
	tip, height := c.Tip()
	script := c.PoolScript()
	coins := len(c.wallet.coins)
	mustClose(t, c)
	mustClose(t, c) // a second time does nothing

	c = openEasy(t, dir)
	wantTip(t, c, tip, height)
	if !bytes.Equal(c.PoolScript(), script) {
		t.Error("the wallet has another key")
	}
	if len(c.wallet.coins) != coins {
		t.Errorf("the wallet has %d coins, it had %d", len(c.wallet.coins), coins)
	}
	if len(mustTemplate(t, c).Transactions) == 0 {
		t.Error("no transactions in the template")
	}
	mine(t, c, 2)
}

// copyDir takes the state of a directory as a killed process would leave it.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(to, keyFile), 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestSurvivesCrash(t *testing.T) {
	dir := t.TempDir()
	c := openEasy(t, dir)
	mine(t, c, 4)
	mustClose(t, c)
	c = openEasy(t, dir)
	mine(t, c, 4)
	tip, height := c.Tip()

	const unclean = "the chain was not closed cleanly"
	crashed := copyDir(t, dir)
	again := openComplaining(t, crashed, unclean)
	wantTip(t, again, tip, height)
	mine(t, again, 1)
	tip, height = again.Tip()

	// A crash right after the recovery, with a record that was being written.
	crashed = copyDir(t, crashed)
	journal := filepath.Join(crashed, journalFile)
	raw, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	broken := bytes.Repeat([]byte{0xff}, 1<<16)
	if err := os.WriteFile(journal, append(raw, broken...), 0o600); err != nil {
		t.Fatal(err)
	}
	third := openComplaining(t, crashed, unclean)
	wantTip(t, third, tip, height)
	mine(t, third, 1)
	tip, height = third.Tip()
	fourth := openComplaining(t, copyDir(t, crashed), unclean)
	wantTip(t, fourth, tip, height)
	if fourth.store.journal.torn {
		t.Error("the broken record was not cut off")
	}

	mustClose(t, third)
	if _, err := os.Stat(journal); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the journal outlived a clean stop: %v", err)
	}
	wantTip(t, openEasy(t, crashed), tip, height)
}

func TestRejectsDataDirOfOtherBits(t *testing.T) {
	dir := t.TempDir()
	mustClose(t, openEasy(t, dir))
	_, err := Open(Options{DataDir: dir, NetworkBits: DefaultNetworkBits})
	if err == nil || !strings.Contains(err.Error(), "choose another directory") {
		t.Fatalf("got %v, want an error with the remedy", err)
	}
	// Without the record of the bits the genesis block tells.
	if err := os.Remove(filepath.Join(dir, bitsFile)); err != nil {
		t.Fatal(err)
	}
	_, err = Open(Options{DataDir: dir, NetworkBits: DefaultNetworkBits})
	if err == nil || !strings.Contains(err.Error(), "choose another directory") {
		t.Fatalf("got %v, want an error with the remedy", err)
	}
}

func TestRejectsDataDirInUse(t *testing.T) {
	dir := t.TempDir()
	openEasy(t, dir)
	_, err := Open(Options{DataDir: dir, NetworkBits: easyBits})
	if err == nil || !strings.Contains(err.Error(), "another process") {
		t.Fatalf("got %v, want an error with the remedy", err)
	}
}

func TestWalletKeyIsForItsOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	mustClose(t, openEasy(t, dir))
	path := filepath.Join(dir, keyFile)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %04o, want 0600", info.Mode().Perm())
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	_, err = Open(Options{DataDir: dir, NetworkBits: easyBits})
	if err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by the group: got %v, want an error with the remedy", err)
	}
}

func TestRejectsDamagedWalletKey(t *testing.T) {
	for name, content := range map[string]string{
		"empty":    "",
		"no hex":   strings.Repeat("x", 64),
		"short":    strings.Repeat("11", 31),
		"zero":     strings.Repeat("00", 32),
		"overflow": strings.Repeat("ff", 32),
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, keyFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(Options{DataDir: dir, NetworkBits: easyBits})
		if err == nil {
			t.Fatalf("%s: accepted", name)
		}
		if content != "" && strings.Contains(err.Error(), content) {
			t.Errorf("%s: the error shows the key", name)
		}
	}
}

func TestTemporaryChainLeavesNothingBehind(t *testing.T) {
	c := openEasy(t, "")
	mine(t, c, 1)
	dir := c.store.dir
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
	tip, height := c.Tip()
	mustClose(t, c)
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", dir, err)
	}
	if _, err := c.Template(); !errors.Is(err, ErrClosed) {
		t.Errorf("template after close: %v", err)
	}
	if err := c.Submit(t.Context(), c.Params().GenesisBlock); !errors.Is(err, ErrClosed) {
		t.Errorf("submit after close: %v", err)
	}
	wantTip(t, c, tip, height)
}

func TestRejectsUnusableNetworkBits(t *testing.T) {
	for name, bits := range map[string]uint32{
		"zero":            0,
		"zero mantissa":   0x1d000000,
		"shifted to zero": 0x01003456,
		"negative":        0x1d800001,
		"over 256 bits":   0x21010000,
		"far over":        0xff123456,
		"not canonical":   0x1d000fff,
	} {
		if c, err := Open(Options{NetworkBits: bits}); err == nil {
			mustClose(t, c)
			t.Errorf("%s (0x%08x): accepted", name, bits)
		}
	}
}

func TestNetworkIsDeterminedByItsBits(t *testing.T) {
	first, second := Params(DefaultNetworkBits), Params(DefaultNetworkBits)
	if *first.GenesisHash != *second.GenesisHash {
		t.Error("two genesis blocks for the same bits")
	}
	if *first.GenesisHash == *Params(easyBits).GenesisHash {
		t.Error("one genesis block for different bits")
	}
	if first.GenesisBlock.Header.Bits != DefaultNetworkBits {
		t.Errorf("genesis bits 0x%08x", first.GenesisBlock.Header.Bits)
	}
	if err := ValidateBits(DefaultNetworkBits); err != nil {
		t.Error(err)
	}
	hashes := new(big.Int).Div(new(big.Int).Lsh(big.NewInt(1), 256),
		blockchain.CompactToBig(DefaultNetworkBits))
	if hashes.Cmp(big.NewInt(1<<28)) != 0 {
		t.Errorf("a block takes %v hashes by default, want 2^28", hashes)
	}
}
