// One stream of events between the listener and a sink.

package ffihost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// publishing is an [events.Stream]. The goroutine that polls says which records there are; the one that
// serves the sink takes them, so that a slow sink costs the listener's memory of one message, and none here.
type publishing struct {
	library library
	id      uint32
	ctx     context.Context
	cancel  context.CancelFunc
	// records that are not taken yet: the next comes when one was.
	records chan record
	// room holds a token when the ring may have room again.
	room chan struct{}
	once sync.Once
	// ended is closed when nothing more comes.
	ended chan struct{}
}

// record is one message that waits in the library.
type record struct {
	id     uint64
	length uint32
}

func newPublishing(library library, id uint32) *publishing {
	p := &publishing{library: library, id: id, records: make(chan record, 1), room: make(chan struct{}, 1),
		ended: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// put notes a record.
func (p *publishing) put(r record) {
	select {
	case p.records <- r:
	case <-p.ended:
	}
}

// end says that nothing more comes, also to the sink.
func (p *publishing) end() {
	p.once.Do(func() { close(p.ended) })
	p.cancel()
}

// Context ends with the stream.
func (p *publishing) Context() context.Context { return p.ctx }

// Recv waits for the next message and takes it.
func (p *publishing) Recv() (*sv2pb.PublishRequest, error) {
	var next record
	select {
	case next = <-p.records:
	case <-p.ended:
		return nil, io.EOF
	}
	bytes, err := p.library.take(next.id, next.length)
	var refused *libraryError
	switch {
	case errors.As(err, &refused) && refused.code == resultNoRecord:
		return nil, io.EOF // the stream has ended meanwhile
	case err != nil:
		return nil, fmt.Errorf("ffihost: take events of the listener: %w", err)
	}
	request := &sv2pb.PublishRequest{}
	if err := proto.Unmarshal(bytes, request); err != nil {
		return nil, fmt.Errorf("ffihost: events of the listener: %w", err)
	}
	return request, nil
}

// Send hands an answer to the listener.
func (p *publishing) Send(answer *sv2pb.PublishResponse) error {
	encoded, err := proto.Marshal(answer)
	if err != nil {
		return fmt.Errorf("ffihost: encode %T: %w", answer.GetMessage(), err)
	}
	err = hand(func() error { return p.library.acknowledge(p.id, encoded) }, p.room, p.ended)
	if errors.Is(err, errEnded) {
		return io.EOF // as a client that has gone: nothing is wrong
	}
	return err
}

// hasRoom wakes who waits in Send.
func (p *publishing) hasRoom() { wake(p.room) }

// publish brings a message of events to the sink; the first of a stream begins it.
func (s *Server) publish(e *event) {
	if s.events == nil {
		_ = s.library.hangUp(e.stream) // the listener logs that nobody wants them
		return
	}
	if s.history == nil || s.history.id != e.stream {
		s.endEvents()
		if !s.enter(&s.sinks) {
			return
		}
		next := newPublishing(s.library, e.stream)
		s.history = next
		go func() {
			defer s.sinks.Done()
			if err := s.events.Serve(next); err != nil && !errors.Is(err, io.EOF) && next.ctx.Err() == nil {
				s.log.Warn("events of the listener wait: they come again", "error", err)
			}
			_ = s.library.hangUp(next.id)
			next.end()
		}()
	}
	s.history.put(record{e.id, e.length})
}

// endEvents says that nothing more comes on the newest stream of events.
func (s *Server) endEvents() {
	if s.history != nil {
		s.history.end()
		s.history = nil
	}
}

// sinkGrace is what a sink may take beyond the time of a stop.
const sinkGrace = 2 * time.Second

// awaitSinks waits for what the sink has begun. One that doesn't heed its context is left alone.
func (s *Server) awaitSinks(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		s.sinks.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-done:
		return nil
	case <-time.After(sinkGrace):
		return fmt.Errorf("the sink of events has not returned: %w", ctx.Err())
	}
}
