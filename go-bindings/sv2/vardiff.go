// The target at which a channel sends the wanted number of shares.

package sv2

import (
	"math"
	"time"
)

// How vardiff moves. It waits until the shares seen say something: the more they do, the smaller the
// change that it follows.
const (
	// quickShares is how many shares make an estimate good enough for a large step up.
	quickShares = 16
	// quickRatio is how much too easy the target must be for that.
	quickRatio = 4
	// quickStep bounds the step.
	quickStep = 256
	// silentShares is how many shares must have been expected, and none come, for a step down. One
	// miner in 400 that is just unlucky gets there.
	silentShares = 6
	// steadyShares is how many must have been expected before small changes are made at all.
	steadyShares = 10
	// steadyBand is the ratio, up or down, within which nothing is changed.
	steadyBand = 1.5
	// steadySigma is how many standard deviations a change must stand out by.
	steadySigma = 3
	// steadyStep bounds a step, up or down.
	steadyStep = 4
	// windowShares is how many may be expected before the older half of what was seen is let go.
	windowShares = 60
)

// smallestDifficulty stands in for a difficulty that is 0 only by rounding.
const smallestDifficulty = 1.0 / (1 << 32)

// Vardiff finds the target at which one channel sends the wanted number of shares a minute. It knows
// only the accepted shares and the times that it is told: no clock, no randomness. Not safe for
// concurrent use.
type Vardiff struct {
	perSecond float64 // shares aimed at
	limits    Limits
	maxTarget Target

	proven bool // a share was accepted, under whatever target

	target     Target
	difficulty float64 // of target
	since      time.Time
	shares     float64 // seen since then
	work       float64 // the sum of their difficulties
}

// NewVardiff starts at target, which it bounds by limits and maxTarget (see [Vardiff.Bound]), aiming at
// sharesPerMinute. maxTarget is the easiest target that the miner takes.
func NewVardiff(
	limits Limits, sharesPerMinute float64, target, maxTarget Target, now time.Time,
) *Vardiff {
	v := &Vardiff{perSecond: sharesPerMinute / 60, limits: limits, maxTarget: maxTarget}
	v.Set(v.Bound(target), now)
	return v
}

// Target is the current target.
func (v *Vardiff) Target() Target { return v.target }

// SetMaxTarget replaces the easiest target that the miner takes. The current target stays until Set.
func (v *Vardiff) SetMaxTarget(maxTarget Target) { v.maxTarget = maxTarget }

// Bound is the target given for a wanted one: not harder than the pool's hardest, then the hardest of
// that, the pool's easiest and the miner's maximum. Where these contradict each other the harder
// wins, so that neither the pool nor the miner gets shares easier than it takes. The zero target, which
// a hash rate beyond all reason asks for, is never given: the next one is.
func (v *Vardiff) Bound(wanted Target) Target {
	wanted = Easier(wanted, Easier(v.limits.Hardest, Target{0: 1}))
	return Harder(wanted, Harder(v.limits.Easiest, v.maxTarget))
}

// Accepted counts a share with the difficulty that it is credited with, or would be if the pool had not
// refused it for reasons of its own, such as a full disk: else its target became the easier the longer
// that lasts, for all miners at once. (A share refused for want of room may come again and count again:
// that only makes the miner's own target harder.) Other rejected shares are not told: they must not move
// the target.
func (v *Vardiff) Accepted(credit Difficulty) {
	v.proven = true
	v.shares++
	v.work += max(credit.Float(), smallestDifficulty)
}

// Claim is the target given for one that the miner asks for, by telling its hash rate: bounded like any
// (see [Vardiff.Bound]), and easier than the current one only as far as the shares since the last
// change agree. Where they are too few to tell, the current one stays, and Next follows them; before
// the first share of all, the miner's word is all there is.
func (v *Vardiff) Claim(wanted Target, now time.Time) Target {
	if v.proven && wanted.Cmp(v.target) > 0 {
		wanted = Harder(wanted, Easier(v.target, v.measured(now)))
	}
	return v.Bound(wanted)
}

// measured is the target that the shares since the last change ask for; the current one while they are
// too few to tell.
func (v *Vardiff) measured(now time.Time) Target {
	expected := max(now.Sub(v.since).Seconds(), 1) * v.perSecond
	if expected < steadyShares {
		return v.target
	}
	return TargetFromDifficulty(v.work / expected)
}

// Set makes target the current one and starts a new estimate.
func (v *Vardiff) Set(target Target, now time.Time) {
	v.target = target
	v.difficulty = max(target.Difficulty().Float(), smallestDifficulty)
	v.since, v.shares, v.work = now, 0, 0
}

// Next is the target that should follow the current one, or false while that is good enough. It takes
// effect with Set. now must not be before any time told earlier; to be called every second or so.
func (v *Vardiff) Next(now time.Time) (Target, bool) {
	elapsed := now.Sub(v.since).Seconds()
	if elapsed <= 0 {
		return Target{}, false
	}
	// A burst in the first moments is no rate.
	expected := max(elapsed, 1) * v.perSecond
	step := v.step(expected)
	if expected > windowShares {
		v.since = now.Add(-now.Sub(v.since) / 2)
		v.shares /= 2
		v.work /= 2
	}
	if step == 1 {
		return Target{}, false
	}
	next := v.Bound(TargetFromDifficulty(v.difficulty * step))
	return next, next != v.target
}

// step is the factor by which the difficulty should change; 1 means not at all.
func (v *Vardiff) step(expected float64) float64 {
	seen := v.work / v.difficulty // in shares at the current target
	ratio := seen / expected
	switch {
	case v.shares >= quickShares && ratio >= quickRatio:
		return min(ratio, quickStep)
	case v.shares == 0 && expected >= silentShares:
		return 1.0 / steadyStep
	case expected < steadyShares || math.Abs(seen-expected) < steadySigma*math.Sqrt(expected):
		return 1
	case ratio > steadyBand:
		return min(ratio, steadyStep)
	case ratio < 1/steadyBand:
		return max(ratio, 1.0/steadyStep)
	}
	return 1
}
