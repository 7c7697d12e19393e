// Vardiff finds the rate, stays calm and keeps its bounds.
package sv2

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// simulate mines at hashRate for a while, looking every second, and returns how often the target
// changed and how many shares came in the second half.
func simulate(
	v *Vardiff, random *rand.Rand, start time.Time, hashRate float64, span time.Duration,
) (changes, late int) {
	for second := range int(span.Seconds()) {
		now := start.Add(time.Duration(second+1) * time.Second)
		difficulty := v.Target().Difficulty()
		// Shares of one second: Poisson, drawn as gaps of an exponential distribution.
		mean := hashRate / (difficulty.Float() * (1 << 32))
		for at := random.ExpFloat64(); at < mean; at += random.ExpFloat64() {
			v.Accepted(difficulty)
			if second > int(span.Seconds())/2 {
				late++
			}
		}
		if next, ok := v.Next(now); ok {
			changes++
			v.Set(next, now)
		}
	}
	return changes, late
}

func testLimits() Limits {
	return Limits{Easiest: TargetFromDifficulty(1), Hardest: TargetFromDifficulty(1e9)}
}

func TestFindsTheShareRateAndStaysCalm(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	start := time.Unix(0, 0)
	for _, hashRate := range []float64{1e10, 1e12, 1e14, 1e16} {
		for _, first := range []float64{1, 1000, 1e7} {
			v := NewVardiff(testLimits(), 6, TargetFromDifficulty(first), MaxTarget, start)
			changes, late := simulate(v, random, start, hashRate, 2*time.Hour)
			if late < 6*60/2 || late > 6*60*2 {
				t.Errorf("%g H/s from %g: %d shares an hour, not about 360", hashRate, first, late)
			}
			if changes > 20 {
				t.Errorf("%g H/s from %g: %d changes", hashRate, first, changes)
			}
			start = start.Add(2 * time.Hour)
			if changes, _ = simulate(v, random, start, hashRate, 2*time.Hour); changes > 4 {
				t.Errorf("%g H/s from %g: %d changes once it was found", hashRate, first, changes)
			}
			start = start.Add(2 * time.Hour)
		}
	}
}

func TestAFastMinerIsCaughtWithinAFewLargeSteps(t *testing.T) {
	start := time.Unix(0, 0)
	v := NewVardiff(testLimits(), 6, TargetFromDifficulty(1), MaxTarget, start)
	wanted := 1e15 / (1 << 32) * 10 // difficulty at which 1 PH/s finds 6 a minute
	simulate(v, rand.New(rand.NewPCG(3, 4)), start, 1e15, 30*time.Second)
	if got := v.Target().Difficulty().Float(); got < wanted/4 || got > wanted*4 {
		t.Errorf("difficulty %g after 30 s, wanted about %g", got, wanted)
	}
}

func TestASilentMinerGetsEasierDownToTheEasiest(t *testing.T) {
	start := time.Unix(0, 0)
	v := NewVardiff(testLimits(), 6, TargetFromDifficulty(1e6), MaxTarget, start)
	changes, _ := simulate(v, rand.New(rand.NewPCG(5, 6)), start, 0, time.Hour)
	if changes == 0 || v.Target() != TargetFromDifficulty(1) {
		t.Errorf("difficulty %v after %d changes", v.Target().Difficulty(), changes)
	}
	later := start.Add(24 * time.Hour)
	if next, ok := v.Next(later); ok {
		t.Errorf("a change from the easiest target to %s", next)
	}
}

func TestSilenceIsActedOnSoonerThanAFewShares(t *testing.T) {
	start := time.Unix(0, 0)
	minute := start.Add(time.Minute) // six shares are expected in it
	v := NewVardiff(testLimits(), 6, TargetFromDifficulty(1000), MaxTarget, start)
	if next, ok := v.Next(minute); !ok || next != TargetFromDifficulty(250) {
		t.Errorf("after silence: %v, %v", next.Difficulty(), ok)
	}
	v.Accepted(Difficulty{Whole: 1000})
	if next, ok := v.Next(minute); ok {
		t.Errorf("after one share: %v", next.Difficulty())
	}
}

func TestDoesNotMoveWithoutReasonOrTime(t *testing.T) {
	start := time.Unix(0, 0)
	v := NewVardiff(testLimits(), 6, TargetFromDifficulty(100), MaxTarget, start)
	for range 1000 {
		v.Accepted(Difficulty{Whole: 100})
	}
	for _, now := range []time.Time{start, start.Add(-time.Hour)} {
		if next, ok := v.Next(now); ok {
			t.Errorf("moved to %s in no time", next)
		}
	}
	v.Set(TargetFromDifficulty(100), start)
	for minute := 1; minute <= 120; minute++ {
		for range 6 {
			v.Accepted(Difficulty{Whole: 100})
		}
		if next, ok := v.Next(start.Add(time.Duration(minute) * time.Minute)); ok {
			t.Fatalf("moved to %s at exactly the wanted rate", next)
		}
	}
}

