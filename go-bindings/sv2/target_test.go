// Targets and difficulties: vector V3, and agreement with exact arithmetic.
package sv2

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTargetsOfTheVectors(t *testing.T) {
	zeros := func(n int) string { return strings.Repeat("00", n) }
	for _, test := range []struct {
		name string
		got  Target
		want string
	}{
		{"1", TargetFromDifficulty(1), zeros(26) + "ffff" + zeros(4)},
		{"2", TargetFromDifficulty(2), zeros(25) + "80ff7f" + zeros(4)},
		{"1024", TargetFromDifficulty(1024), zeros(24) + "c0ff3f" + zeros(5)},
		{"65536", TargetFromDifficulty(65536), zeros(24) + "ffff" + zeros(6)},
		{"2^20", TargetFromDifficulty(1 << 20), zeros(23) + "f0ff0f" + zeros(6)},
		{"5000 H/s", TargetFromHashRate(5000, 6),
			"98e73d35112fe73e629b836726c35c1af3a6a00ea71bb78c6479c2a0894f0100"},
		{"1 TH/s", TargetFromHashRate(1e12, 6),
			"a1b2464e314fca7149a0b1727e2ae6b2db764c7a69734968c2251c0000000000"},
		{"no hash rate", TargetFromHashRate(0, 6), strings.Repeat("ff", 32)},
	} {
		if test.got != hash32(t, test.want) {
			t.Errorf("%s: %x", test.name, test.got[:])
		}
	}
	if d := TargetFromHashRate(1e12, 6).Difficulty().Float(); math.Abs(d-2328.27) > 0.01 {
		t.Errorf("difficulty at 1 TH/s: %v", d)
	}
	if d := TargetFromDifficulty(1).Difficulty(); d != (Difficulty{Whole: 1}) {
		t.Errorf("difficulty of difficulty 1: %+v", d)
	}
}

func TestExpandsNBitsAndRejectsWhatIsNoTarget(t *testing.T) {
	for bits, want := range map[uint32]string{
		0x1d00ffff: "ffff" + strings.Repeat("0", 52),
		0x207fffff: "7fffff" + strings.Repeat("0", 58),
		0x03123456: "123456",
		0x02123456: "1234",
		0x01123456: "12",
		0x00123456: "0",
		0x04123456: "12345600",
	} {
		number, _ := new(big.Int).SetString(want, 16)
		got, err := TargetFromNBits(bits)
		if err != nil || got.Big().Cmp(number) != 0 {
			t.Errorf("%08x: %s, %v", bits, got, err)
		}
	}
	for _, bits := range []uint32{0x1d80ffff, 0x2100ffff + 0xff0000, 0x237fffff, 0xff7fffff} {
		if got, err := TargetFromNBits(bits); err == nil {
			t.Errorf("%08x: %s", bits, got)
		}
	}
}

func anyTarget() *rapid.Generator[Target] {
	return rapid.Custom(func(t *rapid.T) (target Target) {
		copy(target[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "bytes"))
		clear(target[32-rapid.IntRange(0, 32).Draw(t, "zeros"):]) // any magnitude
		return target
	})
}

// number reads 32 little-endian bytes, the slow way.
func number(le [32]byte) *big.Int {
	n := new(big.Int)
	for i := 31; i >= 0; i-- {
		n.Lsh(n, 8).Add(n, big.NewInt(int64(le[i])))
	}
	return n
}

