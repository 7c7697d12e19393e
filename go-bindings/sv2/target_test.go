// Targets and difficulties: the vectors, and agreement with exact arithmetic.
package sv2

import (
	"math"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTargetsOfTheVectors(t *testing.T) {
	v := readVectors[targetVectors](t, "targets.json")
	if len(v.Difficulties) < 10 || len(v.HashRates) < 5 || len(v.NBits) < 10 || len(v.Bounds) < 5 ||
		len(v.Meets) < 5 {
		t.Fatal("vectors are missing")
	}
	for _, d := range v.Difficulties {
		target := Target(d.Target.array(t))
		if got := TargetFromDifficulty(d.Difficulty); got != target {
			t.Errorf("target of difficulty %v: %s", d.Difficulty, got)
		}
		if got := target.Difficulty(); got != (Difficulty{d.Whole, d.Fraction}) {
			t.Errorf("difficulty of the target of %v: %+v", d.Difficulty, got)
		}
	}
	for _, r := range v.HashRates {
		if got := TargetFromHashRate(r.HashRate, r.SharesPerMinute); got != r.Target.array(t) {
			t.Errorf("%v H/s, %v a minute: %s", r.HashRate, r.SharesPerMinute, got)
		}
	}
	for _, n := range v.NBits {
		got, err := TargetFromNBits(n.NBits.word(t))
		usable := err == nil && !got.IsZero()
		if usable != (n.Target != nil) || usable && got != n.Target.array(t) {
			t.Errorf("%s: %s, %v", n.NBits, got, err)
		}
	}
	for _, b := range v.Bounds {
		wanted, pool, miner := Target(b.Wanted.array(t)), Target(b.Pool.array(t)), Target(b.Miner.array(t))
		vardiff := NewVardiff(Limits{Easiest: pool}, 6, wanted, miner, time.Unix(0, 0))
		if got := vardiff.Target(); got != b.Target.array(t) {
			t.Errorf("%s: %s", b.Name, got)
		}
	}
	for _, m := range v.Meets {
		if got := Hash(m.Hash.array(t)).Meets(m.Target.array(t)); got != m.Meets {
			t.Errorf("%s: %v", m.Name, got)
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
