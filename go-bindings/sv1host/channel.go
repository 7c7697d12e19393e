// One channel: what the carrier calls, and how it ends.

package sv1host

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// state is where a channel is in its life.
type state uint8

const (
	stateOpening   state = iota // until OpenChannel returns
	stateOpen                   // shares go to the pool
	stateSuspended              // the pool is restarting and has hung up
	stateClosed                 // the sink is used no more
)

// channel is one channel and the miner that the pool sees of it.
type channel struct {
	host    *Host
	request sv2.OpenRequest
	name    string // of mining.authorize
	user    []byte // the name, as JSON
	conn    *memoryConn
	log     *slog.Logger
	wake    chan struct{} // holds a token while run has something to do
	gone    chan struct{} // closed when an open can't succeed any more: the pool has hung up, say

	mu        sync.Mutex // never held while a function of Options runs
	state     state
	sink      sv2.Sink // used under mu only, so that nothing follows a close
	calls     map[uint64]chan<- message
	lastCall  uint64
	lastSent  time.Time // when the pool last got something
	announced announcement
	why       string // an open can't succeed
	suspended *time.Timer

	// What the pool has said so far. offered holds a token when there is a job in newest.
	mask       uint32  // version bits that may be rolled
	difficulty float64 // of mining.set_difficulty
	newest     *offer  // while opening: the job to begin with
	offered    chan struct{}

	// Of an open channel.
	check     *sv2.Check
	prefix    []byte // all of the extranonce that the miner doesn't roll
	zeros     []byte // what extranonce2 begins with
	maxTarget sv2.Target
	hashRate  float64
	given     float64 // the pool's difficulty of the newest job
	told      sv2.Target
	lastJob   uint64
	names     map[uint64][]byte // of known jobs to the pool, as JSON

	queue   []sv2.Submit // not judged yet
	pending map[uint64]*share
}

// offer is a job of the pool with the difficulty it has there.
type offer struct {
	notify
	difficulty float64
}

// share is a submit that the pool has yet to answer.
type share struct {
	verdict sv2.Verdict // if the pool accepts it; of a block, which was told already
	at      time.Time
	ntime   uint32
	block   *block // nil but of a block
}

// block is all that this end has of one.
type block struct {
	header   [sv2.HeaderSize]byte
	coinbase []byte
	height   uint32
}

var _ sv2.Channel = (*channel)(nil)

func newChannel(h *Host, request sv2.OpenRequest, name string, sink sv2.Sink) *channel {
	request.UserIdentity = bytes.Clone(request.UserIdentity)
	request.PayoutKey = bytes.Clone(request.PayoutKey)
	request.WantedPrefix = bytes.Clone(request.WantedPrefix)
	c := &channel{
		host:       h,
		request:    request,
		name:       name,
		user:       quote(name),
		log:        h.options.Logger.With("remote", printable(request.Connection.RemoteAddress)),
		wake:       make(chan struct{}, 1),
		gone:       make(chan struct{}),
		sink:       sink,
		calls:      make(map[uint64]chan<- message),
		lastCall:   firstCall,
		lastSent:   time.Now(),
		difficulty: 1, // what Stratum V1 begins with
		offered:    make(chan struct{}, 1),
		maxTarget:  request.MaxTarget,
		hashRate:   request.NominalHashRate,
		names:      make(map[uint64][]byte),
		pending:    make(map[uint64]*share),
	}
	c.conn = newConn(request, h.options.MaxInFlight+spareLines, c.nudge)
	c.conn.direct = c.takeAccepted
	return c
}

// nudge lets run look for something to do.
func (c *channel) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// now is the time by the host's clock.
func (c *channel) now() time.Time { return c.host.options.Clock() }

// Submit judges a few shares at once, when none wait, and queues more: a queue is another goroutine to
// wake, and a share is judged in some microseconds. What there is no room for is refused, but still looked
// at for a block.
func (c *channel) Submit(batch []sv2.Submit) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateClosed || len(batch) == 0 {
		return
	}
	room := max(c.host.options.MaxInFlight-len(c.queue)-len(c.pending), 0)
	room = min(room, len(batch))
	if len(c.queue) == 0 && room <= turnShares {
		c.judgeAt(batch[:room], now)
	} else {
		c.queue = append(c.queue, batch[:room]...)
		c.nudge()
	}
	if room < len(batch) {
		c.judge(batch[room:], func(submit sv2.Submit) sv2.Verdict {
			return c.check.Refuse(submit, sv2.RejectRateLimited)
		})
	}
}

