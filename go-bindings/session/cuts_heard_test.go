// What the sidecar of the ten thousand cuts hears, and what it must not.

package session

import (
	"google.golang.org/protobuf/proto"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// sent checks what the pool says, whether it arrives or not.
func (m *modelSidecar) sent(r *sv2pb.SessionResponse) {
	for _, v := range r.GetVerdictBatch().GetVerdicts() {
		id := v.GetSubmitId()
		if m.onStream[id] {
			m.t.Fatalf("two verdicts on %d on one stream", id)
		}
		m.onStream[id] = true
		// A submit whose verdict never arrived may lose its channel, to a kick that is on its way.
		kicked := v.GetReason() == sv2pb.RejectReason_REJECT_REASON_INVALID_CHANNEL_ID && !m.answered[id]
		if before := m.verdicts[id]; before != nil && !proto.Equal(before, v) && !m.lost[id] && !kicked {
			m.t.Fatalf("verdict on %d was %v and is %v", id, before, v)
		}
		m.verdicts[id] = v
	}
}

func (m *modelSidecar) arrived(r *sv2pb.SessionResponse) {
	switch r := r.GetMessage().(type) {
	case *sv2pb.SessionResponse_VerdictBatch:
		for _, v := range r.VerdictBatch.GetVerdicts() {
			id := v.GetSubmitId()
			switch {
			case m.lost[id]:
			case m.unanswered[id] == nil:
				m.t.Fatalf("a verdict on %d, which is cancelled (%v) or answered (%v)", id,
					m.cancelled[id], m.answered[id])
			default:
				delete(m.unanswered, id)
				m.answered[id] = true
			}
		}
	case *sv2pb.SessionResponse_ChannelOpened:
		if c := m.channels[r.ChannelOpened.GetChannelId()]; c != nil {
			if c.open {
				m.t.Fatalf("channel %d was opened twice", r.ChannelOpened.GetChannelId())
			}
			*c = modelChannel{open: true, job: r.ChannelOpened.GetJob().GetId(),
				target: r.ChannelOpened.GetTarget()}
		}
	case *sv2pb.SessionResponse_Job:
		for _, id := range r.Job.GetChannelIds() {
			if c := m.channels[id]; c != nil {
				c.job = r.Job.GetId()
			}
		}
	case *sv2pb.SessionResponse_SetTarget:
		if c := m.channels[r.SetTarget.GetChannelId()]; c != nil {
			c.target = r.SetTarget.GetTarget()
		}
	case *sv2pb.SessionResponse_Kick:
		id := r.Kick.GetChannelId()
		if m.channels[id] == nil {
			return
		}
		if r.Kick.GetAction() != sv2pb.KickAction_KICK_ACTION_CLOSE_CHANNEL {
			m.drop(id ^ 1) // the other channel of the connection
		}
		m.drop(id)
	case *sv2pb.SessionResponse_ChannelRefused:
		if r.ChannelRefused.GetDetail() != kickedForTest {
			m.t.Fatalf("refused: %v", r.ChannelRefused)
		}
		m.drop(r.ChannelRefused.GetChannelId()) // kicked while it was opened
	}
}
