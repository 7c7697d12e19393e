// How jobs and targets reach the channels of the Pool.

package sv2

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A Refresh lets others run after so many jobs: with few processors whoever sends jobs to miners would
// otherwise begin when nearly all are made. The first miners are not to wait long, and what is sent to
// many at once costs less for each, so that the pauses become rarer.
const (
	firstYield = 16
	yieldEvery = 1024
)

// retargetYield is after how many channels that were looked at others are let run.
const retargetYield = 256

// yieldsAfter reports whether others are let run after n jobs.
func yieldsAfter(n int64) bool {
	if n < yieldEvery {
		return n >= firstYield && n&(n-1) == 0
	}
	return n%yieldEvery == 0
}

// Refresh has BuildJob make a job for every channel and gives it to the miner. Call it after BuildJob
// knows a new tip or template, from any goroutine but those of the callbacks (see [PoolConfig]). A
// channel that is being opened meanwhile gets a job of the new template, too. Of several Refreshes at
// once a channel may get one job for all.
//
// The error says how many channels keep their old job, and why the first of them does; nil when none.
func (p *Pool) Refresh(ctx context.Context) error {
	generation := p.generation.Add(1)
	p.mu.Lock()
	channels := p.snapshotLocked()
	p.mu.Unlock()

	common := commonJobs{pool: p, jobs: make(map[commonKey]*commonJob)}
	var next atomic.Int64
	var workers sync.WaitGroup
	var mu sync.Mutex
	var first error
	failed := 0
	for range min(runtime.GOMAXPROCS(0), len(channels)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(channels)); i = next.Add(1) - 1 {
				if yieldsAfter(i) {
					runtime.Gosched()
				}
				if err := p.renew(ctx, channels[i], generation, &common); err != nil {
					mu.Lock()
					failed++
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	workers.Wait()
	if failed > 0 {
		return fmt.Errorf("%d of %d channels keep their old job: %w", failed, len(channels), first)
	}
	return nil
}

// renew gives a channel a job of at least this generation.
func (p *Pool) renew(
	ctx context.Context, c *poolChannel, generation uint64, common *commonJobs,
) error {
	if err := c.takeTurn(ctx); err != nil {
		return err
	}
	defer c.endTurn()
	if c.generation >= generation || !c.isOpen() {
		return nil
	}
	job, generation, err := common.of(ctx, c)
	if err != nil {
		return fmt.Errorf("channel %d: %w", c.info.ID, err)
	}
	if err := c.give(c.owed, job, generation); err != nil {
		return fmt.Errorf("channel %d: %w", c.info.ID, err)
	}
	return nil
}

// build has a job made and checks it; whoever calls it has the channel's turn. The generation is that
// of the template at least.
func (p *Pool) build(ctx context.Context, c *poolChannel) (*Job, uint64, error) {
	generation := p.generation.Load()
	request := JobRequest{
		ID:             p.nextID.Add(1),
		Account:        c.info.Account,
		Kind:           c.info.Kind,
		Prefix:         c.info.Prefix,
		ExtranonceSize: c.info.ExtranonceSize,
	}
	job, err := p.config.BuildJob(ctx, request)
	if err != nil {
		return nil, 0, fmt.Errorf("build a job: %w", err)
	}
	if _, err = checkJob(job); err != nil {
		return nil, 0, fmt.Errorf("BuildJob returned a job that can't be used: %w", err)
	}
	if job.ID != request.ID {
		return nil, 0, fmt.Errorf("BuildJob returned job %d when asked for %d", job.ID, request.ID)
	}
	return job, generation, nil
}

// begin makes a channel with its first job one that is open, and returns its target.
func (c *poolChannel) begin(job *Job, generation uint64) (Target, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return Target{}, &Refusal{Reason: RefuseNoWork, Detail: "the pool is closing"}
	}
	if err := c.check.AddJob(job); err != nil {
		return Target{}, err
	}
	c.open = true
	c.generation = generation
	return c.check.Target(), nil
}

// give sends a new target, if there is one, and the first job under it; whoever calls it has the
// channel's turn. An error is that of AddJob: nothing has changed then.
func (c *poolChannel) give(target *Target, job *Job, generation uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	present := c.check.Target()
	if target != nil {
		c.check.SetTarget(*target)
	}
	if err := c.check.AddJob(job); err != nil {
		c.check.SetTarget(present)
		return fmt.Errorf("BuildJob returned a job that can't be used: %w", err)
	}
	c.owed = nil
	c.generation = generation
	if target != nil && *target != c.vardiff.Target() {
		c.vardiff.Set(*target, c.pool.now())
		c.sink.Target(*target)
	}
	c.sink.Job(job)
	return nil
}

// tell sends a harder target for which there is no job yet. Shares are judged as before, which pays no
// more than they are worth. Whoever calls it has the channel's turn.
func (c *poolChannel) tell(target Target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.vardiff.Set(target, c.pool.now())
	c.sink.Target(target)
}

func (c *poolChannel) isOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open && !c.closed
}

// retargetLoop lets vardiff look at the channels until the pool stops.
func (p *Pool) retargetLoop() {
	ticker := time.NewTicker(retargetEvery)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
			if err := p.retarget(p.running); err != nil && p.running.Err() == nil {
				p.report(err)
			}
		}
	}
}

// retarget gives the channels whose vardiff asks for it, or which wait for one, a new target with a job
// under it. Without a job the target stays as it was.
func (p *Pool) retarget(ctx context.Context) error {
	p.mu.Lock()
	channels := p.snapshotLocked()
	p.mu.Unlock()
	var failed []error
	for i, c := range channels {
		if i%retargetYield == retargetYield-1 {
			runtime.Gosched()
		}
		if err := p.retargetOne(ctx, c); err != nil && len(failed) < 8 {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func (p *Pool) retargetOne(ctx context.Context, c *poolChannel) error {
	select {
	case <-c.building:
	default:
		return nil // it gets a job or a target just now; the next round will do
	}
	defer c.endTurn()
	c.mu.Lock()
	if !c.open || c.closed {
		c.mu.Unlock()
		return nil
	}
	next, needed := c.vardiff.Next(p.now())
	if needed && next.Cmp(c.vardiff.Target()) > 0 && p.turns.waits(c) {
		needed = false // shares that nobody has judged yet are no silence
	}
	c.mu.Unlock()
	switch {
	case c.owed != nil: // by an update: until it is given, what vardiff counts is not about it
		next = *c.owed
	case !needed:
		return nil
	}
	job, generation, err := p.build(ctx, c)
	if err == nil {
		err = c.give(&next, job, generation)
	}
	if err != nil {
		return fmt.Errorf("job for a new target of channel %d: %w", c.info.ID, err)
	}
	return nil
}
