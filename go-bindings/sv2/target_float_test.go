// What a target says of itself to Stratum V1.
package sv2

import (
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestTellsAFloatDifficultyThatIsNotTooEasy(t *testing.T) {
	for exponent := -31; exponent < 200; exponent++ {
		want := math.Ldexp(1, exponent)
		if got := TargetFromDifficulty(want).FloatDifficulty(); got != want && exponent < 150 {
			t.Errorf("difficulty 2^%d comes back as %v", exponent, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		bytes := rapid.SliceOfN(rapid.Byte(), 1, 32).Draw(t, "target")
		target := TargetFromBig(new(big.Int).Add(new(big.Int).SetBytes(bytes), big.NewInt(1)))
		back := TargetFromDifficulty(target.FloatDifficulty())
		if back.Cmp(target) > 0 {
			t.Fatalf("%s comes back as %s, easier", target, back)
		}
		lost := new(big.Int).Sub(target.Big(), back.Big())
		if limit := new(big.Int).Rsh(target.Big(), 51); lost.Cmp(limit.Add(limit, big.NewInt(1))) > 0 {
			t.Fatalf("%s comes back as %s, much harder", target, back)
		}
	})
	if got := (Target{}).FloatDifficulty(); got != math.MaxFloat64 {
		t.Errorf("the zero target: %v", got)
	}
}
