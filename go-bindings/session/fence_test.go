// Who takes over from whom, what is taken back, and how sessions without a stream end.

package session

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

func TestANewerStreamTakesTheSessionFromAnOlderOneThatStillWrites(t *testing.T) {
	server := start(t, Options{}, nil)
	older, _ := server.welcomed(t, goodHello(1))
	older.open(goodOpen(1))
	sent := make(chan uint64)
	go func() { // until it is fenced
		for id := uint64(0); ; {
			// No more than a sidecar keeps unanswered; then something else.
			request := &sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_Pong{Pong: &sv2pb.Pong{}}}
			if id < DefaultVerdictRing {
				id++
				request.Message = &sv2pb.SessionRequest_SubmitBatch{SubmitBatch: &sv2pb.SubmitBatch{
					Submits: []*sv2pb.Submit{share(id, 1, uint32(id))}}}
			}
			if err := older.stream.Send(request); err != nil {
				sent <- id
				return
			}
		}
	}()
	for range 50 { // some verdicts
		older.next()
	}
	newer, welcome := server.resumed(t, comeBack(1, server, 1))
	older.ends(codes.Aborted)
	last := <-sent
	seen := welcome.GetLastSubmitId()
	if seen == 0 || seen > last {
		t.Fatalf("last submit %d of %d", seen, last)
	}
	// All that was seen has one answer, all that was not is taken now.
	verdicts := map[uint64]int{}
	for id := uint64(1); id <= last; id++ {
		newer.submit(share(id, 1, uint32(id)))
	}
	for uint64(len(verdicts)) < last {
		for _, v := range newer.next().GetVerdictBatch().GetVerdicts() {
			if verdicts[v.GetSubmitId()]++; verdicts[v.GetSubmitId()] > 1 {
				t.Fatalf("submit %d got a second verdict", v.GetSubmitId())
			}
		}
	}
	channel := server.pool.only()
	channel.mu.Lock()
	defer channel.mu.Unlock()
	if uint64(channel.judged) != last || server.pool.opened != 1 || channel.closes != 0 {
		t.Errorf("%d of %d judged, %d closes", channel.judged, last, channel.closes)
	}
}

func TestALateHelloOfADialThatWasGivenUpTakesNothingFromTheNewerStream(t *testing.T) {
	for name, epoch := range map[string]func(*running) []byte{
		"of before the first Welcome": func(*running) []byte { return nil },
		"of a session that goes on":   func(s *running) []byte { return comeBack(1, s).GetLastEpoch() },
	} {
		t.Run(name, func(t *testing.T) {
			server := start(t, Options{ResumeWindow: time.Hour}, nil)
			late, same := goodHello(1), goodHello(1)
			newer := goodHello(1)
			same.Dial = newer.GetDial()
			c, _ := server.welcomed(t, newer)
			c.open(goodOpen(1))
			for _, hello := range []*sv2pb.Hello{late, same} {
				hello.LastEpoch = epoch(server)
				given := server.connect(t)
				given.hello(hello)
				if err := given.ends(codes.Aborted); !strings.Contains(err.Error(), "Hello.dial is") {
					t.Errorf("%v doesn't say what is wrong", err)
				}
			}
			// Nor from the session when it waits for its sidecar.
			c.submit(share(1, 1, 1))
			c.verdict()
			c.cancel()
			server.detached(t, 1)
			late.Dial = newer.GetDial()
			given := server.connect(t)
			given.hello(late)
			given.ends(codes.Aborted)
			c, welcome := server.resumed(t, comeBack(1, server, 1))
			c.nextJob()
			c.submit(share(2, 1, 2))
			c.verdict()
			if server.pool.opened != 1 || len(server.pool.reasons()) != 0 || welcome.GetLastSubmitId() != 1 {
				t.Errorf("the session is not the same: closed %q, %v", server.pool.reasons(), welcome)
			}
		})
	}
}

func TestAnotherProcessCountsItsDialsAnew(t *testing.T) {
	server := start(t, Options{}, nil)
	older, _ := server.welcomed(t, goodHello(1))
	older.open(goodOpen(1))
	hello := goodHello(1)
	hello.BootId, hello.Dial = []byte("another boot .  "), 1
	if _, welcome := server.welcomed(t, hello); welcome.GetResumed() {
		t.Error("resumed")
	}
	older.ends(codes.Aborted)
}

