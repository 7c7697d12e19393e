// What a sidecar may have missed: kicks, and what became of blocks.

package session

import (
	"slices"
	"sync"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

const (
	// maxKicks is how many kicks of a session are remembered, newest first; older ones are told as
	// plain closes of the channel.
	maxKicks = 4096
	// maxBlocks is how many block results are.
	maxBlocks = 256
	// blockRepeat is how long before a break a block result was queued that is sent again after it: a
	// stream is found dead within 15 s. It may come twice, then.
	blockRepeat = 30 * time.Second
)

// news is what a session tells a stream that goes on for another. Bounded. Safe for concurrent use.
type news struct {
	mu     sync.Mutex
	kicks  []farewell
	blocks []blockNews
}

// farewell is a kick of one channel, or of the connection it is on.
type farewell struct {
	channel, connection uint64
	kick                sv2.Kick
}

type blockNews struct {
	entry entry
	at    time.Time
}

// kicked remembers why a channel is closed.
func (n *news) kicked(c *channel, kick sv2.Kick) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.kicks = keep(n.kicks, farewell{c.id, c.connection, kick}, maxKicks)
}

// block remembers a block result that is about to be queued.
func (n *news) block(e entry) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.blocks = keep(n.blocks, blockNews{e, time.Now()}, maxBlocks)
}

// farewells are the kicks for channels that the sidecar has and the pool hasn't: one each, but one for
// all channels of a connection that is to be closed.
func (n *news) farewells(gone []uint64) []entry {
	n.mu.Lock()
	defer n.mu.Unlock()
	known := make(map[uint64]*farewell, len(n.kicks))
	for i := range n.kicks {
		known[n.kicks[i].channel] = &n.kicks[i]
	}
	told := make(map[uint64]bool) // connections
	entries := make([]entry, 0, len(gone))
	for _, id := range gone {
		kick := sv2.Kick{Action: sv2.KickChannel, Reason: "closed by the pool"}
		if f := known[id]; f != nil {
			kick = f.kick
			if wholeConnection(kick.Action) {
				if told[f.connection] {
					continue
				}
				told[f.connection] = true
			}
		}
		entries = append(entries, entry{channel: id, message: kickMessage(id, kick)})
	}
	return entries
}

// since are the block results that may not have arrived when the stream broke.
func (n *news) since(broken time.Time) []entry {
	n.mu.Lock()
	defer n.mu.Unlock()
	var entries []entry
	for _, b := range n.blocks {
		if b.at.After(broken.Add(-blockRepeat)) {
			entries = append(entries, b.entry)
		}
	}
	return entries
}

// keep appends to a list and leaves out the oldest beyond limit, several at a time.
func keep[T any](list []T, item T, limit int) []T {
	if len(list) >= limit+limit/4 {
		list = slices.Delete(list, 0, len(list)-limit+1)
	}
	return append(list, item)
}

func wholeConnection(action sv2.KickAction) bool {
	return action == sv2.KickConnection || action == sv2.KickReconnect
}
