// One stream from its start to its end.

package grpchost

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// sendGrace is how long the end of a session waits for a message that is being sent. A peer that
// doesn't read holds it up; ending the stream then ends the send.
const sendGrace = time.Second

// errHungUp is why a session ends whose sidecar closed its side: not a fault.
var errHungUp = errors.New("sidecar closed the stream")

// Session is one stream of one sidecar. It is over when the stream is.
type Session struct {
	server *Server
	stream grpc.BidiStreamingServer[sv2pb.SessionRequest, sv2pb.SessionResponse]
	// log and hello are set by Server.admit, under mu, before anything but teardown reads them.
	log   *slog.Logger
	hello hello
	// ctx ends with the session; its cause says why, as a gRPC status or errHungUp.
	ctx    context.Context
	cancel context.CancelCauseFunc
	outbox *outbox
	calls  callTable
	// received is closed when nothing more is received; over when the host has taken all closes.
	received, over chan struct{}

	// outstanding is how many submits hosts have not answered yet.
	outstanding atomic.Int64
	// lastSubmit is the highest Submit.id seen; the receiving goroutine's.
	lastSubmit uint64
	// overflow reports a full outbox once.
	overflow sync.Once

	mu       sync.Mutex
	welcomed bool
	// ended: no channel is opened and no call begun any more. draining: the pool is about to stop.
	ended, draining bool
	// leaving: the sidecar is about to stop.
	leaving     bool
	channels    map[uint64]*channel
	connections map[uint64]int
	// live counts channels the host knows or is asked about, those being closed included.
	live      int
	openCalls int
	waiting   []opening
	// work counts opens, updates and closes from when they are queued until they are done. It grows
	// under mu and before ended only.
	work sync.WaitGroup
}

// workService is the generated service; it starts sessions.
type workService struct {
	sv2pb.UnimplementedWorkServiceServer
	server *Server
}

// Session runs one stream to its end. The end of the handler ends Recv and Send, so those run on
// goroutines of their own.
func (w workService) Session(
	stream grpc.BidiStreamingServer[sv2pb.SessionRequest, sv2pb.SessionResponse],
) error {
	// A client that waits for the header before it says Hello must not wait forever.
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	s := newSession(w.server, stream)
	s.server.streams.Add(3)
	sent := make(chan struct{})
	go func() {
		defer s.server.streams.Done()
		defer close(s.received)
		s.receive()
	}()
	go func() {
		defer s.server.streams.Done()
		defer close(sent)
		s.transmit()
	}()
	<-s.ctx.Done()
	go func() {
		defer s.server.streams.Done()
		s.teardown()
	}()
	grace := time.NewTimer(sendGrace)
	defer grace.Stop()
	select {
	case <-sent:
	case <-grace.C:
	}
	cause := context.Cause(s.ctx)
	if errors.Is(cause, errHungUp) {
		return nil
	}
	return cause
}

func newSession(
	server *Server, stream grpc.BidiStreamingServer[sv2pb.SessionRequest, sv2pb.SessionResponse],
) *Session {
	s := &Session{
		server: server, stream: stream, log: server.options.Logger,
		received: make(chan struct{}), over: make(chan struct{}),
		channels: make(map[uint64]*channel), connections: make(map[uint64]int),
	}
	s.ctx, s.cancel = context.WithCancelCause(stream.Context())
	s.outbox = newOutbox(server.options.OutboxLimit, s.overflowed)
	return s
}

// fail ends the session; the first cause counts.
func (s *Session) fail(cause error) { s.cancel(cause) }

func (s *Session) overflowed() {
	s.overflow.Do(func() {
		s.log.Error("the sidecar reads too slowly or not at all: session ended",
			"outbox_limit", s.server.options.OutboxLimit)
	})
	s.fail(status.Errorf(codes.ResourceExhausted,
		"%d messages wait and the sidecar doesn't read: session ended", s.server.options.OutboxLimit))
}

// receive takes the sidecar's messages until the stream ends, or one is bad. Of those that come after the
// session's end only shares are taken: each may be a block.
func (s *Session) receive() {
	err := s.handshake()
	for err == nil {
		var request *sv2pb.SessionRequest
		if request, err = s.stream.Recv(); err != nil {
			break
		}
		if s.ctx.Err() == nil {
			err = s.take(request)
		} else if batch := request.GetSubmitBatch(); batch != nil {
			err = s.takeSubmits(batch.GetSubmits())
		}
	}
	if errors.Is(err, io.EOF) {
		err = errHungUp
	}
	s.fail(err)
}

// transmit sends what waits until the session ends: what queued while a message was sent goes next.
// An idle line costs nothing.
func (s *Session) transmit() {
	out := sender{send: s.stream.Send}
	var verdicts []sv2.Verdict
	var entries []entry
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.outbox.wake:
		}
		for s.ctx.Err() == nil {
			verdicts, entries = s.outbox.take(verdicts, entries)
			if len(verdicts)+len(entries) == 0 {
				break
			}
			if err := out.sendAll(verdicts, entries); err != nil {
				s.fail(err)
				return
			}
		}
	}
}

// teardown closes every channel on the host and waits for it.
func (s *Session) teardown() {
	cause := context.Cause(s.ctx)
	s.outbox.close()
	s.calls.close()
	// The handler is about to return, which ends what is received.
	<-s.received
	s.mu.Lock()
	s.ended = true
	channels := s.channels
	s.channels = nil
	s.work.Add(len(channels))
	log, accepted := s.log, s.hello.sidecar != ""
	s.mu.Unlock()
	reason := "the sidecar disconnected"
	if !leftBySidecar(cause) {
		reason = "session ended: " + printable(cause.Error(), maxText)
	}
	for _, c := range channels {
		c.close(reason, s.closed)
	}
	s.work.Wait()
	s.server.forget(s)
	close(s.over)
	switch {
	case !accepted:
		log.Warn("a stream ended before its Hello was accepted", "cause", cause)
	case leftBySidecar(cause):
		log.Info("sidecar disconnected", "channels", len(channels))
	default:
		log.Info("session ended", "cause", cause, "channels", len(channels))
	}
}

// leftBySidecar reports whether a session ended because the sidecar closed or dropped its stream, which
// is how one that stops does it.
func leftBySidecar(cause error) bool {
	return errors.Is(cause, errHungUp) || errors.Is(cause, context.Canceled) ||
		status.Code(cause) == codes.Canceled
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
// channel of the connection when the sidecar is told to close that.
func (s *Session) kicked(c *channel, action sv2.KickAction) {
	c.end(true)
	var siblings []*channel
	s.mu.Lock()
	if s.drop(c) {
		s.live--
	}
	whole := action == sv2.KickConnection || action == sv2.KickReconnect
	if whole && s.connections[c.connection] > 0 {
		for _, other := range s.channels {
			if other.connection == c.connection {
				siblings = append(siblings, other)
			}
		}
		for _, other := range siblings {
			s.drop(other)
			s.work.Add(1)
		}
	}
	s.mu.Unlock()
	for _, other := range siblings {
		other.close("the pool closed the connection", s.closed)
	}
}

// drain tells the sidecar that the pool is about to stop.
func (s *Session) drain(grace time.Duration, reason string) {
	s.mu.Lock()
	s.draining = true
	welcomed := s.welcomed
	s.mu.Unlock()
	if !welcomed {
		s.fail(errStopping)
		return
	}
	s.outbox.push(entry{message: drainMessage(grace, reason)})
}