func TestARestartedSidecarEndsWhatItLeftBehindAndNothingElse(t *testing.T) {
	server := start(t, Options{}, nil)
	gone, _ := server.welcomed(t, goodHello(1))
	gone.open(goodOpen(1))
	lives, _ := server.welcomed(t, goodHello(2))
	lives.open(goodOpen(1))
	other := goodHello(3)
	other.SidecarId = "sidecar-2"
	another, _ := server.welcomed(t, other)
	another.open(goodOpen(1))
	gone.cancel()
	server.detached(t, 1)
	another.cancel()
	server.detached(t, 2)
	restarted := goodHello(4)
	restarted.BootId = []byte("another boot .  ")
	server.welcomed(t, restarted)
	if n := server.pool.open(); n != 2 { // before Welcome
		t.Errorf("%d channels are open, want that of the live stream and that of the other sidecar", n)
	}
	lives.ping(1)
	lives.cancel() // a stream of the old process that was found dead late
	eventually(t, "its channel is closed, too", func() bool { return server.pool.open() == 1 })
	again := comeBack(3, server, 1)
	again.SidecarId = "sidecar-2"
	c, _ := server.resumed(t, again)
	c.nextJob()
}

func TestCancelledSubmitsAreWithdrawnWhenTheHostAcceptsThem(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	prefix := c.open(goodOpen(1)).GetExtranoncePrefix()
	// Shares by what the host makes of them.
	var good, bad []uint32
	for nonce := uint32(1); len(good) < 6 || len(bad) < 6; nonce++ {
		if hashOf(prefix, share(1, 1, nonce)).Meets(halfTarget) {
			good = append(good, nonce)
		} else {
			bad = append(bad, nonce)
		}
	}
	// 1, 2 judged; 3 to 6 when there is no stream any more. 1 and 3 good, 2 and 4 bad; 5, 6 are kept.
	c.submit(share(1, 1, good[0]), share(2, 1, bad[0]))
	for left := 2; left > 0; {
		left -= len(c.next().GetVerdictBatch().GetVerdicts())
	}
	server.pool.pause(true)
	c.submit(share(3, 1, good[1]), share(4, 1, bad[1]), share(5, 1, good[2]), share(6, 1, bad[2]))
	c.ping(1)
	c.cancel()
	server.detached(t, 1)
	hello := comeBack(1, server, 1)
	hello.CancelledSubmitIds = []uint64{9, 4, 3, 2, 1, 3} // 9 never arrived
	c, _ = server.resumed(t, hello)
	for m := c.next(); m.GetJob() == nil; m = c.next() {
		if m.GetBlockResult() == nil {
			t.Fatalf("got %v before the job", m)
		}
	}
	channel := server.pool.only()
	eventually(t, "1 is withdrawn", func() bool { return slices.Equal(channel.takenBack(), []uint64{1}) })
	c.submit(share(5, 1, good[2]), share(6, 1, bad[2]))
	server.pool.pause(false)
	seen := map[uint64]bool{}
	for len(seen) < 2 {
		for _, v := range c.next().GetVerdictBatch().GetVerdicts() {
			seen[v.GetSubmitId()] = true
		}
	}
	if !seen[5] || !seen[6] {
		t.Errorf("verdicts on %v", seen)
	}
	eventually(t, "3 is, too", func() bool { return slices.Equal(channel.takenBack(), []uint64{1, 3}) })
	c.submit(share(10, 1, good[3])) // and the next one is no news for 9
	for m := c.next(); ; m = c.next() {
		if got := m.GetVerdictBatch().GetVerdicts(); len(got) > 0 {
			if got[0].GetSubmitId() != 10 || !got[0].GetAccepted() {
				t.Errorf("verdict %v", got)
			}
			break
		}
	}
	if err := channel.faults(); err != nil {
		t.Error(err)
	}
}

