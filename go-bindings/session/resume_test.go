// A stream that breaks loses nothing: what a sidecar finds when it comes back.

package session

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// comeBack is a Hello that resumes goodHello's session, if there is one, with these channels.
func comeBack(session byte, server *running, open ...uint64) *sv2pb.Hello {
	hello := goodHello(session)
	epoch := server.epoch
	server.mu.Lock()
	if s := server.sessions[sessionID(hello.GetSessionId())]; s != nil {
		epoch = s.epoch
	}
	server.mu.Unlock()
	hello.LastEpoch = epoch[:]
	hello.OpenChannelIds = open
	return hello
}

// resumed opens a stream that must go on with the session.
func (r *running) resumed(t testing.TB, hello *sv2pb.Hello) (*client, *sv2pb.Welcome) {
	t.Helper()
	c, welcome := r.welcomed(t, hello)
	if !welcome.GetResumed() {
		t.Fatalf("not resumed: %v", welcome)
	}
	return c, welcome
}

// detached waits until the server knows that a number of sessions have no stream.
func (r *running) detached(t testing.TB, want int) {
	t.Helper()
	eventually(t, "the pool has seen the break", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		n := 0
		for _, s := range r.sessions {
			s.mu.Lock()
			if s.latest == nil && !s.ended {
				n++
			}
			s.mu.Unlock()
		}
		return n == want
	})
}

// nextJob is the next message, which must be a job.
func (c *client) nextJob() *sv2pb.Job {
	c.t.Helper()
	m := c.next()
	if m.GetJob() == nil {
		c.t.Fatalf("want a job, got %v", m)
	}
	return m.GetJob()
}

// verdict is the next message, which must be one verdict.
func (c *client) verdict() *sv2pb.Verdict {
	c.t.Helper()
	m := c.next()
	if len(m.GetVerdictBatch().GetVerdicts()) != 1 {
		c.t.Fatalf("want one verdict, got %v", m)
	}
	return m.GetVerdictBatch().GetVerdicts()[0]
}

func TestResumesTheSessionAndItsChannelsAfterABreak(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	for id := range uint64(3) {
		c.open(goodOpen(id + 1))
	}
	c.submit(share(7, 1, 7))
	c.verdict()
	c.cancel()
	server.detached(t, 1)
	if n := server.pool.open(); n != 3 {
		t.Fatalf("%d channels are open after the break", n)
	}
	if n := len(server.Sessions()); n != 0 {
		t.Errorf("%d sidecars are connected", n)
	}
	c, welcome := server.resumed(t, comeBack(1, server, 1, 2, 3))
	if welcome.GetLastSubmitId() != 7 {
		t.Errorf("last submit is %d", welcome.GetLastSubmitId())
	}
	for id := uint64(1); id <= 3; id++ {
		if job := c.nextJob(); job.GetSeq() != 3+id || job.GetChannelIds()[0] != id {
			t.Errorf("job %v, want that of channel %d first", job, id)
		}
	}
	c.submit(share(8, 3, 8))
	if c.verdict().GetSubmitId() != 8 || server.pool.opened != 3 {
		t.Error("the channels are not the same")
	}
}

func TestCountsJobsThroughTheSessionNotTheStream(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	last := c.open(goodOpen(1)).GetJob().GetSeq()
	channel := server.pool.only()
	for stream := range uint64(4) {
		for n := range uint64(3) {
			channel.sink.Job(newJob(10*stream+n+2, 2))
			if seq := c.nextJob().GetSeq(); seq != last+1 {
				t.Fatalf("stream %d: seq %d after %d", stream, seq, last)
			}
			last++
		}
		c.cancel()
		server.detached(t, 1)
		c, _ = server.resumed(t, comeBack(1, server, 1))
		if seq := c.nextJob().GetSeq(); seq <= last { // the newest once more
			t.Fatalf("stream %d begins with seq %d after %d", stream+1, seq, last)
		}
		last++
	}
	// Another session has its own numbers.
	c, _ = server.welcomed(t, goodHello(2))
	if seq := c.open(goodOpen(1)).GetJob().GetSeq(); seq != 1 {
		t.Errorf("a new session begins with seq %d", seq)
	}
}

