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
	ready  fifo[*line] // those with channels whose turn may come, longest waiting first
	closed bool
	// Memory of lines and queues that are empty, for others.
	spareLines   spares[*line]
	spareSubmits spares[[]Submit]
}

const (
	// keptSubmits and keptChannels are the longest queue and the longest line whose memory is kept.
	keptSubmits  = 2 * turnShares
	keptChannels = 256
)

// lineKey names a connection. Ids of two sidecars may be the same; addresses then differ.
type lineKey struct {
	id      uint64
	address string
}

// line is one connection's channels that wait for their turn, longest waiting first.
type line struct {
	key      lineKey
	channels fifo[*poolChannel]
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
	if w.submits == nil {
		w.submits, _ = t.spareSubmits.take()
	}
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
		var spare bool
		if l, spare = t.spareLines.take(); !spare {
			l = new(line)
		}
		l.key = key
		t.lines[key] = l
		t.ready.push(l)
	}
	l.channels.push(c)
	t.wake.Signal()
}

// next waits for the next turn and begins it: it returns a channel and its oldest shares, which the
// caller judges, and gives back to end the turn. It returns nil once turns are closed.
func (t *turns) next() (*poolChannel, []Submit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.ready.len() == 0 {
		if t.closed {
			return nil, nil
		}
		t.wake.Wait()
	}
	l := t.ready.pop()
	c := l.channels.pop()
	if l.channels.len() > 0 {
		t.ready.push(l)
	} else {
		delete(t.lines, l.key)
		l.key = lineKey{}
		if cap(l.channels.items) <= keptChannels {
			t.spareLines.give(l)
		}
	}
	w := &c.waiting
	n := min(len(w.submits), turnShares)
	batch := w.submits[:n]
	w.submits = w.submits[n:]
	w.judging = true
	return c, batch
}

// end ends the turn of a channel whose batch is judged.
func (t *turns) end(c *poolChannel, batch []Submit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := &c.waiting
	w.taken -= len(batch)
	w.judging = false
	clear(batch)
	if len(w.submits) > 0 {
		t.enqueue(c)
		return
	}
	w.submits = nil // an idle channel keeps no memory; behind the batch nobody uses it either
	if cap(batch) <= keptSubmits {
		t.spareSubmits.give(batch[:0])
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

// fifo is a list that is taken from at the front, in memory that is used again. The zero value is empty.
type fifo[T any] struct {
	items []T
	head  int
}

func (f *fifo[T]) len() int { return len(f.items) - f.head }

// push appends an item. Room in front is used before there is more.
func (f *fifo[T]) push(item T) {
	if len(f.items) == cap(f.items) && f.head > len(f.items)/2 {
		rest := copy(f.items, f.items[f.head:])
		clear(f.items[rest:])
		f.items, f.head = f.items[:rest], 0
	}
	f.items = append(f.items, item)
}

// pop takes the first of a list that isn't empty.
func (f *fifo[T]) pop() T {
	var none T
	first := f.items[f.head]
	f.items[f.head] = none
	f.head++
	if f.head == len(f.items) {
		f.items, f.head = f.items[:0], 0
	}
	return first
}

// spares are a few things that somebody will need again.
type spares[T any] struct{ items []T }

// maxSpares is how many are kept.
const maxSpares = 64

func (s *spares[T]) give(item T) {
	if len(s.items) < maxSpares {
		s.items = append(s.items, item)
	}
}

// take gives one, if there is any.
func (s *spares[T]) take() (item T, ok bool) {
	last := len(s.items) - 1
	if last < 0 {
		return item, false
	}
	var none T
	item, s.items[last] = s.items[last], none
	s.items = s.items[:last]
	return item, true
}
