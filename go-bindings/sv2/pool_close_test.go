// Nothing reaches a sink once its channel's Close has returned, whatever was under way.
package sv2

import (
	"context"
	"sync"
	"testing"
)

func TestAJobBuiltDuringACloseIsNotSent(t *testing.T) {
	var once sync.Once
	started, gate := make(chan struct{}), make(chan struct{})
	r := newRig(t, func(c *PoolConfig, r *rig) {
		c.BuildJob = func(ctx context.Context, request JobRequest) (*Job, error) {
			if r.template.Load() == 2 {
				once.Do(func() { close(started) })
				<-gate
			}
			return r.buildJob(ctx, request)
		}
	})
	m := r.join(t, extendedRequest())
	r.template.Store(2)
	refreshed := make(chan error)
	go func() { refreshed <- r.Refresh(t.Context()) }()
	<-started
	m.leave()
	close(gate)
	if err := <-refreshed; err != nil {
		t.Error(err)
	}
	if got := of[any](m.tape); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestABlockResultAfterACloseIsNotSentButTheBlockIsOffered(t *testing.T) {
	started, gate := make(chan struct{}, 100), make(chan struct{})
	r := newRig(t, func(c *PoolConfig, _ *rig) {
		offer := c.OnBlock
		c.OnBlock = func(ctx context.Context, block Block) error {
			started <- struct{}{}
			<-gate
			return offer(ctx, block)
		}
	})
	r.nbits.Store(easyBits)
	m := r.join(t, extendedRequest())
	m.Submit(m.shares(m.job(), 60))
	found := 0
	for _, verdict := range await[Verdict](t, m.tape, 60) {
		if verdict.BlockCandidate {
			found++
		}
	}
	<-started
	m.leave()
	close(gate)
	if err := r.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(r.blocks) != found || len(of[BlockResult](m.tape)) != 0 {
		t.Errorf("%d of %d blocks offered, results %+v",
			len(r.blocks), found, of[BlockResult](m.tape))
	}
}

func TestAClosingPoolEndsAnOpenUnderWay(t *testing.T) {
	started, gate := make(chan struct{}), make(chan struct{})
	r := newRig(t, func(c *PoolConfig, _ *rig) {
		c.Authorize = func(context.Context, OpenRequest) (any, error) {
			close(started)
			<-gate
			return nil, nil
		}
	})
	opened := make(chan error)
	go func() {
		_, _, err := r.OpenChannel(t.Context(), extendedRequest(), newTape())
		opened <- err
	}()
	<-started
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	close(gate)
	if got := refusal(t, <-opened); got != RefuseNoWork {
		t.Errorf("refused with %s", got)
	}
	if held := r.prefixes.Held(); held != 0 {
		t.Errorf("%d prefixes held", held)
	}
}
