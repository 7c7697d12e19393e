// Updates of a channel, the first time and again.

package session

import (
	"slices"
	"sync"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

const (
	// maxUpdates is how many UpdateChannels of one channel may wait for a slow host; one more is refused
	// with "rate-limited". Miners send one at a time.
	maxUpdates = 16
	// revertRequest is the UpdateChannel.request_id of an update that takes others back.
	revertRequest = 0
	// maxReverts is how many updates may wait in all: no more than one of these comes with each stream.
	maxReverts = 2 * maxUpdates
)

// update is one UpdateChannel.
type update struct {
	id      uint32
	request sv2.UpdateRequest
	// out is the stream's that the answer goes to: the newest on which it came.
	out *outbox
}

func (u *update) is(other *update) bool {
	return u.id == other.id && u.request == other.request
}

// updates are those of one channel. One that comes again, because its answer was lost with a stream, is the
// same one: it is not applied twice, nor refused where the host has taken it or still may.
type updates struct {
	mu sync.Mutex
	// waiting for the host, which may be at the first; and the last that it has taken, for the sidecar may
	// not know, at most maxUpdates.
	waiting, taken []*update
}

// fate is what becomes of an update.
type fate int

const (
	updateQueued fate = iota // it is the caller's to ask the host, in turn
	updateAdopted
	updateTaken
	updateTooMany
)

// add takes an update in. Those that are in already are only answered elsewhere.
func (u *updates) add(next *update) fate {
	u.mu.Lock()
	defer u.mu.Unlock()
	if next.id != revertRequest {
		if slices.ContainsFunc(u.taken, next.is) {
			return updateTaken
		}
		if at := slices.IndexFunc(u.waiting, next.is); at >= 0 {
			u.waiting[at].out = next.out
			return updateAdopted
		}
	}
	// A revert is no miner's wish, and the pool would keep what nobody wants.
	if n := len(u.waiting); n >= maxReverts || n >= maxUpdates && next.id != revertRequest {
		return updateTooMany
	}
	u.waiting = append(u.waiting, next)
	return updateQueued
}

// settle follows the host's answer to an update, and gives the outbox that it goes to.
func (u *updates) settle(done *update, taken bool) *outbox {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.waiting = slices.DeleteFunc(u.waiting, func(other *update) bool { return other == done })
	if taken && done.id != revertRequest {
		u.taken = append(u.taken, done)
		u.taken = u.taken[max(0, len(u.taken)-maxUpdates):]
	}
	return done.out
}

// takeUpdate queues UpdateChannel behind the channel's other calls.
func (l *link) takeUpdate(m *sv2pb.UpdateChannel) {
	s := l.session
	id, requestID := m.GetChannelId(), m.GetRequestId()
	c := s.begin(id)
	if c == nil {
		l.outbox.push(entry{channel: id, message: updatedMessage(id, requestID,
			&sv2.Refusal{Reason: sv2.RefuseInvalidChannelID})})
		return
	}
	answer := func(out *outbox, refusal *sv2.Refusal) {
		c.sink.reply(out, entry{channel: id, message: updatedMessage(id, requestID, refusal)})
	}
	request, refusal := updateRequestFrom(m)
	next := &update{id: requestID, request: request, out: l.outbox}
	switch c.updates.add(next) {
	case updateQueued:
		c.enqueue(func() {
			defer s.work.Done()
			if refusal == nil && !c.isOver() {
				if err := c.host.Update(c.ctx, request); err != nil {
					refusal = refusalFrom(err)
				}
			}
			answer(c.updates.settle(next, refusal == nil), refusal)
		})
		return
	case updateAdopted: // answered when the host has
	case updateTaken:
		answer(l.outbox, nil)
	case updateTooMany:
		// Answered out of turn: a queue of refusals would have no bound either.
		answer(l.outbox, &sv2.Refusal{Reason: sv2.RefuseRateLimited, Detail: "too many updates wait"})
	}
	s.work.Done()
}
