// A look at the process from outside: what it holds.

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"runtime"
	"runtime/metrics"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/grpchost"
)

// countersPatience is how long one that asked for the counters may take to read them.
const countersPatience = time.Second

// counters are what minipool shows of itself, as one line of JSON.
type counters struct {
	AtMS       int64  `json:"at_ms"`
	Goroutines int    `json:"goroutines"`
	HeapBytes  uint64 `json:"heap_bytes"` // objects alive, and dead ones not swept yet
	Channels   int    `json:"channels"`
}

func (m *minipool) count() counters {
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(heap)
	c := counters{AtMS: now(), Goroutines: runtime.NumGoroutine(), Channels: len(m.pool.Channels())}
	if heap[0].Value.Kind() == metrics.KindUint64 {
		c.HeapBytes = heap[0].Value.Uint64()
	}
	return c
}

// openCounters serves the counters on a Unix socket for the pool's own user: each connection gets one
// line, then it is closed. The returned listener is to be closed at the end.
func (m *minipool) openCounters(path string) (net.Listener, error) {
	listener, err := grpchost.ListenUnix(path, grpchost.UnixOptions{Logger: m.log, Mode: 0o600})
	if err != nil {
		return nil, fmt.Errorf("counters: %w", err)
	}
	m.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				m.log.Error("counters can't be asked for", "err", err)
				time.Sleep(countersPatience)
				continue
			}
			if err := m.writeCounters(conn); err != nil {
				m.log.Debug("counters were not read", "err", err)
			}
		}
	})
	return listener, nil
}

func (m *minipool) writeCounters(conn net.Conn) error {
	deadline := conn.SetDeadline(time.Now().Add(countersPatience))
	return errors.Join(deadline, json.NewEncoder(conn).Encode(m.count()), conn.Close())
}
