package main

import (
	"context"
	"fmt"
	"os"
)

// Config is the configuration.
type Config struct {
	ListenAddr      string
	MaxConns        int
	ReconnectLimit  int
	Extranonce2Size int
}

func loadConfig(listen string) (Config, error) {
	return Config{ListenAddr: listen, MaxConns: 10, ReconnectLimit: 5, Extranonce2Size: 4}, nil
}

func fatal(what string, err error) {
	fmt.Fprintln(os.Stderr, what, err)
	os.Exit(1)
}

// PoolMetrics counts.
type PoolMetrics struct{}

// JobManager makes jobs.
type JobManager struct{ size int }

// NewJobManager makes one.
func NewJobManager(cfg Config, metrics *PoolMetrics, payoutScript []byte) *JobManager {
	return &JobManager{size: cfg.Extranonce2Size}
}

// Start starts it.
func (jm *JobManager) Start(ctx context.Context) {}

// StatusServer is the status page.
type StatusServer struct{ cfg Config }

// NewStatusServer makes one.
func NewStatusServer(cfg Config) *StatusServer { return &StatusServer{cfg: cfg} }

// Config is the current configuration.
func (s *StatusServer) Config() Config { return s.cfg }

type reconnectTracker struct{ limit int }

func newReconnectTracker(limit int) *reconnectTracker { return &reconnectTracker{limit: limit} }

func (rt *reconnectTracker) allow(host string) bool {
	rt.limit--
	return rt.limit >= 0
}
