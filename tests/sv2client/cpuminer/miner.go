// Package cpuminer mines on a channel with one CPU core: plain double SHA-256 over the 80-byte header. It is
// as slow as that sounds, and meant for tests and demonstrations.
package cpuminer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gopool-sv2/gopool-sv2/tests/sv2client"
)

const (
	// slice is how many nonces are tried between two looks at the channel.
	slice = 1 << 12
	// DefaultWindow is how many shares may wait for an answer by default.
	DefaultWindow = 32
)

// Options say when to stop. The zero value mines until ctx or the channel ends.
type Options struct {
	// Accepted ends the mining when the pool accepted that many shares since the start; 0: never.
	Accepted uint64
	// Window is how many shares may wait for an answer; 0: DefaultWindow. When it is full the miner
	// waits for the pool.
	Window uint64
	// Found, unless nil, is called with each share, its hash and its work after it was sent.
	Found func(Found)
}

// Found is a share that was sent.
type Found struct {
	// Sequence is its sequence number on the channel.
	Sequence uint32
	// Share is what was sent.
	Share sv2client.Share
	// Work is what it was found on.
	Work sv2client.Work
	// Hash is its header's.
	Hash sv2client.Hash
}

// Mine searches on channel and sends what it finds, until enough is accepted, or ctx or the channel ends;
// then the error says why, and [context.Cause] of ctx is one of the reasons. Before it returns without an
// error each share has its answer. It keeps one core busy: call it from a goroutine of its own, and not
// twice for a channel.
func Mine(ctx context.Context, channel *sv2client.Channel, options Options) error {
	if options.Window == 0 {
		options.Window = DefaultWindow
	}
	start := channel.Tally().Accepted
	var search *search
	var work sv2client.Work
	for {
		tally := channel.Tally()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case options.Accepted > 0 && tally.Accepted-start >= options.Accepted:
			return channel.WaitAnswers(ctx)
		case tally.Outstanding() >= options.Window:
			if err := channel.WaitAnswers(ctx); err != nil {
				return err
			}
			continue
		}
		if search == nil || channel.Outdated(work) {
			next, err := channel.WaitWork(ctx, 0)
			if err != nil {
				return fmt.Errorf("wait for work: %w", err)
			}
			if search == nil || !next.SameJob(work) {
				search = newSearch(next)
			}
			work = next
		}
		share, hash, found, err := search.try(slice, work.Target)
		if errors.Is(err, errExhausted) {
			// Until there is other work, or ntime may be rolled again.
			rest, cancel := context.WithTimeout(ctx, time.Second)
			_, err = channel.WaitWork(rest, work.Revision)
			cancel()
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("wait for work: %w", err)
			}
			continue
		}
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		sequence, err := channel.Submit(ctx, share)
		if err != nil {
			return err
		}
		if options.Found != nil {
			options.Found(Found{Sequence: sequence, Share: share, Work: work, Hash: hash})
		}
	}
}