func TestACancelledSubmitIsWithdrawnThoughItsChannelIsGone(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	nonces := make(map[uint64]uint32)
	for id := uint64(1); id <= 2; id++ {
		prefix := c.open(goodOpen(id)).GetExtranoncePrefix()
		for nonces[id] = 1; !hashOf(prefix, share(1, 1, nonces[id])).Meets(halfTarget); {
			nonces[id]++
		}
	}
	kicked, closed := server.pool.all[0], server.pool.all[1]
	c.submit(share(1, 1, nonces[1]))
	for c.next().GetVerdictBatch() == nil {
		continue
	}
	server.pool.pause(true)
	c.submit(share(2, 2, nonces[2]))
	c.ping(1)
	c.cancel()
	server.detached(t, 1)
	kicked.kick(sv2.Kick{Action: sv2.KickChannel, Reason: "banned"})
	hello := comeBack(1, server)
	hello.CancelledSubmitIds = []uint64{1, 2}
	c, _ = server.resumed(t, hello)
	server.pool.pause(false)
	eventually(t, "both are withdrawn", func() bool {
		return slices.Equal(kicked.takenBack(), []uint64{1}) &&
			slices.Equal(closed.takenBack(), []uint64{2})
	})
	eventually(t, "the channel is closed", func() bool { return server.pool.open() == 0 })
	c.submit(share(3, 1, 1))
	for m := c.next(); m.GetBlockResult() != nil; m = c.next() {
		continue
	}
}

func TestAHostThatNeverAnswersACancelledSubmitHoldsUpItsCloseForAWhileOnly(t *testing.T) {
	server := start(t, Options{}, func(p *pool) { p.mute = true })
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	c.submit(share(1, 1, 1))
	c.ping(1)
	c.cancel()
	server.detached(t, 1)
	hello := comeBack(1, server)
	hello.CancelledSubmitIds = []uint64{1}
	server.resumed(t, hello)
	eventually(t, "the channel is closed", func() bool { return server.pool.open() == 0 })
}

func TestABrokenContractEndsTheSessionAtOnce(t *testing.T) {
	server := start(t, Options{ResumeWindow: time.Hour}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	c.submit()
	c.ends(codes.InvalidArgument)
	eventually(t, "the channel is closed", func() bool { return server.pool.open() == 0 })
	if _, welcome := server.welcomed(t, comeBack(1, server, 1)); welcome.GetResumed() {
		t.Error("resumed")
	}
}

func TestShutdownClosesSessionsThatWaitForTheirSidecar(t *testing.T) {
	server := start(t, Options{ResumeWindow: time.Hour}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	c.cancel()
	server.detached(t, 1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if got := server.pool.reasons(); !slices.Equal(got, []string{"the pool is about to stop"}) {
		t.Errorf("closed because of %q", got)
	}
}

func TestASidecarCutOffDuringShutdownIsNotWaitedFor(t *testing.T) {
	server := start(t, Options{ResumeWindow: time.Hour}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- server.Shutdown(ctx) }()
	if c.next().GetDrain() == nil {
		t.Error("want Drain")
	}
	c.cancel()
	if err := <-stopped; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestKeepsABoundedNumberOfSessionsWithoutAStream(t *testing.T) {
	server := start(t, Options{ResumeWindow: time.Hour}, nil)
	for number := range byte(maxDetached + 3) {
		c, _ := server.welcomed(t, goodHello(number))
		c.open(goodOpen(1))
		c.cancel()
		server.detached(t, min(int(number)+1, maxDetached))
	}
	eventually(t, "the oldest are closed", func() bool { return server.pool.open() == maxDetached })
	if _, welcome := server.welcomed(t, comeBack(0, server, 1)); welcome.GetResumed() {
		t.Error("the oldest is resumed")
	}
	server.resumed(t, comeBack(maxDetached+2, server, 1))
}

func TestASessionWithoutAStreamHasNoGoroutine(t *testing.T) {
	server := start(t, Options{ResumeWindow: time.Hour}, nil)
	for number := range byte(20) {
		c, _ := server.welcomed(t, goodHello(number))
		c.open(goodOpen(1))
		for range 3 {
			c.cancel()
			server.detached(t, int(number)+1)
			c, _ = server.resumed(t, comeBack(number, server, 1))
			c.nextJob()
		}
		c.cancel()
		server.detached(t, int(number)+1)
	}
	// The connections of the clients stay open, with some goroutines each, at both ends.
	for _, s := range server.inOrder() {
		<-s.owner.received
	}
	eventually(t, "only the connections' goroutines are left", func() bool {
		stacks := make([]byte, 1<<22)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return countOwn(string(stacks)) == 0
	})
}

// countOwn is how many goroutines of streams and channels are in a dump of all.
func countOwn(stacks string) int {
	n := 0
	for _, method := range []string{"(*link).", "(*Session).", "(*channel)."} {
		n += strings.Count(stacks, "go-bindings/session."+method)
	}
	return n
}
