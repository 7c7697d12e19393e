//go:build sv2bridge

package main

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/gopool/config"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// This file makes a Stratum V2 channel one of goPool's miners: on a connection in memory, and in all
// else as goPool's accept loop makes one.

//sv2bridge:needs func (*MinerRegistry).Add(*MinerConn)
//sv2bridge:needs func (*MinerRegistry).Remove(*MinerConn)
//sv2bridge:needs func (*MinerConn).handle()
//sv2bridge:needs func (*MinerConn).Close(string)
//sv2bridge:needs func (*MinerConn).assignedDifficulty(string) float64

// What a goPool may lack. The files that define them do so when it is there.
var (
	// sv2bridgeMirror makes jobs of goPool's for Stratum V2 alone. Nil: there are goPool's own.
	sv2bridgeMirror func(pool sv2bridgePool, settings config.Config) sv2bridgeWork

	// sv2bridgeHealth is why goPool has no work for new miners now.
	sv2bridgeHealth = func(jobs *JobManager) error {
		if !jobs.Ready() {
			return errors.New("the pool has no job yet")
		}
		return nil
	}

	// sv2bridgeTipOf reports whether a prev-hash is the one that jobs are made for now.
	sv2bridgeTipOf = func(*JobManager) func(sv2.Hash) bool { return nil }
)

// sv2bridgeWork makes connections that get jobs of their own kind.
type sv2bridgeWork interface {
	// newMinerConn makes one with this extranonce prefix. release is for when it has ended.
	newMinerConn(conn net.Conn, prefix []byte) (mc *MinerConn, release func())
}

// sv2bridgeMiners are the miners that came through the door.
type sv2bridgeMiners struct {
	pool sv2bridgePool
	jobs sv2bridgeWork // nil: goPool's own
	open sync.Map      // net.Conn to *MinerConn
	ends sync.Once     // sees to the end of those that are waited for no longer
}

func newSV2bridgeMiners(pool sv2bridgePool, settings config.Config) *sv2bridgeMiners {
	m := &sv2bridgeMiners{pool: pool}
	if sv2bridgeMirror == nil {
		logger.Warn("this goPool's jobs can't be changed for stratum v2: its extranonce sizes and version "+
			"mask hold, miners may not roll versions, and lose their prefix when goPool restarts",
			"component", "sv2", "protocol", "stratum_v2")
		return m
	}
	m.jobs = sv2bridgeMirror(pool, settings)
	return m
}

// serve is one miner's life. ctx, the same for all, ends when they are waited for no longer.
func (m *sv2bridgeMiners) serve(ctx context.Context, conn net.Conn, prefix []byte) {
	mc, release := m.newMinerConn(conn, prefix)
	defer release()
	m.open.Store(conn, mc)
	defer m.open.Delete(conn)
	m.pool.registry.Add(mc)
	defer m.pool.registry.Remove(mc)
	m.ends.Do(func() { context.AfterFunc(ctx, m.closeAll) })
	mc.handle()
}

// closeAll ends those who are still there.
func (m *sv2bridgeMiners) closeAll() {
	m.open.Range(func(_, mc any) bool {
		mc.(*MinerConn).Close("shutdown")
		return true
	})
}

func (m *sv2bridgeMiners) newMinerConn(conn net.Conn, prefix []byte) (*MinerConn, func()) {
	if m.jobs != nil {
		return m.jobs.newMinerConn(conn, prefix)
	}
	return m.pool.newMinerConn(conn, m.pool.jobMgr, m.pool.config()), func() {}
}

// assignedDifficulty is what goPool asks of shares for a job.
func (m *sv2bridgeMiners) assignedDifficulty(conn net.Conn, job string) (float64, bool) {
	mc, known := m.open.Load(conn)
	if !known {
		return 0, false
	}
	return mc.(*MinerConn).assignedDifficulty(job), true
}