func TestSurvivesABreakBeforeWelcome(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	c.cancel()
	server.detached(t, 1)
	asked, hold := make(chan struct{}, 9), make(chan struct{})
	server.pool.onLimits = func() {
		asked <- struct{}{}
		<-hold
	}
	for number := range 3 { // the first waits for the host, the others for the first
		half := server.connect(t)
		half.hello(comeBack(1, server, 1))
		if number == 0 {
			<-asked
		}
		half.cancel()
	}
	close(hold)
	c, _ = server.resumed(t, comeBack(1, server, 1))
	c.nextJob()
	c.ping(1)
	if server.pool.opened != 1 || len(server.pool.reasons()) != 0 {
		t.Error("the channel is not the same")
	}
}

func TestASubmitThatWasNotJudgedAtTheBreakGetsItsOneVerdictAfterIt(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	server.pool.pause(true)
	c.submit(share(1, 1, 1), share(2, 1, 2))
	c.ping(1)
	c.cancel()
	server.detached(t, 1)
	c, _ = server.resumed(t, comeBack(1, server, 1))
	c.nextJob()
	c.submit(share(1, 1, 1), share(2, 1, 2)) // again
	c.submit(share(3, 1, 3))
	c.ping(2) // nothing to say yet
	server.pool.pause(false)
	seen := map[uint64]int{}
	for len(seen) < 3 {
		for _, v := range c.next().GetVerdictBatch().GetVerdicts() {
			seen[v.GetSubmitId()]++
		}
	}
	c.ping(3)
	if channel := server.pool.only(); channel.judged != 3 || seen[1]+seen[2]+seen[3] != 3 {
		t.Errorf("%d judged, verdicts %v", channel.judged, seen)
	}
}

func TestALostVerdictComesAgainAndIsTheSame(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	first := map[uint64]*sv2pb.Verdict{}
	for id := uint64(1); id <= 40; id++ {
		c.submit(share(id, 1, uint32(id%30))) // some are duplicates
		for first[id] == nil {
			for _, v := range c.next().GetVerdictBatch().GetVerdicts() {
				first[v.GetSubmitId()] = v
			}
		}
	}
	c.submit(share(41, 99, 41)) // the carrier's own verdict
	for first[41] == nil {
		for _, v := range c.next().GetVerdictBatch().GetVerdicts() {
			first[v.GetSubmitId()] = v
		}
	}
	for range 2 { // a second break changes nothing
		c.cancel()
		server.detached(t, 1)
		c, _ = server.resumed(t, comeBack(1, server, 1))
		c.nextJob()
		again := []*sv2pb.Submit{}
		for id := uint64(1); id <= 41; id += 4 {
			again = append(again, share(id, 1, uint32(id%30)))
		}
		again[len(again)-1].ChannelId = 99
		c.submit(again...)
		for left := len(again); left > 0; {
			m := c.next()
			for _, v := range m.GetVerdictBatch().GetVerdicts() {
				left--
				if !proto.Equal(v, first[v.GetSubmitId()]) {
					t.Errorf("verdict %v was %v", v, first[v.GetSubmitId()])
				}
			}
		}
	}
	if judged := server.pool.only().judged; judged != 40 {
		t.Errorf("the host judged %d", judged)
	}
}

func TestALostJobAndALostTargetComeAgainNewestOnlyAndTargetFirst(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	var channels []*poolChannel
	for id := range uint64(4) {
		c.open(goodOpen(id + 1))
		channels = append(channels, server.pool.all[id])
	}
	c.cancel()
	server.detached(t, 1)
	shared := newJob(9, 3)
	for n := range uint64(5) {
		channels[0].sink.Target(sv2.Target{byte(n), 1})
		channels[0].sink.Job(newJob(n+2, 2))
		channels[2].sink.Job(newJob(n+2, 2))
		channels[3].sink.Target(sv2.Target{byte(n), 2})
	}
	channels[0].sink.Job(shared)
	channels[2].sink.Job(shared)
	c, _ = server.resumed(t, comeBack(1, server, 1, 2, 3, 4))
	for _, want := range []struct {
		id     uint64
		target sv2.Target
	}{{1, sv2.Target{4, 1}}, {4, sv2.Target{4, 2}}} {
		got := c.next().GetSetTarget()
		if got.GetChannelId() != want.id || !bytes.Equal(got.GetTarget(), want.target[:]) {
			t.Errorf("target %v, want %v", got, want)
		}
	}
	seq := uint64(4)                                    // those of the opens
	for _, want := range [][]uint64{{1, 3}, {2}, {4}} { // one message for the shared one
		job := c.nextJob()
		if seq++; !slices.Equal(job.GetChannelIds(), want) || job.GetSeq() != seq {
			t.Errorf("job %v, want it for %v", job, want)
		}
	}
	channels[1].sink.Job(newJob(50, 4)) // and then what is newer
	if job := c.nextJob(); job.GetId() != 50 {
		t.Errorf("job %v", job)
	}
}

