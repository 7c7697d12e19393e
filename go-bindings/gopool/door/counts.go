// What passes through the door, counted.

package door

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// counts are since the pool's start.
type counts struct {
	verdicts                               [sv2.RejectUnauthorized + 1]atomic.Uint64 // by reason
	found, taken, refusedBlocks, undecided atomic.Uint64                             // blocks
	opened                                 atomic.Uint64
	refused                                [sv2.RefuseInternal + 1]atomic.Uint64 // by reason

	mu          sync.Mutex
	connections map[connection]int // with how many channels
	channels    int
}

// host counts what another host does.
type host struct {
	sv2.Host
	counts *counts
}

// OpenChannel opens a channel of the other host.
func (h *host) OpenChannel(
	ctx context.Context, request sv2.OpenRequest, sink sv2.Sink,
) (sv2.Channel, sv2.Opened, error) {
	life := &life{counts: h.counts, of: connectionOf(request.Connection)}
	inner, opened, err := h.Host.OpenChannel(ctx, request, &countedSink{sink, life})
	if err != nil {
		reason := sv2.RefuseInternal
		if refusal := (*sv2.Refusal)(nil); errors.As(err, &refusal) && refusal.Reason <= reason {
			reason = refusal.Reason
		}
		h.counts.refused[reason].Add(1)
		return nil, sv2.Opened{}, err
	}
	h.counts.opened.Add(1)
	life.begin()
	return &countedChannel{inner, life}, opened, nil
}

// life is a channel's, from open to close or kick.
type life struct {
	counts       *counts
	of           connection
	begun, ended bool // under counts.mu
}

func (l *life) begin() {
	c := l.counts
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.ended { // it was kicked before it was told that it is open
		return
	}
	l.begun = true
	c.channels++
	c.connections[l.of]++
}

func (l *life) end() {
	c := l.counts
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.begun && !l.ended {
		c.channels--
		if c.connections[l.of]--; c.connections[l.of] == 0 {
			delete(c.connections, l.of)
		}
	}
	l.ended = true
}

// countedChannel is a channel with its life.
type countedChannel struct {
	sv2.Channel
	life *life
}

// Close ends the channel.
func (c *countedChannel) Close(reason string) {
	c.life.end()
	c.Channel.Close(reason)
}

// countedSink counts verdicts and blocks on their way to the carrier.
type countedSink struct {
	sv2.Sink
	life *life
}

// Verdicts counts by reason.
func (s *countedSink) Verdicts(verdicts []sv2.Verdict) {
	for i := range verdicts {
		reason := min(int(verdicts[i].Reason), len(s.life.counts.verdicts)-1)
		s.life.counts.verdicts[reason].Add(1)
		if verdicts[i].BlockCandidate {
			s.life.counts.found.Add(1)
		}
	}
	s.Sink.Verdicts(verdicts)
}

// BlockResult counts what became of a block.
func (s *countedSink) BlockResult(result sv2.BlockResult) {
	switch {
	case result.Accepted:
		s.life.counts.taken.Add(1)
	case result.Unknown:
		s.life.counts.undecided.Add(1)
	default:
		s.life.counts.refusedBlocks.Add(1)
	}
	s.Sink.BlockResult(result)
}

// Kick ends the channel.
func (s *countedSink) Kick(kick sv2.Kick) {
	s.life.end()
	s.Sink.Kick(kick)
}

// open is how many connections have channels, and how many channels there are.
func (c *counts) open() (connections, channels int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.connections), c.channels
}
