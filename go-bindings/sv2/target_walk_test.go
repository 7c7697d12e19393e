// Targets from end to end of what there is: whatever is asked for, a target is the hardest of its upper
// bounds, and no target closes a channel.
package sv2

import (
	"errors"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// walkTargets draws targets of the difficulties 2^-20 to 2^60, each perhaps one beside it, and the ends.
func walkTargets() *rapid.Generator[Target] {
	return rapid.Custom(func(t *rapid.T) Target {
		edges := []Target{{0: 1}, {0: 2}, {31: 1}, {31: 0x80}, MaxTarget}
		if at := rapid.IntRange(0, 2*len(edges)).Draw(t, "edge"); at < len(edges) {
			return edges[at]
		}
		target := TargetFromDifficulty(math.Ldexp(1, rapid.IntRange(-20, 60).Draw(t, "exponent")))
		n := target.Big()
		return TargetFromBig(n.Add(n, TargetFromDifficulty(1).Big().SetInt64(
			rapid.Int64Range(-1, 1).Draw(t, "beside"))))
	})
}

// walkRates draws hash rates, those that no device has included.
func walkRates() *rapid.Generator[float64] {
	return rapid.OneOf(
		rapid.Custom(func(t *rapid.T) float64 {
			// What finds six shares a minute at such a difficulty.
			return math.Ldexp(1, rapid.IntRange(-20, 60).Draw(t, "exponent")) * (1 << 32) / 10
		}),
		rapid.SampledFrom([]float64{
			0, math.SmallestNonzeroFloat64, 1e-9, 1, math.MaxFloat32, 1e300, math.MaxFloat64,
		}),
	)
}

// leastOf is the smallest of some targets, as numbers.
func leastOf(first Target, rest ...Target) Target {
	for _, other := range rest {
		if number(other).Cmp(number(first)) < 0 {
			first = other
		}
	}
	return first
}

func TestTG5TargetsAreTheHardestOfTheirThreeUpperBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		targets := walkTargets()
		limits := Limits{Easiest: targets.Draw(t, "easiest")}
		if rapid.Bool().Draw(t, "has a hardest") {
			limits.Hardest = leastOf(targets.Draw(t, "hardest"), limits.Easiest)
		}
		most, now := targets.Draw(t, "max target"), time.Unix(0, 0)
		wanted := targets.Draw(t, "first")
		expected := func() Target {
			if number(wanted).Cmp(number(limits.Hardest)) < 0 {
				wanted = limits.Hardest
			}
			return leastOf(wanted, limits.Easiest, most)
		}
		v := NewVardiff(limits, 6, wanted, most, now)
		t.Repeat(map[string]func(*rapid.T){
			"update": func(t *rapid.T) {
				wanted, most = targets.Draw(t, "wanted"), targets.Draw(t, "new max target")
				v.SetMaxTarget(most)
				v.Set(v.Claim(wanted, now), now)
			},
			"hash rate": func(t *rapid.T) {
				wanted = TargetFromHashRate(walkRates().Draw(t, "hash rate"), 6)
				v.Set(v.Claim(wanted, now), now)
				if wanted.IsZero() {
					wanted = Target{0: 1}
				}
			},
			"silence": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 3600).Draw(t, "seconds")) * time.Second)
				// No share came, so that what follows is easier: four times, as far as it may be.
				if next, ok := v.Next(now); ok {
					if number(next).Cmp(number(v.Target())) <= 0 {
						t.Fatalf("%s after silence at %s", next, v.Target())
					}
					v.Set(next, now)
				}
				wanted = v.Target()
			},
			"": func(t *rapid.T) {
				if got, want := v.Target(), expected(); got != want || got.IsZero() {
					t.Fatalf("%s, not %s", got, want)
				}
			},
		})
	})
}