// Update takes the miner's new hash rate and maximum target. A target that has become too easy for the
// miner is replaced at once; shares of jobs given before are judged and credited as before. An easier
// one comes with the pool's next job. The pool is asked for a difficulty that fits, which it may do
// with as it likes.
func (c *channel) Update(_ context.Context, request sv2.UpdateRequest) error {
	if err := c.host.checkRate(request.NominalHashRate, request.MaxTarget); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateClosed {
		return &sv2.Refusal{Reason: sv2.RefuseInvalidChannelID, Detail: "the channel is closed"}
	}
	options := &c.host.options
	if request.MaxTarget != c.maxTarget {
		c.maxTarget = request.MaxTarget
		least, _ := options.atLeast(request.MaxTarget)
		c.askLocked(methodConfigure, minimumDifficulty(least)...)
	}
	if request.NominalHashRate != c.hashRate {
		c.hashRate = request.NominalHashRate
		if wanted, known := options.suggestion(c.hashRate, sv2.Target{}); known {
			c.askLocked(methodSuggest, wanted)
		}
	}
	if target := c.bound(c.given); target.Cmp(c.told) < 0 {
		c.check.SetTarget(target)
		c.told = target
		c.sink.Target(target)
	}
	return nil
}

// bound is the target for a difficulty of the pool's: within the pool's limits and the miner's.
func (c *channel) bound(difficulty float64) sv2.Target {
	return sv2.Harder(sv2.TargetFromDifficulty(difficulty),
		sv2.Harder(c.host.limits.Easiest, c.maxTarget))
}

// Close ends the channel and hangs up on the pool, behind the shares that were taken before.
func (c *channel) Close(reason string) {
	c.mu.Lock()
	if c.state == stateOpening {
		c.failLocked(reason)
	}
	c.endLocked()
	c.mu.Unlock()
	c.host.forget(c)
	c.nudge()
}

// endLocked closes the channel; the caller holds mu.
func (c *channel) endLocked() {
	c.state = stateClosed
	if c.suspended != nil {
		c.suspended.Stop()
	}
}

// waiting is how many shares have no verdict or result yet.
func (c *channel) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateClosed {
		return 0
	}
	return len(c.queue) + len(c.pending)
}

// giveUp ends the channel for a reason of the pool's: the miner is sent away, or not let in.
func (c *channel) giveUp(action sv2.KickAction, reason string) {
	c.mu.Lock()
	switch c.state {
	case stateOpening:
		c.failLocked(reason)
		c.mu.Unlock()
		return
	case stateClosed:
		c.mu.Unlock()
		return
	}
	c.loseAll(reason)
	c.endLocked()
	c.sink.Kick(sv2.Kick{Action: action, Reason: printable(reason)})
	c.mu.Unlock()
	c.host.forget(c)
	c.nudge()
	c.log.Info("the pool ended a channel", "reason", reason)
}

// failLocked lets an open fail, for the first reason given; the caller holds mu.
func (c *channel) failLocked(reason string) {
	if c.why == "" {
		c.why = reason
		close(c.gone)
	}
}

// failure is why an open can't succeed.
func (c *channel) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.announced == announceBan {
		return &sv2.Refusal{Reason: sv2.RefuseUnauthorized, Detail: printable(c.why)}
	}
	return errors.New(c.why)
}

// loseAll answers what the pool will not answer any more; the caller holds mu. A block among the shares
// that nobody has looked at goes to the pool nevertheless, if its connection still takes it.
func (c *channel) loseAll(why string) {
	var verdicts []sv2.Verdict
	for id, s := range c.pending {
		delete(c.pending, id)
		verdicts = c.lose(verdicts, s, why)
		s.release()
	}
	now := time.Now()
	for i := range c.queue {
		submit := &c.queue[i]
		verdict := c.check.Refuse(*submit, sv2.RejectUnavailable)
		verdicts = append(verdicts, verdict)
		if verdict.BlockCandidate {
			s := c.shareOf(submit, &verdict, now)
			if c.mayWait(s) {
				c.submit(c.appendShare(nil, s, submit), now)
				delete(c.pending, submit.ID) // its answer would come too late
			}
			defer c.lose(nil, s, why)
		}
	}
	c.queue = nil
	c.tell(verdicts)
}

// lose is what becomes of a share that the pool can't judge: its verdict is appended, or the result of
// a block is told; the caller holds mu.
func (c *channel) lose(verdicts []sv2.Verdict, s *share, why string) []sv2.Verdict {
	if !s.verdict.BlockCandidate {
		return append(verdicts, sv2.Verdict{SubmitID: s.verdict.SubmitID, Reason: sv2.RejectUnavailable,
			Hash: s.verdict.Hash, Detail: printable(why)})
	}
	c.log.Error("a block may be lost: the pool did not say what became of it; with the transactions of "+
		"its template it can be submitted by hand", "hash", s.verdict.Hash,
		"header", hex.EncodeToString(s.block.header[:]), "coinbase",
		hex.EncodeToString(s.block.coinbase), "height", s.block.height, "reason", why)
	c.result(s, sv2.BlockResult{Unknown: true, Detail: why})
	return verdicts
}

// result tells what became of a block, which it names; the caller holds mu.
func (c *channel) result(s *share, result sv2.BlockResult) {
	if c.state == stateClosed {
		return
	}
	result.SubmitID, result.Hash, result.Height = s.verdict.SubmitID, s.verdict.Hash, s.block.height
	result.Detail = printable(result.Detail)
	c.sink.BlockResult(result)
}

// tell sends verdicts; the caller holds mu.
func (c *channel) tell(verdicts []sv2.Verdict) {
	if len(verdicts) > 0 && c.state != stateClosed {
		c.sink.Verdicts(verdicts)
	}
}
