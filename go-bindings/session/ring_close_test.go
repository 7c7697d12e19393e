// What the sidecar closed leaves its room in the ring to others.

package session

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// rawStream is a stream of the sidecar whose messages may still arrive when it has ended.
type rawStream struct {
	*wire
	t     *testing.T
	end   func()
	ended chan error
}

func (r *running) rawStream(t *testing.T) *rawStream {
	ctx, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	s := &rawStream{t: t, end: end, ended: make(chan error, 1), wire: &wire{ctx: ctx,
		incoming: make(chan *sv2pb.SessionRequest, 100),
		outgoing: make(chan *sv2pb.SessionResponse, 100)}}
	go func() { s.ended <- r.Serve(s.wire) }()
	return s
}

func (s *rawStream) submit(submits ...*sv2pb.Submit) {
	s.incoming <- &sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_SubmitBatch{
		SubmitBatch: &sv2pb.SubmitBatch{Submits: submits}}}
}

func (s *rawStream) closeChannel(id uint64) {
	s.incoming <- &sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_CloseChannel{
		CloseChannel: &sv2pb.CloseChannel{ChannelId: id}}}
}

// until reads up to the message that is wanted.
func (s *rawStream) until(what string, wanted func(*sv2pb.SessionResponse) bool) {
	s.t.Helper()
	late := time.After(patience)
	for {
		select {
		case m := <-s.outgoing:
			if wanted(m) {
				return
			}
		case <-late:
			s.t.Fatalf("never came: %s", what)
		}
	}
}

// judged reads until these many submits have verdicts, and gives them.
func (s *rawStream) judged(count int) map[uint64]*sv2pb.Verdict {
	s.t.Helper()
	verdicts := make(map[uint64]*sv2pb.Verdict)
	s.until("verdicts", func(m *sv2pb.SessionResponse) bool {
		for _, v := range m.GetVerdictBatch().GetVerdicts() {
			verdicts[v.GetSubmitId()] = v
		}
		return len(verdicts) == count
	})
	return verdicts
}

func TestTheAnswersOfChannelsThatTheSidecarClosedLeaveTheRingToOthers(t *testing.T) {
	for name, test := range map[string]struct{ late bool }{
		"on a stream that lives": {}, "received when the stream has ended": {late: true},
	} {
		t.Run(name, func(t *testing.T) {
			const limit = 4
			server := start(t, Options{VerdictRing: limit, ResumeWindow: time.Hour}, nil)
			hello := goodHello(1)
			hello.MaxInFlight = limit
			s := server.rawStream(t)
			s.incoming <- &sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_Hello{Hello: hello}}
			for id := range uint64(2) {
				s.incoming <- &sv2pb.SessionRequest{
					Message: &sv2pb.SessionRequest_OpenChannel{OpenChannel: goodOpen(id + 1)}}
				s.until("the channel", func(m *sv2pb.SessionResponse) bool {
					return m.GetChannelOpened() != nil
				})
			}
			// None of these verdicts arrives. Two of the submits are of a channel that the sidecar closes
			// then: it waits for their verdicts no more, and sends others.
			s.submit(share(1, 1, 1), share(2, 1, 2), share(3, 2, 3), share(4, 2, 4))
			lost := s.judged(limit)
			if test.late {
				s.end()
				<-s.ended
			}
			s.closeChannel(2)
			s.submit(share(5, 1, 5), share(6, 1, 6))
			close(s.incoming)
			channel := server.pool.all[0]
			eventually(t, "all are judged", func() bool {
				channel.mu.Lock()
				defer channel.mu.Unlock()
				return channel.judged == 4
			})
			server.detached(t, 1)
			hello = comeBack(1, server, 1)
			hello.MaxInFlight = limit
			c, _ := server.resumed(t, hello)
			c.nextJob()
			c.submit(share(1, 1, 1), share(2, 1, 2), share(5, 1, 5), share(6, 1, 6))
			for left := limit; left > 0; {
				m := c.next()
				for _, v := range m.GetVerdictBatch().GetVerdicts() {
					if want := lost[v.GetSubmitId()]; want != nil && !proto.Equal(v, want) {
						t.Errorf("verdict %v was %v", v, want)
					}
					if v.GetReason() == sv2pb.RejectReason_REJECT_REASON_BACKEND_UNAVAILABLE {
						t.Errorf("the verdict on %d was lost", v.GetSubmitId())
					}
					left--
				}
			}
		})
	}
}
