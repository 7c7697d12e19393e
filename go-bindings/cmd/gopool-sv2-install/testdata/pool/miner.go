package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
)

// MinerConn is one connection.
type MinerConn struct {
	conn  net.Conn
	jobs  *JobManager
	cfg   Config
	isTLS bool
}

// NewMinerConn makes one.
func NewMinerConn(
	ctx context.Context, c net.Conn, jobs *JobManager, cfg Config, metrics *PoolMetrics, isTLS bool,
) *MinerConn {
	return &MinerConn{conn: c, jobs: jobs, cfg: cfg, isTLS: isTLS}
}

func (mc *MinerConn) handle() {
	lines := bufio.NewScanner(mc.conn)
	for lines.Scan() {
		fmt.Fprintf(mc.conn, "%s size=%d tls=%t\n", lines.Text(), mc.jobs.size, mc.isTLS)
	}
}

// Close ends it.
func (mc *MinerConn) Close(reason string) { _ = mc.conn.Close() }

// MinerRegistry has all connections.
type MinerRegistry struct {
	mu    sync.Mutex
	conns map[*MinerConn]bool
}

// NewMinerRegistry makes one.
func NewMinerRegistry() *MinerRegistry { return &MinerRegistry{conns: map[*MinerConn]bool{}} }

// Add adds.
func (r *MinerRegistry) Add(mc *MinerConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[mc] = true
}

// Remove removes.
func (r *MinerRegistry) Remove(mc *MinerConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, mc)
}

// Count counts.
func (r *MinerRegistry) Count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.conns)
}

// Snapshot lists.
func (r *MinerRegistry) Snapshot() []*MinerConn {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*MinerConn
	for mc := range r.conns {
		list = append(list, mc)
	}
	return list
}
