// What the pool promises to miners that open channels and to the code that configures it.
package sv2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

func refusal(t testing.TB, err error) RefuseReason {
	t.Helper()
	var refused *Refusal
	if !errors.As(err, &refused) {
		t.Fatalf("no refusal: %v", err)
	}
	return refused.Reason
}

func TestRefusesConfigurationsWithTheRemedy(t *testing.T) {
	for want, spoil := range map[string]func(*PoolConfig){
		"BuildJob":              func(c *PoolConfig) { c.BuildJob = nil },
		"OnBlock":               func(c *PoolConfig) { c.OnBlock = nil },
		"Limits.Easiest":        func(c *PoolConfig) { c.Limits.Easiest = Target{} },
		"easier than":           func(c *PoolConfig) { c.Limits = Limits{bitsTarget(9), bitsTarget(10), ""} },
		"Limits.Software":       func(c *PoolConfig) { c.Limits.Software = strings.Repeat("x", 65) },
		"at most 32":            func(c *PoolConfig) { c.PrefixSize = 25 },
		"PrefixSize -1":         func(c *PoolConfig) { c.PrefixSize = -1 },
		"ExtranonceSize -1":     func(c *PoolConfig) { c.ExtranonceSize = -1 },
		"tell channels apart":   func(c *PoolConfig) { c.PrefixLeading = make([]byte, 4) },
		"SharesPerMinute is -1": func(c *PoolConfig) { c.SharesPerMinute = -1 },
		"SharesPerMinute is Na": func(c *PoolConfig) { c.SharesPerMinute = math.NaN() },
		"MaxChannels":           func(c *PoolConfig) { c.MaxChannels = -1 },
		"QueueSize is -1":       func(c *PoolConfig) { c.QueueSize = -1 },
		"QueueSize is 1048577":  func(c *PoolConfig) { c.QueueSize = 1<<20 + 1 },
		"ExtranonceSize 922":    func(c *PoolConfig) { c.ExtranonceSize = math.MaxInt },
	} {
		config := PoolConfig{
			Limits:   testLimits(),
			BuildJob: func(context.Context, JobRequest) (*Job, error) { return nil, nil },
			OnBlock:  func(context.Context, Block) error { return nil },
		}
		spoil(&config)
		pool, err := NewPool(config)
		if err == nil {
			t.Errorf("%s: no error", want)
			_ = pool.Close(t.Context())
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestOpensBothKindsWithUniquePrefixesOfTheirLength(t *testing.T) {
	r := newRig(t, func(c *PoolConfig, _ *rig) { c.PrefixLeading = []byte{0xfe} })
	standard := r.join(t, OpenRequest{Kind: Standard, MaxTarget: MaxTarget})
	extended := r.join(t, extendedRequest())
	if len(standard.Prefix) != 12 || standard.ExtranonceSize != 0 ||
		!bytes.Equal(standard.Prefix[4:], make([]byte, 8)) {
		t.Errorf("standard: %+v", standard.Opened)
	}
	if len(extended.Prefix) != 4 || extended.ExtranonceSize != 8 {
		t.Errorf("extended: %+v", extended.Opened)
	}
	if bytes.Equal(standard.Prefix[:4], extended.Prefix) || extended.Prefix[0] != 0xfe {
		t.Errorf("prefixes %x and %x", standard.Prefix, extended.Prefix)
	}
	for _, m := range []*miner{standard, extended} {
		m.Submit(m.shares(m.job(), 1))
		if got := await[Verdict](t, m.tape, 1)[0]; !got.Accepted() {
			t.Errorf("share: %+v", got)
		}
	}
	if len(r.Channels()) != 2 {
		t.Errorf("channels: %+v", r.Channels())
	}
}

func TestRefusesMinersThatCannotBeServed(t *testing.T) {
	noWork := errors.New("node is down")
	r := newRig(t, func(c *PoolConfig, r *rig) {
		c.Limits = testLimits()
		c.MaxChannels = 1
		c.Authorize = func(_ context.Context, request OpenRequest) (any, error) {
			if string(request.UserIdentity) == "nobody" {
				return nil, fmt.Errorf("look-up: %w", &Refusal{Reason: RefuseUnknownUser})
			}
			return string(request.UserIdentity), nil
		}
		c.BuildJob = func(ctx context.Context, request JobRequest) (*Job, error) {
			if request.Account == "unlucky" {
				return nil, noWork
			}
			return r.buildJob(ctx, request)
		}
	})
	for name, test := range map[string]struct {
		spoil func(*OpenRequest)
		want  RefuseReason
	}{
		"no kind":            {func(o *OpenRequest) { o.Kind = 0 }, RefuseInternal},
		"NaN":                {func(o *OpenRequest) { o.NominalHashRate = math.NaN() }, RefuseHashRate},
		"infinite":           {func(o *OpenRequest) { o.NominalHashRate = math.Inf(1) }, RefuseHashRate},
		"negative":           {func(o *OpenRequest) { o.NominalHashRate = -1 }, RefuseHashRate},
		"no max target":      {func(o *OpenRequest) { o.MaxTarget = Target{} }, RefuseMaxTarget},
		"too hard":           {func(o *OpenRequest) { o.MaxTarget = bitsTarget(100) }, RefuseMaxTarget},
		"wide extranonce":    {func(o *OpenRequest) { o.MinExtranonceSize = 9 }, RefuseExtranonceSize},
		"payout key":         {func(o *OpenRequest) { o.PayoutKey = make([]byte, 33) }, RefusePayoutKey},
		"unknown user":       {func(o *OpenRequest) { o.UserIdentity = []byte("nobody") }, RefuseUnknownUser},
		"no work for a user": {func(o *OpenRequest) { o.UserIdentity = []byte("unlucky") }, RefuseNoWork},
	} {
		request := extendedRequest()
		test.spoil(&request)
		channel, _, err := r.OpenChannel(t.Context(), request, newTape())
		if got := refusal(t, err); got != test.want || channel != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if held := r.prefixes.Held(); held != 0 || len(r.Channels()) != 0 {
		t.Errorf("%d prefixes and %d channels are left of refused ones", held, len(r.Channels()))
	}
	first := r.join(t, extendedRequest())
	_, _, err := r.OpenChannel(t.Context(), extendedRequest(), newTape())
	if got := refusal(t, err); got != RefuseCapacity {
		t.Errorf("second of one: %v", err)
	}
	first.leave()
	r.join(t, extendedRequest()).leave()
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	_, _, err = r.OpenChannel(t.Context(), extendedRequest(), newTape())
	if got := refusal(t, err); got != RefuseNoWork {
		t.Errorf("after Close: %v", err)
	}
}

func TestGivesAnOpenUpWhenTheMinerIsGone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := newRig(t, func(c *PoolConfig, r *rig) {
		c.BuildJob = func(ctx context.Context, request JobRequest) (*Job, error) {
			cancel()
			return r.buildJob(ctx, request)
		}
	})
	if _, _, err := r.OpenChannel(ctx, extendedRequest(), newTape()); err == nil {
		t.Error("opened for nobody")
	}
	if held := r.prefixes.Held(); held != 0 {
		t.Errorf("%d prefixes held", held)
	}
}

func TestFirstTargetIsTheHardestOfItsBounds(t *testing.T) {
	r := newRig(t, func(c *PoolConfig, _ *rig) { c.Limits = testLimits() })
	at := TargetFromDifficulty
	for name, test := range map[string]struct {
		spoil func(*OpenRequest)
		want  Target
	}{
		"unknown rate": {func(*OpenRequest) {}, at(1)},
		"known rate": {func(o *OpenRequest) { o.NominalHashRate = 1e12 },
			TargetFromHashRate(1e12, 6)},
		"slow miner": {func(o *OpenRequest) { o.NominalHashRate = 1 }, at(1)},
		"max target": {func(o *OpenRequest) { o.MaxTarget = at(50) }, at(50)},
		"max target easier than the rate's": {func(o *OpenRequest) {
			o.NominalHashRate, o.MaxTarget = 1e12, at(50)
		}, TargetFromHashRate(1e12, 6)},
		"absurd rate":    {func(o *OpenRequest) { o.NominalHashRate = 1e300 }, at(1e9)},
		"before restart": {func(o *OpenRequest) { o.LastTarget = at(77) }, at(77)},
	} {
		request := extendedRequest()
		test.spoil(&request)
		m := r.join(t, request)
		if m.Opened.Target != test.want {
			t.Errorf("%s: %v", name, m.Opened.Target.Difficulty())
		}
		m.leave()
	}
}

func TestGrantsAWantedPrefixThatIsFree(t *testing.T) {
	r := newRig(t, nil)
	for _, test := range []struct {
		kind   Kind
		wanted []byte
		grant  bool
	}{
		{Extended, []byte{1, 2, 3, 4}, true},
		{Extended, []byte{1, 2, 3, 4}, false}, // taken
		{Standard, []byte{1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0}, false},
		{Standard, []byte{1, 2, 3, 5, 0, 0, 0, 0, 0, 0, 0, 0}, true},
		{Standard, []byte{1, 2, 3, 6, 0, 0, 0, 0, 0, 0, 0, 1}, false}, // somebody rolled that
		{Extended, []byte{1, 2, 3}, false},
	} {
		request := OpenRequest{Kind: test.kind, MaxTarget: MaxTarget, WantedPrefix: test.wanted}
		if m := r.join(t, request); bytes.Equal(m.Prefix, test.wanted) != test.grant {
			t.Errorf("%s wanted %x, got %x", test.kind, test.wanted, m.Prefix)
		}
	}
}

func TestUpdateFollowsTheHashRateAndKeepsTheMaximum(t *testing.T) {
	r := newRig(t, func(c *PoolConfig, _ *rig) { c.Limits = testLimits() })
	m := r.join(t, extendedRequest())
	rate := TargetFromHashRate(1e12, 6)
	for i, step := range []struct {
		request UpdateRequest
		want    Target // zero: no new one
	}{
		{UpdateRequest{1e12, MaxTarget}, rate},
		{UpdateRequest{1e12, MaxTarget}, Target{}},
		{UpdateRequest{0, MaxTarget}, Target{}},
		{UpdateRequest{0, TargetFromDifficulty(1e6)}, TargetFromDifficulty(1e6)},
		{UpdateRequest{1e12, MaxTarget}, rate},
	} {
		targets, jobs := len(of[Target](m.tape)), len(of[*Job](m.tape))
		if err := m.Update(t.Context(), step.request); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		got := of[Target](m.tape)[targets:]
		if step.want.IsZero() != (len(got) == 0) || (len(got) > 0 && got[0] != step.want) {
			t.Errorf("step %d: targets %v", i, got)
		}
		if len(of[*Job](m.tape))-jobs != len(got) {
			t.Errorf("step %d: no job after the target", i)
		}
	}
	before := len(of[any](m.tape))
	for want, request := range map[RefuseReason]UpdateRequest{
		RefuseHashRate:  {math.NaN(), MaxTarget},
		RefuseMaxTarget: {1e15, bitsTarget(100)},
	} {
		if got := refusal(t, m.Update(t.Context(), request)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if len(of[any](m.tape)) != before {
		t.Error("a refused update changed something")
	}
	m.leave()
	err := m.Update(t.Context(), UpdateRequest{1, MaxTarget})
	if got := refusal(t, err); got != RefuseInvalidChannelID {
		t.Errorf("after Close: %v", err)
	}
}

func TestAShareOfTheRunBeforeIsAnotherHeaderInThisOne(t *testing.T) {
	first := newRig(t, nil)
	before := first.join(t, extendedRequest())
	share := before.shares(before.job(), 1)[0]
	before.Submit([]Submit{share})
	paid := await[Verdict](t, before.tape, 1)[0]

	second := newRig(t, nil) // the same tip, and nothing is remembered
	request := extendedRequest()
	request.Reopen, request.WantedPrefix = true, before.Prefix
	after := second.join(t, request)
	if !bytes.Equal(after.Prefix, before.Prefix) || after.job().PrevHash != before.job().PrevHash {
		t.Fatalf("second run: prefix %x, job %+v", after.Prefix, after.job())
	}
	after.Submit([]Submit{share}) // as it was
	share.JobID = after.job().ID  // as the miner likes
	after.Submit([]Submit{share})
	got := await[Verdict](t, after.tape, 2)
	if !paid.Accepted() || got[0].Reason != RejectInvalidJobID || got[1].Hash == paid.Hash {
		t.Errorf("first %+v, then %+v", paid, got)
	}
	if id := after.job().ID; id == 0 || id>>63 != 0 {
		t.Errorf("job id %d", id)
	}
}

func TestARefreshLetsOthersRunSoonAndThenNowAndThen(t *testing.T) {
	yields := 0
	for jobs := range int64(100_000) {
		if !yieldsAfter(jobs) {
			continue
		}
		yields++
		if yields == 1 && jobs != 16 {
			t.Errorf("the first pause is after %d jobs", jobs)
		}
	}
	// 16, 32, 64, 128, 256 and 512, then each 1,024.
	if want := 6 + 100_000/1024; yields != want {
		t.Errorf("%d pauses, want %d", yields, want)
	}
}
