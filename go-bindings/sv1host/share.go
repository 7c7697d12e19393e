// Shares: judged, handed to the pool, answered.

package sv1host

import (
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

// judge has shares judged, sends the pool those that are good or are blocks, and answers those that
// need no word of the pool's; the caller holds mu.
func (c *channel) judge(batch []sv2.Submit, judge func(sv2.Submit) sv2.Verdict) {
	verdicts := make([]sv2.Verdict, 0, len(batch))
	var lines []byte
	var sent, lost []*share
	for _, submit := range batch {
		verdict := judge(submit)
		if verdict.Reason == sv2.RejectInvalidJobID && submit.JobID-1 < c.lastJob {
			verdict.Reason = sv2.RejectStale // was given once, and is forgotten
		}
		if !verdict.Accepted() && !verdict.BlockCandidate {
			verdicts = append(verdicts, verdict)
			continue
		}
		s := c.shareOf(submit, verdict)
		if !c.mayWait(s) {
			lost = append(lost, s)
			continue
		}
		lines = c.appendShare(lines, s)
		sent = append(sent, s)
	}
	if len(sent) > 0 && !c.submit(lines) {
		for _, s := range sent {
			delete(c.pending, s.submit.ID)
		}
		lost, sent = append(lost, sent...), nil
	}
	for _, s := range sent {
		if s.verdict.BlockCandidate {
			verdicts = append(verdicts, s.verdict)
		}
	}
	// The result of a block must not overtake its verdict. Nothing is credited that the pool didn't get.
	for _, s := range lost {
		switch {
		case !s.verdict.BlockCandidate:
			verdicts = c.lose(verdicts, s, whyLost)
		case s.verdict.Accepted():
			verdicts = append(verdicts, sv2.Verdict{SubmitID: s.submit.ID, Reason: sv2.RejectUnavailable,
				Hash: s.verdict.Hash, BlockCandidate: true, Detail: whyLost})
		default:
			verdicts = append(verdicts, s.verdict)
		}
	}
	c.tell(verdicts)
	for _, s := range lost {
		if s.verdict.BlockCandidate {
			c.lose(nil, s, whyLost)
		}
	}
}

// whyLost is why a share didn't get as far as the pool.
const whyLost = "the pool has hung up, or too much waits for it"

// mayWait reports whether a share may wait for the pool. Only blocks may beyond the cap, and those only
// so far.
func (c *channel) mayWait(s *share) bool {
	_, taken := c.pending[s.submit.ID]
	limit := c.host.options.MaxInFlight
	if s.verdict.BlockCandidate {
		limit += spareLines / 2
	}
	return !taken && s.submit.ID <= firstCall && len(c.pending) < limit
}

// submit sends lines of shares to the pool. False when it doesn't take them; the caller holds mu.
func (c *channel) submit(lines []byte) bool {
	if !c.conn.send(lines) {
		return false
	}
	c.lastSent = time.Now()
	return true
}

// shareOf is a share that the pool may have to answer; the caller holds mu.
func (c *channel) shareOf(submit sv2.Submit, verdict sv2.Verdict) *share {
	s := &share{submit: submit, verdict: verdict, at: time.Now()}
	if verdict.BlockCandidate {
		header, job := c.check.Header(submit)
		s.header, s.height = header, job.Height
		s.coinbase = sv2.Coinbase(job, c.prefix, submit.Extranonce)
	}
	return s
}

// appendShare writes the line of a share, which waits for the reply from then on; the caller holds mu.
func (c *channel) appendShare(lines []byte, s *share) []byte {
	job := c.check.Job(s.submit.JobID)
	var extranonce2 [maxExtranonce]byte
	n := copy(extranonce2[:], c.zeros)
	n += copy(extranonce2[n:], s.submit.Extranonce)
	c.pending[s.submit.ID] = s
	return appendSubmit(lines, &s.submit, c.user, c.names[s.submit.JobID], extranonce2[:n],
		versionParameter(c.host.options.Version, job, &s.submit))
}

// versionParameter is the sixth parameter of mining.submit, nil for none. A version that differs where it
// may not belongs to a block, which must not be lost to that: goPool then takes the whole version.
func versionParameter(style VersionStyle, job *sv2.Job, submit *sv2.Submit) *uint32 {
	changed := submit.Version ^ job.Version
	var parameter uint32
	switch {
	case changed&^job.VersionMask != 0:
		parameter = submit.Version
	case style == VersionDelta && changed == 0, job.VersionMask == 0:
		return nil
	case style == VersionDelta:
		parameter = changed
	default:
		parameter = submit.Version & job.VersionMask
	}
	return &parameter
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
	switch {
	case s.verdict.BlockCandidate && f == nil:
		c.result(s, sv2.BlockResult{Accepted: true})
	case s.verdict.BlockCandidate:
		c.log.Error("the pool refused a block", "hash", s.verdict.Hash, "height", s.height,
			"error", printable(f.Error()))
		unknown := reason == sv2.RejectUnavailable // the pool had nobody to ask
		c.result(s, sv2.BlockResult{Unknown: unknown, Detail: f.text})
	case f == nil:
		return append(verdicts, s.verdict)
	default:
		return append(verdicts, rejected(s, reason, f, now))
	}
	return verdicts
}

// takeAccepted takes what the pool writes if it is the reply to a share that is accepted. It is called by
// the pool's own Write.
func (c *channel) takeAccepted(written []byte) bool {
	id, accepted := acceptedID(written)
	if !accepted || id > firstCall {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.pending[id]
	if s == nil {
		return true // too late
	}
	delete(c.pending, id)
	if s.verdict.BlockCandidate {
		c.result(s, sv2.BlockResult{Accepted: true})
	} else {
		c.tell([]sv2.Verdict{s.verdict})
	}
	return true
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
	if reason == sv2.RejectNTimeTooOld && int64(s.submit.NTime) > now.Unix() {
		reason = sv2.RejectNTimeTooNew
	}
	return sv2.Verdict{SubmitID: s.submit.ID, Reason: reason, Hash: s.verdict.Hash,
		Detail: printable(f.Error())}
}
