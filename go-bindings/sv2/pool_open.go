// How the Pool admits a miner.

package sv2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
)

// OpenChannel admits a miner: it checks the request against the limits, asks Authorize, hands out a
// prefix, picks the first target and has BuildJob make the first job.
func (p *Pool) OpenChannel(
	ctx context.Context, request OpenRequest, sink Sink,
) (Channel, Opened, error) {
	if err := p.checkOpen(request); err != nil {
		return nil, Opened{}, err
	}
	if err := p.admit(request.Reopen); err != nil {
		return nil, Opened{}, err
	}
	c, opened, err := p.open(ctx, request, sink)
	if err != nil {
		return nil, Opened{}, err
	}
	return c, opened, nil
}

// checkOpen refuses what no miner may ask for.
func (p *Pool) checkOpen(request OpenRequest) error {
	if request.Kind != Standard && request.Kind != Extended {
		return &Refusal{Reason: RefuseInternal, Detail: "channel kind " + request.Kind.String()}
	}
	if err := p.checkRate(request.NominalHashRate, request.MaxTarget); err != nil {
		return err
	}
	if request.Kind == Extended && request.MinExtranonceSize > p.config.ExtranonceSize {
		return &Refusal{Reason: RefuseExtranonceSize, Detail: fmt.Sprintf(
			"%d bytes asked, %d to give", request.MinExtranonceSize, p.config.ExtranonceSize)}
	}
	if len(request.PayoutKey) != 0 && !p.config.AllowPayoutKeys {
		return &Refusal{Reason: RefusePayoutKey}
	}
	return nil
}

// checkRate refuses a hash rate that is none and a maximum target that the pool can't give.
func (p *Pool) checkRate(hashRate float64, maxTarget Target) error {
	if !(hashRate >= 0) || math.IsInf(hashRate, 1) {
		return &Refusal{Reason: RefuseHashRate, Detail: fmt.Sprintf("%v H/s", hashRate)}
	}
	if maxTarget.IsZero() || maxTarget.Cmp(p.config.Limits.Hardest) < 0 {
		return &Refusal{Reason: RefuseMaxTarget, Detail: "harder than the pool's hardest target"}
	}
	return nil
}

// admit takes one of MaxChannels places; register or dismiss gives it on. Channels that come back find a
// place though new ones were quicker.
func (p *Pool) admit(reopen bool) error {
	limit := p.config.MaxChannels
	if reopen {
		limit *= 2
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closing:
		return &Refusal{Reason: RefuseNoWork, Detail: "the pool is closing"}
	case len(p.channels)+p.opening >= limit:
		return &Refusal{Reason: RefuseCapacity, Detail: fmt.Sprintf(
			"%d channels are open", limit)}
	}
	p.opening++
	return nil
}

func (p *Pool) dismiss() {
	p.mu.Lock()
	p.opening--
	p.mu.Unlock()
}

// open does what can take long. The place that admit took is used up.
func (p *Pool) open(
	ctx context.Context, request OpenRequest, sink Sink,
) (*poolChannel, Opened, error) {
	var account any
	if p.config.Authorize != nil {
		var err error
		if account, err = p.config.Authorize(ctx, request); err != nil {
			p.dismiss()
			if refusal := (*Refusal)(nil); errors.As(err, &refusal) {
				return nil, Opened{}, refusal
			}
			return nil, Opened{}, fmt.Errorf("authorize: %w", err)
		}
	}
	prefix, err := p.takePrefix(request)
	if err != nil {
		p.dismiss()
		return nil, Opened{}, err
	}
	c := newPoolChannel(p, request, account, prefix, sink)
	// From here on Refresh sees the channel. It waits for its turn to build, so whichever of the two
	// comes first, the channel ends with a job of the newest template.
	<-c.building
	defer func() { c.building <- struct{}{} }()
	if err := p.register(c); err != nil {
		p.prefixes.Release(prefix[:p.config.PrefixSize])
		return nil, Opened{}, err
	}
	job, generation, err := p.build(ctx, c)
	if err == nil {
		err = ctx.Err()
	}
	var target Target
	if err == nil {
		target, err = c.begin(job, generation)
	}
	if err != nil {
		c.end(nil)
		if refusal := (*Refusal)(nil); errors.As(err, &refusal) {
			return nil, Opened{}, refusal
		}
		return nil, Opened{}, &Refusal{Reason: RefuseNoWork, Detail: printable(err.Error())}
	}
	return c, Opened{
		Prefix:         bytes.Clone(c.info.Prefix),
		ExtranonceSize: c.info.ExtranonceSize,
		Target:         target,
		Job:            job,
	}, nil
}

// register makes a channel known under an id of its own.
func (p *Pool) register(c *poolChannel) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opening--
	if p.closing {
		return &Refusal{Reason: RefuseNoWork, Detail: "the pool is closing"}
	}
	p.lastID++
	c.info.ID = p.lastID
	p.channels[c.info.ID] = c
	return nil
}

// takePrefix is the wanted prefix if that is free, or a new one. On a standard channel, where it is the
// whole extranonce, zeros follow what tells channels apart.
func (p *Pool) takePrefix(request OpenRequest) ([]byte, error) {
	size := p.config.PrefixSize
	if request.Kind == Standard {
		size += p.config.ExtranonceSize
	}
	wanted := request.WantedPrefix
	if len(wanted) == size {
		head, tail := wanted[:p.config.PrefixSize], wanted[p.config.PrefixSize:]
		if bytes.Count(tail, []byte{0}) == len(tail) &&
			(p.claim(head) || p.prefixes.AllocateWanted(head) == nil) {
			return bytes.Clone(wanted), nil
		}
	}
	head, err := p.prefixes.Allocate()
	if err != nil {
		return nil, &Refusal{Reason: RefuseCapacity, Detail: err.Error()}
	}
	prefix := make([]byte, size)
	copy(prefix, head)
	return prefix, nil
}
