// One channel of the Pool: what the carrier calls.

package sv2

import (
	"bytes"
	"context"
	"fmt"
	"sync"
)

// poolChannel is one channel of a Pool.
type poolChannel struct {
	pool *Pool
	info ChannelInfo // constant once registered
	// building holds a token; who takes it may build a job for the channel and change its target.
	// That keeps the jobs of one channel in the order of their templates.
	building   chan struct{}
	generation uint64  // of the newest job; guarded by building
	hashRate   float64 // as last told by the miner; guarded by building
	// owed is the target that waits for a job to be given with, nil when none does; guarded by
	// building.
	owed *Target

	waiting waiting // for judgement; guarded by pool.turns.mu

	mu      sync.Mutex // never held while a callback of PoolConfig runs
	sink    Sink       // used under mu only, so that nothing follows a close
	check   *Check
	vardiff *Vardiff
	open    bool // the first job is there
	closed  bool
}

var (
	_ Channel    = (*poolChannel)(nil)
	_ Withdrawer = (*poolChannel)(nil)
)

func newPoolChannel(
	p *Pool, request OpenRequest, account any, prefix []byte, sink Sink,
) *poolChannel {
	c := &poolChannel{
		pool:     p,
		building: make(chan struct{}, 1),
		sink:     sink,
		hashRate: request.NominalHashRate,
		info: ChannelInfo{
			Account:      account,
			Kind:         request.Kind,
			UserIdentity: bytes.Clone(request.UserIdentity),
			PayoutKey:    bytes.Clone(request.PayoutKey),
			Connection:   request.Connection,
			Prefix:       prefix,
			OpenedAt:     p.now(),
		},
	}
	c.building <- struct{}{}
	if request.Kind == Extended {
		c.info.ExtranonceSize = p.config.ExtranonceSize
	}
	wanted := request.LastTarget // what vardiff had found before the pool restarted
	if wanted.IsZero() {
		wanted = p.targetFor(request.NominalHashRate)
	}
	c.vardiff = NewVardiff(
		p.config.Limits, p.config.SharesPerMinute, wanted, request.MaxTarget, c.info.OpenedAt)
	c.check = NewCheck(prefix, c.info.ExtranonceSize, c.vardiff.Target(), p.seen)
	return c
}

// targetFor is the target wanted for a hash rate; Vardiff.Bound comes after it.
func (p *Pool) targetFor(hashRate float64) Target {
	if hashRate == 0 {
		return p.config.Limits.Easiest
	}
	return TargetFromHashRate(hashRate, p.config.SharesPerMinute)
}

// Submit queues the shares for judgement. What the channel's queue has no room for is refused at once,
// but still looked at for a block.
func (c *poolChannel) Submit(batch []Submit) {
	if len(batch) == 0 {
		return
	}
	p := c.pool
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	p.inFlight.add(len(batch))
	room := p.turns.add(c, batch)
	verdicts := make([]Verdict, 0, len(batch)-room)
	var offers []*blockOffer
	for _, submit := range batch[room:] {
		verdict := c.check.Refuse(submit, RejectRateLimited)
		verdicts = append(verdicts, verdict)
		offers = c.collect(offers, submit, verdict)
	}
	c.mu.Unlock()
	if len(verdicts) > 0 {
		p.offer(offers)
		c.deliver(verdicts, offers)
		p.inFlight.done(len(verdicts))
	}
}

// deliver sends verdicts, and lets out the results of those offers whose verdict is now told.
func (c *poolChannel) deliver(verdicts []Verdict, offers []*blockOffer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.sink.Verdicts(verdicts)
	for _, offer := range offers {
		offer.told = true
		if offer.result != nil {
			c.sink.BlockResult(*offer.result)
		}
	}
}

// Update takes the miner's new hash rate and maximum target. The target follows a hash rate that
// changed, but gets easier only as far as its shares bear it out (see [Vardiff.Claim]); otherwise
// vardiff's stays, within the new maximum. An easier target is given with the next
// job there is, and counts from then on; a harder one is told at once, for the miner's maximum must be
// kept, job or not.
func (c *poolChannel) Update(ctx context.Context, request UpdateRequest) error {
	if err := c.pool.checkRate(request.NominalHashRate, request.MaxTarget); err != nil {
		return err
	}
	if err := c.takeTurn(ctx); err != nil {
		return fmt.Errorf("update of the channel: %w", err)
	}
	noJob, err := c.update(ctx, request)
	c.endTurn()
	if noJob != nil { // told when others may have the turn
		c.pool.report(noJob)
	}
	return err
}

// update is Update for whoever has the channel's turn. noJob says why the new target has to wait.
func (c *poolChannel) update(ctx context.Context, request UpdateRequest) (noJob, err error) {
	p := c.pool
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, &Refusal{Reason: RefuseInvalidChannelID, Detail: "the channel is closed"}
	}
	present := c.vardiff.Target()
	rated := request.NominalHashRate != c.hashRate && request.NominalHashRate > 0
	c.hashRate = request.NominalHashRate
	c.vardiff.SetMaxTarget(request.MaxTarget)
	var target Target
	switch {
	case rated:
		target = c.vardiff.Claim(p.targetFor(request.NominalHashRate), p.now())
	case c.owed != nil: // granted before, and still waiting for its job
		target = c.vardiff.Bound(*c.owed)
	default:
		target = c.vardiff.Claim(present, p.now())
	}
	// Told, and in force: a harder one is told before there is a job to credit it with.
	settled := target == present && target == c.check.Target()
	c.mu.Unlock()
	c.owed = nil
	if settled {
		return nil, nil
	}
	job, generation, err := p.build(ctx, c)
	if err == nil {
		err = c.give(&target, job, generation)
	}
	if err == nil {
		return nil, nil
	}
	c.owed = &target
	if target.Cmp(present) < 0 {
		c.tell(target)
	}
	return fmt.Errorf("channel %d was updated but gets no job, and keeps difficulty %v till it does: %w",
		c.info.ID, Harder(target, present).Difficulty().Float(), err), nil
}

// Close ends the channel. Shares taken before are judged and journalled, but not answered.
func (c *poolChannel) Close(string) { c.end(nil) }

// Withdraw takes accepted shares out of the books.
func (c *poolChannel) Withdraw(verdicts []Verdict) {
	if c.pool.config.OnWithdraw == nil {
		return
	}
	for _, verdict := range verdicts {
		if err := c.pool.config.OnWithdraw(c.pool.running, c.info, verdict); err != nil {
			c.pool.report(fmt.Errorf("channel %d: submit %d stays credited though the miner was told "+
				"it isn't: %w", c.info.ID, verdict.SubmitID, err))
		}
	}
}

// end closes the channel once and frees what it held; with a kick it tells the sink. It reports whether
// the channel was open.
func (c *poolChannel) end(kick *Kick) bool {
	c.mu.Lock()
	if c.closed || (kick != nil && !c.open) {
		c.mu.Unlock()
		return false
	}
	c.closed = true
	if kick != nil {
		c.sink.Kick(*kick)
	}
	c.mu.Unlock()

	p := c.pool
	p.mu.Lock()
	delete(p.channels, c.info.ID)
	p.mu.Unlock()
	p.prefixes.Release(c.info.Prefix[:p.config.PrefixSize])
	return true
}

// takeTurn waits for the right to build a job and to change the target.
func (c *poolChannel) takeTurn(ctx context.Context) error {
	select {
	case <-c.building:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *poolChannel) endTurn() { c.building <- struct{}{} }
