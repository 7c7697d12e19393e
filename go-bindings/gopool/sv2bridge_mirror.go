//go:build sv2bridge

package main

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/gopool/config"
)

// This file gives Stratum V2 channels jobs of their own: goPool's, with as many bytes to roll, and the
// version bits, that Stratum V2 wants, and extranonce prefixes that goPool never gives to others. A
// second JobManager carries them, which never asks the node for anything.

//sv2bridge:if field JobManager.mu sync.RWMutex
//sv2bridge:if field JobManager.curJob *Job
//sv2bridge:if field JobManager.extraID uint32
//sv2bridge:if func (*JobManager).CurrentJob() *Job
//sv2bridge:if func (*JobManager).NextExtranonce1() []byte
//sv2bridge:if func (*JobManager).Subscribe() chan *Job
//sv2bridge:if func (*JobManager).Unsubscribe(chan *Job)
//sv2bridge:if func (*JobManager).broadcastJobSync(*Job)
//sv2bridge:if field Job.Extranonce2Size int
//sv2bridge:if field Job.TemplateExtraNonce2Size int
//sv2bridge:if field Job.VersionMask uint32
//sv2bridge:if field Job.CoinbaseMsg string
//sv2bridge:if field Job.Template GetBlockTemplateResult
//sv2bridge:if field GetBlockTemplateResult.VbRequired int
//sv2bridge:if field GetBlockTemplateResult.CoinbaseAux
//sv2bridge:if field Config.Extranonce2Size int
//sv2bridge:if field Config.TemplateExtraNonce2Size int
//sv2bridge:if field Config.CoinbaseScriptSigMaxBytes int

func init() {
	sv2bridgeMirror = func(pool sv2bridgePool, settings config.Config) sv2bridgeWork {
		m := &sv2bridgeMirrored{pool: pool, size: settings.Extranonce2Size, mask: settings.VersionMask,
			counted: map[chan *Job]struct{}{}}
		if m.size == 0 {
			m.size = pool.config().Extranonce2Size
		}
		m.jobs = pool.newJobManager(m.config())
		return m
	}
}

// sv2bridgeMirrored follows goPool's jobs.
type sv2bridgeMirrored struct {
	pool sv2bridgePool
	jobs *JobManager // ours
	size int
	mask uint32

	counting  sync.Mutex
	counted   map[chan *Job]struct{} // a subscription of goPool's jobs for each connection
	listening bool                   // on one of them

	making sync.Mutex // of connections: each with the extranonce1 that was set before
	taking sync.Mutex
	taken  *Job // goPool's, whose copy is ours now
}

// config is goPool's, with our sizes.
func (m *sv2bridgeMirrored) config() Config {
	cfg := m.pool.config()
	cfg.Extranonce2Size = m.size
	cfg.TemplateExtraNonce2Size = max(cfg.TemplateExtraNonce2Size, m.size)
	return cfg
}

// newMinerConn counts with goPool's jobs like any miner, so that goPool knows how many there are. What it
// gets from there only says that there is something new; one for all listens to that.
func (m *sv2bridgeMirrored) newMinerConn(conn net.Conn, prefix []byte) (*MinerConn, func()) {
	counted := m.pool.jobMgr.Subscribe()
	m.counting.Lock()
	m.counted[counted] = struct{}{}
	if !m.listening {
		m.listening = true
		go m.listen(counted)
	}
	m.counting.Unlock()
	m.take()
	m.making.Lock()
	atomic.StoreUint32(&m.jobs.extraID, binary.BigEndian.Uint32(prefix)-1)
	mc := m.pool.newMinerConn(conn, m.jobs, m.config())
	m.making.Unlock()
	return mc, func() {
		m.counting.Lock()
		delete(m.counted, counted)
		m.counting.Unlock()
		m.pool.jobMgr.Unsubscribe(counted)
	}
}

// listen takes jobs as long as there are connections, on the subscription of one of them, and then of
// another. It empties those of the others: goPool warns of miners who don't take their jobs.
func (m *sv2bridgeMirrored) listen(counted chan *Job) {
	for counted != nil {
		for range counted {
			m.take()
			m.empty(counted)
		}
		counted = m.next()
		m.take()
	}
}

// next is the subscription of some connection; nil when there is none, and nobody listens any more.
func (m *sv2bridgeMirrored) next() chan *Job {
	m.counting.Lock()
	defer m.counting.Unlock()
	for counted := range m.counted {
		return counted
	}
	m.listening = false
	return nil
}

// empty takes what has come to all connections but one.
func (m *sv2bridgeMirrored) empty(but chan *Job) {
	m.counting.Lock()
	defer m.counting.Unlock()
	for counted := range m.counted {
		for more := counted != but; more; {
			select {
			case <-counted:
			default:
				more = false
			}
		}
	}
}

// take makes goPool's newest job ours. It looks at what is newest itself: goPool's workers may tell of
// two jobs in either order.
func (m *sv2bridgeMirrored) take() {
	m.taking.Lock()
	defer m.taking.Unlock()
	newest := m.pool.jobMgr.CurrentJob()
	if newest == nil || newest == m.taken {
		return
	}
	m.taken = newest
	job := *newest
	job.Extranonce2Size = m.size
	if m.size > job.TemplateExtraNonce2Size {
		job.TemplateExtraNonce2Size = m.size
		job.CoinbaseMsg = m.message(&job)
	}
	job.VersionMask = m.mask &^ uint32(job.Template.VbRequired)
	m.jobs.mu.Lock()
	m.jobs.curJob = &job
	m.jobs.mu.Unlock()
	m.jobs.broadcastJobSync(&job)
}

// sv2bridgeScriptMost is the longest script that a coinbase's input may have: consensus, in bytes.
const sv2bridgeScriptMost = 100

// message is the pool's message of a job with room for a longer extranonce: goPool has cut it so that the
// script is not too long with the shorter one.
func (m *sv2bridgeMirrored) message(job *Job) string {
	most := sv2bridgeScriptMost
	if limit := m.pool.config().CoinbaseScriptSigMaxBytes; limit > 0 {
		most = min(most, limit)
	}
	// Height and time with their lengths, flags, the extranonce with its length, the message's length.
	others := 5 + len(job.Template.CoinbaseAux.Flags)/2 + 9 + 1 + 4 + job.TemplateExtraNonce2Size + 2
	return job.CoinbaseMsg[:min(len(job.CoinbaseMsg), max(most-others, 0))]
}
