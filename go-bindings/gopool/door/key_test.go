package door

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMakesAKeyFileForItsOwnerAloneAndKeepsTheOneThatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "sv2_authority.key")
	if made, err := makeKey(path); !made || err != nil {
		t.Fatalf("made %v, %v", made, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 || !strings.HasSuffix(string(first), "\n") {
		t.Errorf("mode %v, %d bytes", info.Mode(), len(first))
	}
	if made, err := makeKey(path); made || err != nil {
		t.Errorf("again: made %v, %v", made, err)
	}
	if again, err := os.ReadFile(path); err != nil || !bytes.Equal(first, again) {
		t.Errorf("the key is another: %v", err)
	}
	other := filepath.Join(filepath.Dir(path), "other.key")
	if _, err := makeKey(other); err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(other); err != nil || bytes.Equal(first, second) {
		t.Errorf("two keys are the same: %v", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if _, err := makeKey(filepath.Join(path, "key")); err == nil {
		t.Error("made a key in a folder that is a file")
	}
}

// The text is that of the address of the genesis block's coinbase: version 0 and its hash.
func TestWritesBase58CheckAsEverybodyDoes(t *testing.T) {
	payload, err := hex.DecodeString("0062e907b15cbf27d5425399ebf6f0fb50ebb88f18")
	if err != nil {
		t.Fatal(err)
	}
	if text := base58Check(payload); text != "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa" {
		t.Errorf("wrote %s", text)
	}
}

func TestRejectsNumbersThatAreNoKeys(t *testing.T) {
	below, above := curveOrder, curveOrder
	below[keySize-1]--
	above[keySize-1]++
	one := [keySize]byte{keySize - 1: 1}
	for _, c := range []struct {
		secret [keySize]byte
		is     bool
	}{{[keySize]byte{}, false}, {one, true}, {below, true}, {curveOrder, false}, {above, false}} {
		if isKey(c.secret[:]) != c.is {
			t.Errorf("%x: want %v", c.secret, c.is)
		}
	}
}
