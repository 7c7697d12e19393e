// The server: its life, and what it does with events.

package ffihost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/events"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/session"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// Server is a listener in this process that serves one host. Its methods may be called from any
// goroutine.
type Server struct {
	options  Options
	log      *slog.Logger
	sessions *session.Server
	library  library
	events   *events.Server // nil: nobody wants them
	// streams that are served, and those of events.
	streams, sinks sync.WaitGroup
	// over is closed when the listener has had its last event, or none comes any more.
	over chan struct{}
	// stop asks the goroutine that polls to end.
	stop     chan struct{}
	stopOnce sync.Once

	mu      sync.Mutex
	state   state
	served  bool // Serve was called
	url     string
	newest  *stream
	history *publishing
	fatal   error
	freed   bool          // no stream begins any more
	ended   chan struct{} // closed when release is done
	release sync.Once
}

type state int

const (
	made state = iota
	running
	stopped
	failed // it could not be started
)

// New makes a listener of a configuration, and does not start it. The error names everything that is
// wrong with the configuration. Call [Server.Shutdown] in the end, even if Serve was never called.
func New(host sv2.Host, options Options) (*Server, error) {
	if err := options.check(); err != nil {
		return nil, fmt.Errorf("ffihost: %w", err)
	}
	return newServer(host, options, func() (library, error) {
		return newLibrary(options.ConfigFile, options.Config, options.Threads)
	})
}

// newServer makes a server of whatever listener is made.
func newServer(host sv2.Host, options Options, open func() (library, error)) (*Server, error) {
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	if !linked {
		return nil, fmt.Errorf("ffihost: %w", ErrNoLibrary)
	}
	sessions, err := session.New(host, options.session())
	if err != nil {
		return nil, fmt.Errorf("ffihost: %w", err)
	}
	listener, err := open()
	if err != nil {
		stopped, cancel := context.WithCancel(context.Background())
		cancel()
		return nil, errors.Join(fmt.Errorf("ffihost: %w", err), sessions.Stop(stopped))
	}
	server := &Server{options: options, log: options.Logger, sessions: sessions, library: listener,
		over: make(chan struct{}), stop: make(chan struct{}), ended: make(chan struct{})}
	if options.Events != nil {
		name := options.Software
		if name == "" {
			name = host.Limits().Software
		}
		server.events = events.NewServer(options.Events, name, options.Logger)
	}
	return server, nil
}

// errStopped says that there is nothing to start any more.
var errStopped = errors.New("ffihost: it was shut down")

// Start opens the port for miners, so that [Server.URL] is known; Serve does if it was not called.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.state {
	case made:
	case stopped:
		return errStopped
	default:
		return errors.New("ffihost: it was started before")
	}
	s.state = failed
	if err := s.library.start(); err != nil {
		return fmt.Errorf("ffihost: %w", err)
	}
	url, err := s.library.url()
	if err != nil {
		return fmt.Errorf("ffihost: %w", err)
	}
	s.state, s.url = running, url
	return nil
}

// URL is what a miner on this machine types to connect, with the listener's key; empty before Start.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

// Sessions are the listener's sessions with the host that are up now: one, or none.
func (s *Server) Sessions() []*session.Session { return s.sessions.Sessions() }

// Serve lets miners in until the server stops. It returns nil after [Server.Shutdown]. When ctx ends
// first, the listener is cut off at once, and Serve returns ctx's error. Any other error says why the
// listener serves nobody any more. It may be called once.
func (s *Server) Serve(ctx context.Context) error {
	s.mu.Lock()
	fresh, again := s.state == made, s.served
	s.served = true
	over, broken := s.state == stopped, s.state == failed
	s.mu.Unlock()
	switch {
	case broken:
		return errors.New("ffihost: it could not be started: make another server")
	case again:
		return errors.New("ffihost: Serve was called before: make another server")
	case over:
		close(s.over)
		return nil // after Shutdown
	}
	if fresh {
		switch err := s.Start(); {
		case errors.Is(err, errStopped): // Shutdown was faster
			close(s.over)
			return nil
		case err != nil:
			return errors.Join(err, s.free(ctx))
		}
	}
	cut := context.AfterFunc(ctx, s.cutOff)
	err := s.run()
	close(s.over)
	if !cut() {
		return errors.Join(ctx.Err(), s.free(ctx))
	}
	select {
	case <-s.stop: // by Shutdown, which may have freed the listener under the hands of run
		err = nil
	default:
	}
	s.mu.Lock()
	err = errors.Join(err, s.fatal)
	s.mu.Unlock()
	if err != nil {
		return errors.Join(fmt.Errorf("ffihost: %w", err), s.free(ctx))
	}
	return nil
}

// Shutdown stops in order: no miner is let in any more, those that are there are told to reconnect, what
// is in flight is answered, the host is drained, and the listener is freed. When ctx ends first, what is
// left is cut off. The error says what could not be waited for; the server has stopped all the same.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	runs, served := s.state == running, s.served
	s.state = stopped
	s.mu.Unlock()
	var faults []error
	if runs && served { // else nobody polls, and no miner was ever answered
		if err := s.library.drain(); err != nil {
			faults = append(faults, fmt.Errorf("stop the listener: %w", err))
			s.cutOff()
		}
		select {
		case <-s.over:
		case <-ctx.Done():
			faults = append(faults, fmt.Errorf("the listener has not stopped yet: %w", ctx.Err()))
			s.cutOff()
		}
	}
	if err := s.sessions.Shutdown(ctx); err != nil {
		faults = append(faults, err)
	}
	if err := s.free(ctx); err != nil {
		faults = append(faults, err)
	}
	if len(faults) > 0 {
		return fmt.Errorf("ffihost: shutdown: %w", errors.Join(faults...))
	}
	return nil
}

