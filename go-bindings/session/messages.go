// What a sidecar sends after Hello.

package session

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

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

// takeClose ends a channel, be it open or being opened, and takes back what the sidecar has answered
// instead of the host. An unknown channel was closed by the pool.
func (l *link) takeClose(m *sv2pb.CloseChannel) error {
	s := l.session
	if n := len(m.GetCancelledSubmitIds()); int64(n) > l.hello.maxInFlight {
		return status.Errorf(codes.InvalidArgument, "CloseChannel has %d cancelled_submit_ids, at most "+
			"max_in_flight (%d)", n, l.hello.maxInFlight)
	}
	cancelled := ascending(m.GetCancelledSubmitIds())
	s.mu.Lock()
	c := s.channels[m.GetChannelId()]
	if c == nil {
		s.mu.Unlock()
		s.takeBack(cancelled)
		return nil
	}
	s.drop(c)
	s.work.Add(1)
	s.mu.Unlock()
	s.takeBack(cancelled, c)
	c.close(printable(m.GetReason(), maxText), s.closed)
	return nil
}

// takeTarget tells the host what the miner was told, if it wants to know.
func (l *link) takeTarget(m *sv2pb.TargetInEffect) error {
	target, ok := miningTarget(m.GetTarget())
	if !ok {
		return status.Error(codes.InvalidArgument, "TargetInEffect.target is not 32 bytes, or zero")
	}
	wanted, ok := miningTarget(m.GetWantedTarget())
	if !ok {
		return status.Error(codes.InvalidArgument,
			"TargetInEffect.wanted_target is not 32 bytes, or zero")
	}
	s := l.session
	if c := s.begin(m.GetChannelId()); c != nil {
		c.tell(inEffect{wanted, target}, s.work.Done)
	}
	return nil
}
