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

// take handles one message that is neither shares nor a close. An error ends the session.
func (l *link) take(request *sv2pb.SessionRequest) error {
	switch m := request.GetMessage().(type) {
	case *sv2pb.SessionRequest_OpenChannel:
		return l.takeOpen(m.OpenChannel)
	case *sv2pb.SessionRequest_UpdateChannel:
		l.takeUpdate(m.UpdateChannel)
	case *sv2pb.SessionRequest_TargetInEffect:
		return l.takeTarget(m.TargetInEffect)
	case *sv2pb.SessionRequest_Ping:
		l.outbox.push(entry{message: &sv2pb.SessionResponse{Message: &sv2pb.SessionResponse_Pong{
			Pong: &sv2pb.Pong{Id: m.Ping.GetId(), SentUs: m.Ping.GetSentUs()}}}})
	case *sv2pb.SessionRequest_Drain:
		l.session.mu.Lock()
		l.leaving = true
		l.session.mu.Unlock()
		l.log.Info("sidecar is about to stop", "grace_ms", m.Drain.GetGraceMs(),
			"reason", printable(m.Drain.GetReason(), maxText))
	case *sv2pb.SessionRequest_Pong:
		l.calls.resolve(m.Pong.GetId(), request)
	case *sv2pb.SessionRequest_SetPayoutResult:
		l.calls.resolve(m.SetPayoutResult.GetCallId(), request)
	case *sv2pb.SessionRequest_Account:
		l.calls.resolve(m.Account.GetCallId(), request)
	case *sv2pb.SessionRequest_RecordSharesResult:
		l.calls.resolve(m.RecordSharesResult.GetCallId(), request)
	case *sv2pb.SessionRequest_CallFailed:
		l.calls.resolve(m.CallFailed.GetCallId(), request)
	case *sv2pb.SessionRequest_Hello:
		return status.Error(codes.InvalidArgument, "a second Hello on the same stream")
	}
	return nil
}

// takeUpdate queues UpdateChannel behind the channel's other calls.
func (l *link) takeUpdate(m *sv2pb.UpdateChannel) {
	s := l.session
	id, requestID := m.GetChannelId(), m.GetRequestId()
	c := s.begin(id)
	if c == nil {
		l.outbox.push(entry{channel: id, message: updatedMessage(id, requestID,
			&sv2.Refusal{Reason: sv2.RefuseInvalidChannelID})})
		return
	}
	request, refusal := updateRequestFrom(m)
	if c.updates.Load() >= maxUpdates {
		// Answered out of turn: a queue of refusals would have no bound either.
		c.sink.reply(l.outbox, entry{channel: id, message: updatedMessage(id, requestID,
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
		c.sink.reply(l.outbox, entry{channel: id, message: updatedMessage(id, requestID, refusal)})
	})
}

// takeClose ends a channel, be it open or being opened. An unknown one was closed by the pool.
func (l *link) takeClose(m *sv2pb.CloseChannel) {
	s := l.session
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
func (l *link) takeTarget(m *sv2pb.TargetInEffect) error {
	target, ok := miningTarget(m.GetTarget())
	if !ok {
		return status.Error(codes.InvalidArgument, "TargetInEffect.target is not 32 bytes, or zero")
	}
	s := l.session
	if c := s.begin(m.GetChannelId()); c != nil {
		c.tell(target, s.work.Done)
	}
	return nil
}