func TestALostKickComesAgain(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	for id := uint64(1); id <= 5; id++ {
		request := goodOpen(id)
		request.Connection.Id = max(2, id) - 1 // 1 and 2 share one
		c.open(request)
	}
	c.cancel()
	server.detached(t, 1)
	all := server.pool.all
	all[0].kick(sv2.Kick{Action: sv2.KickReconnect, Reason: "moved", Host: "other.example", Port: 3})
	all[2].kick(sv2.Kick{Action: sv2.KickChannel, Reason: "banned"})
	eventually(t, "the other of the connection is closed", func() bool { return server.pool.open() == 2 })
	c, _ = server.resumed(t, comeBack(1, server, 1, 2, 3, 4, 5, 77))
	for _, want := range []*sv2pb.Kick{
		{ChannelId: 1, Reason: "moved", Host: "other.example", Port: 3,
			Action: sv2pb.KickAction_KICK_ACTION_RECONNECT},
		{ChannelId: 3, Reason: "banned", Action: sv2pb.KickAction_KICK_ACTION_CLOSE_CHANNEL},
		{ChannelId: 77, Reason: "closed by the pool",
			Action: sv2pb.KickAction_KICK_ACTION_CLOSE_CHANNEL},
	} {
		if got := c.next().GetKick(); !proto.Equal(got, want) {
			t.Errorf("kick %v, want %v", got, want)
		}
	}
	if job := c.nextJob(); job.GetChannelIds()[0] != 4 {
		t.Errorf("job %v", job)
	}
}

func TestALostOpenIsClosedAndMayComeAgainUnderTheSameID(t *testing.T) {
	for name, test := range map[string]struct{ answered bool }{"answered": {true}, "not yet": {false}} {
		t.Run(name, func(t *testing.T) {
			asked, hold := make(chan struct{}, 9), make(chan struct{})
			server := start(t, Options{}, func(p *pool) {
				p.onOpen = func(context.Context, sv2.OpenRequest, sv2.Sink) error {
					asked <- struct{}{}
					<-hold
					return nil
				}
			})
			c, _ := server.welcomed(t, goodHello(1))
			c.requestOpen(goodOpen(1))
			<-asked
			if test.answered {
				close(hold)
				eventually(t, "the host has it", func() bool { return server.pool.open() == 1 })
			}
			c.cancel()
			server.detached(t, 1)
			c, _ = server.resumed(t, comeBack(1, server))
			c.requestOpen(goodOpen(1))
			<-asked
			if !test.answered {
				close(hold)
			}
			opened := c.next().GetChannelOpened()
			if opened.GetChannelId() != 1 {
				t.Fatalf("want ChannelOpened, got %v", opened)
			}
			eventually(t, "the lost one is closed",
				func() bool { return len(server.pool.reasons()) == 1 })
			c.submit(share(1, 1, 1))
			if v := c.verdict(); v.GetReason() == sv2pb.RejectReason_REJECT_REASON_INVALID_CHANNEL_ID {
				t.Errorf("verdict %v", v)
			}
			c.ping(1) // one answer, and that was all
		})
	}
}

func TestALostCloseIsMadeUpFor(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	c.open(goodOpen(2))
	c.cancel()
	server.detached(t, 1)
	c, _ = server.resumed(t, comeBack(1, server, 2))
	if job := c.nextJob(); job.GetChannelIds()[0] != 2 {
		t.Errorf("job %v", job)
	}
	eventually(t, "the other is closed", func() bool { return server.pool.open() == 1 })
	c.ping(1)
}

func TestABlockResultOfTheTimeWithoutAStreamComesAfterIt(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	c.cancel()
	server.detached(t, 1)
	channel := server.pool.only()
	for id := range uint64(maxBlocks * 2) {
		channel.sink.BlockResult(sv2.BlockResult{SubmitID: id + 1, Accepted: true})
	}
	c, _ = server.resumed(t, comeBack(1, server, 1))
	c.nextJob()
	want := uint64(maxBlocks * 2)
	results := 0
	for last := uint64(0); last < want; results++ {
		got := c.next().GetBlockResult()
		if last != 0 && got.GetSubmitId() != last+1 || !got.GetAccepted() {
			t.Fatalf("result %v after that of %d", got, last)
		}
		last = got.GetSubmitId()
	}
	if results < maxBlocks || results > maxBlocks*5/4 {
		t.Errorf("%d results are kept", results)
	}
	c.ping(1)
}
