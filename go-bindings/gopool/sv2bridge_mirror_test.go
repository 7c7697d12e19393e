//go:build sv2bridge

package main

import (
	"bytes"
	"encoding/hex"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/gopool/config"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

//sv2bridge:if func NewJobManager(*RPCClient, Config, *PoolMetrics, []byte, []byte) *JobManager
//sv2bridge:if field JobManager.mu sync.RWMutex
//sv2bridge:if field JobManager.curJob *Job
//sv2bridge:if func (*JobManager).ActiveMiners() int
//sv2bridge:if func (*JobManager).broadcastJobSync(*Job)
//sv2bridge:if field Job.Extranonce2Size int
//sv2bridge:if field Job.CoinbaseMsg string
//sv2bridge:if field GetBlockTemplateResult.CoinbaseAux
//sv2bridge:if func defaultConfig() Config

// sv2bridgeRig is a pool without node and connections, before its mirror.
type sv2bridgeRig struct {
	*sv2bridgeMirrored
	real     *JobManager
	prefixes [][]byte // that connections got
	cfgs     []Config
}

func newSV2bridgeRig(size int) *sv2bridgeRig {
	cfg := defaultConfig()
	r := &sv2bridgeRig{real: NewJobManager(nil, cfg, nil, nil, nil)}
	pool := sv2bridgePool{
		jobMgr: r.real,
		config: func() Config { return cfg },
		newJobManager: func(cfg Config) *JobManager {
			return NewJobManager(nil, cfg, nil, nil, nil)
		},
		newMinerConn: func(_ net.Conn, jobs *JobManager, cfg Config) *MinerConn {
			r.prefixes = append(r.prefixes, jobs.NextExtranonce1())
			r.cfgs = append(r.cfgs, cfg)
			return nil
		},
	}
	settings := config.Default()
	settings.Extranonce2Size = size
	r.sv2bridgeMirrored = sv2bridgeMirror(pool, settings).(*sv2bridgeMirrored)
	return r
}

// give makes a job goPool's newest, and tells of it unless the test wants to.
func (r *sv2bridgeRig) give(job *Job, tell bool) {
	r.real.mu.Lock()
	r.real.curJob = job
	r.real.mu.Unlock()
	if tell {
		r.real.broadcastJobSync(job)
	}
}

func TestSV2BridgeJobsAreOfTheirOwnKind(t *testing.T) {
	r := newSV2bridgeRig(8)
	first := &Job{JobID: "1", Extranonce2Size: 4, TemplateExtraNonce2Size: 8, VersionMask: 0x1fffe000,
		CoinbaseMsg: "/goPool/"}
	first.Template.VbRequired = 1 << 20
	r.give(first, false)
	_, release := r.newMinerConn(nil, []byte{0x80, 1, 2, 3})
	defer release()
	ours := r.jobs.CurrentJob()
	if ours == nil || ours.JobID != "1" || ours.Extranonce2Size != 8 || ours.CoinbaseMsg != "/goPool/" ||
		ours.VersionMask != sv2.RollableVersionBits&^(1<<20) {
		t.Errorf("ours: %+v", ours)
	}
	if first.Extranonce2Size != 4 || first.VersionMask != 0x1fffe000 {
		t.Errorf("goPool's own has changed: %+v", first)
	}
	if !bytes.Equal(r.prefixes[0], []byte{0x80, 1, 2, 3}) || r.cfgs[0].Extranonce2Size != 8 {
		t.Errorf("prefix %x, size %d", r.prefixes[0], r.cfgs[0].Extranonce2Size)
	}
	told := r.jobs.Subscribe()
	defer r.jobs.Unsubscribe(told)
	r.give(&Job{JobID: "2"}, true)
	select {
	case job := <-told:
		if job.JobID != "2" || job.Extranonce2Size != 8 {
			t.Errorf("told of %+v", job)
		}
	case <-time.After(time.Minute):
		t.Fatal("not told of a new job")
	}
}

func TestSV2BridgeTakesGoPoolsSizeWhenNoneIsSet(t *testing.T) {
	r := newSV2bridgeRig(0)
	r.give(&Job{JobID: "1", Extranonce2Size: 5, TemplateExtraNonce2Size: 8}, false)
	r.take()
	if ours := r.jobs.CurrentJob(); ours.Extranonce2Size != defaultConfig().Extranonce2Size ||
		ours.TemplateExtraNonce2Size != 8 || ours.VersionMask != sv2.RollableVersionBits {
		t.Errorf("ours: %+v", ours)
	}
}

func TestSV2BridgeSurvivesJobsThatComeInTheWrongOrder(t *testing.T) {
	r := newSV2bridgeRig(8)
	older, newer := &Job{JobID: "1"}, &Job{JobID: "2"}
	r.give(newer, false)
	_, release := r.newMinerConn(nil, []byte{0x80, 0, 0, 1})
	told := r.jobs.Subscribe()
	defer r.jobs.Unsubscribe(told)
	r.real.broadcastJobSync(newer)
	r.real.broadcastJobSync(older)
	r.take() // as who listens does, at each
	release()
	if job := r.jobs.CurrentJob(); job.JobID != "2" || len(told) != 0 {
		t.Errorf("ours is %s, told %d times again", job.JobID, len(told))
	}
}

func TestSV2BridgeCountsEachChannelAsOneActiveMiner(t *testing.T) {
	r := newSV2bridgeRig(8)
	r.give(&Job{JobID: "1"}, false)
	var releases []func()
	for i := range 3 {
		_, release := r.newMinerConn(nil, []byte{0x80, 0, 0, byte(i)})
		releases = append(releases, release)
		if active := r.real.ActiveMiners(); active != i+1 {
			t.Errorf("%d channels, %d active miners", i+1, active)
		}
	}
	for _, release := range releases {
		release()
	}
	if active := r.real.ActiveMiners(); active != 0 {
		t.Errorf("%d active miners are left", active)
	}
}

func TestSV2BridgeJobsSurviveTheConnectionThatWasListenedTo(t *testing.T) {
	r := newSV2bridgeRig(8)
	r.give(&Job{JobID: "0"}, false)
	told := r.jobs.Subscribe()
	defer r.jobs.Unsubscribe(told)
	var releases []func()
	for i := range 20 {
		for range i % 3 {
			_, release := r.newMinerConn(nil, []byte{0x80, 0, 0, byte(i)})
			releases = append(releases, release)
		}
		if len(releases) == 0 {
			continue
		}
		r.give(&Job{JobID: strconv.Itoa(i)}, true)
		for last := ""; last != strconv.Itoa(i); {
			select {
			case job := <-told:
				last = job.JobID
			case <-time.After(time.Minute):
				t.Fatalf("not told of job %d, with %d connections", i, len(releases))
			}
		}
		gone := (len(releases) + 1) / 2 // the oldest, so the one that was listened to
		if i%7 == 6 {
			gone = len(releases)
		}
		for _, release := range releases[:gone] {
			release()
		}
		releases = releases[gone:]
	}
}

func TestSV2BridgeKeepsTheCoinbaseScriptWithinItsLimit(t *testing.T) {
	r := newSV2bridgeRig(16)
	long := strings.Repeat("m", 74) // with 8 bytes of template the script has 100 at most
	r.give(&Job{JobID: "1", Extranonce2Size: 4, TemplateExtraNonce2Size: 8, CoinbaseMsg: long}, false)
	r.take()
	ours := r.jobs.CurrentJob()
	// Height 5, time 9, length 1, prefix 4, extranonce 16, length 2.
	if ours.TemplateExtraNonce2Size != 16 || 37+len(ours.CoinbaseMsg) > 100 ||
		!strings.HasPrefix(long, ours.CoinbaseMsg) || len(ours.CoinbaseMsg) < 60 {
		t.Errorf("a message of %d bytes beside %d", len(ours.CoinbaseMsg), ours.TemplateExtraNonce2Size)
	}
}

func TestSV2BridgeKnowsTheTip(t *testing.T) {
	r := newSV2bridgeRig(8)
	isTip := sv2bridgeTipOf(r.real)
	if !isTip(sv2.Hash{}) {
		t.Error("without a job nothing is known of the tip")
	}
	var tip sv2.Hash
	for i := range tip {
		tip[i] = byte(i)
	}
	shown := slices.Clone(tip[:])
	slices.Reverse(shown)
	job := &Job{JobID: "1"}
	job.Template.Previous = hex.EncodeToString(shown)
	r.give(job, false)
	if !isTip(tip) || isTip(sv2.Hash{1}) {
		t.Errorf("the tip is not %s", job.Template.Previous)
	}
	next := &Job{JobID: "2"}
	next.Template.Previous = strings.Repeat("00", 32)
	r.give(next, false)
	if isTip(tip) || !isTip(sv2.Hash{}) {
		t.Error("a new tip is not known")
	}
}
