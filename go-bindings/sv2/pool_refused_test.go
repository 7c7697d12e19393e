// What the pool itself refuses, or has not looked at yet, is not taken for a miner's silence.
package sv2

import (
	"context"
	"errors"
	"testing"
)

// steadyRig is a pool with a miner whose hash rate is right for his target, which has room on both sides.
func steadyRig(t *testing.T, change func(*PoolConfig, *rig)) (*rig, *miner) {
	r := newRig(t, func(c *PoolConfig, r *rig) {
		c.Limits.Easiest = hashesTarget(1 << 4)
		if change != nil {
			change(c, r)
		}
	})
	request := extendedRequest()
	request.NominalHashRate = (1 << 8) * DefaultSharesPerMinute / 60
	return r, r.join(t, request)
}

// mineSteadily has a miner send shares at the rate aimed at for some minutes, and vardiff look at them.
func mineSteadily(t *testing.T, r *rig, m *miner, minutes int, want RejectReason) {
	t.Helper()
	w := &withholder{nextID: 1}
	for range minutes * DefaultSharesPerMinute {
		for len(w.kept) == 0 {
			w.dig(m.job(), m.Prefix, make([]byte, m.ExtranonceSize), 16, m.Opened.Target)
		}
		before := len(of[Verdict](m.tape))
		m.Submit(w.kept[:1:1])
		w.kept = w.kept[1:]
		if got := await[Verdict](t, m.tape, before+1)[before]; got.Reason != want {
			t.Fatalf("share %d: %s, want %s", before, got.Reason, want)
		}
		r.seconds.Add(60 / DefaultSharesPerMinute)
		if err := r.retarget(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFullDiskDoesNotMakeTargetsEasier(t *testing.T) {
	r, m := steadyRig(t, func(c *PoolConfig, _ *rig) {
		c.OnVerdict = func(context.Context, ChannelInfo, Submit, Verdict) error {
			return errors.New("no space left on device")
		}
	})
	mineSteadily(t, r, m, 10, RejectUnavailable)
	if got := of[Target](m.tape); len(got) != 0 {
		t.Errorf("the target moved: %v", got)
	}
	if got := m.Channel.(*poolChannel).vardiff; !got.proven || got.shares == 0 {
		t.Errorf("vardiff knows of %v shares", got.shares)
	}
}

func TestAFullMemoryDoesNotMakeTargetsEasier(t *testing.T) {
	r, m := steadyRig(t, func(c *PoolConfig, _ *rig) { c.OnError = nil })
	r.seen.limit = 0
	mineSteadily(t, r, m, 10, RejectRateLimited)
	if got := of[Target](m.tape); len(got) != 0 {
		t.Errorf("the target moved: %v", got)
	}
}

func TestSharesThatWaitForASlowDiskAreNoSilence(t *testing.T) {
	disk := make(chan struct{})
	r, m := steadyRig(t, func(c *PoolConfig, _ *rig) {
		c.OnVerdict = func(context.Context, ChannelInfo, Submit, Verdict) error {
			<-disk
			return nil
		}
	})
	m.Submit(m.shares(m.job(), 40))
	retarget := func() int {
		r.seconds.Add(100_000)
		if err := r.retarget(t.Context()); err != nil {
			t.Error(err)
		}
		return len(of[Target](m.tape))
	}
	if retarget() != 0 {
		t.Error("the target moved while the disk was slow")
	}
	close(disk)
	await[Verdict](t, m.tape, 40)
	if err := r.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Then silence is silence.
	if retarget()+retarget() == 0 {
		t.Error("the target of a silent miner did not move")
	}
}

func TestJunkDoesNotMoveTheTarget(t *testing.T) {
	r, m := steadyRig(t, nil)
	easy := m.shares(m.job(), 1)[0]
	for HashHeader(mustHeader(m, easy)).Meets(m.Opened.Target) {
		easy.Nonce++
	}
	for range 100 {
		before := len(of[Verdict](m.tape))
		m.Submit([]Submit{easy})
		if got := await[Verdict](t, m.tape, before+1)[before]; got.Reason != RejectLowDifficulty {
			t.Fatalf("%+v", got)
		}
	}
	if err := r.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := m.Channel.(*poolChannel).vardiff; got.proven || got.shares != 0 {
		t.Errorf("vardiff took %v of them for work", got.shares)
	}
}

func mustHeader(m *miner, submit Submit) [HeaderSize]byte {
	c := m.Channel.(*poolChannel)
	c.mu.Lock()
	defer c.mu.Unlock()
	header, _ := c.check.Header(submit)
	return header
}
