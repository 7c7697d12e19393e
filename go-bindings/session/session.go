// What a sidecar's session is made of, and how it ends.

package session

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

const (
	// fencePatience is how long a new stream waits for the one it takes over from, and for the host to
	// take the closes of what it replaces, so that prefixes are free again when the channels come back.
	fencePatience = 5 * time.Second
	// withdrawPatience is how long the close of a channel waits for verdicts that are to be withdrawn.
	withdrawPatience = time.Second
)

// Session is what a sidecar and the pool have with each other: channels, and submits with their answers.
// It goes on, for [Options].ResumeWindow, when its stream breaks, on the next stream that the sidecar
// opens for it.
type Session struct {
	server *Server
	log    *slog.Logger
	// hello is the first one: what it says of the sidecar stays.
	hello hello
	// order is the session's place in the order of arrival, from 1. epoch is its Welcome.epoch.
	order uint64
	epoch [idSize]byte
	// ctx ends with the session.
	ctx    context.Context
	cancel context.CancelFunc
	// over is closed when the host has taken all closes.
	over chan struct{}

	answers *ring
	news    news
	// jobs is the newest Job.seq: it goes on from stream to stream.
	jobs atomic.Uint64
	// outstanding is how many submits hosts have not answered yet.
	outstanding atomic.Int64
	// lastSubmit is the highest Submit.id seen; the owner's receiving goroutine's.
	lastSubmit uint64
	// deaf reports once that the host can't take back what it accepted.
	deaf sync.Once

	mu sync.Mutex
	// latest is the newest stream of the session, nil while there is none. owner is the one whose
	// receiving goroutine works on the session: it may end later than a newer one begins, which waits.
	latest, owner *link
	// dial is the highest Hello.dial heard.
	dial uint64
	// window ends the session when no stream comes; breaks counts the waits, so that a late one ends
	// nothing. broken is when the last stream ended.
	window *time.Timer
	breaks uint64
	broken time.Time
	// ended: no stream comes, no channel is opened and no call begun any more. draining: the pool is
	// about to stop.
	ended, draining bool
	channels        map[uint64]*channel
	connections     map[uint64]int
	// live counts channels the host knows or is asked about, those being closed included.
	live      int
	openCalls int
	waiting   []opening
	// work counts opens, updates, closes and withdrawals from when they are queued until they are done.
	// It grows under mu, and not after close has taken the channels.
	work sync.WaitGroup
}

// newSession is a session that begins on a stream.
func newSession(server *Server, first *link, order uint64) *Session {
	s := &Session{
		server: server, hello: first.hello, order: order, epoch: server.epochOf(order),
		log:  server.options.Logger.With("sidecar", first.hello.sidecar),
		over: make(chan struct{}), answers: newRing(server.options.VerdictRing),
		latest: first, owner: first, dial: first.hello.dial,
		channels: make(map[uint64]*channel), connections: make(map[uint64]int),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.answers.attach(first.outbox, 0)
	return s
}

// retire takes the session out of use and reports whether this call did; who gets true closes it.
func (s *Session) retire() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retireLocked()
}

func (s *Session) retireLocked() bool {
	if s.ended {
		return false
	}
	s.ended = true
	if s.window != nil {
		s.window.Stop()
	}
	return true
}

// close ends the streams of a retired session with cause, closes every channel on the host and waits for
// it. It returns how many there were.
func (s *Session) close(reason string, cause error) int {
	s.mu.Lock()
	latest, owner := s.latest, s.owner
	s.mu.Unlock()
	if latest != nil {
		latest.fail(cause)
	}
	owner.fail(cause)
	<-owner.received // what was received reaches the host before the closes
	s.mu.Lock()
	channels := s.channels
	s.channels = nil
	s.work.Add(len(channels))
	s.mu.Unlock()
	s.cancel()
	for _, c := range channels {
		c.close(reason, s.closed)
	}
	s.work.Wait()
	s.server.forget(s)
	close(s.over)
	return len(channels)
}

// closed is done of channel.close.
func (s *Session) closed() {
	s.mu.Lock()
	s.live--
	s.mu.Unlock()
	s.work.Done()
}

// begin finds an open channel and counts a call on it, which the caller ends with work.Done.
func (s *Session) begin(id uint64) *channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[id]
	if c == nil || c.rolls.Load() == notOpen {
		return nil
	}
	s.work.Add(1)
	return c
}

