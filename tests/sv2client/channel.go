// A channel: its work, its shares, and how they were answered.

package sv2client

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	// maxFutureJobs bounds the future jobs that are kept; the oldest goes first.
	maxFutureJobs = 64
	// maxCodes bounds the codes that rejections are counted by.
	maxCodes = 32
	// otherCodes counts the rest.
	otherCodes = "(other codes)"
	// maxWorker is the longest worker name (extension 0x0002).
	maxWorker = 32
)

// Channel is an open channel of a client. All methods may be called by several goroutines.
type Channel struct {
	client         *Client
	id             uint32
	kind           ChannelKind
	extranonceSize int

	// Guarded by the client's lock.
	group         uint32
	prefix        []byte
	target        Target
	future        []*job
	tip           *SetNewPrevHash
	work          *Work
	sequence      uint32
	tally         Tally
	updateRefused *UpdateError
	closed        error
	changed       chan struct{} // closed, and replaced, at each change
}

// Tally counts the shares of a channel.
type Tally struct {
	// Submitted shares were sent.
	Submitted uint64
	// Accepted shares were credited.
	Accepted uint64
	// Difficulty is their sum as the pool told it, in whole difficulties.
	Difficulty uint64
	// Rejected counts rejections by the pool's code, at most 33 of them.
	Rejected map[string]uint64
}

// Outstanding are the shares without an answer.
func (t Tally) Outstanding() uint64 { return t.Submitted - t.Accepted - t.RejectedSum() }

// RejectedSum are the rejected shares.
func (t Tally) RejectedSum() uint64 {
	var sum uint64
	for _, count := range t.Rejected {
		sum += count
	}
	return sum
}

// ID is the channel's number on its connection.
func (ch *Channel) ID() uint32 { return ch.id }

// Kind is standard or extended.
func (ch *Channel) Kind() ChannelKind { return ch.kind }

// ExtranonceSize is how many bytes an extended channel rolls; 0 on a standard one.
func (ch *Channel) ExtranonceSize() int { return ch.extranonceSize }

// Target is what the pool set last. Work has the target that counts for its shares.
func (ch *Channel) Target() Target {
	ch.client.mu.Lock()
	defer ch.client.mu.Unlock()
	return ch.target
}

// Tally is the count so far.
func (ch *Channel) Tally() Tally {
	ch.client.mu.Lock()
	defer ch.client.mu.Unlock()
	tally := ch.tally
	tally.Rejected = maps.Clone(tally.Rejected)
	return tally
}

// UpdateRefused is the pool's latest refusal of an Update; nil: none.
func (ch *Channel) UpdateRefused() *UpdateError {
	ch.client.mu.Lock()
	defer ch.client.mu.Unlock()
	return ch.updateRefused
}

// WaitWork waits until there is work with a revision above after; 0 takes any. It fails when the channel
// or the connection ends, with [*ReconnectError] when the pool wants its miners elsewhere.
func (ch *Channel) WaitWork(ctx context.Context, after uint64) (Work, error) {
	var work Work
	err := ch.wait(ctx, func() (bool, error) {
		if err := ch.stopped(); err != nil {
			return false, err
		}
		if ch.work == nil || ch.work.Revision <= after {
			return false, nil
		}
		work = *ch.work
		return true, nil
	})
	return work, err
}

// Outdated says quickly whether there is something newer than work, or the end.
func (ch *Channel) Outdated(work Work) bool {
	ch.client.mu.Lock()
	defer ch.client.mu.Unlock()
	return ch.stopped() != nil || ch.work == nil || ch.work.Revision != work.Revision
}

// Submit sends a share and returns its sequence number, the first being 1. It doesn't wait for the answer;
// see WaitAnswers and Tally. Nothing about the share is checked here.
func (ch *Channel) Submit(ctx context.Context, share Share) (uint32, error) {
	standard := SubmitSharesStandard{ChannelID: ch.id, JobID: share.JobID, Nonce: share.Nonce,
		NTime: share.NTime, Version: share.Version}
	var tlvs []TLV
	if share.Worker != "" {
		switch {
		case ch.kind != Extended || !slices.Contains(ch.client.extensions, ExtensionWorkers):
			return 0, fmt.Errorf("submit: worker names are not in force on this channel")
		case len(share.Worker) > maxWorker:
			return 0, fmt.Errorf("submit: a worker name of %d bytes; at most %d are allowed",
				len(share.Worker), maxWorker)
		}
		tlvs = []TLV{{Extension: ExtensionWorkers, Field: 1, Value: []byte(share.Worker)}}
	}
	ch.client.mu.Lock()
	if err := ch.stopped(); err != nil {
		ch.client.mu.Unlock()
		return 0, fmt.Errorf("submit: %w", err)
	}
	ch.sequence++
	standard.SequenceNumber = ch.sequence
	ch.tally.Submitted++
	ch.client.mu.Unlock()

	var m Message = &standard
	if ch.kind == Extended {
		m = &SubmitSharesExtended{standard, share.Extranonce, tlvs}
	}
	if err := ch.client.write(ctx, m); err != nil {
		ch.client.mu.Lock()
		ch.tally.Submitted--
		ch.client.mu.Unlock()
		return 0, fmt.Errorf("submit: %w", err)
	}
	return standard.SequenceNumber, nil
}

// WaitAnswers waits until each share has its answer. It fails when channel or connection end before.
func (ch *Channel) WaitAnswers(ctx context.Context) error {
	return ch.wait(ctx, func() (bool, error) {
		if ch.tally.Outstanding() == 0 {
			return true, nil
		}
		if ch.closed != nil {
			return false, ch.closed
		}
		return false, ch.client.err
	})
}

