// The gRPC server: its life, and the streams it brings to sessions.

package grpchost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/events"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/session"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// Session is what a sidecar and the pool have with each other: channels, and submits with their answers.
type Session = session.Session

// Account is the books of one account, an identity with a payout key, at the sidecar's mint bridge.
type Account = session.Account

// RecordedShare is a share the pool accepted at another door, e.g. Stratum V1.
type RecordedShare = session.RecordedShare

// TargetObserver may be implemented by an [sv2.Channel] that wants to know what the miner was really
// told.
type TargetObserver = session.TargetObserver

// Server serves one host to any number of sidecars. Its methods may be called from any goroutine.
type Server struct {
	options  Options
	sessions *session.Server
	grpc     *grpc.Server
	health   *health.Server
	// abandoned is closed when the sink of events is not waited for any more.
	abandoned chan struct{}
	abandon   sync.Once
}

// New makes a server of host. It reads an epoch, so it is made once per life of the host's channels
// and jobs. Call [Server.Shutdown] in the end, even if Serve was never called.
func New(host sv2.Host, options Options) (*Server, error) {
	sessions, err := session.New(host, options.ofSessions())
	if err != nil {
		return nil, fmt.Errorf("grpchost: %w", err)
	}
	s := &Server{options: options, sessions: sessions, abandoned: make(chan struct{})}
	s.grpc = grpc.NewServer(serverOptions(options)...)
	s.health = health.NewServer()
	s.health.SetServingStatus(sv2pb.WorkService_ServiceDesc.ServiceName,
		grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(s.grpc, s.health)
	sv2pb.RegisterWorkServiceServer(s.grpc, workService{sessions: sessions})
	var sink sv2pb.EventServiceServer = sv2pb.UnimplementedEventServiceServer{}
	if options.Events != nil {
		software := options.Software
		if software == "" {
			software = host.Limits().Software
		}
		sink = eventService{events: events.NewServer(options.Events, software, options.Logger),
			abandoned: s.abandoned}
	}
	sv2pb.RegisterEventServiceServer(s.grpc, sink)
	return s, nil
}

// Serve takes connections from listener, which it closes, until the server stops. It returns nil after
// [Server.Shutdown]. When ctx ends first, the whole server stops at once, without Drain, and Serve
// returns ctx's error, when the host has closed its channels or some seconds later. It may be called for
// several listeners at a time.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	if err := s.options.checkListener(listener); err != nil {
		return errors.Join(fmt.Errorf("grpchost: %w", err), listener.Close())
	}
	stopped := make(chan error, 1)
	cancel := context.AfterFunc(ctx, func() { stopped <- s.stop(ctx, s.sessions.Stop) })
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
// hang up until ctx ends. Streams that are left end with UNAVAILABLE, those of events when the sink has
// returned, or some seconds after ctx. The error says what could not be waited for; the server has stopped
// all the same.
func (s *Server) Shutdown(ctx context.Context) error {
	return s.stop(ctx, s.sessions.Shutdown)
}

// stop ends the sessions, in that way, and then the connections.
func (s *Server) stop(ctx context.Context, sessions func(context.Context) error) error {
	s.health.Shutdown()
	err := sessions(ctx)
	if err = errors.Join(err, s.disconnect(ctx)); err != nil {
		return fmt.Errorf("grpchost: %w", err)
	}
	return nil
}

// sinkGrace is what a sink may take beyond the time of a stop.
const sinkGrace = 2 * time.Second

// disconnect ends the connections and waits for what the sink of events has begun. One that doesn't heed its
// context is left alone.
func (s *Server) disconnect(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		s.grpc.Stop()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	late := time.NewTimer(sinkGrace)
	defer late.Stop()
	select {
	case <-done:
		return nil
	case <-late.C:
	}
	s.abandon.Do(func() { close(s.abandoned) })
	<-done
	return fmt.Errorf("the sink of events has not returned: %w", ctx.Err())
}

// Sessions are the sidecars that are connected now, in the order in which they first came.
func (s *Server) Sessions() []*Session { return s.sessions.Sessions() }

// SetPayout is [session.Session.SetPayout] on the sidecar that has the mint bridge.
func (s *Server) SetPayout(
	ctx context.Context, identity, payoutKey []byte, claimUnassigned bool,
) (released uint64, err error) {
	return s.sessions.SetPayout(ctx, identity, payoutKey, claimUnassigned)
}

// GetAccount is [session.Session.GetAccount] on the sidecar that has the mint bridge.
func (s *Server) GetAccount(
	ctx context.Context, identity, payoutKey []byte,
) (account Account, err error) {
	return s.sessions.GetAccount(ctx, identity, payoutKey)
}

// RecordShares is [session.Session.RecordShares] on the sidecar that has the mint bridge.
func (s *Server) RecordShares(
	ctx context.Context, shares []RecordedShare,
) (recorded []bool, err error) {
	return s.sessions.RecordShares(ctx, shares)
}

// workService is the generated service; it brings streams to sessions.
type workService struct {
	sv2pb.UnimplementedWorkServiceServer
	sessions *session.Server
}

// Session runs one stream to its end. The end of the handler ends Recv and Send.
func (w workService) Session(
	stream grpc.BidiStreamingServer[sv2pb.SessionRequest, sv2pb.SessionResponse],
) error {
	// A client that waits for the header before it says Hello must not wait forever.
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	return w.sessions.ServeBatches(&shareStream{BidiStreamingServer: stream})
}

// eventService is the generated service; it brings streams to a sink.
type eventService struct {
	sv2pb.UnimplementedEventServiceServer
	events    *events.Server
	abandoned <-chan struct{}
}

// Publish runs one stream to its end, or to that of the server.
func (e eventService) Publish(
	stream grpc.BidiStreamingServer[sv2pb.PublishRequest, sv2pb.PublishResponse],
) error {
	// As in Session.
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	// A sink that doesn't return must not keep the server from it.
	served := make(chan error, 1)
	go func() { served <- e.events.Serve(stream) }()
	select {
	case err := <-served:
		return err
	case <-e.abandoned:
		return status.Error(codes.Unavailable, "the pool has stopped")
	}
}
