// One stream from its start to its end.

package session

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// sendGrace is how long the end of a stream waits for a message that is being sent. A peer that
// doesn't read holds it up; ending the stream then ends the send.
const sendGrace = time.Second

// errHungUp is why a stream ends whose sidecar closed its side: not a fault.
var errHungUp = errors.New("sidecar closed the stream")

// violation is the end of a stream whose sidecar broke the contract: the session ends with it.
type violation struct{ error }

func (v violation) Unwrap() error { return v.error }

// link is one stream of a sidecar. It belongs to one session from its Hello on.
type link struct {
	server *Server
	stream BatchStream
	// ctx ends with the stream; its cause says why, as a gRPC status, a violation or errHungUp.
	ctx    context.Context
	cancel context.CancelCauseFunc
	outbox *outbox
	calls  callTable
	// received is closed when nothing more is received.
	received chan struct{}
	overflow sync.Once

	// session and log are set when Hello is accepted; the receiving goroutine's, and after it that of
	// teardown.
	session *Session
	log     *slog.Logger
	hello   hello
	// lastSubmit is the highest Submit.id of the stream; again is that of the session when the stream
	// began: what is not above it was sent before. The receiving goroutine's.
	lastSubmit, again uint64
	// submits is memory for batches that come as messages; the receiving goroutine's.
	submits []Submit
	// homes and touched are memory for the channels of a batch: of each submit that goes to a host, and
	// each channel once. The receiving goroutine's.
	homes, touched []*channel
	// slab is memory for submits that nobody has yet; the receiving goroutine's.
	slab []sv2.Submit

	// welcomed: Welcome is queued. leaving: the sidecar is about to stop. Guarded by session.mu.
	welcomed, leaving bool
}

// Serve runs one stream to its end, which is the session's end of it: see [Stream]. nil when the sidecar
// closed its side in order, else the error is what the sidecar is to be told: a gRPC status, whatever the
// carrier, or how the stream broke.
func (s *Server) Serve(stream Stream) error { return s.ServeBatches(messages{stream}) }

// ServeBatches is [Server.Serve] for a stream with memory of its own for submits and verdicts.
func (s *Server) ServeBatches(stream BatchStream) error {
	l := newLink(s, stream)
	if !s.enter(l) {
		l.fail(errStopping)
		return errStopping
	}
	// Recv and Send end when this function has returned, so they run on goroutines of their own.
	sent := make(chan struct{})
	go func() {
		defer l.server.running.Done()
		defer close(l.received)
		l.receive()
	}()
	go func() {
		defer l.server.running.Done()
		defer close(sent)
		l.transmit()
	}()
	<-l.ctx.Done()
	go func() {
		defer l.server.running.Done()
		l.teardown()
	}()
	grace := time.NewTimer(sendGrace)
	defer grace.Stop()
	select {
	case <-sent:
	case <-grace.C:
	}
	cause := context.Cause(l.ctx)
	var broken violation
	switch {
	case errors.Is(cause, errHungUp):
		return nil
	case errors.As(cause, &broken):
		return broken.error
	default:
		return cause
	}
}

func newLink(server *Server, stream BatchStream) *link {
	l := &link{server: server, stream: stream, log: server.options.Logger,
		received: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancelCause(stream.Context())
	l.outbox = newOutbox(server.options.OutboxLimit, l.overflowed)
	return l
}

// fail ends the stream; the first cause counts.
func (l *link) fail(cause error) { l.cancel(cause) }

func (l *link) overflowed() {
	l.overflow.Do(func() {
		l.server.options.Logger.Error("the sidecar reads too slowly or not at all: stream ended",
			"outbox_limit", l.server.options.OutboxLimit)
	})
	l.fail(status.Errorf(codes.ResourceExhausted,
		"%d messages wait and the sidecar doesn't read: stream ended", l.server.options.OutboxLimit))
}

// receive takes the sidecar's messages until the stream ends, or one is bad. Of those that come after the
// stream's end only shares are taken, for each may be a block, and closes: the sidecar has room for new
// shares since it closed a channel, and the answers of that must not push others out of the ring.
func (l *link) receive() {
	err := l.handshake()
	for err == nil {
		var request Request
		if request, err = l.stream.Recv(); err != nil {
			break
		}
		if request.Message == nil {
			err = l.takeSubmits(request.Submits)
		} else {
			err = l.takeMessage(request.Message)
		}
		if err != nil {
			err = violation{err}
		}
	}
	if errors.Is(err, io.EOF) {
		err = errHungUp
	}
	l.fail(err)
}

// takeMessage takes one message, or leaves it out when the stream has ended.
func (l *link) takeMessage(message *sv2pb.SessionRequest) error {
	switch m := message.GetMessage().(type) {
	case *sv2pb.SessionRequest_SubmitBatch:
		return l.takeBatch(m.SubmitBatch.GetSubmits())
	case *sv2pb.SessionRequest_CloseChannel:
		return l.takeClose(m.CloseChannel)
	default:
		if l.ctx.Err() != nil {
			return nil
		}
		return l.take(message)
	}
}

// transmit sends what waits until the stream ends: what queued while a message was sent goes next.
// An idle line costs nothing.
func (l *link) transmit() {
	// Nothing has a number before Welcome, when there is a session.
	out := sender{seq: func() uint64 { return l.session.jobs.Add(1) }, stream: l.stream}
	var verdicts []sv2.Verdict
	var entries []entry
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-l.outbox.wake:
		}
		for l.ctx.Err() == nil {
			verdicts, entries = l.outbox.take(verdicts, entries)
			if len(verdicts)+len(entries) == 0 {
				break
			}
			if err := out.sendAll(verdicts, entries); err != nil {
				l.fail(err)
				return
			}
		}
	}
}

// teardown leaves the session, which waits for another stream or ends.
func (l *link) teardown() {
	l.outbox.close()
	l.calls.close()
	// Serve is about to return, and the carrier ends what is received then.
	<-l.received
	defer l.server.leave(l)
	if l.session == nil {
		l.log.Warn("a stream ended before its Hello was accepted", "cause", context.Cause(l.ctx))
		return
	}
	l.server.left(l, context.Cause(l.ctx))
}

// leftBySidecar reports whether a stream ended because the sidecar closed or dropped it, which is how one
// that stops does it.
func leftBySidecar(cause error) bool {
	return errors.Is(cause, errHungUp) || errors.Is(cause, context.Canceled) ||
		status.Code(cause) == codes.Canceled
}
