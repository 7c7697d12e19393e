// Hashes, targets and difficulty.

package sv2client

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"slices"
)

// Hash is a double SHA-256 in internal order, as headers carry it.
type Hash [32]byte

// String is hex in the order that explorers print.
func (h Hash) String() string { return reversedHex(h) }

// Target is the largest hash that counts: a number, least significant byte first.
type Target [32]byte

// MaxTarget is the easiest target: every hash meets it.
func MaxTarget() Target {
	var target Target
	for i := range target {
		target[i] = math.MaxUint8
	}
	return target
}

// String is hex, most significant digit first.
func (t Target) String() string { return reversedHex(t) }

// MetBy says whether hash is a share: not above the target.
func (t Target) MetBy(hash Hash) bool { return compare(hash, t) <= 0 }

// Harder is the smaller of two targets.
func (t Target) Harder(than Target) Target {
	if compare(t, than) <= 0 {
		return t
	}
	return than
}

// Difficulty is how many times harder than 0x00000000FFFF << 208 the target is ("pdiff"); +Inf when it is
// zero.
func (t Target) Difficulty() float64 {
	number := new(big.Int).SetBytes(reversed(t))
	if number.Sign() == 0 {
		return math.Inf(1)
	}
	one := new(big.Int).Lsh(big.NewInt(0xffff), 208)
	difficulty, _ := new(big.Rat).SetFrac(one, number).Float64()
	return difficulty
}

// TargetFromNBits is the target of a block, from the compact form in its header.
func TargetFromNBits(nBits uint32) (Target, error) {
	var target Target
	mantissa, exponent := int64(nBits&0x007fffff), uint(nBits>>24)
	if nBits&0x00800000 != 0 {
		return target, fmt.Errorf("nbits %08x is negative", nBits)
	}
	number := big.NewInt(mantissa)
	if exponent <= 3 {
		number.Rsh(number, 8*(3-exponent))
	} else {
		number.Lsh(number, 8*(exponent-3))
	}
	if number.BitLen() > 8*len(target) {
		return target, fmt.Errorf("nbits %08x is more than 256 bits", nBits)
	}
	number.FillBytes(target[:])
	slices.Reverse(target[:])
	return target, nil
}

// compare orders two numbers, least significant byte first.
func compare(a, b [32]byte) int {
	for i := len(a) - 1; i >= 0; i-- {
		if a[i] != b[i] {
			return int(a[i]) - int(b[i])
		}
	}
	return 0
}

func reversed(bytes [32]byte) []byte {
	slices.Reverse(bytes[:])
	return bytes[:]
}

func reversedHex(bytes [32]byte) string { return hex.EncodeToString(reversed(bytes)) }
