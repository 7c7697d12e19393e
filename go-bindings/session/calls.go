// Requests of the pool to a sidecar, and their answers.

package session

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// maxCalls is how many requests of the pool to one sidecar may be unanswered; one more fails with
// RESOURCE_EXHAUSTED. The ledger behind them commits in groups, so more would only wait there.
const maxCalls = 64

// errGone is what a request gets whose sidecar is not, or no longer, there.
var errGone = status.Error(codes.Unavailable, "the sidecar is not connected or about to stop")

// callTable matches answers of the sidecar to requests of the pool. The zero value is ready.
type callTable struct {
	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan *sv2pb.SessionRequest
	closed  bool
}

// begin names a request and gives the channel its answer comes through, which is closed when the
// stream ends.
func (t *callTable) begin() (uint64, <-chan *sv2pb.SessionRequest, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return 0, nil, errGone
	}
	if len(t.waiting) >= maxCalls {
		return 0, nil, status.Errorf(codes.ResourceExhausted,
			"%d requests to the sidecar are unanswered", maxCalls)
	}
	if t.waiting == nil {
		t.waiting = make(map[uint64]chan *sv2pb.SessionRequest)
	}
	t.last++
	answer := make(chan *sv2pb.SessionRequest, 1)
	t.waiting[t.last] = answer
	return t.last, answer, nil
}

// resolve hands an answer to whoever waits for it, if anybody does.
func (t *callTable) resolve(id uint64, answer *sv2pb.SessionRequest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if waiting, ok := t.waiting[id]; ok {
		delete(t.waiting, id)
		waiting <- answer
	}
}

// cancel forgets a request; its answer is ignored.
func (t *callTable) cancel(id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.waiting, id)
}

// close fails everything that waits and whatever comes.
func (t *callTable) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, waiting := range t.waiting {
		close(waiting)
	}
	t.waiting = nil
}

// call sends a request and waits for its answer, CallFailed, the end of ctx or of the stream.
func (s *Session) call(
	ctx context.Context, request func(id uint64) *sv2pb.SessionResponse,
) (*sv2pb.SessionRequest, error) {
	if err := ctx.Err(); err != nil {
		return nil, status.FromContextError(err).Err()
	}
	l := s.present()
	if l == nil {
		return nil, errGone
	}
	id, answer, err := l.calls.begin()
	if err != nil {
		return nil, err
	}
	l.outbox.push(entry{message: request(id)})
	select {
	case <-ctx.Done():
		l.calls.cancel(id)
		return nil, status.FromContextError(ctx.Err()).Err()
	case got, ok := <-answer:
		if !ok {
			return nil, errGone
		}
		if failed := got.GetCallFailed(); failed != nil {
			return nil, callFailed(failed)
		}
		return got, nil
	}
}

// callFailed is the sidecar's error as a gRPC status; a code that is none, or OK, is UNKNOWN.
func callFailed(m *sv2pb.CallFailed) error {
	code := codes.Code(m.GetCode())
	if code == codes.OK || code > codes.Unauthenticated {
		code = codes.Unknown
	}
	return status.Error(code, printable(m.GetDetail(), maxText))
}

// wrongAnswer is for an answer of another kind than the request.
func wrongAnswer(got *sv2pb.SessionRequest) error {
	return status.Errorf(codes.Internal, "the sidecar answered with %T", got.GetMessage())
}

// SidecarID is Hello.sidecar_id: the operator's name of the sidecar.
func (s *Session) SidecarID() string { return s.hello.sidecar }

// Software is Hello.software, printable ASCII.
func (s *Session) Software() string { return s.hello.software }

// Ping measures the way to the sidecar's session loop and back. The error is a gRPC status.
func (s *Session) Ping(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	got, err := s.call(ctx, func(id uint64) *sv2pb.SessionResponse {
		return &sv2pb.SessionResponse{Message: &sv2pb.SessionResponse_Ping{
			Ping: &sv2pb.Ping{Id: id, SentUs: start.UnixMicro()}}}
	})
	if err != nil {
		return 0, err
	}
	if got.GetPong() == nil {
		return 0, wrongAnswer(got)
	}
	return time.Since(start), nil
}
