// How a session goes from one stream to the next.

package session

import (
	"context"
	"errors"
	"slices"
	"sort"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// maxDetached is how many sessions without a stream the server keeps; then the one that has waited
// longest ends. Each may hold a ring of verdicts.
const maxDetached = 64

// admit gives a stream whose Hello was good its session: the one that it names if that goes on, else a new
// one. What that replaces is closed on the host, as far as that doesn't take too long.
func (s *Server) admit(l *link) (session *Session, resumed bool, err error) {
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		return nil, false, errStopping
	}
	if l.ctx.Err() != nil { // a late Hello must not fence the stream that came instead
		s.mu.Unlock()
		return nil, false, context.Cause(l.ctx)
	}
	var closing []*Session
	var older *link
	session = s.sessions[l.hello.session]
	if session != nil {
		if err := session.outdates(l.hello); err != nil {
			s.mu.Unlock()
			return nil, false, err
		}
		if older, resumed = session.claim(l); !resumed && session.retire() {
			closing = append(closing, session)
		}
	}
	replaced := session
	if !resumed {
		s.order++
		session = newSession(s, l, s.order)
		s.sessions[l.hello.session] = session
	}
	for _, other := range s.sessions {
		if other.leftBehindBy(l.hello) {
			closing = append(closing, other)
		}
	}
	s.closeLocked(closing, "the sidecar began anew", errFenced)
	s.mu.Unlock()
	l.session, l.log = session, session.log
	if older != nil {
		older.fail(errFenced)
	}
	if !resumed && replaced != nil && !slices.Contains(closing, replaced) {
		closing = append(closing, replaced) // it was ending already
	}
	patience := time.NewTimer(fencePatience)
	defer patience.Stop()
	for _, old := range closing {
		select {
		case <-old.over:
			continue
		case <-l.ctx.Done():
			return nil, false, context.Cause(l.ctx)
		case <-patience.C:
		}
		session.log.Warn("the host has not closed all channels of an older session yet; going on",
			"waited", fencePatience)
		break
	}
	if resumed {
		err = session.takeOver(l)
	}
	return session, resumed, err
}

// outdates is the error for a Hello that the sidecar gave up: one of a later dial was heard before.
// Each process counts its own dials.
func (s *Session) outdates(h hello) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hello.sidecar != h.sidecar || s.hello.boot != h.boot || h.dial > s.dial {
		return nil
	}
	return status.Errorf(codes.Aborted, "outdated: Hello.dial is %d and the session has heard %d: "+
		"each dial needs a higher number than all before", h.dial, s.dial)
}

// claim makes l the newest stream of the session and gives the one before, which the caller ends. False
// when the session can't go on with this Hello.
func (s *Session) claim(l *link) (older *link, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || string(l.hello.lastEpoch) != string(s.epoch[:]) ||
		s.hello.sidecar != l.hello.sidecar || s.hello.boot != l.hello.boot {
		return nil, false
	}
	older = s.latest
	if s.window != nil {
		s.window.Stop()
		s.window = nil
	}
	if older != nil {
		s.broken = time.Now()
	}
	s.latest, s.dial = l, l.hello.dial
	return older, true
}

// leftBehindBy retires a session without a stream when Hello shows that its sidecar was restarted.
func (s *Session) leftBehindBy(h hello) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest == nil && s.hello.sidecar == h.sidecar && s.hello.boot != h.boot &&
		s.retireLocked()
}

// takeOver waits until nothing received on the stream before is under way any more.
func (s *Session) takeOver(l *link) error {
	s.mu.Lock()
	owner := s.owner
	s.mu.Unlock()
	patience := time.NewTimer(fencePatience)
	defer patience.Stop()
	select {
	case <-owner.received:
	case <-l.ctx.Done():
		return context.Cause(l.ctx)
	case <-patience.C:
		return status.Error(codes.Unavailable, "the older stream has not ended yet: dial again")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return errReplaced
	case s.latest != l:
		return errFenced
	}
	s.owner = l
	return nil
}

// resume brings the session over to a stream that took it over: what the sidecar has no more is closed,
// what it has cancelled is withdrawn. It gives what the stream begins with, behind Welcome.
func (s *Session) resume(l *link) ([]entry, error) {
	l.again = s.lastSubmit
	have := l.hello.open
	var open, missing []*channel
	var gone []uint64
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return nil, errReplaced
	}
	for id, c := range s.channels {
		if _, ok := slices.BinarySearch(have, id); ok && c.rolls.Load() != notOpen {
			open = append(open, c)
			continue
		}
		missing = append(missing, c)
		s.drop(c)
		s.work.Add(1)
	}
	broken := s.broken
	s.mu.Unlock()
	// Cancelled before closed, or nobody would hear of their verdicts.
	s.takeBack(l.hello.cancelled, slices.Concat(open, missing)...)
	for _, c := range missing {
		c.close("the sidecar has it no more", s.closed)
	}
	s.answers.attach(l.outbox, l.again)

	sort.Slice(open, func(i, j int) bool { return open[i].id < open[j].id })
	var targets, jobs []entry
	adopted := make(map[uint64]bool, len(open))
	for _, c := range open {
		target, job, ok := c.sink.adopt(l.outbox)
		if !ok {
			continue // kicked just now
		}
		adopted[c.id] = true
		if !target.IsZero() {
			targets = append(targets, entry{channel: c.id, message: targetMessage(c.id, target)})
		}
		jobs = append(jobs, entry{channel: c.id, job: job})
	}
	for _, id := range have {
		if !adopted[id] {
			gone = append(gone, id)
		}
	}
	return slices.Concat(s.news.farewells(gone), targets, grouped(jobs), s.news.since(broken)), nil
}

