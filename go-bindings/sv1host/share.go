// Shares: judged, handed to the pool, answered.

package sv1host

import (
	"bytes"
	"sync"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// judgeTurn judges some of the shares that wait; false when there were none.
func (c *channel) judgeTurn() bool {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(len(c.queue), turnShares)
	if n == 0 {
		return false
	}
	batch := c.queue[:n]
	c.queue = c.queue[n:]
	if len(c.queue) == 0 {
		c.queue = nil // an idle channel keeps no memory
	}
	c.judgeAt(batch, now)
	return true
}

// judgeAt judges shares by the time that is given; the caller holds mu.
func (c *channel) judgeAt(batch []sv2.Submit, now time.Time) {
	c.judge(batch, func(submit sv2.Submit) sv2.Verdict { return c.check.Judge(submit, now) })
	if c.host.seen.Filled() {
		c.host.options.Logger.Error("there is little room left to remember accepted shares of this tip: " +
			"until the next block channels that sent more than their part are answered rate-limited; if " +
			"blocks are not just slow, MaxChannels or SharesPerMinute is less than what comes: raise it")
	}
}

// scratch is memory for one turn of a channel. Turns come by the share, and idle channels keep none of it.
type scratch struct {
	verdicts   []sv2.Verdict
	lines      []byte
	sent, lost []*share
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// release gives it back for another turn.
func (w *scratch) release() {
	clear(w.verdicts)
	clear(w.sent)
	clear(w.lost)
	w.verdicts, w.lines, w.sent, w.lost = w.verdicts[:0], w.lines[:0], w.sent[:0], w.lost[:0]
	scratches.Put(w)
}

// judge has shares judged, sends the pool those that are good or are blocks, and answers those that
// need no word of the pool's; the caller holds mu.
func (c *channel) judge(batch []sv2.Submit, judge func(sv2.Submit) sv2.Verdict) {
	w := scratches.Get().(*scratch)
	defer w.release()
	at := time.Now()
	for i := range batch {
		submit := &batch[i]
		verdict := judge(*submit)
		if verdict.Reason == sv2.RejectInvalidJobID && submit.JobID-1 < c.lastJob {
			verdict.Reason = sv2.RejectStale // was given once, and is forgotten
		}
		if !verdict.Accepted() && !verdict.BlockCandidate {
			w.verdicts = append(w.verdicts, verdict)
			continue
		}
		s := c.shareOf(submit, &verdict, at)
		if !c.mayWait(s) {
			w.lost = append(w.lost, s)
			continue
		}
		w.lines = c.appendShare(w.lines, s, submit)
		w.sent = append(w.sent, s)
	}
	if len(w.sent) > 0 && !c.submit(w.lines, at) {
		for _, s := range w.sent {
			delete(c.pending, s.verdict.SubmitID)
		}
		w.lost = append(w.lost, w.sent...)
		clear(w.sent)
		w.sent = w.sent[:0]
	}
	for _, s := range w.sent {
		if s.verdict.BlockCandidate {
			w.verdicts = append(w.verdicts, s.verdict)
		}
	}
	// The result of a block must not overtake its verdict. Nothing is credited that the pool didn't get.
	for _, s := range w.lost {
		switch {
		case !s.verdict.BlockCandidate:
			w.verdicts = c.lose(w.verdicts, s, whyLost)
		case s.verdict.Accepted():
			w.verdicts = append(w.verdicts, sv2.Verdict{SubmitID: s.verdict.SubmitID,
				Reason: sv2.RejectUnavailable, Hash: s.verdict.Hash, BlockCandidate: true, Detail: whyLost})
		default:
			w.verdicts = append(w.verdicts, s.verdict)
		}
	}
	c.tell(w.verdicts)
	for _, s := range w.lost {
		if s.verdict.BlockCandidate {
			c.lose(nil, s, whyLost)
		}
		s.release()
	}
}

// whyLost is why a share didn't get as far as the pool.
const whyLost = "the pool has hung up, or too much waits for it"

// mayWait reports whether a share may wait for the pool. Only blocks may beyond the cap, and those only
// so far.
func (c *channel) mayWait(s *share) bool {
	_, taken := c.pending[s.verdict.SubmitID]
	limit := c.host.options.MaxInFlight
	if s.verdict.BlockCandidate {
		limit += spareLines / 2
	}
	return !taken && s.verdict.SubmitID <= firstCall && len(c.pending) < limit
}

// submit sends lines of shares to the pool. False when it doesn't take them; the caller holds mu.
func (c *channel) submit(lines []byte, now time.Time) bool {
	if !c.conn.send(lines) {
		return false
	}
	c.lastSent = now
	return true
}

var shares = sync.Pool{New: func() any { return new(share) }}

// shareOf is a share that the pool may have to answer; the caller holds mu, and gives it back with release.
func (c *channel) shareOf(submit *sv2.Submit, verdict *sv2.Verdict, at time.Time) *share {
	s := shares.Get().(*share)
	s.verdict, s.ntime, s.at = *verdict, submit.NTime, at
	if verdict.BlockCandidate {
		header, job := c.check.Header(*submit)
		s.block = &block{header, sv2.Coinbase(job, c.prefix, submit.Extranonce), job.Height}
	}
	return s
}

// release gives back a share that nothing is said of any more.
func (s *share) release() {
	*s = share{}
	shares.Put(s)
}

// appendShare writes the line of a share, which waits for the reply from then on; the caller holds mu.
func (c *channel) appendShare(lines []byte, s *share, submit *sv2.Submit) []byte {
	job := c.check.Job(submit.JobID)
	var extranonce2 [maxExtranonce]byte
	n := copy(extranonce2[:], c.zeros)
	n += copy(extranonce2[n:], submit.Extranonce)
	c.pending[submit.ID] = s
	version, given := versionParameter(c.host.options.Version, job, submit)
	return appendSubmit(lines, submit, c.user, c.names[submit.JobID], extranonce2[:n], version, given)
}

// versionParameter is the sixth parameter of mining.submit, if there is one. A version that differs where it
// may not belongs to a block, which must not be lost to that: goPool then takes the whole version.
func versionParameter(
	style VersionStyle, job *sv2.Job, submit *sv2.Submit,
) (parameter uint32, given bool) {
	changed := submit.Version ^ job.Version
	switch {
	case changed&^job.VersionMask != 0:
		return submit.Version, true
	case style == VersionDelta && changed == 0, job.VersionMask == 0:
		return 0, false
	case style == VersionDelta:
		return changed, true
	default:
		return submit.Version & job.VersionMask, true
	}
}

// takeReply takes the pool's answer to a share, whose verdict is appended, or to another request.
func (c *channel) takeReply(m *message, verdicts []sv2.Verdict) []sv2.Verdict {
	id, numbered := m.id()
	if !numbered {
		return verdicts // to nothing that was asked
	}
	f := m.fault()
	reason := sv2.RejectNone
	if f != nil && id <= firstCall {
		reason = c.host.reasonOf(f)
	}
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if replied := c.calls[id]; replied != nil {
		delete(c.calls, id)
		replied <- *m // has room for one
		return verdicts
	}
	s := c.pending[id]
	if s == nil {
		return verdicts // of a ping, or too late
	}
	delete(c.pending, id)
	defer s.release()
	switch {
	case f == nil:
		return c.grant(s, verdicts)
	case s.verdict.BlockCandidate:
		c.log.Error("the pool refused a block", "hash", s.verdict.Hash, "height", s.block.height,
			"error", printable(f.Error()))
		unknown := reason == sv2.RejectUnavailable // the pool had nobody to ask
		c.result(s, sv2.BlockResult{Unknown: unknown, Detail: f.text})
	default:
		return append(verdicts, rejected(s, reason, f, now))
	}
	return verdicts
}

// grant is what becomes of a share that the pool accepted: its verdict is appended, or the result of a
// block is told; the caller holds mu.
func (c *channel) grant(s *share, verdicts []sv2.Verdict) []sv2.Verdict {
	if s.verdict.BlockCandidate {
		c.result(s, sv2.BlockResult{Accepted: true})
		return verdicts
	}
	return append(verdicts, s.verdict)
}

// takeGranted takes the reply to a share that is accepted; the caller holds mu.
func (c *channel) takeGranted(id uint64, verdicts []sv2.Verdict) []sv2.Verdict {
	s := c.pending[id]
	if s == nil {
		return verdicts // too late
	}
	delete(c.pending, id)
	verdicts = c.grant(s, verdicts)
	s.release()
	return verdicts
}

// takeAccepted takes what the pool writes up to the first line that is no reply to a share that is accepted,
// and gives the rest. It is called by the pool's own Write.
func (c *channel) takeAccepted(written []byte) (rest []byte) {
	line, after, _ := bytes.Cut(written, newline)
	id, accepted := acceptedShare(line)
	if !accepted {
		return written
	}
	w := scratches.Get().(*scratch)
	defer w.release()
	c.mu.Lock()
	defer c.mu.Unlock()
	for accepted {
		w.verdicts = c.takeGranted(id, w.verdicts)
		rest = after
		line, after, _ = bytes.Cut(rest, newline)
		id, accepted = acceptedShare(line)
	}
	c.tell(w.verdicts)
	return rest
}

// reasonOf is what an error of mining.submit means.
func (h *Host) reasonOf(f *fault) sv2.RejectReason {
	if ask := h.options.Reject; ask != nil {
		if reason, known := ask(f.code, f.text); known && reason != sv2.RejectNone {
			return reason
		}
	}
	return rejectOf(f)
}

// rejected is the verdict on a share that the pool refused.
func rejected(s *share, reason sv2.RejectReason, f *fault, now time.Time) sv2.Verdict {
	if reason == sv2.RejectNTimeTooOld && int64(s.ntime) > now.Unix() {
		reason = sv2.RejectNTimeTooNew
	}
	return sv2.Verdict{SubmitID: s.verdict.SubmitID, Reason: reason, Hash: s.verdict.Hash,
		Detail: printable(f.Error())}
}
