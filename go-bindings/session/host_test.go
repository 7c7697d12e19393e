// The host of the tests: a small pool that really hashes.

package session

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// halfTarget is met by every second hash, so that both verdicts occur.
var halfTarget = sv2.Target{31: 0x7f}

// blockBits is the compact target 0x00ffff << 232: every 256th hash is a block.
const blockBits = 0x2000ffff

func doubleHash(data []byte) sv2.Hash {
	first := sha256.Sum256(data)
	return sha256.Sum256(first[:])
}

// headerHash hashes the block header of a share (SV2 spec 5.3.15, 5.3.16).
func headerHash(job *sv2.Job, prefix []byte, share sv2.Submit) sv2.Hash {
	root := doubleHash(bytes.Join(
		[][]byte{job.CoinbasePrefix, prefix, share.Extranonce, job.CoinbaseSuffix}, nil))
	for _, sibling := range job.MerklePath {
		root = doubleHash(append(root[:], sibling[:]...))
	}
	header := binary.LittleEndian.AppendUint32(nil, share.Version)
	header = append(header, job.PrevHash[:]...)
	header = append(header, root[:]...)
	header = binary.LittleEndian.AppendUint32(header, share.NTime)
	header = binary.LittleEndian.AppendUint32(header, job.NBits)
	return doubleHash(binary.LittleEndian.AppendUint32(header, share.Nonce))
}

// pool is a small host: it makes jobs, judges shares by their hash on a goroutine of its own, and
// tests bend it through its hooks.
type pool struct {
	// onOpen runs inside OpenChannel before anything else; an error is OpenChannel's.
	onOpen func(ctx context.Context, request sv2.OpenRequest, sink sv2.Sink) error
	// afterOpen runs inside OpenChannel at its end and may change the answer.
	afterOpen func(opened *sv2.Opened, sink sv2.Sink)
	// onUpdate is Channel.Update.
	onUpdate func(ctx context.Context, c *poolChannel, request sv2.UpdateRequest) error
	// onLimits runs inside Limits.
	onLimits func()
	// onClose runs inside Channel.Close before anything else.
	onClose func()
	// mute keeps verdicts back.
	mute bool
	// paused keeps judging back until it is false again; see pause. Guarded by mu.
	paused bool
	// onBatch hears of the submits that reach the host, onTake of each of them, onVerdict of each verdict before it is given.
	onBatch   func(batch []sv2.Submit)
	onTake    func(c *poolChannel, id uint64)
	onVerdict func(c *poolChannel, verdict sv2.Verdict)

	mu       sync.Mutex
	queued   *sync.Cond
	work     []func()
	stopped  bool
	done     chan struct{}
	nextID   uint64
	nextJob  uint64
	channels map[*poolChannel]struct{}
	closed   []string
	opened   int
	all      []*poolChannel
}

type poolChannel struct {
	pool    *pool
	id      uint64
	request sv2.OpenRequest
	prefix  []byte
	target  sv2.Target
	sink    sv2.Sink

	mu     sync.Mutex
	jobs   map[uint64]*sv2.Job
	seen   map[sv2.Hash]bool
	told   []inEffect
	judged int
	closes int
	// withdrawn are the submits that were taken back.
	withdrawn []uint64
	// running finds calls that overlap and must not.
	running map[string]bool
	fault   string
}

func newPool() *pool {
	p := &pool{channels: make(map[*poolChannel]struct{}), done: make(chan struct{})}
	p.queued = sync.NewCond(&p.mu)
	go p.judge()
	return p
}

// judge runs what Submit queued.
func (p *pool) judge() {
	defer close(p.done)
	for {
		p.mu.Lock()
		for (len(p.work) == 0 || p.paused) && !p.stopped {
			p.queued.Wait()
		}
		work := p.work
		p.work = nil
		p.mu.Unlock()
		if len(work) == 0 {
			return
		}
		for _, job := range work {
			job()
		}
	}
}

func (p *pool) stop() {
	p.mu.Lock()
	p.stopped = true
	p.queued.Broadcast()
	p.mu.Unlock()
	<-p.done
}

// pause keeps verdicts back, or lets them go.
func (p *pool) pause(paused bool) {
	p.mu.Lock()
	p.paused = paused
	p.queued.Broadcast()
	p.mu.Unlock()
}

func (p *pool) later(work func()) {
	p.mu.Lock()
	p.work = append(p.work, work)
	p.queued.Signal()
	p.mu.Unlock()
}

// open reports how many channels are open.
func (p *pool) open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.channels)
}

// reasons are what Close was called with.
func (p *pool) reasons() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.closed...)
}

// only is the one open channel.
func (p *pool) only() *poolChannel {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.channels {
		return c
	}
	return nil
}

func (p *pool) Limits() sv2.Limits {
	if p.onLimits != nil {
		p.onLimits()
	}
	return sv2.Limits{Easiest: sv2.MaxTarget, Hardest: sv2.Target{10: 1}, Software: "testpool 1"}
}

