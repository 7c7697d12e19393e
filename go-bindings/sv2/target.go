package sv2

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"math/bits"
)

// Hash is a double-SHA256, in internal (header) order.
type Hash [32]byte

// String is the hash as explorers print it: reversed, hexadecimal.
func (h Hash) String() string {
	for i, j := 0, len(h)-1; i < j; i, j = i+1, j-1 {
		h[i], h[j] = h[j], h[i]
	}
	return hex.EncodeToString(h[:])
}

// Meets reports whether the hash is at or below target.
func (h Hash) Meets(target Target) bool { return Target(h).Cmp(target) <= 0 }

// Target is an upper bound of a share's hash: 32 bytes, little-endian as a number (SV2's U256).
type Target [32]byte

// MaxTarget is the easiest target there is: every hash meets it.
var MaxTarget = Target{
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
}

// pdiff1 is the target of difficulty 1: 0xFFFF << 208.
var pdiff1 = new(big.Int).Lsh(big.NewInt(0xffff), 208)

var two256 = new(big.Int).Lsh(big.NewInt(1), 256)

// Cmp is -1, 0 or 1: t below, equal to, above other. Below means harder.
func (t Target) Cmp(other Target) int {
	for i := len(t) - 1; i >= 0; i-- {
		if t[i] != other[i] {
			if t[i] < other[i] {
				return -1
			}
			return 1
		}
	}
	return 0
}

// IsZero reports whether the target is 0, which no hash is expected to meet.
func (t Target) IsZero() bool { return t == Target{} }

// Big is the target as a number.
func (t Target) Big() *big.Int {
	var be [32]byte
	for i := range t {
		be[31-i] = t[i]
	}
	return new(big.Int).SetBytes(be[:])
}

// String is the number in hexadecimal, 64 digits.
func (t Target) String() string { return Hash(t).String() }

// TargetFromBig is the target of a number; values outside 0 to 2^256-1 are moved to the nearest end.
func TargetFromBig(n *big.Int) Target {
	if n.Sign() <= 0 {
		return Target{}
	}
	if n.Cmp(two256) >= 0 {
		return MaxTarget
	}
	var t Target
	be := n.FillBytes(make([]byte, 32))
	for i := range t {
		t[i] = be[31-i]
	}
	return t
}

// Harder is the smaller (harder) of two targets.
func Harder(a, b Target) Target {
	if a.Cmp(b) <= 0 {
		return a
	}
	return b
}

// Easier is the larger (easier) of two targets.
func Easier(a, b Target) Target {
	if a.Cmp(b) >= 0 {
		return a
	}
	return b
}

// TargetFromDifficulty is floor(pdiff1 / difficulty). Zero, negative and NaN give MaxTarget; +Inf gives
// the zero target.
func TargetFromDifficulty(difficulty float64) Target {
	if !(difficulty > 0) {
		return MaxTarget
	}
	if math.IsInf(difficulty, 1) {
		return Target{}
	}
	// difficulty = mantissa * 2^exponent, exactly.
	fraction, exponent := math.Frexp(difficulty)
	mantissa := new(big.Int).SetUint64(uint64(fraction * (1 << 53)))
	exponent -= 53
	numerator := new(big.Int).Set(pdiff1)
	if exponent < 0 {
		numerator.Lsh(numerator, uint(-exponent))
	} else {
		mantissa.Lsh(mantissa, uint(exponent))
	}
	return TargetFromBig(numerator.Quo(numerator, mantissa))
}

// TargetFromHashRate is the target at which hashRate H/s find sharesPerMinute shares on average:
// (2^256-1-x)/(x+1) with x = floor(hashRate*60/sharesPerMinute). A rate of 0 gives MaxTarget: bound it
// by the pool's minimum difficulty.
func TargetFromHashRate(hashRate, sharesPerMinute float64) Target {
	x := hashRate * 60 / sharesPerMinute
	if !(x > 0) {
		return MaxTarget
	}
	if math.IsInf(x, 1) {
		return Target{}
	}
	n, _ := new(big.Float).SetFloat64(x).Int(nil)
	numerator := new(big.Int).Sub(two256, big.NewInt(1))
	numerator.Sub(numerator, n)
	if numerator.Sign() <= 0 {
		return Target{}
	}
	return TargetFromBig(numerator.Quo(numerator, n.Add(n, big.NewInt(1))))
}

// TargetFromNBits expands a compact target (BIP: block header "bits").
func TargetFromNBits(nbits uint32) (Target, error) {
	size, mantissa := nbits>>24, int64(nbits&0x007fffff)
	if nbits&0x00800000 != 0 {
		return Target{}, fmt.Errorf("compact target %08x is negative", nbits)
	}
	n := big.NewInt(mantissa)
	if size <= 3 {
		n.Rsh(n, uint(8*(3-size)))
	} else {
		n.Lsh(n, uint(8*(size-3)))
	}
	if n.Cmp(two256) >= 0 {
		return Target{}, fmt.Errorf("compact target %08x is above 2^256", nbits)
	}
	return TargetFromBig(n), nil
}

// Difficulty is an exact difficulty: Whole + Fraction/2^32.
type Difficulty struct {
	// Whole is the integer part.
	Whole uint64
	// Fraction is the rest in units of 2^-32.
	Fraction uint32
}

// Difficulty of a target: pdiff1 / target, rounded down to 2^-32. Saturates at the largest value.
func (t Target) Difficulty() Difficulty {
	n := t.Big()
	if n.Sign() == 0 {
		return Difficulty{Whole: math.MaxUint64, Fraction: math.MaxUint32}
	}
	q := new(big.Int).Lsh(pdiff1, 32)
	q.Quo(q, n)
	if q.BitLen() > 96 {
		return Difficulty{Whole: math.MaxUint64, Fraction: math.MaxUint32}
	}
	low := new(big.Int).And(q, big.NewInt(math.MaxUint32))
	return Difficulty{Whole: q.Rsh(q, 32).Uint64(), Fraction: uint32(low.Uint64())}
}

// Float is the difficulty as a float64, for display and vardiff; never for books.
func (d Difficulty) Float() float64 { return float64(d.Whole) + float64(d.Fraction)/(1<<32) }

// Cmp is -1, 0 or 1: d below, equal to, above other.
func (d Difficulty) Cmp(other Difficulty) int {
	if d.Whole != other.Whole {
		return cmp.Compare(d.Whole, other.Whole)
	}
	return cmp.Compare(d.Fraction, other.Fraction)
}

// IsZero reports whether it is exactly 0.
func (d Difficulty) IsZero() bool { return d == Difficulty{} }

// Add is the exact sum; it saturates at the largest value.
func (d Difficulty) Add(other Difficulty) Difficulty {
	fraction, carry := bits.Add32(d.Fraction, other.Fraction, 0)
	whole, over := bits.Add64(d.Whole, other.Whole, uint64(carry))
	if over != 0 {
		return Difficulty{Whole: math.MaxUint64, Fraction: math.MaxUint32}
	}
	return Difficulty{Whole: whole, Fraction: fraction}
}
