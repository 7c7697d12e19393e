// The server: its life, and which sessions there are.

package session

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// closeGrace is how long a stop waits, beyond the caller's context, for the host to take the closes of
// channels. A host that honours its contexts needs a fraction of it.
const closeGrace = 2 * time.Second

var (
	errStopping = status.Error(codes.Unavailable, "the pool is about to stop")
	errFenced   = status.Error(codes.Aborted,
		"fenced: the session goes on, on a newer stream")
)

// Server serves one host to any number of sidecars, on the streams that carriers bring it. Its methods
// may be called from any goroutine.
type Server struct {
	host    sv2.Host
	options Options
	// epoch is that of the first session; see epochOf.
	epoch [idSize]byte
	// running counts the goroutines of streams and of sessions that are closed. Those of the former begin
	// under mu, before stopped is set, those of the latter before stopping is.
	running sync.WaitGroup

	mu                sync.Mutex
	stopping, stopped bool
	order             uint64
	sessions          map[sessionID]*Session
	links             map[*link]struct{}
}

// New makes a server of host. It reads an epoch, so it is made once per life of the host's channels
// and jobs. Call [Server.Shutdown] or [Server.Stop] in the end, even if Serve was never called.
func New(host sv2.Host, options Options) (*Server, error) {
	if host == nil {
		return nil, errors.New("host is nil")
	}
	options, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{host: host, options: options, sessions: make(map[sessionID]*Session),
		links: make(map[*link]struct{})}
	if _, err := io.ReadFull(options.Epoch, s.epoch[:]); err != nil {
		return nil, fmt.Errorf("read %d bytes of epoch: %w", idSize, err)
	}
	return s, nil
}

// Shutdown stops in order: no new session or channel is taken, sessions that wait for their sidecar are
// closed, each sidecar gets Drain with the time that is left, the host is drained, and then sidecars may
// hang up until ctx ends. Streams that are left end with UNAVAILABLE. The error says what could not be
// waited for; the server has stopped all the same.
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
	if err := s.Stop(ctx); err != nil {
		faults = append(faults, err)
	}
	if len(faults) > 0 {
		return fmt.Errorf("shutdown: %w", errors.Join(faults...))
	}
	return nil
}

// Stop ends at once, without Drain: streams end with UNAVAILABLE, those that come later too, and every
// channel is closed on the host. It waits for the host, and for the carrier to end the streams, until ctx
// ends and then some seconds more; the error says that it was not enough.
func (s *Server) Stop(ctx context.Context) error {
	s.refuseNew()
	s.mu.Lock()
	s.stopped = true
	links := slices.Collect(maps.Keys(s.links))
	s.mu.Unlock()
	for _, l := range links {
		l.fail(errStopping)
	}
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

// enter counts a stream in, with its three goroutines, unless the server has stopped.
func (s *Server) enter(l *link) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.links[l] = struct{}{}
	s.running.Add(3)
	return true
}

// leave counts a stream out.
func (s *Server) leave(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.links, l)
}

// refuseNew turns the server to stopping, closes the sessions that no stream can come for any more, and
// gives the sessions there are.
func (s *Server) refuseNew() []*Session {
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
