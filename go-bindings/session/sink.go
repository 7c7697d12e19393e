// What a host delivers for one channel.

package session

import (
	"slices"
	"sync"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// sink is the sv2.Sink of one channel. It keeps the order of what the host delivers, holds it back
// until ChannelOpened is queued, and drops it once the channel is over. What is delivered while there is
// no stream is dropped, too, but for what another stream begins with: the newest target, the newest job,
// and verdicts, which the session's ring has.
//
// Its lock is held for an append only. Below it are the locks of the ring, of the outbox and of the
// session's news, never the session's or the channel's own.
type sink struct {
	channel *channel

	mu sync.Mutex
	// out is the stream's that the channel was opened on, or came over to.
	out *outbox
	// opened: ChannelOpened is queued. over: the channel is closed, refused or kicked.
	opened, over bool
	held         []entry
	heldKick     *sv2.Kick
	// first is the target of the open. target is the newest one given since; zero when none was. job
	// is the newest of all.
	first, target sv2.Target
	job           *sv2.Job
	// owed are the submits that the host has not answered yet; their ids ascend.
	owed queue
	// cancelled are those of them that the sidecar has answered itself.
	cancelled map[uint64]struct{}
	// accepted are verdicts of cancelled submits that the host is yet to be told of.
	accepted []sv2.Verdict
	// settled is closed when no cancelled submit is owed any more; nil unless Close waits for that.
	settled chan struct{}
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

// Verdicts queues answers to submits. What answers none is dropped: a submit has one verdict.
func (k *sink) Verdicts(verdicts []sv2.Verdict) {
	k.mu.Lock()
	if k.over && k.settled == nil {
		k.mu.Unlock()
		return
	}
	told, paid, late := 0, 0, 0
	for i := range verdicts {
		id := verdicts[i].SubmitID
		if !k.owed.remove(id) {
			continue
		}
		paid++
		if _, cancelled := k.cancelled[id]; cancelled {
			delete(k.cancelled, id)
			late++
			if verdicts[i].Accepted() {
				k.accepted = append(k.accepted, verdicts[i])
			}
			continue
		}
		if told != i {
			verdicts[told] = verdicts[i]
		}
		told++
	}
	s := k.channel.session
	if k.over { // only cancelled ones are owed
		if len(k.cancelled) == 0 {
			close(k.settled)
			k.settled = nil
		}
		k.mu.Unlock()
		return
	}
	s.outstanding.Add(int64(late - paid)) // those that were cancelled count no more
	s.answers.record(k.channel, verdicts[:told])
	withdraw := len(k.accepted) > 0
	k.mu.Unlock()
	if withdraw {
		s.withdraw(k.channel)
	}
	if paid < len(verdicts) {
		s.log.Error("the host gave more verdicts than it had submits",
			"channel", k.channel.id, "surplus", len(verdicts)-paid)
	}
}

// Kick queues the farewell and ends the channel; the host has closed its side already.
func (k *sink) Kick(kick sv2.Kick) {
	k.mu.Lock()
	if !k.over && !k.opened {
		k.heldKick = &kick
		k.mu.Unlock()
		return
	}
	k.mu.Unlock()
	k.channel.session.kicked(k.channel, kick)
}

// farewell ends the channel with a kick and tells the sidecar. False when the channel is over already.
func (k *sink) farewell(kick sv2.Kick) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over {
		return false
	}
	k.finishLocked(true)
	k.out.push(entry{channel: k.channel.id, message: kickMessage(k.channel.id, kick)})
	return true
}

// say queues a message on the channel's stream, be it over or not.
func (k *sink) say(e entry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.out.push(e)
}

// wasOpened reports whether the sidecar was told that the channel is open.
func (k *sink) wasOpened() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.opened
}

// put queues an entry, or holds it back while the channel is being opened.
func (k *sink) put(e entry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.over:
	case k.opened:
		k.note(e)
		k.out.push(e)
	case len(k.held) >= k.out.limit:
		k.finishLocked(false)
		k.out.full()
	default:
		k.held = append(k.held, e)
	}
}

// note remembers what a stream that begins later must be told; the caller holds mu.
func (k *sink) note(e entry) {
	if e.job != nil {
		k.job = e.job
		return
	}
	switch m := e.message.GetMessage().(type) {
	case *sv2pb.SessionResponse_SetTarget:
		k.target = sv2.Target(m.SetTarget.GetTarget())
	case *sv2pb.SessionResponse_BlockResult:
		k.channel.session.news.block(e)
	}
}