// cutOff makes the goroutine that polls end.
func (s *Server) cutOff() { s.stopOnce.Do(func() { close(s.stop) }) }

// free ends what is left and gives the listener back, once; later calls wait for it.
func (s *Server) free(ctx context.Context) error {
	var err error
	s.release.Do(func() {
		s.mu.Lock()
		s.state = stopped
		s.mu.Unlock()
		s.cutOff()
		err = errors.Join(s.sessions.Stop(ctx), s.library.free())
		// From now on nobody waits for a stream that begins.
		s.mu.Lock()
		s.freed = true
		s.mu.Unlock()
		s.streams.Wait()
		err = errors.Join(err, s.awaitSinks(ctx))
		close(s.ended)
	})
	<-s.ended
	return err
}

// maxPoll is how many events are taken at once.
const maxPoll = session.MaxBatch

// run polls until the last event, or until it is told to stop.
func (s *Server) run() error {
	defer s.endEvents()
	defer s.endStream()
	fd, err := s.library.eventFD()
	if err != nil {
		return err
	}
	// A descriptor of our own, which can be waited for in the netpoller and closed to end that.
	fd, err = duplicate(fd)
	if err != nil {
		return fmt.Errorf("duplicate the event descriptor: %w", err)
	}
	file := os.NewFile(uintptr(fd), "events of the listener")
	polled := make(chan struct{})
	defer close(polled)
	go func() {
		select {
		case <-s.stop:
		case <-polled:
		}
		_ = file.SetReadDeadline(time.Unix(1, 0)) // ends a wait
	}()
	defer func() { _ = file.Close() }()
	raw, err := file.SyscallConn()
	if err != nil {
		return fmt.Errorf("wait for the event descriptor: %w", err)
	}
	events := make([]event, maxPoll)
	for {
		count, failed := 0, error(nil)
		err := raw.Read(func(uintptr) bool {
			count, failed = s.library.poll(events)
			return count > 0 || failed != nil
		})
		select {
		case <-s.stop:
			return nil
		default:
		}
		if err := errors.Join(err, failed); err != nil {
			return fmt.Errorf("poll the listener: %w", err)
		}
		if last, err := s.take(events[:count]); last || err != nil {
			return err
		}
	}
}

// duplicate is a descriptor that children of this process don't get.
func duplicate(fd int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := syscall.Dup(fd)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	return fd, err
}

// take follows events in order; last is true for the last one of all.
func (s *Server) take(events []event) (last bool, err error) {
	for len(events) > 0 {
		e := &events[0]
		n := 1
		switch e.kind {
		case eventSubmit:
			for n < len(events) && events[n].kind == eventSubmit && events[n].stream == e.stream {
				n++
			}
			if to := s.newest; to != nil && to.id == e.stream {
				to.put(to.batch(events[:n]))
			}
		case eventMessage:
			if err := s.message(e); err != nil {
				return false, err
			}
		case eventStreamEnded:
			if s.newest != nil && s.newest.id == e.stream {
				s.endStream()
			}
			if s.history != nil && s.history.id == e.stream {
				s.endEvents()
			}
		case eventRoom:
			if s.newest != nil && s.newest.id == e.stream {
				s.newest.hasRoom()
			}
			if s.history != nil && s.history.id == e.stream {
				s.history.hasRoom()
			}
		case eventPublish:
			s.publish(e)
		case eventLog:
			if text, err := s.library.take(e.id, e.length); err == nil {
				s.log.Log(context.Background(), logLevel(e.detail), "listener: "+string(text))
			}
		case eventDrained:
			return true, nil
		case eventFatal:
			text, _ := s.library.take(e.id, e.length)
			s.mu.Lock()
			s.fatal = fmt.Errorf("the listener has failed and serves nobody any more: %s", text)
			s.mu.Unlock()
			return true, nil
		}
		events = events[n:]
	}
	return false, nil
}

// message takes one message of the listener; a Hello begins a stream.
func (s *Server) message(e *event) error {
	bytes, err := s.library.take(e.id, e.length)
	var refused *libraryError
	switch {
	case errors.As(err, &refused) && refused.code == resultNoRecord:
		return nil // its stream has ended meanwhile
	case err != nil:
		return fmt.Errorf("take a message of the listener: %w", err)
	}
	request := &sv2pb.SessionRequest{}
	if err := proto.Unmarshal(bytes, request); err != nil {
		return fmt.Errorf("a message of the listener: %w", err)
	}
	if request.GetHello() != nil {
		s.endStream()
		s.begin(e.stream)
	}
	if to := s.newest; to != nil && to.id == e.stream {
		to.put(session.Request{Message: request})
	}
	return nil
}

func logLevel(detail uint32) slog.Level {
	switch detail {
	case 1:
		return slog.LevelError
	case 2:
		return slog.LevelWarn
	case 3:
		return slog.LevelInfo
	default:
		return slog.LevelDebug
	}
}