func TestVardiffKeepsItsBoundsAndIsRepeatable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		difficulties := rapid.Float64Range(1e-9, 1e15)
		limits := Limits{Easiest: TargetFromDifficulty(difficulties.Draw(t, "easiest"))}
		if rapid.Bool().Draw(t, "has a hardest") {
			limits.Hardest = Harder(
				limits.Easiest, TargetFromDifficulty(difficulties.Draw(t, "hardest")))
		}
		maxTarget := func(t *rapid.T) Target {
			target := TargetFromDifficulty(difficulties.Draw(t, "max target"))
			return Easier(target, limits.Hardest) // harder ones are refused before
		}
		most := maxTarget(t)
		perMinute := rapid.Float64Range(0.1, 600).Draw(t, "shares per minute")
		first, now := anyTarget().Draw(t, "first"), time.Unix(0, 0)
		v := NewVardiff(limits, perMinute, first, most, now)
		twin := NewVardiff(limits, perMinute, first, most, now)
		t.Repeat(map[string]func(*rapid.T){
			"shares": func(t *rapid.T) {
				credit := Difficulty{
					Whole:    rapid.Uint64().Draw(t, "whole"),
					Fraction: rapid.Uint32().Draw(t, "fraction"),
				}
				for range rapid.IntRange(1, 50).Draw(t, "count") {
					v.Accepted(credit)
					twin.Accepted(credit)
				}
			},
			"look": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "later")))
				next, ok := v.Next(now)
				if again, too := twin.Next(now); again != next || too != ok {
					t.Fatalf("%s, %v and %s, %v from the same events", next, ok, again, too)
				}
				if ok {
					if next == v.Target() {
						t.Fatal("a change to the same target")
					}
					v.Set(next, now)
					twin.Set(next, now)
				}
			},
			"max target": func(t *rapid.T) {
				most = maxTarget(t)
				v.SetMaxTarget(most)
				twin.SetMaxTarget(most)
				v.Set(v.Bound(v.Target()), now)
				twin.Set(v.Target(), now)
			},
			"": func(t *rapid.T) {
				target := v.Target()
				if target.Cmp(most) > 0 || target.Cmp(limits.Easiest) > 0 {
					t.Fatalf("%s is easier than the miner's %s or the pool's %s",
						target, most, limits.Easiest)
				}
				if target.Cmp(limits.Hardest) < 0 {
					t.Fatalf("%s is harder than the hardest %s", target, limits.Hardest)
				}
			},
		})
	})
}

func TestTheHarderBoundWinsWhenTheyContradict(t *testing.T) {
	limits := testLimits()
	demand := TargetFromDifficulty(1e12) // harder than the hardest
	v := NewVardiff(limits, 6, limits.Easiest, demand, time.Unix(0, 0))
	if v.Target() != demand {
		t.Errorf("%v", v.Target().Difficulty())
	}
	if d := v.Bound(Target{}).Difficulty().Float(); math.Abs(d-1e12) > 1e6 {
		t.Errorf("difficulty %v", d)
	}
}

func TestALowerHashRateIsBelievedAsFarAsSharesBearItOut(t *testing.T) {
	start := time.Unix(0, 0)
	at := TargetFromDifficulty
	for name, test := range map[string]struct {
		shares  int // accepted at difficulty 1000, six of which a minute are wanted
		seconds int
		claim   Target
		want    Target
	}{
		"harder":                         {shares: 10, seconds: 100, claim: at(5000), want: at(5000)},
		"as measured":                    {shares: 2, seconds: 200, claim: at(100), want: at(100)},
		"easier than measured":           {shares: 2, seconds: 200, claim: at(10), want: at(100)},
		"measured as it is":              {shares: 20, seconds: 200, claim: at(1), want: at(1000)},
		"measured harder than it is":     {shares: 40, seconds: 200, claim: at(1), want: at(1000)},
		"too soon to tell":               {shares: 1, seconds: 20, claim: at(1), want: at(1000)},
		"no share ever":                  {shares: 0, seconds: 0, claim: at(10), want: at(10)},
		"no share, easier than the pool": {shares: 0, seconds: 5, claim: at(0.01), want: at(1)},
	} {
		v := NewVardiff(testLimits(), 6, at(1000), MaxTarget, start)
		for range test.shares {
			v.Accepted(at(1000).Difficulty())
		}
		got := v.Claim(test.claim, start.Add(time.Duration(test.seconds)*time.Second))
		if math.Abs(got.Difficulty().Float()/test.want.Difficulty().Float()-1) > 1e-6 {
			t.Errorf("%s: difficulty %v, want %v", name,
				got.Difficulty().Float(), test.want.Difficulty().Float())
		}
	}
}

func TestANewTargetIsNoReasonToBelieveALowerHashRate(t *testing.T) {
	now := time.Unix(0, 0)
	v := NewVardiff(testLimits(), 6, TargetFromDifficulty(1000), MaxTarget, now)
	v.Accepted(v.Target().Difficulty())
	v.Set(TargetFromDifficulty(4000), now) // what was counted is about the target before
	if got := v.Claim(TargetFromDifficulty(1), now.Add(time.Second)); got != v.Target() {
		t.Errorf("difficulty %v", got.Difficulty().Float())
	}
}

func TestAMinerThatLostHashRateIsFollowedWhetherItSaysSoOrNot(t *testing.T) {
	for _, says := range []bool{false, true} {
		random := rand.New(rand.NewPCG(5, 6))
		now := time.Unix(0, 0)
		v := NewVardiff(testLimits(), 6, TargetFromHashRate(1e14, 6), MaxTarget, now)
		simulate(v, random, now, 1e14, time.Hour)
		now = now.Add(time.Hour)
		if says {
			v.Set(v.Claim(TargetFromHashRate(1e12, 6), now), now)
		}
		simulate(v, random, now, 1e12, 20*time.Minute)
		wanted := TargetFromHashRate(1e12, 6).Difficulty().Float()
		if got := v.Target().Difficulty().Float(); got < wanted/2 || got > wanted*2 {
			t.Errorf("says so: %v; difficulty %v, want about %v", says, got, wanted)
		}
	}
}