// Update tells the pool a new hash rate (in hashes per second) and maximum target. A pool that agrees
// doesn't answer, though it may set a new target; for one that doesn't see UpdateRefused.
func (ch *Channel) Update(ctx context.Context, hashRate float32, maxTarget Target) error {
	ch.client.mu.Lock()
	err := ch.stopped()
	ch.client.mu.Unlock()
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	m := &UpdateChannel{ChannelID: ch.id, NominalHashRate: hashRate, MaximumTarget: maxTarget}
	return ch.client.write(ctx, m)
}

// Close ends the channel; answers that are under way are lost. The reason is for the pool's log.
func (ch *Channel) Close(ctx context.Context, reason string) error {
	ch.client.mu.Lock()
	closed := ch.closed
	ch.retire(ErrClosed)
	ch.client.mu.Unlock()
	if closed != nil {
		return nil
	}
	return ch.client.write(ctx, &CloseChannel{ChannelID: ch.id, ReasonCode: reason})
}

// wait returns when ready says so. ready is called with the lock, again after each change.
func (ch *Channel) wait(ctx context.Context, ready func() (bool, error)) error {
	for {
		ch.client.mu.Lock()
		done, err := ready()
		changed := ch.changed
		ch.client.mu.Unlock()
		if done || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// The functions below are called with the client's lock.

func (ch *Channel) stopped() error {
	if ch.closed != nil {
		return ch.closed
	}
	return ch.client.stopped()
}

func (ch *Channel) notify() {
	close(ch.changed)
	ch.changed = make(chan struct{})
}

func (ch *Channel) retire(reason error) {
	if ch.closed == nil {
		ch.closed = reason
		delete(ch.client.channels, ch.id)
		ch.client.retired[ch.id] = struct{}{}
		ch.notify()
	}
}

// newJob takes a job with the prefix and target of this moment (chapters 5.3.10, 5.3.21).
func (ch *Channel) newJob(arrived *job, minNTime *uint32) error {
	used := func(j *job) bool { return j.id == arrived.id }
	if slices.ContainsFunc(ch.future, used) || ch.work != nil && used(ch.work.job) {
		return violation("job id %d is in use on channel %d", arrived.id, ch.id)
	}
	arrived.prefix, arrived.target = ch.prefix, ch.target
	if minNTime == nil {
		arrived.future = true
		if len(ch.future) == maxFutureJobs {
			ch.future = slices.Delete(ch.future, 0, 1)
		}
		ch.future = append(ch.future, arrived)
		return nil
	}
	if ch.tip == nil {
		return violation("job %d on channel %d is to be mined before any SetNewPrevHash",
			arrived.id, ch.id)
	}
	ch.activate(arrived, *minNTime)
	return nil
}

// newTip activates a future job and drops all others (chapter 5.3.17).
func (ch *Channel) newTip(m *SetNewPrevHash) error {
	index := slices.IndexFunc(ch.future, func(j *job) bool { return j.id == m.JobID })
	if index < 0 {
		return violation("SetNewPrevHash names job %d, which is no future job of channel %d",
			m.JobID, ch.id)
	}
	activated := ch.future[index]
	activated.target = ch.target
	ch.future, ch.tip = nil, m
	ch.activate(activated, m.MinNTime)
	return nil
}

func (ch *Channel) activate(j *job, minNTime uint32) {
	ch.replace(Work{
		Kind: ch.kind, JobID: j.id, Version: j.version, VersionRolling: j.versionRolling,
		PrevHash: ch.tip.PrevHash, NBits: ch.tip.NBits, MinNTime: minNTime, Since: time.Now(),
		Target: j.target, ExtranonceSize: ch.extranonceSize, job: j,
	})
}

func (ch *Channel) replace(work Work) {
	if ch.work != nil {
		work.Revision = ch.work.Revision
	}
	work.Revision++
	ch.work = &work
	ch.notify()
}

func (ch *Channel) newTarget(target Target) {
	ch.target = target
	if ch.work == nil || !ch.work.job.future {
		ch.notify()
		return
	}
	work := *ch.work
	work.Target = work.Target.Harder(target)
	ch.replace(work)
}

func (ch *Channel) newPrefix(prefix []byte) error {
	if size := len(prefix) + ch.extranonceSize; size > maxExtranonce {
		return violation("an extranonce of %d bytes, of which there are at most %d", size, maxExtranonce)
	}
	ch.prefix = prefix
	return nil
}

func (ch *Channel) accepted(m *SubmitSharesSuccess) error {
	count := uint64(m.NewSubmitsAcceptedCount)
	switch {
	case count > ch.tally.Outstanding():
		return violation("%d shares accepted on channel %d, of %d that wait", count, ch.id,
			ch.tally.Outstanding())
	case m.LastSequenceNumber == 0 || m.LastSequenceNumber > ch.sequence:
		return violation("share %d accepted on channel %d, which was never sent",
			m.LastSequenceNumber, ch.id)
	}
	ch.tally.Accepted += count
	ch.tally.Difficulty += m.NewSharesSum
	ch.notify()
	return nil
}

func (ch *Channel) rejected(m *SubmitSharesError) error {
	if ch.tally.Outstanding() == 0 || m.SequenceNumber == 0 || m.SequenceNumber > ch.sequence {
		return violation("share %d rejected on channel %d, which does not wait", m.SequenceNumber, ch.id)
	}
	if ch.tally.Rejected == nil {
		ch.tally.Rejected = make(map[string]uint64)
	}
	code := m.ErrorCode
	if _, seen := ch.tally.Rejected[code]; !seen && len(ch.tally.Rejected) >= maxCodes {
		code = otherCodes
	}
	ch.tally.Rejected[code]++
	ch.notify()
	return nil
}