func (p *pool) OpenChannel(
	ctx context.Context, request sv2.OpenRequest, sink sv2.Sink,
) (sv2.Channel, sv2.Opened, error) {
	if p.onOpen != nil {
		if err := p.onOpen(ctx, request, sink); err != nil {
			return nil, sv2.Opened{}, err
		}
	}
	p.mu.Lock()
	p.nextID++
	p.opened++
	c := &poolChannel{pool: p, id: p.nextID, request: request, target: halfTarget, sink: sink,
		prefix: binary.BigEndian.AppendUint32(nil, uint32(p.nextID)),
		jobs:   make(map[uint64]*sv2.Job), seen: make(map[sv2.Hash]bool),
		running: make(map[string]bool)}
	p.channels[c] = struct{}{}
	p.all = append(p.all, c)
	p.mu.Unlock()
	opened := sv2.Opened{Prefix: c.prefix, Target: c.target, Job: c.give(newJob(1, 1))}
	if request.Kind == sv2.Extended {
		opened.ExtranonceSize = max(4, request.MinExtranonceSize)
	}
	if p.afterOpen != nil {
		p.afterOpen(&opened, sink)
	}
	return c, opened, nil
}

func (p *pool) Drain(ctx context.Context) error { return ctx.Err() }

// newJob is job id on the tip of that number.
func newJob(id uint64, tip byte) *sv2.Job {
	return &sv2.Job{
		ID: id, PrevHash: sv2.Hash{tip, 2, 3}, NBits: blockBits, Version: 0x20000000,
		VersionMask: 0x1fffe000, MinNTime: 1_700_000_000, Height: uint32(tip) + 100,
		MerklePath:     []sv2.Hash{{1, tip}, {2, tip}},
		CoinbasePrefix: bytes.Repeat([]byte{tip}, 60), CoinbaseSuffix: []byte{4, 5, 6},
		StaleRule: sv2.StaleHost,
	}
}

// give lets a channel know a job.
func (c *poolChannel) give(job *sv2.Job) *sv2.Job {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jobs[job.ID] = job
	return job
}

func (c *poolChannel) enter(call string) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for other := range c.running {
		// Submit may come while another call runs, but not during Close, nor twice at a time.
		if beside := call == "Submit" || other == "Submit"; !beside || call == other ||
			call == "Close" || other == "Close" {
			c.fault = call + " while " + other + " ran"
		}
	}
	if c.closes > 0 {
		c.fault = call + " after Close"
	}
	c.running[call] = true
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.running, call)
	}
}

func (c *poolChannel) Submit(batch []sv2.Submit) {
	defer c.enter("Submit")()
	if c.pool.onBatch != nil {
		c.pool.onBatch(batch)
	}
	if c.pool.onTake != nil {
		for _, share := range batch {
			c.pool.onTake(c, share.ID)
		}
	}
	if c.pool.mute {
		return
	}
	c.pool.later(func() {
		verdicts := make([]sv2.Verdict, len(batch))
		for i, share := range batch {
			verdicts[i] = c.check(share)
			if c.pool.onVerdict != nil {
				c.pool.onVerdict(c, verdicts[i])
			}
		}
		c.sink.Verdicts(verdicts)
		for _, v := range verdicts {
			if v.BlockCandidate {
				c.sink.BlockResult(sv2.BlockResult{SubmitID: v.SubmitID, Hash: v.Hash, Accepted: true})
			}
		}
	})
}

func (c *poolChannel) check(share sv2.Submit) sv2.Verdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.judged++
	verdict := sv2.Verdict{SubmitID: share.ID}
	job := c.jobs[share.JobID]
	if job == nil {
		verdict.Reason = sv2.RejectInvalidJobID
		return verdict
	}
	verdict.Hash = headerHash(job, c.prefix, share)
	network, err := sv2.TargetFromNBits(job.NBits)
	switch {
	case err != nil:
		verdict.Reason, verdict.Detail = sv2.RejectInvalidShare, err.Error()
	case c.seen[verdict.Hash]:
		verdict.Reason = sv2.RejectDuplicate
	case !verdict.Hash.Meets(c.target):
		verdict.Reason = sv2.RejectLowDifficulty
	default:
		c.seen[verdict.Hash] = true
		verdict.Credit = c.target.Difficulty()
		verdict.BlockCandidate = verdict.Hash.Meets(network)
	}
	return verdict
}

func (c *poolChannel) Update(ctx context.Context, request sv2.UpdateRequest) error {
	defer c.enter("Update")()
	if c.pool.onUpdate != nil {
		return c.pool.onUpdate(ctx, c, request)
	}
	c.sink.Target(request.MaxTarget)
	return nil
}

func (c *poolChannel) TargetInEffect(wanted, target sv2.Target) {
	defer c.enter("TargetInEffect")()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, inEffect{wanted, target})
}

func (c *poolChannel) Withdraw(verdicts []sv2.Verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range verdicts {
		if !v.Accepted() || slices.Contains(c.withdrawn, v.SubmitID) {
			c.fault = fmt.Sprintf("Withdraw of %+v", v)
		}
		c.withdrawn = append(c.withdrawn, v.SubmitID)
	}
}

// takenBack are the submits that were withdrawn.
func (c *poolChannel) takenBack() []uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.withdrawn)
}

func (c *poolChannel) Close(reason string) {
	defer c.enter("Close")()
	if c.pool.onClose != nil {
		c.pool.onClose()
	}
	c.mu.Lock()
	c.closes++
	c.mu.Unlock()
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	delete(c.pool.channels, c)
	c.pool.closed = append(c.pool.closed, reason)
}

// kick closes the channel on the host and sends the miner away.
func (c *poolChannel) kick(kick sv2.Kick) {
	c.pool.mu.Lock()
	delete(c.pool.channels, c)
	c.pool.mu.Unlock()
	c.sink.Kick(kick)
}

// faults is what the carrier did to the channel that it must not.
func (c *poolChannel) faults() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault != "" {
		return fmt.Errorf("channel %d: %s", c.id, c.fault)
	}
	return nil
}