// TestTG2TG4TG5TG7NoUpdateClosesAChannel walks a channel of a running pool through updates, shares and
// time. What can't be served is refused and changes nothing.
func TestTG2TG4TG5TG7NoUpdateClosesAChannel(t *testing.T) {
	for name, limits := range map[string]Limits{
		"any target":      {Easiest: MaxTarget},
		"difficulty 1":    {Easiest: TargetFromDifficulty(1)},
		"up to 2^40":      {Easiest: TargetFromDifficulty(1.0 / (1 << 20)), Hardest: TargetFromDifficulty(1 << 40)},
		"one target only": {Easiest: TargetFromDifficulty(16), Hardest: TargetFromDifficulty(16)},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(config *PoolConfig, _ *rig) { config.Limits = limits })
			rapid.Check(t, func(rt *rapid.T) { walkOfUpdates(t, rt, r, limits) })
		})
	}
}

func walkOfUpdates(t *testing.T, rt *rapid.T, r *rig, limits Limits) {
	request := extendedRequest()
	request.MaxTarget = leastOf(MaxTarget, Easier(walkTargets().Draw(rt, "max target"), limits.Hardest))
	request.NominalHashRate = walkRates().Draw(rt, "hash rate")
	most := request.MaxTarget
	m := r.join(t, request)
	defer m.leave()
	// newest is the target the miner was last told.
	newest := func() Target {
		if told := of[Target](m.tape); len(told) > 0 {
			return told[len(told)-1]
		}
		return m.Opened.Target
	}
	rt.Repeat(map[string]func(*rapid.T){
		"update": func(rt *rapid.T) {
			update := UpdateRequest{walkRates().Draw(rt, "rate"), walkTargets().Draw(rt, "most")}
			err := m.Update(t.Context(), update)
			if update.MaxTarget.Cmp(limits.Hardest) < 0 {
				var refusal *Refusal
				if !errors.As(err, &refusal) || refusal.Reason != RefuseMaxTarget {
					rt.Fatalf("%+v: %v", update, err)
				}
				return
			}
			if err != nil {
				rt.Fatalf("%+v: %v", update, err)
			}
			most = update.MaxTarget
		},
		"update at fault": func(rt *rapid.T) {
			before := newest()
			rate := rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), -1}).Draw(rt, "rate")
			update := UpdateRequest{rate, walkTargets().Draw(rt, "most")}
			if rapid.Bool().Draw(rt, "zero") {
				update = UpdateRequest{1, Target{}}
			}
			var refusal *Refusal
			if err := m.Update(t.Context(), update); !errors.As(err, &refusal) {
				rt.Fatalf("%+v: %v", update, err)
			}
			if now := newest(); now.Cmp(before) < 0 {
				rt.Fatalf("the refused %+v made the target %s of %s", update, now, before)
			}
		},
		"share": func(rt *rapid.T) {
			judged := len(of[Verdict](m.tape))
			m.Submit(m.shares(m.job(), 1))
			verdicts := await[Verdict](t, m.tape, judged+1)
			switch reason := verdicts[judged].Reason; reason {
			case RejectNone, RejectLowDifficulty:
			default:
				rt.Fatalf("a share was %s", reason)
			}
		},
		"time": func(rt *rapid.T) {
			r.seconds.Add(rapid.Int64Range(1, 120).Draw(rt, "seconds"))
			if err := r.retarget(t.Context()); err != nil {
				rt.Fatal(err)
			}
		},
		"": func(rt *rapid.T) {
			got := newest()
			if got.IsZero() || got.Cmp(leastOf(limits.Easiest, most)) > 0 {
				rt.Fatalf("%s is beyond the pool's %s or the miner's %s", got, limits.Easiest, most)
			}
			if got.Cmp(limits.Hardest) < 0 {
				rt.Fatalf("%s is harder than the hardest %s", got, limits.Hardest)
			}
			if kicks := of[Kick](m.tape); len(kicks) > 0 {
				rt.Fatalf("closed: %+v", kicks)
			}
			// An update of the target comes before the first job under it, and there is a job.
			if m.job() == nil {
				rt.Fatal("no work")
			}
		},
	})
}
