// What a sidecar sends after Hello.

package grpchost

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// maxUpdates is how many UpdateChannels of one channel may wait for a slow host; one more is refused
// with "rate-limited". Miners send one at a time.
const maxUpdates = 16

// take handles one message. An error ends the session.
func (s *Session) take(request *sv2pb.SessionRequest) error {
	switch m := request.GetMessage().(type) {
	case *sv2pb.SessionRequest_SubmitBatch:
		return s.takeSubmits(m.SubmitBatch.GetSubmits())
	case *sv2pb.SessionRequest_OpenChannel:
		return s.takeOpen(m.OpenChannel)
	case *sv2pb.SessionRequest_UpdateChannel:
		s.takeUpdate(m.UpdateChannel)
	case *sv2pb.SessionRequest_CloseChannel:
		s.takeClose(m.CloseChannel)
	case *sv2pb.SessionRequest_TargetInEffect:
		return s.takeTarget(m.TargetInEffect)
	case *sv2pb.SessionRequest_Ping:
		s.outbox.push(entry{message: &sv2pb.SessionResponse{Message: &sv2pb.SessionResponse_Pong{
			Pong: &sv2pb.Pong{Id: m.Ping.GetId(), SentUs: m.Ping.GetSentUs()}}}})
	case *sv2pb.SessionRequest_Drain:
		s.mu.Lock()
		s.leaving = true
		s.mu.Unlock()
		s.log.Info("sidecar is about to stop", "grace_ms", m.Drain.GetGraceMs(),
			"reason", printable(m.Drain.GetReason(), maxText))
	case *sv2pb.SessionRequest_Pong:
		s.calls.resolve(m.Pong.GetId(), request)
	case *sv2pb.SessionRequest_SetPayoutResult:
		s.calls.resolve(m.SetPayoutResult.GetCallId(), request)
	case *sv2pb.SessionRequest_Account:
		s.calls.resolve(m.Account.GetCallId(), request)
	case *sv2pb.SessionRequest_RecordSharesResult:
		s.calls.resolve(m.RecordSharesResult.GetCallId(), request)
	case *sv2pb.SessionRequest_CallFailed:
		s.calls.resolve(m.CallFailed.GetCallId(), request)
	case *sv2pb.SessionRequest_Hello:
		return status.Error(codes.InvalidArgument, "a second Hello on the same stream")
	}
	return nil
}

// takeSubmits sorts a batch by channel and hands each channel its part. What no host can judge is
// answered here; every submit gets exactly one verdict.
func (s *Session) takeSubmits(submits []*sv2pb.Submit) error {
	if len(submits) == 0 || len(submits) > maxBatch {
		return status.Errorf(codes.InvalidArgument, "SubmitBatch has %d submits, want 1 to %d",
			len(submits), maxBatch)
	}
	var touched []*channel
	var refused []sv2.Verdict
	refuse := func(id uint64, reason sv2.RejectReason, detail string) {
		refused = append(refused, sv2.Verdict{SubmitID: id, Reason: reason, Detail: detail})
	}
	inFlight := s.outstanding.Load()
	s.mu.Lock()
	for _, submit := range submits {
		id := submit.GetId()
		if id <= s.lastSubmit {
			s.mu.Unlock()
			return status.Errorf(codes.InvalidArgument, "Submit.id %d after %d: ids must rise", id,
				s.lastSubmit)
		}
		s.lastSubmit = id
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
		if inFlight >= s.hello.maxInFlight {
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
	if len(refused) > 0 {
		s.outbox.answer(refused)
	}
	return nil
}

// takeUpdate queues UpdateChannel behind the channel's other calls.
func (s *Session) takeUpdate(m *sv2pb.UpdateChannel) {
	id, requestID := m.GetChannelId(), m.GetRequestId()
	c := s.begin(id)
	if c == nil {
		s.outbox.push(entry{channel: id, message: updatedMessage(id, requestID,
			&sv2.Refusal{Reason: sv2.RefuseInvalidChannelID})})
		return
	}
	request, refusal := updateRequestFrom(m)
	if c.updates.Load() >= maxUpdates {
		// Answered out of turn: a queue of refusals would have no bound either.
		c.sink.put(entry{channel: id, message: updatedMessage(id, requestID,
			&sv2.Refusal{Reason: sv2.RefuseRateLimited, Detail: "too many updates wait"})})
		s.work.Done()
		return
	}
	c.updates.Add(1)
	c.enqueue(func() {
		defer s.work.Done()
		defer c.updates.Add(-1)
		if refusal == nil && !c.isOver() {
			if err := c.host.Update(c.ctx, request); err != nil {
				refusal = refusalFrom(err)
			}
		}
		c.sink.put(entry{channel: id, message: updatedMessage(id, requestID, refusal)})
	})
}

// takeClose ends a channel, be it open or being opened. An unknown one was closed by the pool.
func (s *Session) takeClose(m *sv2pb.CloseChannel) {
	s.mu.Lock()
	c := s.channels[m.GetChannelId()]
	if c == nil {
		s.mu.Unlock()
		return
	}
	s.drop(c)
	s.work.Add(1)
	s.mu.Unlock()
	c.close(printable(m.GetReason(), maxText), s.closed)
}

// takeTarget tells the host what the miner was told, if it wants to know.
func (s *Session) takeTarget(m *sv2pb.TargetInEffect) error {
	target, ok := miningTarget(m.GetTarget())
	if !ok {
		return status.Error(codes.InvalidArgument, "TargetInEffect.target is not 32 bytes, or zero")
	}
	if c := s.begin(m.GetChannelId()); c != nil {
		c.tell(target, s.work.Done)
	}
	return nil
}
