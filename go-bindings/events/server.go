// The server's side of EventService.

package events

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

const (
	// protocol is the version of the contract this package speaks.
	protocol = 1
	// maxBatch is how many events one batch may hold.
	maxBatch = 1024
	// maxSidecarID is the longest name of a sidecar, in bytes.
	maxSidecarID = 64
)

// Stream is one stream of a sidecar, such as the server's side of a gRPC stream. One goroutine calls both
// methods.
type Stream interface {
	// Context ends with the stream.
	Context() context.Context
	// Recv waits for the next message; io.EOF when the sidecar has no more.
	Recv() (*sv2pb.PublishRequest, error)
	// Send hands an answer over.
	Send(*sv2pb.PublishResponse) error
}

// Server brings streams to a sink. Its methods may be called from any goroutine.
type Server struct {
	sink     *guarded
	software string

	mu      sync.Mutex
	sources map[SourceID]*sequence
}

// sequence is how far a source has been kept. It lasts for as long as streams use it.
type sequence struct {
	streams int // guarded by the server's lock

	// turn holds a token while the sink is asked. No mutex: a stream that ends must not wait for a sink that
	// doesn't return, or each try of the sidecar would leave one here.
	turn chan struct{}
	have uint64 // guarded by turn
}

// NewServer makes a server. software names the pool in the sidecar's logs, at most 64 bytes. log is told of a
// sink that panics; nil: slog.Default().
func NewServer(sink Sink, software string, log *slog.Logger) *Server {
	if log == nil {
		log = slog.Default()
	}
	return &Server{sink: &guarded{sink: sink, log: log, known: make(map[place]struct{})}, software: software,
		sources: make(map[SourceID]*sequence)}
}

// Serve takes the events of one stream until it ends. The error is a gRPC status, nil when the sidecar ended
// the stream in order.
func (s *Server) Serve(stream Stream) error {
	ctx := stream.Context()
	first, err := stream.Recv()
	if err != nil {
		return ended(err)
	}
	source, err := sourceFrom(first.GetStart())
	if err != nil {
		return err
	}
	kept := s.enter(source.ID)
	defer s.leave(source.ID, kept)
	have, err := kept.begin(ctx, s.sink, source)
	if err != nil {
		return err
	}
	ready := &sv2pb.PublishReady{Protocol: protocol, HaveSeq: have, Software: s.software}
	err = stream.Send(&sv2pb.PublishResponse{Message: &sv2pb.PublishResponse_Ready{Ready: ready}})
	for err == nil {
		var request *sv2pb.PublishRequest
		if request, err = stream.Recv(); err != nil {
			return ended(err)
		}
		batch := request.GetBatch()
		if batch == nil {
			continue // a newer sidecar may know more
		}
		if have, err = kept.keep(ctx, s.sink, source, batch.GetEvents()); err != nil {
			return err
		}
		ack := &sv2pb.EventAck{Seq: have}
		err = stream.Send(&sv2pb.PublishResponse{Message: &sv2pb.PublishResponse_Ack{Ack: ack}})
	}
	return err
}

// enter gives the sequence of a source to a stream.
func (s *Server) enter(id SourceID) *sequence {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.sources[id]
	if kept == nil {
		kept = &sequence{turn: make(chan struct{}, 1)}
		s.sources[id] = kept
	}
	kept.streams++
	return kept
}

func (s *Server) leave(id SourceID, kept *sequence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept.streams--; kept.streams == 0 {
		delete(s.sources, id)
	}
}

// await waits until the sink is not asked for another stream.
func (q *sequence) await(ctx context.Context) error {
	select {
	case q.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func (q *sequence) release() { <-q.turn }

// begin asks the sink what it has.
func (q *sequence) begin(ctx context.Context, sink Sink, source Source) (have uint64, err error) {
	if err := q.await(ctx); err != nil {
		return 0, err
	}
	defer q.release()
	if have, err = sink.Begin(ctx, source); err != nil {
		return 0, err
	}
	// What was acknowledged and is gone doesn't come any more.
	q.have = max(have, source.First-1)
	return q.have, nil
}

// keep hands the sink what it doesn't have.
func (q *sequence) keep(
	ctx context.Context, sink Sink, source Source, batch []*sv2pb.Event,
) (have uint64, err error) {
	if len(batch) == 0 || len(batch) > maxBatch {
		return 0, malformed("a batch of %d events, want 1 to %d", len(batch), maxBatch)
	}
	for i, event := range batch {
		if want := batch[0].GetSeq() + uint64(i); event.GetSeq() != want || want == 0 {
			return 0, malformed("event %d of a batch has the number %d, want %d", i, event.GetSeq(), want)
		}
	}
	if err := q.await(ctx); err != nil {
		return 0, err
	}
	defer q.release()
	if first := batch[0].GetSeq(); first > q.have+1 {
		return 0, malformed("event %d comes, and %d is the last one that is kept", first, q.have)
	}
	known := min(q.have+1-batch[0].GetSeq(), uint64(len(batch)))
	fresh := batch[known:]
	if len(fresh) == 0 {
		return q.have, nil
	}
	if err := sink.Keep(ctx, source, fresh); err != nil {
		return 0, err
	}
	q.have = fresh[len(fresh)-1].GetSeq()
	return q.have, nil
}

// sourceFrom checks the first message of a stream.
func sourceFrom(start *sv2pb.PublishStart) (Source, error) {
	if start == nil {
		return Source{}, malformed("the first message must be PublishStart")
	}
	if start.GetProtocol() != protocol {
		return Source{}, status.Errorf(codes.FailedPrecondition,
			"this pool speaks version %d of gopool.sv2; the sidecar says %d", protocol, start.GetProtocol())
	}
	if len(start.GetSourceId()) != len(SourceID{}) {
		return Source{}, malformed("source_id has %d bytes, want 16", len(start.GetSourceId()))
	}
	name := start.GetSidecarId()
	if name == "" || len(name) > maxSidecarID || !printable(name) {
		return Source{}, malformed("sidecar_id %q: 1 to %d bytes of printable ASCII are needed",
			name[:min(len(name), maxSidecarID)], maxSidecarID)
	}
	return Source{ID: SourceID(start.GetSourceId()), SidecarID: name, Durable: start.GetDurable(),
		First: max(start.GetFirstSeq(), 1)}, nil
}

func printable(text string) bool {
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

func malformed(format string, values ...any) error {
	return status.Errorf(codes.InvalidArgument, format, values...)
}

// refused is the sink's error for the sidecar, which tries again whatever it is; nil for none.
func refused(err error) error {
	if _, is := status.FromError(err); is {
		return err
	}
	return status.Errorf(codes.Unavailable, "the pool can't keep events: %v", err)
}

// ended is how a stream ended.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
