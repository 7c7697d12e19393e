package main

import (
	"context"
	"fmt"
	"net"
	"time"
)

// Config is the configuration.
type Config struct {
	ListenAddr                      string
	ReconnectLimit, Extranonce2Size int
}

// JobManager makes jobs.
type JobManager struct{ size int }

// NewJobManager makes one.
func NewJobManager(rpc any, cfg Config) *JobManager { return &JobManager{cfg.Extranonce2Size} }

// MinerConn is one connection.
type MinerConn struct {
	conn net.Conn
	jobs *JobManager
	tls  bool
}

var sharedState = map[string]int{}

// NewMinerConn makes one.
func NewMinerConn(
	isTLS bool, cfg Config, c net.Conn, jobs *JobManager, ctx context.Context, shared map[string]int,
) *MinerConn {
	return &MinerConn{c, jobs, isTLS}
}

func (mc *MinerConn) handle() {
	var word string
	for {
		if _, err := fmt.Fscanln(mc.conn, &word); err != nil {
			return
		}
		fmt.Fprintf(mc.conn, "%s size=%d tls=%t\n", word, mc.jobs.size, mc.tls)
	}
}

// MinerRegistry has all connections.
type MinerRegistry struct{ count int }

// NewMinerRegistry makes one.
func NewMinerRegistry() *MinerRegistry { return &MinerRegistry{} }

// Add adds.
func (r *MinerRegistry) Add(*MinerConn) { r.count++ }

// Remove removes.
func (r *MinerRegistry) Remove(*MinerConn) { r.count-- }

// Count counts.
func (r *MinerRegistry) Count() int { return r.count }

type reconnectTracker struct{ left int }

func newReconnectTracker(limit int) *reconnectTracker { return &reconnectTracker{limit} }

func (rt *reconnectTracker) allow(string) bool { return rt.left > 0 }

type stratumHealth struct{ Healthy bool }

func stratumHealthStatus(jobs *JobManager, now time.Time) stratumHealth { return stratumHealth{true} }
