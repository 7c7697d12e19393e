// What is resumed and what isn't, and how long a session waits.

package session

import (
	"bytes"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

func TestResubmitsThatNobodyKnowsAreRejectedOnce(t *testing.T) {
	server := start(t, Options{VerdictRing: 2}, func(p *pool) { p.mute = true })
	hello := goodHello(1)
	hello.MaxInFlight = 2
	c, _ := server.welcomed(t, hello)
	c.open(goodOpen(1))
	c.open(goodOpen(2))
	c.submit(share(5, 99, 1), share(6, 99, 1), share(7, 99, 1), share(8, 2, 1)) // 5 leaves the ring
	for left := 3; left > 0; {
		left -= len(c.next().GetVerdictBatch().GetVerdicts())
	}
	c.cancel()
	server.detached(t, 1)
	hello = comeBack(1, server, 1)
	hello.MaxInFlight = 2
	c, welcome := server.resumed(t, hello)
	c.nextJob()
	if welcome.GetLastSubmitId() != 8 {
		t.Errorf("last submit %d", welcome.GetLastSubmitId())
	}
	c.submit(share(5, 1, 1), share(8, 2, 1)) // forgotten; lost with its channel
	got := map[uint64]sv2pb.RejectReason{}
	for len(got) < 2 {
		for _, v := range c.next().GetVerdictBatch().GetVerdicts() {
			got[v.GetSubmitId()] = v.GetReason()
		}
	}
	if got[5] != sv2pb.RejectReason_REJECT_REASON_BACKEND_UNAVAILABLE ||
		got[8] != sv2pb.RejectReason_REJECT_REASON_INVALID_CHANNEL_ID {
		t.Errorf("verdicts %v", got)
	}
	c.submit(share(8, 1, 1))
	c.ends(codes.InvalidArgument) // ids rise on each stream
}

func TestOnlyTheSameSessionOfTheSameProcessAndEpochIsResumed(t *testing.T) {
	for name, spoil := range map[string]func(*sv2pb.Hello){
		"no epoch":      func(m *sv2pb.Hello) { m.LastEpoch = nil },
		"other epoch":   func(m *sv2pb.Hello) { m.LastEpoch[0]++ },
		"other boot":    func(m *sv2pb.Hello) { m.BootId[0]++ },
		"other sidecar": func(m *sv2pb.Hello) { m.SidecarId = "sidecar-2" },
	} {
		t.Run(name, func(t *testing.T) {
			server := start(t, Options{}, nil)
			c, _ := server.welcomed(t, goodHello(1))
			c.open(goodOpen(1))
			c.cancel()
			server.detached(t, 1)
			hello := comeBack(1, server, 1)
			spoil(hello)
			c, welcome := server.welcomed(t, hello)
			if welcome.GetResumed() || welcome.GetLastSubmitId() != 0 || server.pool.open() != 0 {
				t.Errorf("%v, %d channels are open", welcome, server.pool.open())
			}
			c.submit(share(1, 1, 1)) // ids begin anew
			if c.verdict().GetReason() != sv2pb.RejectReason_REJECT_REASON_INVALID_CHANNEL_ID {
				t.Error("the channel is open")
			}
		})
	}
	server := start(t, Options{}, nil)
	if _, welcome := server.welcomed(t, comeBack(3, server, 1)); welcome.GetResumed() {
		t.Error("a session that never was is resumed")
	}
}

func TestAWindowThatRunsOutClosesTheChannelsAndTheSession(t *testing.T) {
	server := start(t, Options{ResumeWindow: 20 * time.Millisecond}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	c.cancel()
	eventually(t, "the channel is closed", func() bool { return server.pool.open() == 0 })
	if got := server.pool.reasons(); len(got) != 1 || got[0] != "the sidecar did not come back in time" {
		t.Errorf("closed because of %q", got)
	}
	if _, welcome := server.welcomed(t, comeBack(1, server, 1)); welcome.GetResumed() {
		t.Error("resumed after the window")
	}
}

func TestASessionThatBeganAnewBehindALostWelcomeIsNotTakenForTheOneBefore(t *testing.T) {
	server := start(t, Options{ResumeWindow: 20 * time.Millisecond}, nil)
	c, first := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	c.submit(share(1, 1, 1))
	c.verdict()
	c.cancel()
	eventually(t, "the pool forgets the session", func() bool {
		server.mu.Lock()
		defer server.mu.Unlock()
		return len(server.sessions) == 0
	})
	server.options.ResumeWindow = time.Hour // of what follows
	hello := func() *sv2pb.Hello {
		hello := goodHello(1)
		hello.LastEpoch, hello.OpenChannelIds = first.GetEpoch(), []uint64{1}
		return hello
	}
	lost, second := server.welcomed(t, hello())
	if bytes.Equal(second.GetEpoch(), first.GetEpoch()) || second.GetResumed() {
		t.Errorf("a session was forgotten and began anew in the same epoch: %v, then %v", first, second)
	}
	lost.cancel() // Welcome never arrived
	server.detached(t, 1)
	_, third := server.welcomed(t, hello())
	if third.GetResumed() || third.GetLastSubmitId() != 0 {
		t.Errorf("the sidecar is told that what it knew before goes on: %v", third)
	}
	epochs := map[string]bool{}
	for _, welcome := range []*sv2pb.Welcome{first, second, third} {
		epochs[string(welcome.GetEpoch())] = true
	}
	_, other := server.welcomed(t, goodHello(2))
	if epochs[string(other.GetEpoch())] = true; len(epochs) != 4 {
		t.Errorf("%d epochs of 4 sessions", len(epochs))
	}
}

func TestAResumedSessionOutlivesTheWindowOfTheBreakBefore(t *testing.T) {
	server := start(t, Options{ResumeWindow: time.Hour}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	c.cancel()
	server.detached(t, 1)
	session := server.inOrder()[0]
	c, _ = server.resumed(t, comeBack(1, server, 1))
	c.nextJob()
	server.expire(session, session.breaks) // the timer fires late
	c.ping(1)
	c.cancel()
	server.detached(t, 1)
	server.expire(session, session.breaks-1)
	c, _ = server.resumed(t, comeBack(1, server, 1))
	c.nextJob()
	if n := server.pool.open(); n != 1 {
		t.Errorf("%d channels are open", n)
	}
}
