// Targets as the floating point difficulties of Stratum V1.

package sv2

import (
	"math"
	"math/big"
)

// FloatDifficulty is the difficulty of the target for those who can only take a float64, as Stratum V1
// has it: [TargetFromDifficulty] of it is this target, or harder by no more than float64 rounds. It is
// exact where a float64 can be. The zero target gives the largest number.
func (t Target) FloatDifficulty() float64 {
	if t.IsZero() {
		return math.MaxFloat64
	}
	ratio, _ := new(big.Float).Quo(
		new(big.Float).SetInt(pdiff1), new(big.Float).SetInt(t.Big())).Float64()
	// Rounded to the nearest, which may be too easy by one step.
	for TargetFromDifficulty(ratio).Cmp(t) > 0 {
		ratio = math.Nextafter(ratio, math.Inf(1))
	}
	return ratio
}
