// Shares on their way to the host, the first time and again.

package grpchost

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// closedDetail is what is said of every submit whose channel is not open, whenever it is asked about.
const closedDetail = "no such channel is open"

// takeSubmits sorts a batch by channel and hands each channel its part. What no host can judge is
// answered here; every submit gets exactly one verdict.
func (l *link) takeSubmits(submits []*sv2pb.Submit) error {
	if len(submits) == 0 || len(submits) > maxBatch {
		return status.Errorf(codes.InvalidArgument, "SubmitBatch has %d submits, want 1 to %d",
			len(submits), maxBatch)
	}
	s := l.session
	again := 0
	for _, submit := range submits {
		id := submit.GetId()
		if id <= l.lastSubmit {
			return status.Errorf(codes.InvalidArgument, "Submit.id %d after %d: ids must rise", id,
				l.lastSubmit)
		}
		l.lastSubmit = id
		if id <= l.again {
			again++
		}
	}
	if again > 0 {
		l.takeAgain(submits[:again])
		if submits = submits[again:]; len(submits) == 0 {
			return nil
		}
	}
	if s.lastSubmit == l.again {
		s.answers.caughtUp()
	}
	s.lastSubmit = l.lastSubmit

	var touched []*channel
	var homeless []sv2.Verdict
	refuse := func(c *channel, id uint64, reason sv2.RejectReason, detail string) {
		s.answers.record(c, []sv2.Verdict{{SubmitID: id, Reason: reason, Detail: detail}})
	}
	inFlight := s.outstanding.Load()
	s.mu.Lock()
	for _, submit := range submits {
		id := submit.GetId()
		c := s.channels[submit.GetChannelId()]
		rolls := notOpen
		if c != nil {
			rolls = int(c.rolls.Load())
		}
		if rolls == notOpen {
			homeless = append(homeless, closed(id))
			continue
		}
		share, reason, detail := submitFrom(submit, rolls)
		if reason != sv2.RejectNone {
			refuse(c, id, reason, detail)
			continue
		}
		if inFlight >= l.hello.maxInFlight {
			refuse(c, id, sv2.RejectRateLimited, "more submits unanswered than Hello.max_in_flight")
			continue
		}
		inFlight++
		if c.gathered == nil {
			touched = append(touched, c)
		}
		c.gathered = append(c.gathered, share)
	}
	s.mu.Unlock()
	for _, c := range touched {
		batch := c.gathered
		c.gathered = nil
		if !c.submit(batch) {
			for i := range batch {
				homeless = append(homeless, closed(batch[i].ID))
			}
		}
	}
	s.answers.tell(homeless)
	return nil
}

// closed is the answer to a submit whose channel is not open.
func closed(id uint64) sv2.Verdict {
	return sv2.Verdict{SubmitID: id, Reason: sv2.RejectInvalidChannelID, Detail: closedDetail}
}

// takeAgain answers submits that came before, on an earlier stream. None reaches the host twice: either
// its verdict is known and queued again, or the host still owes it and it comes in time. What is neither
// was lost with its channel, or cancelled, or is older than what a sidecar may have unanswered.
func (l *link) takeAgain(submits []*sv2pb.Submit) {
	s := l.session
	channels := make([]*channel, 0, len(submits))
	ids := make([]uint64, 0, len(submits))
	s.mu.Lock()
	for _, submit := range submits {
		channels = append(channels, s.channels[submit.GetChannelId()])
		ids = append(ids, submit.GetId())
	}
	s.mu.Unlock()
	unsettled := 0
	for i, c := range channels {
		// Asked before the ring is: a verdict that comes in between is queued on this stream.
		if c != nil && c.sink.owes(ids[i]) {
			continue
		}
		channels[unsettled], ids[unsettled] = c, ids[i]
		unsettled++
	}
	var homeless []sv2.Verdict
	for i, known := range s.answers.again(ids[:unsettled]) {
		switch c := channels[i]; {
		case known:
		case c == nil:
			homeless = append(homeless, closed(ids[i]))
		default:
			s.answers.record(c, []sv2.Verdict{{SubmitID: ids[i], Reason: sv2.RejectUnavailable,
				Detail: "its verdict is not known any more"}})
		}
	}
	s.answers.tell(homeless)
}