// reply queues an answer to what came on out's stream, and drops it when that is not the channel's any
// more: the sidecar has asked again since.
func (k *sink) reply(out *outbox, e entry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.over && k.out == out {
		out.push(e)
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
	k.first = sv2.Target(opened.GetChannelOpened().GetTarget())
	k.job = first
	entries := []entry{{channel: k.channel.id, message: opened}}
	for _, e := range k.held {
		if e.job == nil || e.job != first {
			k.note(e)
			entries = append(entries, e)
		}
	}
	k.held = nil
	kick := k.heldKick
	k.out.push(entries...)
	k.mu.Unlock()
	if kick != nil {
		k.channel.session.kicked(k.channel, *kick)
	}
}

// adopt goes over to another stream, which begins with the newest target (zero: that of the open) and
// the newest job. False when the channel is not open: it stays where it is.
func (k *sink) adopt(out *outbox) (target sv2.Target, job *sv2.Job, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.opened || k.over {
		return sv2.Target{}, nil, false
	}
	k.out = out
	return k.target, k.job, true
}

// wants is the target that the host gave last.
func (k *sink) wants() sv2.Target {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.target.IsZero() {
		return k.first
	}
	return k.target
}

// kickHeld reports whether the host kicked the channel while it opened it.
func (k *sink) kickHeld() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.heldKick != nil
}

// owe notes submits about to reach the host; false when the channel is over.
func (k *sink) owe(submits []sv2.Submit) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over {
		return false
	}
	for i := range submits {
		k.owed.add(submits[i].ID)
	}
	k.channel.session.outstanding.Add(int64(len(submits)))
	return true
}

// isOver reports whether the channel is closed, refused or kicked.
func (k *sink) isOver() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.over
}

// owes reports whether the host has yet to answer a submit.
func (k *sink) owes(id uint64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.owed.has(id)
}

// cancel takes down which of these submits the host has yet to answer: their verdicts are not told, and
// withdrawn if need be. ids ascend.
func (k *sink) cancel(ids []uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over {
		return
	}
	for _, id := range k.owed.all() {
		if _, ok := slices.BinarySearch(ids, id); ok {
			if k.cancelled == nil {
				k.cancelled = make(map[uint64]struct{})
			}
			if _, before := k.cancelled[id]; !before {
				k.cancelled[id] = struct{}{}
				k.channel.session.outstanding.Add(-1)
			}
		}
	}
}

// withdrawn adds verdicts that the host is to be told of.
func (k *sink) withdrawn(verdict sv2.Verdict) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.accepted = append(k.accepted, verdict)
}

// takeWithdrawn gives the verdicts that the host is to be told of now.
func (k *sink) takeWithdrawn() []sv2.Verdict {
	k.mu.Lock()
	defer k.mu.Unlock()
	accepted := k.accepted
	k.accepted = nil
	return accepted
}

// awaitCancelled waits until the host has answered what was cancelled before it closes the channel, but
// not forever.
func (k *sink) awaitCancelled(patience time.Duration) {
	k.mu.Lock()
	settled := k.settled
	k.mu.Unlock()
	if settled == nil {
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-settled:
	case <-timer.C:
	}
	k.mu.Lock()
	k.settled, k.cancelled, k.owed = nil, nil, queue{}
	k.mu.Unlock()
}

// finish drops what the host still delivers and reports whether this call ended the channel.
func (k *sink) finish() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over {
		return false
	}
	k.finishLocked(false)
	return true
}

// finishLocked is finish for who holds mu. A host that kicked the channel answers nothing more.
func (k *sink) finishLocked(kicked bool) {
	k.over = true
	k.held = nil
	k.job = nil
	k.channel.session.answers.leave(k.channel)
	k.channel.session.outstanding.Add(int64(len(k.cancelled) - k.owed.len()))
	if kicked || len(k.cancelled) == 0 {
		k.owed, k.cancelled = queue{}, nil
		return
	}
	k.owed = queue{}
	for id := range k.cancelled {
		k.owed.ids = append(k.owed.ids, id)
	}
	slices.Sort(k.owed.ids)
	k.settled = make(chan struct{})
}