// grouped puts channels with the very same job next to each other, which makes them one message; else
// the order stays.
func grouped(jobs []entry) []entry {
	first := make(map[*sv2.Job]int, len(jobs))
	for i, e := range jobs {
		if _, ok := first[e.job]; !ok {
			first[e.job] = i
		}
	}
	sort.SliceStable(jobs, func(i, j int) bool { return first[jobs[i].job] < first[jobs[j].job] })
	return jobs
}

// left follows the end of a session's stream: the session waits for the next one, or ends.
func (s *Server) left(l *link, cause error) {
	session := l.session
	var broken violation
	s.mu.Lock()
	session.mu.Lock()
	if session.latest != l || session.ended {
		session.mu.Unlock()
		s.mu.Unlock()
		return // a newer stream has the session, or whoever ended it closes it
	}
	session.latest = nil
	final := s.stopping || errors.As(cause, &broken) || (l.leaving && errors.Is(cause, errHungUp)) ||
		s.restarted(session)
	channels := len(session.channels)
	if final {
		session.retireLocked()
	} else {
		session.broken = time.Now()
		session.breaks++
		breaks := session.breaks
		session.window = time.AfterFunc(s.options.ResumeWindow, func() { s.expire(session, breaks) })
	}
	session.mu.Unlock()
	if !final {
		s.boundDetachedLocked()
	}
	s.mu.Unlock()

	switch {
	case !final && leftBySidecar(cause):
		session.log.Info("sidecar disconnected; its channels wait for it", "channels", channels,
			"resume_window", s.options.ResumeWindow)
	case !final:
		session.log.Warn("the stream broke; the channels wait for the sidecar", "cause", cause,
			"channels", channels, "resume_window", s.options.ResumeWindow)
	case leftBySidecar(cause):
		session.close("the sidecar disconnected", errHungUp)
		session.log.Info("sidecar disconnected", "channels", channels)
	default:
		session.close("session ended: "+printable(cause.Error(), maxText), cause)
		session.log.Info("session ended", "cause", cause, "channels", channels)
	}
}

// restarted reports whether a later session shows that the sidecar of this one was restarted; s.mu is
// held.
func (s *Server) restarted(session *Session) bool {
	for _, other := range s.sessions {
		if other.order > session.order && other.hello.sidecar == session.hello.sidecar &&
			other.hello.boot != session.hello.boot {
			return true
		}
	}
	return false
}

// expire ends a session that has waited for a stream through all of its window.
func (s *Server) expire(session *Session, breaks uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	session.mu.Lock()
	over := session.latest == nil && session.breaks == breaks && session.retireLocked()
	session.mu.Unlock()
	if over {
		session.log.Info("session ended: the sidecar did not come back",
			"waited", s.options.ResumeWindow)
		s.closeLocked([]*Session{session}, "the sidecar did not come back in time", errStopping)
	}
}

// boundDetachedLocked ends the sessions that have waited longest when too many wait.
func (s *Server) boundDetachedLocked() {
	type waiting struct {
		session *Session
		since   time.Time
	}
	var detached []waiting
	for _, session := range s.sessions {
		session.mu.Lock()
		if session.latest == nil && !session.ended {
			detached = append(detached, waiting{session, session.broken})
		}
		session.mu.Unlock()
	}
	sort.Slice(detached, func(i, j int) bool { return detached[i].since.Before(detached[j].since) })
	for len(detached) > maxDetached {
		if session := detached[0].session; session.retire() {
			session.log.Warn("session ended: too many wait for their sidecars", "limit", maxDetached)
			s.closeLocked([]*Session{session}, "too many sessions wait for their sidecars", errStopping)
		}
		detached = detached[1:]
	}
}

// closeLocked closes retired sessions, each on a goroutine of its own; s.mu is held.
func (s *Server) closeLocked(sessions []*Session, reason string, cause error) {
	for _, session := range sessions {
		s.running.Add(1)
		go func() {
			defer s.running.Done()
			session.close(reason, cause)
		}()
	}
}