func TestTargetArithmeticAgreesWithNumbers(t *testing.T) {
	limit := new(big.Int).Lsh(big.NewInt(1), 96)
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyTarget().Draw(t, "a"), anyTarget().Draw(t, "b")
		x, y := number(a), number(b)
		if a.Cmp(b) != x.Cmp(y) || a.Big().Cmp(x) != 0 || TargetFromBig(x) != a {
			t.Fatalf("%s and %s", a, b)
		}
		if Hash(a).Meets(b) != (x.Cmp(y) <= 0) {
			t.Fatalf("%s meets %s", a, b)
		}
		if harder, easier := Harder(a, b), Easier(a, b); number(harder).Cmp(number(easier)) > 0 ||
			(harder != a && harder != b) || (easier != a && easier != b) {
			t.Fatalf("harder %s, easier %s", harder, easier)
		}
		// difficulty = floor(2^32 * 0xffff * 2^208 / target) in units of 2^-32, at most 2^96-1.
		want := new(big.Int).Sub(limit, big.NewInt(1))
		if x.Sign() > 0 {
			exact := new(big.Int).Lsh(big.NewInt(0xffff), 240)
			if exact.Div(exact, x); exact.Cmp(limit) < 0 {
				want = exact
			}
		}
		d := a.Difficulty()
		got := new(big.Int).SetUint64(d.Whole)
		got.Lsh(got, 32).Add(got, new(big.Int).SetUint64(uint64(d.Fraction)))
		if got.Cmp(want) != 0 {
			t.Fatalf("difficulty of %s: %v, not %v", a, got, want)
		}
	})
}

func TestTargetFromDifficultyIsTheExactFloor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		difficulty := rapid.Float64Range(0, math.MaxFloat64).Draw(t, "difficulty")
		if difficulty == 0 {
			return
		}
		exact := new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(0xffff), 208))
		exact.Quo(exact, new(big.Rat).SetFloat64(difficulty))
		want := new(big.Int).Div(exact.Num(), exact.Denom())
		if largest := number(MaxTarget); want.Cmp(largest) > 0 {
			want = largest
		}
		if got := TargetFromDifficulty(difficulty); number(got).Cmp(want) != 0 {
			t.Fatalf("target of %v: %s, not %x", difficulty, got, want)
		}
	})
	for _, easiest := range []float64{0, -1, math.NaN(), math.Inf(-1)} {
		if got := TargetFromDifficulty(easiest); got != MaxTarget {
			t.Errorf("target of %v: %s", easiest, got)
		}
	}
	if got := TargetFromDifficulty(math.Inf(1)); !got.IsZero() {
		t.Errorf("target of +Inf: %s", got)
	}
}

func TestTargetFromHashRateIsTheFormula(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hashRate := rapid.Float64Range(0, 1e25).Draw(t, "hash rate")
		perMinute := rapid.Float64Range(0.1, 600).Draw(t, "shares per minute")
		x, _ := big.NewFloat(hashRate * 60 / perMinute).Int(nil)
		want := new(big.Int).Lsh(big.NewInt(1), 256)
		want.Sub(want, big.NewInt(1)).Sub(want, x)
		want.Div(want, x.Add(x, big.NewInt(1)))
		if got := TargetFromHashRate(hashRate, perMinute); number(got).Cmp(want) != 0 {
			t.Fatalf("%v H/s, %v per minute: %s, not %x", hashRate, perMinute, got, want)
		}
	})
}

func TestDifficultiesAddExactlyAndSaturate(t *testing.T) {
	largest := Difficulty{Whole: math.MaxUint64, Fraction: math.MaxUint32}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) Difficulty {
			return Difficulty{
				Whole:    rapid.Uint64().Draw(t, name+" whole"),
				Fraction: rapid.Uint32().Draw(t, name+" fraction"),
			}
		}
		units := func(d Difficulty) *big.Int {
			n := new(big.Int).SetUint64(d.Whole)
			return n.Lsh(n, 32).Add(n, new(big.Int).SetUint64(uint64(d.Fraction)))
		}
		a, b := draw("a"), draw("b")
		want := new(big.Int).Add(units(a), units(b))
		if top := units(largest); want.Cmp(top) > 0 {
			want = top
		}
		if got := units(a.Add(b)); got.Cmp(want) != 0 {
			t.Fatalf("%+v + %+v = %v, not %v", a, b, got, want)
		}
	})
}
