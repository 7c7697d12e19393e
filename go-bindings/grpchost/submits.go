// Shares on their way to the host, the first time and again.

package grpchost

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

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
	s.lastSubmit = l.lastSubmit

	var touched []*channel
	var refused []sv2.Verdict
	refuse := func(id uint64, reason sv2.RejectReason, detail string) {
		refused = append(refused, sv2.Verdict{SubmitID: id, Reason: reason, Detail: detail})
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
			refuse(id, sv2.RejectInvalidChannelID, "no such channel is open")
			continue
		}
		share, reason, detail := submitFrom(submit, rolls)
		if reason != sv2.RejectNone {
			refuse(id, reason, detail)
			continue
		}
		if inFlight >= l.hello.maxInFlight {
			refuse(id, sv2.RejectRateLimited, "more submits unanswered than Hello.max_in_flight")
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
				refuse(batch[i].ID, sv2.RejectInvalidChannelID, "the channel is closed")
			}
		}
	}
	s.answers.record(nil, refused)
	return nil
}

// takeAgain answers submits that came before, on an earlier stream. None reaches the host twice: either
// its verdict is known and queued again, or the host still owes it and it comes in time. What is neither
// was lost with its channel, or cancelled, or is older than what a sidecar may have unanswered.
func (l *link) takeAgain(submits []*sv2pb.Submit) {
	s := l.session
	ids := make([]uint64, 0, len(submits))
	open := make([]bool, 0, len(submits))
	s.mu.Lock()
	channels := make([]*channel, len(submits))
	for i, submit := range submits {
		channels[i] = s.channels[submit.GetChannelId()]
	}
	s.mu.Unlock()
	for i, submit := range submits {
		c := channels[i]
		// Asked before the ring is: a verdict that comes in between is queued on this stream.
		if c != nil && c.sink.owes(submit.GetId()) {
			continue
		}
		ids = append(ids, submit.GetId())
		open = append(open, c != nil)
	}
	var refused []sv2.Verdict
	for i, known := range s.answers.again(ids) {
		verdict := sv2.Verdict{SubmitID: ids[i]}
		switch {
		case known:
			continue
		case open[i]:
			verdict.Reason, verdict.Detail = sv2.RejectUnavailable, "its verdict is not known any more"
		default:
			verdict.Reason, verdict.Detail = sv2.RejectInvalidChannelID, "the channel is closed"
		}
		refused = append(refused, verdict)
	}
	s.answers.record(nil, refused)
}
