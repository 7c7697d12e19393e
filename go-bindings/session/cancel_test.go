// What the sidecar has answered instead of the host: taken back, and out of the way.

package session

import (
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// goodNonce is a nonce that makes a good share of the first job, greater than another.
func goodNonce(prefix []byte, after uint32) uint32 {
	for nonce := after + 1; ; nonce++ {
		if hashOf(prefix, share(1, 1, nonce)).Meets(halfTarget) {
			return nonce
		}
	}
}

func TestCancelledSubmitsThatTheHostStillOwesLeaveRoomForNewOnes(t *testing.T) {
	const limit = 3
	server := start(t, Options{VerdictRing: limit}, nil)
	hello := goodHello(1)
	hello.MaxInFlight = limit
	c, _ := server.welcomed(t, hello)
	c.open(goodOpen(1))
	server.pool.pause(true) // the host owes all that follows
	id := uint64(0)
	var last []*sv2pb.Submit
	for range 3 {
		last = nil
		for range limit {
			id++
			last = append(last, share(id, 1, uint32(id)))
		}
		c.submit(last...)
		c.ping(id) // none is refused
		c.cancel()
		server.detached(t, 1)
		hello = comeBack(1, server, 1)
		hello.MaxInFlight = limit
		hello.CancelledSubmitIds = []uint64{id - 2, id - 1, id}
		c, _ = server.resumed(t, hello)
		c.nextJob()
	}
	c.submit(share(id+1, 1, 100), share(id+2, 1, 101), share(id+3, 1, 102))
	c.ping(id)
	c.submit(share(id+4, 1, 103)) // one too many
	if v := c.verdict(); v.GetSubmitId() != id+4 ||
		v.GetReason() != sv2pb.RejectReason_REJECT_REASON_RATE_LIMITED {
		t.Errorf("verdict %v", v)
	}
	server.pool.pause(false)
	seen := 0
	for seen < limit {
		for _, v := range c.next().GetVerdictBatch().GetVerdicts() {
			if seen++; v.GetSubmitId() <= id {
				t.Errorf("a cancelled submit has a verdict: %v", v)
			}
		}
	}
	if n := server.Sessions()[0].outstanding.Load(); n != 0 {
		t.Errorf("%d are outstanding in the end", n)
	}
}

func TestACloseTakesBackWhatTheSidecarHasAnswered(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	prefix := c.open(goodOpen(1)).GetExtranoncePrefix()
	other := c.open(goodOpen(2)).GetExtranoncePrefix()
	closed, stays := server.pool.all[0], server.pool.all[1]
	// 1 is judged when the close comes, 2 and 4 are not; 3 and 4 are of the channel that stays.
	one := goodNonce(prefix, 0)
	c.submit(share(1, 1, one))
	c.verdict()
	server.pool.pause(true)
	c.submit(share(2, 1, goodNonce(prefix, one)), share(3, 2, goodNonce(other, 0)))
	c.ping(1)
	c.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_CloseChannel{
		CloseChannel: &sv2pb.CloseChannel{ChannelId: 1, CancelledSubmitIds: []uint64{2, 1}}}})
	c.ping(2) // the sidecar knows now that it was heard
	eventually(t, "1 is withdrawn", func() bool { return slices.Contains(closed.takenBack(), 1) })
	server.pool.pause(false)
	eventually(t, "the channel is closed", func() bool { return server.pool.open() == 1 })
	if got := closed.takenBack(); !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("withdrawn %v", got)
	}
	for m := c.next(); ; m = c.next() {
		if v := m.GetVerdictBatch().GetVerdicts(); len(v) > 0 {
			if v[0].GetSubmitId() != 3 || !v[0].GetAccepted() {
				t.Errorf("verdict %v", v)
			}
			break
		}
	}
	// The next Hello may say it once more, when the answer to the ping was lost.
	c.cancel()
	server.detached(t, 1)
	hello := comeBack(1, server, 2)
	hello.CancelledSubmitIds = []uint64{1, 2}
	server.resumed(t, hello)
	if closed, stays := closed.takenBack(), stays.takenBack(); len(closed) != 2 || len(stays) != 0 {
		t.Errorf("withdrawn %v and %v", closed, stays)
	}
	if err := closed.faults(); err != nil {
		t.Error(err)
	}
}

func TestRejectsACloseThatCancelsMoreThanMayBeInFlight(t *testing.T) {
	server := start(t, Options{VerdictRing: 2}, nil)
	hello := goodHello(1)
	hello.MaxInFlight = 2
	c, _ := server.welcomed(t, hello)
	c.open(goodOpen(1))
	c.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_CloseChannel{
		CloseChannel: &sv2pb.CloseChannel{ChannelId: 1, CancelledSubmitIds: []uint64{1, 2, 3}}}})
	c.ends(codes.InvalidArgument)
}