// drop takes a channel out of the tables; s.mu is held. It reports false when it was out already.
func (s *Session) drop(c *channel) bool {
	if s.channels[c.id] != c {
		return false
	}
	delete(s.channels, c.id)
	if s.connections[c.connection]--; s.connections[c.connection] == 0 {
		delete(s.connections, c.connection)
	}
	return true
}

// kicked follows a host's Kick: the channel is over without Close, and so is, with Close, every other
// channel of the connection when the sidecar is told to close that. It is told when all of them are over:
// from then on it has room for other submits, which nothing of these may take. If it has just closed the
// one channel itself, it is told of the others all the same.
func (s *Session) kicked(c *channel, kick sv2.Kick) {
	c.end(true)
	var siblings []*channel
	// All of it in one step for who looks the channel up: submits that come again must not be refused
	// because it is gone while the host's verdicts on them still count.
	s.mu.Lock()
	// Remembered first: a stream that begins now finds the channel open, or knows why it isn't.
	s.news.kicked(c, kick)
	if s.drop(c) {
		s.live--
	}
	if wholeConnection(kick.Action) && s.connections[c.connection] > 0 {
		for _, other := range s.channels {
			if other.connection == c.connection {
				siblings = append(siblings, other)
			}
		}
		for _, other := range siblings {
			s.news.kicked(other, kick)
			s.drop(other)
			s.work.Add(1)
			other.sink.finish()
		}
	}
	told := c.sink.farewell(kick)
	s.mu.Unlock()
	if !told && len(siblings) > 0 {
		tellKick(c, siblings, kick)
	}
	for _, other := range siblings {
		other.close("the pool closed the connection", s.closed)
	}
}

// tellKick tells the sidecar that its connection is to be closed, with the channels that are over because
// another was kicked, which the sidecar has closed itself. It knows the connection by a channel that was
// open; where none was, nobody mines yet, and the opens are refused.
func tellKick(gone *channel, siblings []*channel, kick sv2.Kick) {
	for _, named := range append(slices.Clone(siblings), gone) {
		if named.sink.wasOpened() {
			siblings[0].sink.say(entry{channel: named.id, message: kickMessage(named.id, kick)})
			return
		}
	}
	refusal := &sv2.Refusal{Reason: sv2.RefuseUnauthorized, Detail: kick.Reason}
	for _, other := range siblings {
		other.sink.say(entry{channel: other.id, message: refusedMessage(other.id, refusal)})
	}
}

// takeBack follows the word of the sidecar that it has answered these submits with an error: what these
// channels' hosts owe of them is not told any more, and what any host has accepted is withdrawn. ids
// ascend; again, they change nothing.
func (s *Session) takeBack(ids []uint64, channels ...*channel) {
	if len(ids) == 0 {
		return
	}
	for _, c := range channels {
		c.sink.cancel(ids)
	}
	for _, forgotten := range s.answers.forget(ids) {
		if c := forgotten.channel; forgotten.verdict.Accepted() {
			c.sink.withdrawn(forgotten.verdict)
			s.withdraw(c)
		}
	}
}

// withdraw tells the host, in the channel's turn, of accepted shares that the sidecar had answered with
// an error before it knew.
func (s *Session) withdraw(c *channel) {
	s.mu.Lock()
	if s.ended { // the close of the channel takes care of it
		s.mu.Unlock()
		return
	}
	s.work.Add(1)
	s.mu.Unlock()
	c.enqueue(func() {
		defer s.work.Done()
		c.withdraw()
	})
}

// drain tells the sidecar that the pool is about to stop.
func (s *Session) drain(grace time.Duration, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	l := s.latest
	switch {
	case l == nil:
	case !l.welcomed:
		l.fail(errStopping)
	default:
		// Before any open is refused for it: who hears of it first waits for the pool's next life.
		l.outbox.push(entry{message: drainMessage(grace, reason)})
	}
}

// present is the stream that the session is on, nil when there is none, or none that stays.
func (s *Session) present() *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.latest
	if l == nil || s.ended || !l.welcomed || l.leaving || l.ctx.Err() != nil {
		return nil
	}
	return l
}

// errReplaced is for a stream whose session ended while it took it over.
var errReplaced = status.Error(codes.Unavailable, "the session has just ended: dial again")
