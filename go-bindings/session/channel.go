// Calls to the host for one channel: Submit at once, the others one at a time.

package session

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// notOpen is channel.rolls while the host has not opened the channel yet.
const notOpen = -1

// channel runs the host's calls of one channel. Submit runs where it was received, whatever else runs:
// a share, which may be a block, waits for nobody. The others run one at a time and in order. It starts
// busy: opening it is the first call.
type channel struct {
	session    *Session
	id         uint64
	connection uint64
	sink       *sink
	// ctx ends when the channel is closed or kicked, or the session ends; not with a stream.
	ctx    context.Context
	cancel context.CancelFunc
	// rolls is Opened.ExtranonceSize, or notOpen.
	rolls   atomic.Int32
	updates updates
	// gathered is the part of the current batch for this channel, coming how many that will be; the
	// receiving goroutine's.
	gathered []sv2.Submit
	coming   int
	// submitting is held during Submit, so that Close comes after it.
	submitting sync.Mutex

	mu    sync.Mutex
	busy  bool
	calls []func()
	// over: closed, refused or kicked; calls that wait do nothing. kicked: the host closed it.
	over, kicked bool
	// told is the newest TargetInEffect that waits to be handed on.
	told *inEffect

	// kept is how many answers the session's ring has of the channel, left that they count no more; the
	// ring's.
	kept int
	left bool

	// host is set by the opening call, before rolls, and used by later calls only.
	host sv2.Channel
}

func newChannel(l *link, id, connection uint64) *channel {
	c := &channel{session: l.session, id: id, connection: connection, busy: true}
	c.sink = &sink{channel: c, out: l.outbox}
	c.ctx, c.cancel = context.WithCancel(l.session.ctx)
	c.rolls.Store(notOpen)
	return c
}

// submit hands shares to the host, in the caller's goroutine. It reports false, and hands over nothing,
// when the channel is over.
func (c *channel) submit(batch []sv2.Submit) bool {
	c.submitting.Lock()
	defer c.submitting.Unlock()
	if !c.sink.owe(batch) {
		return false
	}
	c.host.Submit(batch)
	return true
}

// enqueue runs call after the calls before it, on another goroutine.
func (c *channel) enqueue(call func()) {
	c.mu.Lock()
	c.calls = append(c.calls, call)
	if c.busy {
		c.mu.Unlock()
		return
	}
	c.busy = true
	c.mu.Unlock()
	go c.run()
}

// release ends a call that was not run by run; what waits is run on another goroutine.
func (c *channel) release() {
	c.mu.Lock()
	if len(c.calls) == 0 {
		c.busy = false
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	go c.run()
}

// run runs what waits until nothing does. The caller made the channel busy.
func (c *channel) run() {
	for {
		c.mu.Lock()
		if len(c.calls) == 0 {
			c.busy, c.calls = false, nil
			c.mu.Unlock()
			return
		}
		call := c.calls[0]
		c.calls[0] = nil
		c.calls = c.calls[1:]
		c.mu.Unlock()
		call()
	}
}

// close ends the channel from the sidecar's side. What was submitted before is with the host already.
// done runs after the host's Close, or in turn when there is nothing to close.
func (c *channel) close(reason string, done func()) {
	// The sink first: a host that returns because its context ended must find it closed.
	c.sink.finish()
	c.end(false)
	c.enqueue(func() {
		defer done()
		c.mu.Lock()
		kicked := c.kicked
		c.mu.Unlock()
		if c.host == nil {
			return
		}
		c.sink.awaitCancelled(withdrawPatience)
		c.withdraw()
		if !kicked {
			c.submitting.Lock() // waits for the last: the sink is finished, so no other begins
			defer c.submitting.Unlock()
			c.host.Close(reason)
		}
	})
}

// withdraw hands over the accepted shares that are to be taken back.
func (c *channel) withdraw() {
	accepted := c.sink.takeWithdrawn()
	if len(accepted) == 0 {
		return
	}
	if host, ok := c.host.(sv2.Withdrawer); ok {
		host.Withdraw(accepted)
		return
	}
	c.session.deaf.Do(func() {
		c.session.log.Warn("the host can't take back shares that miners were told are not accepted: "+
			"implement sv2.Withdrawer", "channel", c.id, "shares", len(accepted))
	})
}

// end makes later calls do nothing. kicked: by the host, which wants no Close.
func (c *channel) end(kicked bool) {
	c.mu.Lock()
	c.over = true
	c.kicked = c.kicked || kicked
	c.mu.Unlock()
	c.cancel()
}

func (c *channel) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}

// inEffect is a TargetInEffect: what the miner was told when the host wanted the other.
type inEffect struct{ wanted, target sv2.Target }

// tell hands a TargetInEffect on, the newest one only, unless the host has given another target since: to
// that it is no answer. done runs when the host has it.
func (c *channel) tell(report inEffect, done func()) {
	c.mu.Lock()
	waiting := c.told != nil
	c.told = &report
	c.mu.Unlock()
	if waiting {
		done()
		return
	}
	c.enqueue(func() {
		defer done()
		c.mu.Lock()
		told, over := c.told, c.over
		c.told = nil
		c.mu.Unlock()
		observer, ok := c.host.(TargetObserver)
		if ok && !over && told.wanted == c.sink.wants() {
			observer.TargetInEffect(told.wanted, told.target)
		}
	})
}

// TargetObserver may be implemented by an [sv2.Channel] that wants to know what the miner was really
// told: the hardest of what the host asked for, the miner's max_target and Limits.Easiest.
type TargetObserver interface {
	// TargetInEffect is called like Channel.Update, whenever the target told differs from the one
	// the host gave; only the newest counts. wanted is the one that the host gave, through Opened or
	// Sink.Target, and that this is the answer to. A report that crosses a newer target on its way is
	// not handed on; of one that the host gives during the call it knows by wanted.
	TargetInEffect(wanted, target sv2.Target)
}
