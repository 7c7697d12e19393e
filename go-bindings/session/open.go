// Opening channels, a bounded number at a time.

package session

import (
	"runtime"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

const (
	// maxOpenCalls is how many opens of one session the host is asked at a time. Opening may wait for
	// a password check or a node; miners that come at once must not become as many goroutines.
	maxOpenCalls = 16
	// maxOpensWaiting is how many more wait. Channels that were open before a restart of the pool come
	// all at once and are not counted; MaxChannels bounds them.
	maxOpensWaiting = 16384
	// opensInARow is after how many opens a goroutine lets others run.
	opensInARow = 4
)

// opening is an open that waits for its turn or runs.
type opening struct {
	channel *channel
	request sv2.OpenRequest
}

// takeOpen starts or queues an open, or refuses it.
func (l *link) takeOpen(m *sv2pb.OpenChannel) error {
	s := l.session
	id := m.GetChannelId()
	if id == 0 {
		return status.Error(codes.InvalidArgument, "OpenChannel.channel_id is 0")
	}
	request, refusal := openRequestFrom(m)
	s.mu.Lock()
	switch {
	case s.ended:
		s.mu.Unlock()
		return nil
	case s.channels[id] != nil:
		s.mu.Unlock()
		return status.Errorf(codes.InvalidArgument, "OpenChannel.channel_id %d is in use", id)
	case refusal != nil:
	case s.draining:
		refusal = &sv2.Refusal{Reason: sv2.RefuseNoWork, Detail: "the pool is about to stop"}
	case s.live >= s.server.options.MaxChannels:
		refusal = &sv2.Refusal{Reason: sv2.RefuseCapacity, Detail: "the session has too many channels"}
	case s.openCalls >= maxOpenCalls && len(s.waiting) >= maxOpensWaiting && !request.Reopen:
		refusal = &sv2.Refusal{Reason: sv2.RefuseRateLimited, Detail: "too many opens wait"}
	}
	if refusal != nil {
		s.mu.Unlock()
		l.outbox.push(entry{channel: id, message: refusedMessage(id, refusal)})
		return nil
	}
	next := opening{newChannel(l, id, request.Connection.ID), request}
	s.channels[id] = next.channel
	s.connections[next.channel.connection]++
	s.live++
	s.work.Add(1)
	start := s.openCalls < maxOpenCalls
	if start {
		s.openCalls++
	} else {
		s.waiting = append(s.waiting, next)
	}
	s.mu.Unlock()
	if start {
		go s.runOpens(next)
	}
	return nil
}

// runOpens runs an open and then those that wait.
func (s *Session) runOpens(next opening) {
	for done := 1; ; done++ {
		s.open(next)
		s.work.Done()
		s.mu.Lock()
		if len(s.waiting) == 0 {
			s.openCalls--
			s.waiting = nil
			s.mu.Unlock()
			return
		}
		next = s.waiting[0]
		s.waiting[0] = opening{}
		s.waiting = s.waiting[1:]
		s.mu.Unlock()
		// Who waits for nothing may go on for 10 ms: with few processors the shares of others would wait
		// as long for each of these goroutines.
		if done%opensInARow == 0 {
			runtime.Gosched()
		}
	}
}

// open asks the host and queues the answer. When the channel was closed meanwhile there is no answer,
// and the close, which waits behind, closes it on the host too.
func (s *Session) open(next opening) {
	c := next.channel
	defer c.release()
	if c.isOver() {
		return
	}
	host, opened, err := s.server.host.OpenChannel(c.ctx, next.request, c.sink)
	var message *sv2pb.SessionResponse
	switch {
	case err != nil:
	case host == nil:
		err = malformed("the host gave no channel and no error")
	default:
		message, err = openedMessage(c.id, next.request, opened)
		if err != nil && !c.sink.kickHeld() {
			host.Close("what the host said about the channel can't be sent")
		}
	}
	if err != nil {
		s.refuse(c, err)
		return
	}
	c.host = host
	c.rolls.Store(int32(opened.ExtranonceSize))
	c.sink.open(message, opened.Job)
}

// refuse answers an open that failed, unless the channel is over.
func (s *Session) refuse(c *channel, err error) {
	refusal := refusalFrom(err)
	if refusal.Reason == sv2.RefuseInternal && c.ctx.Err() == nil {
		s.log.Error("the host failed to open a channel", "channel", c.id, "error", err)
	}
	if !c.sink.finish() {
		return
	}
	c.end(true)
	s.mu.Lock()
	if s.drop(c) {
		s.live--
	}
	s.mu.Unlock()
	// Not open, so it is the stream's that it was asked for on: an answer to no other.
	c.sink.out.push(entry{channel: c.id, message: refusedMessage(c.id, refusal)})
}
