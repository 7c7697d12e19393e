// What the sidecar was answered: kept, so that a submit that comes again gets the same verdict.

package session

import (
	"slices"
	"sync"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// firstSlots is how many answers a new ring has memory for; it grows with the traffic.
const firstSlots = 64

// ring is the newest answers of a session, in the order in which they were queued for the sidecar, at
// most limit of them for the channels that are open. An answer is kept under the id of its submit and
// queued on the stream there is, in one step: what the ring had before a stream began was not queued on that, all else was.
//
// Why limit >= Hello.max_in_flight is enough. Let x be a submit whose answer did not arrive when a
// stream broke, and n the answers queued after x's for channels that are open. Streams are ordered, so:
//   - x's answer was queued on the broken stream: none of the n arrived either. All of them, and x, are
//     submits that the sidecar has unanswered: n < max_in_flight.
//   - It was not (it came while there was no stream, or the sidecar had not sent x again yet): the
//     sidecar sends what is unanswered before anything new, in the order of ids, so nothing new has come
//     since the stream before broke. The n answer submits that were unanswered then, as x was:
//     n < max_in_flight.
//
// The second case needs that an answer which is queued again becomes the newest one; else two breaks in
// a row could push x out. Both need that what a sidecar stops waiting for doesn't count: submits of a
// channel that was closed or kicked, which is why those are told from others (leave), and are refused
// without being kept; and a close counts even if it is received when the stream has ended already, since
// the submits behind it do. Cancelled submits count as unanswered until Hello has named them. A sidecar that
// keeps more unanswered than it said may find that an answer is gone.
type ring struct {
	limit int

	mu sync.Mutex
	// out is the newest stream's; once that has ended it takes nothing.
	out *outbox
	// before is the last submit of the streams before, early those up to it whose answer is queued on this
	// one: asked for again, they get no second one, even if they have left slots. nil once the sidecar has
	// sent something new, for it sends what is unanswered first. No more than hosts owed when it began.
	before uint64
	early  map[uint64]struct{}
	// slots is circular, a power of two long; used of them, from head, are taken. live of those count:
	// not the dead, nor those of channels that have left, which only stay while there is room.
	slots            []answer
	head, used, live int
}

// answer is one verdict. It is dead, and its submit unknown, when verdict.SubmitID is 0.
type answer struct {
	verdict sv2.Verdict
	// channel it is for.
	channel *channel
}

func newRing(limit int) *ring { return &ring{limit: limit} }

// attach makes out the stream that answers are queued on from now on. Submits up to before may come again
// on it.
func (r *ring) attach(out *outbox, before uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out = out
	r.before, r.early = before, make(map[uint64]struct{})
}

// caughtUp says that no submit comes again on this stream.
func (r *ring) caughtUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.early = nil
}

// queue hands answers to the stream.
func (r *ring) queue(verdicts []sv2.Verdict) {
	if r.early != nil {
		for i := range verdicts {
			if id := verdicts[i].SubmitID; id <= r.before {
				r.early[id] = struct{}{}
			}
		}
	}
	r.out.answer(verdicts)
}

// record keeps answers of a channel and queues them. It keeps no reference to the slice.
func (r *ring) record(c *channel, verdicts []sv2.Verdict) {
	if len(verdicts) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !c.left {
		for i := range verdicts {
			slot := r.next()
			slot.verdict, slot.channel = verdicts[i], c
		}
		c.kept += len(verdicts)
	}
	r.queue(verdicts)
}

// tell queues answers for channels that are not open: asked again, they are the same.
func (r *ring) tell(verdicts []sv2.Verdict) {
	if len(verdicts) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out.answer(verdicts)
}

// leave says that a channel is over: its answers make room for others now.
func (r *ring) leave(c *channel) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !c.left {
		c.left = true
		r.live -= c.kept
	}
}

// again queues the answers to submits that came again, unless they are queued on this stream already.
// ids ascend. known says for which there is an answer.
func (r *ring) again(ids []uint64) (known []bool) {
	known = make([]bool, len(ids))
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, id := range ids {
		_, known[i] = r.early[id]
	}
	var found []answer
	for i := range r.used {
		slot := r.at(i)
		at, ok := slices.BinarySearch(ids, slot.verdict.SubmitID)
		if !ok || known[at] {
			continue
		}
		known[at] = true
		found = append(found, *slot)
		r.kill(slot)
	}
	verdicts := make([]sv2.Verdict, len(found))
	for i := range found {
		verdicts[i] = found[i].verdict
		if c := found[i].channel; !c.left {
			*r.next() = found[i]
			c.kept++
		}
	}
	r.queue(verdicts)
	return known
}

// forget takes the answers to these submits out and gives them back. ids ascend.
func (r *ring) forget(ids []uint64) []answer {
	var forgotten []answer
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.used {
		slot := r.at(i)
		if _, ok := slices.BinarySearch(ids, slot.verdict.SubmitID); ok {
			forgotten = append(forgotten, *slot)
			r.kill(slot)
		}
	}
	return forgotten
}

func (r *ring) at(i int) *answer { return &r.slots[(r.head+i)&(len(r.slots)-1)] }

// kill empties a slot.
func (r *ring) kill(slot *answer) {
	if slot.verdict.SubmitID == 0 {
		return
	}
	slot.channel.kept--
	if !slot.channel.left {
		r.live--
	}
	*slot = answer{}
}

// next is the slot of a new answer, for which the oldest may have to go; its channel has not left.
func (r *ring) next() *answer {
	for r.live >= r.limit {
		r.kill(r.at(0))
		r.head = (r.head + 1) & (len(r.slots) - 1)
		r.used--
	}
	if r.used == len(r.slots) {
		r.grow()
	}
	r.used++
	r.live++
	return r.at(r.used - 1)
}

// grow leaves out what doesn't count and makes room for as many answers as do, or for the first.
func (r *ring) grow() {
	size := firstSlots
	for size < 2*r.live {
		size *= 2
	}
	slots := make([]answer, 0, size)
	for i := range r.used {
		slot := r.at(i)
		switch {
		case slot.verdict.SubmitID == 0:
		case slot.channel.left:
			slot.channel.kept--
		default:
			slots = append(slots, *slot)
		}
	}
	r.head, r.used = 0, len(slots)
	r.slots = slots[:size]
}
