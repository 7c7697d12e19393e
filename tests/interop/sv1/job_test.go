package sv1

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math/bits"
	"slices"
	"strings"
	"testing"
)

// block170 is Bitcoin's first block with two transactions, as parameters of mining.notify. The coinbase
// is cut around the last two bytes of its script: they are the extranonce.
const block170 = `["170", "0a84bd55d08a7978683f85da183d4f97dbd12b3e1f2c846a2a22cfee00000000",
	"01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff0704ffff001d",
	"ffffffff0100f2052a01000000434104d46c4968bde02899d2aa0963367c7a6ce34eec332b32e42e5f3407e052d64ac625da6f0718e7b302140434bd725706957c092db53805b821a85b23a7ac61725bac00000000",
	["169e1e83e930853391bc6f35f605c6754cfead57cf8387639d3b4096c54f18f4"],
	"00000001", "1d00ffff", "496ab951", true]`

const block170Hash = "00000000d1145790a8694403d4063f323d499e655c83426834d4ce2f8dd4a2ee"

func mustJob(t *testing.T, params string) job {
	t.Helper()
	var j job
	if err := json.Unmarshal([]byte(params), &j); err != nil {
		t.Fatal(err)
	}
	return j
}

func TestHashesAKnownBlockAsBitcoinDid(t *testing.T) {
	j := mustJob(t, block170)
	header := j.header([]byte{1, 2}, j.version)
	binary.LittleEndian.PutUint32(header[76:], 1889418792)
	hash := doubleHash(header[:])
	shown := slices.Clone(hash[:])
	slices.Reverse(shown)
	if got := hex.EncodeToString(shown); got != block170Hash {
		t.Fatalf("hash %s, want %s", got, block170Hash)
	}
	for difficulty, want := range map[float64]bool{0.5: true, 1: true, 1.2: true, 1.3: false, 2: false} {
		target, err := targetOf(difficulty)
		if err != nil {
			t.Fatal(err)
		}
		if target.meets(&hash) != want {
			t.Errorf("meets difficulty %v: %v", difficulty, !want)
		}
	}
}

func TestRejectsJobsThatAreNone(t *testing.T) {
	for _, change := range [][2]string{
		{`, true]`, `]`}, {`, true]`, `, true, 1]`}, {`, true]`, `, 1]`},
		{`"496ab951"`, `"496ab9"`}, {`"496ab951"`, `"496ab95x"`}, {`"169e`, `"16`},
		{`"01000000010000`, `"0100000001000`}, {`"0a84`, `"`},
	} {
		params := strings.Replace(block170, change[0], change[1], 1)
		if params == block170 {
			t.Fatalf("nothing to replace: %v", change)
		}
		var j job
		if err := json.Unmarshal([]byte(params), &j); err == nil {
			t.Errorf("taken with %s for %s", change[1], change[0])
		}
	}
}

func TestKeepsTargetsInTheirBounds(t *testing.T) {
	one, err := targetOf(1)
	if err != nil || hex.EncodeToString(one[:]) != "00000000ffff"+strings.Repeat("0", 52) {
		t.Errorf("difficulty 1: %x, %v", one, err)
	}
	most, err := targetOf(1e-12)
	if err != nil || hex.EncodeToString(most[:]) != strings.Repeat("f", 64) {
		t.Errorf("easiest: %x, %v", most, err)
	}
	for _, difficulty := range []float64{0, -1} {
		if _, err := targetOf(difficulty); err == nil {
			t.Errorf("difficulty %v is taken", difficulty)
		}
	}
}

func TestSpreadsVersionsOverTheWholeMask(t *testing.T) {
	for _, mask := range []uint32{0, 1, 0x1fffe000, 0x1fffffe0, 0xffffffff} {
		seen := map[uint32]bool{}
		var all uint32
		numbers := uint32(1) << min(bits.OnesCount32(mask), 8)
		for number := range numbers {
			version := spread(number, mask)
			if version&^mask != 0 {
				t.Fatalf("mask %08x: bits %08x", mask, version)
			}
			seen[version] = true
			all |= version
		}
		if uint32(len(seen)) != numbers {
			t.Errorf("mask %08x: %d versions of %d numbers", mask, len(seen), numbers)
		}
		lowest, highest := mask&-mask, uint32(1)<<31>>bits.LeadingZeros32(mask)
		if mask != 0 && (all&lowest == 0 || all&highest == 0) {
			t.Errorf("mask %08x: only %08x is rolled", mask, all)
		}
	}
}

func TestRollsExtranoncesOfAnySize(t *testing.T) {
	for size := 1; size <= 32; size++ {
		seen := map[string]bool{}
		for rolls := range uint64(200) {
			w := work{size: size, rolls: rolls}
			extranonce2 := w.extranonce2()
			if len(extranonce2) != size {
				t.Fatalf("size %d: %x", size, extranonce2)
			}
			seen[string(extranonce2)] = true
		}
		if len(seen) != 200 {
			t.Errorf("size %d: %d of 200 are different", size, len(seen))
		}
	}
}
