// The port: its connections, its start and its end.

package sv1

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// maxConnections may be open at once: a pool's own limit on channels counts from mining.authorize.
const maxConnections = 16384

// stopPatience is how long miners have to read that the pool stops.
const stopPatience = time.Second

// Prefixes sets extranonce prefixes aside for channels that are opened later. *sv2.Pool is one.
type Prefixes interface {
	// ReservePrefix is wanted if that is free, or else a new one.
	ReservePrefix(wanted []byte) ([]byte, error)
	// ReleasePrefix gives one back, unless a channel has it.
	ReleasePrefix(prefix []byte) bool
}

// Options of a [Port]. Host, Prefixes and SharesPerMinute are required.
type Options struct {
	// Host is the pool.
	Host sv2.Host
	// Prefixes are the host's, for Stratum V1 gives the extranonce before it asks for the user, and a
	// host only with the channel. Extranonce1 has [sv2.DefaultPrefixSize] bytes.
	Prefixes Prefixes
	// ExtranonceSize is the length of extranonce2 in bytes: how much the host lets a miner roll. 0 means
	// [sv2.DefaultExtranonceSize].
	ExtranonceSize int
	// SharesPerMinute is what the host aims at: a difficulty that a miner suggests becomes a hash rate.
	SharesPerMinute float64
	// RequestOf gives the request that a connection was made for, when it isn't a miner's own but one
	// in memory: who is behind it, and the prefix that he wants again. Nil: all are miners' own.
	RequestOf func(conn net.Conn) (sv2.OpenRequest, bool)
	// Logger for what operators should know. Nil: slog.Default().
	Logger *slog.Logger
}

// Port serves Stratum V1. Its methods are safe from any goroutine.
type Port struct {
	options Options
	lastID  atomic.Uint64 // of miners' connections
	places  chan struct{} // one for each connection

	mu       sync.Mutex
	stopping bool
	conns    map[*conn]struct{}
	running  sync.WaitGroup // grows under mu, before stopping only
}

// New makes a port that listens nowhere yet; end it with [Port.Stop].
func New(options Options) (*Port, error) {
	if options.Host == nil || options.Prefixes == nil || !(options.SharesPerMinute > 0) {
		return nil, errors.New("sv1: give Host, Prefixes and SharesPerMinute")
	}
	if options.ExtranonceSize == 0 {
		options.ExtranonceSize = sv2.DefaultExtranonceSize
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	return &Port{
		options: options,
		places:  make(chan struct{}, maxConnections), conns: make(map[*conn]struct{}),
	}, nil
}

// Serve takes connections until the listener is closed, which [Port.Stop] does not do. It returns nil
// then.
func (p *Port) Serve(listener net.Listener) error {
	for {
		accepted, err := listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			// Out of descriptors, say: others will be closed.
			p.options.Logger.Error("Stratum V1: a connection could not be taken", "err", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		select {
		case p.places <- struct{}{}:
			go func() {
				defer func() { <-p.places }()
				p.ServeConn(context.Background(), accepted)
			}()
		default:
			_ = accepted.Close()
		}
	}
}

// ServeConn serves one connection, which it closes, until that ends, ctx does, or the port stops.
func (p *Port) ServeConn(ctx context.Context, accepted net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := newConn(p, accepted)
	if !p.add(c) {
		_ = accepted.Close()
		return
	}
	defer p.running.Done()
	defer p.remove(c)
	context.AfterFunc(ctx, c.hangUp)
	c.serve(ctx)
}

func (p *Port) add(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopping {
		return false
	}
	p.conns[c] = struct{}{}
	p.running.Add(1)
	return true
}

func (p *Port) remove(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// Stop tells all miners that the pool restarts, hangs up, on those who don't read by force, and waits
// until their channels are closed, or until ctx ends. Close the listener first.
func (p *Port) Stop(ctx context.Context) error {
	p.mu.Lock()
	p.stopping = true
	for c := range p.conns {
		c.farewell("Pool restarting; please reconnect.")
	}
	p.mu.Unlock()
	done := make(chan struct{})
	go func() {
		p.running.Wait()
		close(done)
	}()
	patience := time.NewTimer(stopPatience)
	defer patience.Stop()
	select {
	case <-done:
		return nil
	case <-patience.C:
	case <-ctx.Done():
	}
	p.mu.Lock()
	for c := range p.conns {
		c.hangUp()
	}
	p.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("sv1: connections are still being served: %w", ctx.Err())
	}
}
