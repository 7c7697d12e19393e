// What a host delivers for one channel.

package grpchost

import (
	"sync"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// sink is the sv2.Sink of one channel. It keeps the order of what the host delivers, holds it back
// until ChannelOpened is queued, and drops it once the channel is over. Its lock is held for an append
// only, and never together with the session's or the channel's.
type sink struct {
	channel *channel

	mu sync.Mutex
	// opened: ChannelOpened is queued. over: the channel is closed, refused or kicked.
	opened, over bool
	held         []entry
	heldKick     *sv2.Kick
	// owed is how many submits the host has not answered yet.
	owed int
}

var _ sv2.Sink = (*sink)(nil)

// Job queues work for the channel. A job that breaks the contract is dropped and logged as an error:
// a miner is better off with the job before.
func (k *sink) Job(job *sv2.Job) {
	if err := checkJob(job); err != nil {
		k.channel.session.log.Error("the host gave a job that can't be sent; it was dropped",
			"channel", k.channel.id, "error", err)
		return
	}
	k.put(entry{channel: k.channel.id, job: job})
}

// Target queues a new share target.
func (k *sink) Target(target sv2.Target) {
	if target.IsZero() {
		k.channel.session.log.Error("the host gave the zero target, which no share meets; "+
			"it was dropped", "channel", k.channel.id)
		return
	}
	k.put(entry{channel: k.channel.id, message: targetMessage(k.channel.id, target)})
}

// BlockResult queues the node's answer.
func (k *sink) BlockResult(result sv2.BlockResult) {
	k.put(entry{channel: k.channel.id, message: blockResultMessage(k.channel.id, result)})
}

// Verdicts queues answers to submits.
func (k *sink) Verdicts(verdicts []sv2.Verdict) {
	k.mu.Lock()
	if k.over {
		k.mu.Unlock()
		return
	}
	answered := min(k.owed, len(verdicts))
	k.owed -= answered
	k.channel.session.outstanding.Add(int64(-answered))
	k.channel.session.outbox.answer(verdicts)
	k.mu.Unlock()
	if answered < len(verdicts) {
		k.channel.session.log.Error("the host gave more verdicts than it had submits",
			"channel", k.channel.id, "surplus", len(verdicts)-answered)
	}
}

// Kick queues the farewell and ends the channel; the host has closed its side already.
func (k *sink) Kick(kick sv2.Kick) {
	k.mu.Lock()
	switch {
	case k.over:
	case !k.opened:
		k.heldKick = &kick
		k.mu.Unlock()
		return
	default:
		k.finishLocked()
		k.channel.session.outbox.push(
			entry{channel: k.channel.id, message: kickMessage(k.channel.id, kick)})
	}
	k.mu.Unlock()
	k.channel.session.kicked(k.channel, kick.Action)
}

// put queues an entry, or holds it back while the channel is being opened.
func (k *sink) put(e entry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.over:
	case k.opened:
		k.channel.session.outbox.push(e)
	case len(k.held) >= k.channel.session.outbox.limit:
		k.finishLocked()
		k.channel.session.outbox.full()
	default:
		k.held = append(k.held, e)
	}
}

// open queues ChannelOpened and, behind it, what was held back, less the first job if the host gave it
// through the sink too.
func (k *sink) open(opened *sv2pb.SessionResponse, first *sv2.Job) {
	k.mu.Lock()
	if k.over {
		k.mu.Unlock()
		return
	}
	k.opened = true
	entries := []entry{{channel: k.channel.id, message: opened}}
	for _, e := range k.held {
		if e.job == nil || e.job != first {
			entries = append(entries, e)
		}
	}
	k.held = nil
	kick := k.heldKick
	if kick != nil {
		entries = append(entries,
			entry{channel: k.channel.id, message: kickMessage(k.channel.id, *kick)})
		k.finishLocked()
	}
	k.channel.session.outbox.push(entries...)
	k.mu.Unlock()
	if kick != nil {
		k.channel.session.kicked(k.channel, kick.Action)
	}
}

// kickHeld reports whether the host kicked the channel while it opened it.
func (k *sink) kickHeld() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.heldKick != nil
}

// owe counts submits about to reach the host; false when the channel is over.
func (k *sink) owe(submits int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over {
		return false
	}
	k.owed += submits
	k.channel.session.outstanding.Add(int64(submits))
	return true
}

// finish drops what the host still delivers and reports whether this call ended the channel.
func (k *sink) finish() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over {
		return false
	}
	k.finishLocked()
	return true
}

func (k *sink) finishLocked() {
	k.over = true
	k.held = nil
	k.channel.session.outstanding.Add(int64(-k.owed))
	k.owed = 0
}
