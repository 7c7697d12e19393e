// The server: its life, and which sessions there are.

package grpchost

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// closeGrace is how long a stop waits, beyond the caller's context, for the host to take the closes of
// channels. A host that honours its contexts needs a fraction of it.
const closeGrace = 2 * time.Second

var (
	errStopping = status.Error(codes.Unavailable, "the pool is about to stop")
	errFenced   = status.Error(codes.Aborted,
		"fenced: the session goes on, on a newer stream")
)

// Server serves one host to any number of sidecars. Its methods may be called from any goroutine.
type Server struct {
	host    sv2.Host
	options Options
	// epoch is that of the first session; see epochOf.
	epoch  [idSize]byte
	grpc   *grpc.Server
	health *health.Server
	// running counts the goroutines of streams and of sessions that are closed. Those of the latter begin
	// under mu, before stopping is set.
	running sync.WaitGroup

	mu       sync.Mutex
	stopping bool
	order    uint64
	sessions map[sessionID]*Session
}

// New makes a server of host. It reads an epoch, so it is made once per life of the host's channels
// and jobs. Call [Server.Shutdown] in the end, even if Serve was never called.
func New(host sv2.Host, options Options) (*Server, error) {
	if host == nil {
		return nil, errors.New("grpchost: host is nil")
	}
	options, err := options.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("grpchost: %w", err)
	}
	s := &Server{host: host, options: options, sessions: make(map[sessionID]*Session)}
	if _, err := io.ReadFull(options.Epoch, s.epoch[:]); err != nil {
		return nil, fmt.Errorf("grpchost: read %d bytes of epoch: %w", idSize, err)
	}
	s.grpc = grpc.NewServer(serverOptions(options)...)
	s.health = health.NewServer()
	s.health.SetServingStatus(sv2pb.WorkService_ServiceDesc.ServiceName,
		grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(s.grpc, s.health)
	sv2pb.RegisterWorkServiceServer(s.grpc, workService{server: s})
	sv2pb.RegisterEventServiceServer(s.grpc, sv2pb.UnimplementedEventServiceServer{})
	return s, nil
}

// Serve takes connections from listener, which it closes, until the server stops. It returns nil after
// [Server.Shutdown]. When ctx ends first, the whole server stops at once, without Drain, and Serve
// returns ctx's error, when the host has closed its channels or some seconds later. It may be called for several listeners at a time.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	if err := s.options.checkListener(listener); err != nil {
		return errors.Join(fmt.Errorf("grpchost: %w", err), listener.Close())
	}
	stopped := make(chan error, 1)
	cancel := context.AfterFunc(ctx, func() { stopped <- s.stop(ctx) })
	err := s.grpc.Serve(listener)
	switch {
	case !cancel():
		return errors.Join(ctx.Err(), <-stopped)
	case err == nil || errors.Is(err, grpc.ErrServerStopped):
		return nil
	default:
		return fmt.Errorf("grpchost: serve on %v: %w", listener.Addr(), err)
	}
}

// Shutdown stops in order: no new session or channel is taken, sessions that wait for their sidecar are
// closed, each sidecar gets Drain with the time that is left, the host is drained, and then sidecars may
// hang up until ctx ends. Streams that are left end with UNAVAILABLE. The error says what could not be waited for; the server has stopped all
// the same.
func (s *Server) Shutdown(ctx context.Context) error {
	sessions := s.refuseNew()
	var grace time.Duration
	if deadline, ok := ctx.Deadline(); ok {
		grace = time.Until(deadline)
	}
	for _, session := range sessions {
		session.drain(grace, "the pool is about to stop")
	}
	var faults []error
	if err := s.host.Drain(ctx); err != nil {
		faults = append(faults, fmt.Errorf("drain the host: %w", err))
	}
	left := 0
	for _, session := range sessions {
		select {
		case <-session.over:
		case <-ctx.Done():
			left++
		}
	}
	if left > 0 {
		faults = append(faults, fmt.Errorf("%d sidecars had not hung up: %w", left, ctx.Err()))
	}
	if err := s.stop(ctx); err != nil {
		faults = append(faults, err)
	}
	if len(faults) > 0 {
		return fmt.Errorf("grpchost: shutdown: %w", errors.Join(faults...))
	}
	return nil
}

// stop ends all sessions and waits for their goroutines until ctx ends, and then closeGrace more.
func (s *Server) stop(ctx context.Context) error {
	for _, session := range s.refuseNew() {
		session.cut(errStopping)
	}
	s.grpc.Stop()
	gone := make(chan struct{})
	go func() {
		s.running.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
	}
	late := time.NewTimer(closeGrace)
	defer late.Stop()
	select {
	case <-gone:
		return nil
	case <-late.C:
		return errors.New("the host has not closed all channels yet")
	}
}

// refuseNew turns the server to stopping, closes the sessions that no stream can come for any more, and
// gives the sessions there are.
func (s *Server) refuseNew() []*Session {
	s.health.Shutdown()
	s.mu.Lock()
	defer s.mu.Unlock()
	sessions := s.inOrder()
	if s.stopping {
		return sessions
	}
	s.stopping = true
	for _, session := range sessions {
		session.mu.Lock()
		detached := session.latest == nil && session.retireLocked()
		session.mu.Unlock()
		if detached {
			s.closeLocked([]*Session{session}, "the pool is about to stop", errStopping)
		}
	}
	return sessions
}

// Sessions are the sidecars that are connected now, in the order in which they first came.
func (s *Server) Sessions() []*Session {
	s.mu.Lock()
	sessions := s.inOrder()
	s.mu.Unlock()
	return slices.DeleteFunc(sessions, func(session *Session) bool {
		return session.present() == nil
	})
}

func (s *Server) inOrder() []*Session {
	sessions := make([]*Session, 0, len(s.sessions))
	for _, session := range s.sessions {
		sessions = append(sessions, session)
	}
	slices.SortFunc(sessions, func(a, b *Session) int { return cmp.Compare(a.order, b.order) })
	return sessions
}

// epochOf is the epoch of the session of that place in the order of arrival. Each has its own: a sidecar
// whose session was forgotten, and begun anew behind a Welcome that it never got, must not come back to
// that as if it were the one it knows.
func (s *Server) epochOf(order uint64) [idSize]byte {
	epoch := s.epoch
	tail := epoch[idSize-8:]
	binary.BigEndian.PutUint64(tail, binary.BigEndian.Uint64(tail)^(order-1))
	return epoch
}

// forget takes an ended session out of the table, unless a newer one has its place.
func (s *Server) forget(session *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[session.hello.session] == session {
		delete(s.sessions, session.hello.session)
	}
}
