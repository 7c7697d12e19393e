// One stream between the listener and a session.

package ffihost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/session"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// queued is how many batches and messages may wait for a session: with so many waiting nothing more is
// polled, the ring fills, and the listener reads no more from the miners.
const queued = 64

// keptSize is how many bytes of submits share one piece of memory, when batches are small.
const keptSize = 4096

var errEnded = errors.New("ffihost: the stream is over")

// stream is a [session.BatchStream]. The goroutine that polls fills it, those of the session empty it.
type stream struct {
	library library
	id      uint32
	ctx     context.Context
	cancel  context.CancelFunc
	queue   chan session.Request
	// batches that the session has done with.
	spare chan []session.Submit
	// ended is closed when nothing more comes, from either side.
	ended chan struct{}
	once  sync.Once
	// room holds a token when the ring may have room again.
	room chan struct{}
	// kept is memory for bytes of submits that nobody has yet; the goroutine's that polls.
	kept []byte

	last     []session.Submit // given to Recv's caller
	encoded  []byte
	verdicts []verdict
}

func newStream(library library, id uint32) *stream {
	s := &stream{library: library, id: id, queue: make(chan session.Request, queued),
		spare: make(chan []session.Submit, queued), ended: make(chan struct{}),
		room: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// end says that nothing more comes.
func (s *stream) end() { s.once.Do(func() { close(s.ended) }) }

// put queues what came; false when the session is not interested any more.
func (s *stream) put(request session.Request) bool {
	select {
	case s.queue <- request:
		return true
	case <-s.ended:
		return false
	}
}

// batch makes submits of events. Their bytes lie in a piece that is not written to again; each is cut off
// behind its own, so that a host that appends to them gets another. Used slices aren't cleared: every field is
// written here.
func (s *stream) batch(events []event) session.Request {
	var submits []session.Submit
	select {
	case submits = <-s.spare:
	default:
		submits = make([]session.Submit, 0, session.MaxBatch)
	}
	size := 0
	for i := range events {
		size += int(events[i].extranonceSize) + int(events[i].workerSize)
	}
	bytes := s.keep(size)
	submits = submits[:len(events)]
	for i := range events {
		e, to := &events[i], &submits[i]
		to.ChannelID, to.ID, to.JobID = e.channel, e.id, e.job
		to.Nonce, to.NTime, to.Version = e.nonce, e.ntime, e.version
		to.WouldRefuse = sv2.RejectReason(min(e.detail, 255))
		to.Extranonce, to.Worker = nil, nil
		if n := min(int(e.extranonceSize), len(e.extranonce)); n > 0 {
			copy(bytes, e.extranonce[:n])
			to.Extranonce, bytes = bytes[:n:n], bytes[n:]
		}
		if n := min(int(e.workerSize), len(e.worker)); n > 0 {
			copy(bytes, e.worker[:n])
			to.Worker, bytes = bytes[:n:n], bytes[n:]
		}
	}
	return session.Request{Submits: submits}
}

// keep is memory for so many bytes of submits, which the hosts own.
func (s *stream) keep(size int) []byte {
	if size > keptSize/4 {
		return make([]byte, size) // a rest would be lost
	}
	if size > len(s.kept) {
		s.kept = make([]byte, keptSize)
	}
	bytes := s.kept[:size]
	s.kept = s.kept[size:]
	return bytes
}

// Context ends with the session's end of the stream.
func (s *stream) Context() context.Context { return s.ctx }

// Recv gives what came, also when the stream is over, until it is empty.
func (s *stream) Recv() (session.Request, error) {
	if s.last != nil {
		select {
		case s.spare <- s.last[:0]:
		default:
		}
		s.last = nil
	}
	select {
	case request := <-s.queue:
		s.last = request.Submits
		return request, nil
	case <-s.ended:
	}
	select {
	case request := <-s.queue:
		s.last = request.Submits
		return request, nil
	default:
		return session.Request{}, io.EOF
	}
}

// Send hands a message to the listener.
func (s *stream) Send(message *sv2pb.SessionResponse) error {
	var err error
	s.encoded, err = proto.MarshalOptions{}.MarshalAppend(s.encoded[:0], message)
	if err != nil {
		return fmt.Errorf("ffihost: encode %T: %w", message.GetMessage(), err)
	}
	return hand(func() error { return s.library.control(s.id, s.encoded) }, s.room, s.ended)
}

// SendVerdicts hands verdicts to the listener. It has no use for their details.
func (s *stream) SendVerdicts(verdicts []sv2.Verdict) error {
	s.verdicts = s.verdicts[:0]
	for i := range verdicts {
		v := &verdicts[i]
		out := verdict{submit: v.SubmitID, reason: uint32(v.Reason), hash: v.Hash}
		if v.Accepted() {
			out.accepted, out.whole, out.fraction = 1, v.Credit.Whole, v.Credit.Fraction
			if v.BlockCandidate {
				out.block = 1
			}
		}
		s.verdicts = append(s.verdicts, out)
	}
	return hand(func() error { return s.library.complete(s.id, s.verdicts) }, s.room, s.ended)
}

// hasRoom wakes who waits in hand.
func (s *stream) hasRoom() { wake(s.room) }

// hand tries until there is room or the stream is over.
func hand(try func() error, room, ended <-chan struct{}) error {
	for {
		err := try()
		if err == nil {
			return nil // before there is an object for the error: shares come here
		}
		var refused *libraryError
		switch {
		case !errors.As(err, &refused):
			return err
		case refused.code == resultStreamOver:
			return errEnded
		case refused.code != resultFull:
			return fmt.Errorf("ffihost: the library refuses a message: %w", err)
		}
		select {
		case <-room:
		case <-ended:
			return errEnded
		}
	}
}

// wake says that there may be room.
func wake(room chan<- struct{}) {
	select {
	case room <- struct{}{}:
	default:
	}
}

// enter counts a stream; false: the listener is being freed, and nobody waits for more.
func (s *Server) enter(streams *sync.WaitGroup) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.freed {
		streams.Add(1)
	}
	return !s.freed
}

// begin serves a stream on a goroutine of its own.
func (s *Server) begin(id uint32) {
	if !s.enter(&s.streams) {
		return
	}
	next := newStream(s.library, id)
	s.newest = next
	go func() {
		defer s.streams.Done()
		if err := s.sessions.ServeBatches(next); err != nil {
			s.log.Warn("a stream of the listener ended", "error", err)
		}
		// The library may have ended it first.
		_ = s.library.hangUp(id)
		next.cancel()
		next.end()
	}()
}

// endStream says that nothing more comes on the newest stream.
func (s *Server) endStream() {
	if s.newest != nil {
		s.newest.end()
		s.newest = nil
	}
}
