// Whose shares are judged next: connections take turns, and on each its channels do.

package sv2

import "sync"

// turnShares is how many shares of a channel are judged in one turn. More would make others wait
// longer; with fewer, taking turns would cost more than judging.
const turnShares = 32

// turns keeps the shares that wait for judgement. Each channel has a queue of its own, so that nobody's
// junk takes the place of another's shares; connections are served one turn each, and so are the channels
// of one connection, so that whoever sends more, or opens more channels, waits longer himself.
//
// A channel is judged by one goroutine at a time: its verdicts come in the order of its shares.
type turns struct {
	limit int // submits of one channel that may wait or be judged

	mu     sync.Mutex
	wake   *sync.Cond // there is something to judge, or nothing will be any more
	lines  map[lineKey]*line
	ready  []*line // those with channels whose turn may come, longest waiting first
	closed bool
}

// lineKey names a connection. Ids of two sidecars may be the same; addresses then differ.
type lineKey struct {
	id      uint64
	address string
}

// line is one connection's channels that wait for their turn, longest waiting first.
type line struct {
	key      lineKey
	channels []*poolChannel
}

// waiting is the queue of one channel, guarded by turns.mu.
type waiting struct {
	submits []Submit
	taken   int  // submits in it or being judged
	judging bool // its turn goes on
}

func newTurns(limit int) *turns {
	t := &turns{limit: limit, lines: make(map[lineKey]*line)}
	t.wake = sync.NewCond(&t.mu)
	return t
}

// add queues as much of a batch as there is room for, and returns how much that was.
func (t *turns) add(c *poolChannel, batch []Submit) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := &c.waiting
	room := min(len(batch), t.limit-w.taken)
	if room <= 0 {
		return 0
	}
	idle := len(w.submits) == 0 && !w.judging
	w.submits = append(w.submits, batch[:room]...)
	w.taken += room
	if idle {
		t.enqueue(c)
	}
	return room
}

// enqueue puts a channel at the end of its connection's line; the caller holds mu.
func (t *turns) enqueue(c *poolChannel) {
	key := lineKey{c.info.Connection.ID, c.info.Connection.RemoteAddress}
	l := t.lines[key]
	if l == nil {
		l = &line{key: key}
		t.lines[key] = l
		t.ready = append(t.ready, l)
	}
	l.channels = append(l.channels, c)
	t.wake.Signal()
}

// next waits for the next turn and begins it: it returns a channel and its oldest shares, which the
// caller judges and then ends the turn. It returns nil once turns are closed.
func (t *turns) next() (*poolChannel, []Submit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.ready) == 0 {
		if t.closed {
			return nil, nil
		}
		t.wake.Wait()
	}
	l := pop(&t.ready)
	c := pop(&l.channels)
	if len(l.channels) > 0 {
		t.ready = append(t.ready, l)
	} else {
		delete(t.lines, l.key)
	}
	w := &c.waiting
	n := min(len(w.submits), turnShares)
	slice := w.submits[:n:n]
	w.submits = w.submits[n:]
	w.judging = true
	return c, slice
}

// end ends the turn of a channel that had n shares judged.
func (t *turns) end(c *poolChannel, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := &c.waiting
	w.taken -= n
	w.judging = false
	if len(w.submits) > 0 {
		t.enqueue(c)
	} else {
		w.submits = nil // an idle channel keeps no memory
	}
}

// waits reports whether shares of a channel wait for judgement, or are being judged.
func (t *turns) waits(c *poolChannel) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return c.waiting.taken > 0
}

// close ends waiting in next. Nothing is queued any more.
func (t *turns) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.wake.Broadcast()
}

// pop takes the first of a list that isn't empty.
func pop[T any](list *[]*T) *T {
	first := (*list)[0]
	(*list)[0] = nil
	*list = (*list)[1:]
	return first
}
