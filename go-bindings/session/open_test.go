// Opening, refusing and closing channels.

package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

func TestOpenCarriesTheFirstJob(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	request := goodOpen(7)
	request.Connection.Vendor = []byte{0, 255}
	request.PayoutKey = make([]byte, 33)
	request.LastTarget = halfTarget[:]
	opened := c.open(request)
	want := newJob(1, 1)
	job := opened.GetJob()
	if !bytes.Equal(opened.GetTarget(), halfTarget[:]) || opened.GetExtranonceSize() != 4 ||
		job.GetSeq() != 1 || job.GetId() != 1 || len(job.GetChannelIds()) != 0 ||
		!bytes.Equal(job.GetPrevHash(), want.PrevHash[:]) || job.GetNbits() != want.NBits ||
		job.GetVersionMask() != want.VersionMask || job.MaxNtime != nil ||
		job.GetMinNtime() != want.MinNTime || len(job.GetMerklePath()) != 2 ||
		!bytes.Equal(job.GetCoinbasePrefix(), want.CoinbasePrefix) ||
		job.GetStaleRule() != sv2pb.StaleRule_STALE_RULE_HOST {
		t.Errorf("opened is %v", opened)
	}
	got := server.pool.only().request
	if got.Kind != sv2.Extended || got.Connection.ID != 7 || got.LastTarget != halfTarget ||
		!bytes.Equal(got.Connection.Vendor, []byte{0, 255}) || len(got.PayoutKey) != 33 ||
		string(got.UserIdentity) != "miner\x00one" || got.MaxTarget != sv2.MaxTarget {
		t.Errorf("the host was asked %+v", got)
	}
	request = goodOpen(8)
	request.Kind = sv2pb.ChannelKind_CHANNEL_KIND_STANDARD
	if opened := c.open(request); opened.GetExtranonceSize() != 0 || opened.GetJob().GetSeq() != 2 {
		t.Errorf("standard channel: %v", opened)
	}
}

func TestRejectsEachBadOpen(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	long := bytes.Repeat([]byte{1}, 256)
	id := uint64(0)
	for name, test := range map[string]struct {
		spoil func(*sv2pb.OpenChannel)
		want  sv2.RefuseReason
	}{
		"no kind":         {func(m *sv2pb.OpenChannel) { m.Kind = 0 }, sv2.RefuseInternal},
		"unknown kind":    {func(m *sv2pb.OpenChannel) { m.Kind = 3 }, sv2.RefuseInternal},
		"no connection":   {func(m *sv2pb.OpenChannel) { m.Connection = nil }, sv2.RefuseInternal},
		"long vendor":     {func(m *sv2pb.OpenChannel) { m.Connection.Vendor = long }, sv2.RefuseInternal},
		"long identity":   {func(m *sv2pb.OpenChannel) { m.UserIdentity = long }, sv2.RefuseInvalidUserIdentity},
		"NaN":             {func(m *sv2pb.OpenChannel) { m.NominalHashRate = float32(math.NaN()) }, sv2.RefuseHashRate},
		"infinite":        {func(m *sv2pb.OpenChannel) { m.NominalHashRate = float32(math.Inf(1)) }, sv2.RefuseHashRate},
		"negative":        {func(m *sv2pb.OpenChannel) { m.NominalHashRate = -1 }, sv2.RefuseHashRate},
		"short target":    {func(m *sv2pb.OpenChannel) { m.MaxTarget = m.MaxTarget[:31] }, sv2.RefuseMaxTarget},
		"zero target":     {func(m *sv2pb.OpenChannel) { m.MaxTarget = make([]byte, 32) }, sv2.RefuseMaxTarget},
		"long extranonce": {func(m *sv2pb.OpenChannel) { m.MinExtranonceSize = 32 }, sv2.RefuseExtranonceSize},
		"long prefix":     {func(m *sv2pb.OpenChannel) { m.WantedExtranoncePrefix = long[:33] }, sv2.RefuseInternal},
		"payout key":      {func(m *sv2pb.OpenChannel) { m.PayoutKey = long[:32] }, sv2.RefuseInternal},
		"last target":     {func(m *sv2pb.OpenChannel) { m.LastTarget = long[:31] }, sv2.RefuseInternal},
	} {
		id++
		request := goodOpen(id)
		test.spoil(request)
		if got := c.refused(request); got.GetReason() != sv2pb.RefuseReason(test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
	if server.pool.opened != 0 {
		t.Error("the host was asked")
	}
	c.open(goodOpen(1)) // the unspoiled one is fine, and a refused id may come again
}

func TestRejectsChannelIDsThatAreZeroOrInUse(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.requestOpen(goodOpen(0))
	c.ends(codes.InvalidArgument)
	c, _ = server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	c.requestOpen(goodOpen(1))
	c.ends(codes.InvalidArgument)
}

func TestRefusalsReachTheMiner(t *testing.T) {
	var answer error
	server := start(t, Options{}, func(p *pool) {
		p.onOpen = func(context.Context, sv2.OpenRequest, sv2.Sink) error { return answer }
	})
	c, _ := server.welcomed(t, goodHello(1))
	for id, test := range []struct {
		err    error
		reason sv2.RefuseReason
		detail string
	}{
		{&sv2.Refusal{Reason: sv2.RefuseUnknownUser, Detail: "no address"}, sv2.RefuseUnknownUser, "no address"},
		{fmt.Errorf("open: %w", &sv2.Refusal{Reason: sv2.RefuseNoWork}), sv2.RefuseNoWork, ""},
		{&sv2.Refusal{Reason: 99}, sv2.RefuseInternal, ""},
		{errors.New("broken\n\x00"), sv2.RefuseInternal, "broken??"},
		{errors.New(strings.Repeat("é", 300)), sv2.RefuseInternal, strings.Repeat("?", 255)},
	} {
		answer = test.err
		got := c.refused(goodOpen(uint64(id + 1)))
		if got.GetReason() != sv2pb.RefuseReason(test.reason) || got.GetDetail() != test.detail {
			t.Errorf("%v became %v", test.err, got)
		}
	}
}

func TestRejectsAnswersOfTheHostThatBreakTheContract(t *testing.T) {
	var spoil func(*sv2.Opened)
	server := start(t, Options{}, func(p *pool) {
		p.afterOpen = func(o *sv2.Opened, _ sv2.Sink) { spoil(o) }
	})
	c, _ := server.welcomed(t, goodHello(1))
	for i, change := range []func(*sv2.Opened){
		func(o *sv2.Opened) { o.Prefix = nil },
		func(o *sv2.Opened) { o.Prefix = make([]byte, 33) },
		func(o *sv2.Opened) { o.ExtranonceSize = 29 },
		func(o *sv2.Opened) { o.ExtranonceSize = -1 },
		func(o *sv2.Opened) { o.ExtranonceSize = 3 },
		func(o *sv2.Opened) { o.Target = sv2.Target{} },
		func(o *sv2.Opened) { o.Job = nil },
		func(o *sv2.Opened) { o.Job = &sv2.Job{ID: 1} },
		func(o *sv2.Opened) { o.Job.ID = 0 },
		func(o *sv2.Opened) { o.Job.MerklePath = make([]sv2.Hash, 256) },
		func(o *sv2.Opened) { o.Job.CoinbaseSuffix = make([]byte, 65536) },
	} {
		spoil = change
		got := c.refused(goodOpen(uint64(i + 1)))
		if got.GetReason() != sv2pb.RefuseReason_REFUSE_REASON_INTERNAL || got.GetDetail() == "" {
			t.Errorf("answer %d became %v", i, got)
		}
	}
	if n := server.pool.open(); n != 0 {
		t.Errorf("%d channels are left open on the host", n)
	}
}

func TestDeliveriesDuringOpenFollowChannelOpened(t *testing.T) {
	var first *sv2.Job
	server := start(t, Options{}, func(p *pool) {
		p.onOpen = func(_ context.Context, _ sv2.OpenRequest, sink sv2.Sink) error {
			sink.Job(newJob(2, 1))
			sink.Target(sv2.Target{5: 1})
			return nil
		}
		p.afterOpen = func(o *sv2.Opened, sink sv2.Sink) {
			first = o.Job
			sink.Job(first) // given twice, sent once
			sink.Job(newJob(3, 2))
		}
	})
	c, _ := server.welcomed(t, goodHello(1))
	if seq := c.open(goodOpen(4)).GetJob().GetSeq(); seq != 1 {
		t.Errorf("first job has seq %d", seq)
	}
	if job := c.next().GetJob(); job.GetId() != 2 || job.GetSeq() != 2 || job.GetChannelIds()[0] != 4 {
		t.Errorf("want job 2, got %v", job)
	}
	if target := c.next().GetSetTarget(); target.GetChannelId() != 4 || target.GetTarget()[5] != 1 {
		t.Errorf("want the target, got %v", target)
	}
	if job := c.next().GetJob(); job.GetId() != 3 || job.GetSeq() != 3 {
		t.Errorf("want job 3, got %v", job)
	}
	c.ping(1)
}

func TestAKickDuringOpenFollowsChannelOpened(t *testing.T) {
	var channel *poolChannel
	server := start(t, Options{}, nil)
	server.pool.afterOpen = func(*sv2.Opened, sv2.Sink) {
		channel = server.pool.only()
		channel.kick(sv2.Kick{Action: sv2.KickChannel, Reason: "banned"})
	}
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	if kick := c.next().GetKick(); kick.GetChannelId() != 1 || kick.GetReason() != "banned" {
		t.Errorf("want Kick, got %v", kick)
	}
	c.submit(share(1, 1, 1))
	verdict := c.next().GetVerdictBatch().GetVerdicts()[0]
	if verdict.GetReason() != sv2pb.RejectReason_REJECT_REASON_INVALID_CHANNEL_ID {
		t.Errorf("verdict after the kick: %v", verdict)
	}
	c.cancel()
	eventually(t, "the session ends", func() bool { return len(server.Sessions()) == 0 })
	if channel.closes != 0 {
		t.Error("Close was called for a kicked channel")
	}
}

func TestACloseDuringOpenEndsTheOpenAndIsNotAnswered(t *testing.T) {
	asked, ended := make(chan struct{}), make(chan struct{})
	server := start(t, Options{}, func(p *pool) {
		p.onOpen = func(ctx context.Context, r sv2.OpenRequest, _ sv2.Sink) error {
			if r.Connection.ID == 1 {
				close(asked)
				<-ctx.Done()
				close(ended)
			}
			return nil // opened all the same: a host may be past the point of no return
		}
	})
	c, _ := server.welcomed(t, goodHello(1))
	c.requestOpen(goodOpen(1))
	<-asked
	c.closeChannel(1, "miner left")
	<-ended
	eventually(t, "the channel is closed on the host", func() bool {
		return len(server.pool.reasons()) == 1
	})
	if got := server.pool.reasons()[0]; got != "miner left" {
		t.Errorf("closed because of %q", got)
	}
	c.open(goodOpen(2)) // nothing was sent for channel 1
}

func TestOpensInParallelButBounded(t *testing.T) {
	hold := make(chan struct{})
	entered := make(chan struct{}, 100)
	server := start(t, Options{}, func(p *pool) {
		p.onOpen = func(ctx context.Context, _ sv2.OpenRequest, _ sv2.Sink) error {
			entered <- struct{}{}
			select {
			case <-hold:
			case <-ctx.Done():
			}
			return nil
		}
	})
	c, _ := server.welcomed(t, goodHello(1))
	for id := range uint64(40) {
		c.requestOpen(goodOpen(id + 1))
	}
	c.ping(1) // all were taken and the receiving goroutine isn't held up
	for range maxOpenCalls {
		<-entered
	}
	c.ping(2)
	if n := len(entered); n != 0 {
		t.Errorf("%d opens more than %d at a time", n, maxOpenCalls)
	}
	close(hold)
	for range 40 {
		if c.next().GetChannelOpened() == nil {
			t.Fatal("want ChannelOpened")
		}
	}
}

func TestOthersRunBetweenOpens(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const opens = 50 * maxOpenCalls
	hold := make(chan struct{})
	var done atomic.Int64
	server := start(t, Options{}, func(p *pool) {
		p.onOpen = func(context.Context, sv2.OpenRequest, sv2.Sink) error {
			<-hold
			done.Add(1)
			return nil
		}
	})
	c, _ := server.welcomed(t, goodHello(1))
	for id := range uint64(opens) {
		c.requestOpen(goodOpen(id + 1))
	}
	c.ping(1) // all were taken
	close(hold)
	for last, now := int64(0), int64(0); now < opens; last = now {
		runtime.Gosched()
		if now = done.Load(); now-last > 4*opensInARow*maxOpenCalls {
			t.Fatalf("%d opens before anybody else had a turn", now-last)
		}
	}
	for range opens {
		if c.next().GetChannelOpened() == nil {
			t.Fatal("want ChannelOpened")
		}
	}
}

func TestRejectsMoreChannelsThanTheLimit(t *testing.T) {
	server := start(t, Options{MaxChannels: 2}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	c.open(goodOpen(2))
	want := sv2pb.RefuseReason_REFUSE_REASON_CHANNEL_CAPACITY_EXHAUSTED
	if got := c.refused(goodOpen(3)).GetReason(); got != want {
		t.Errorf("refused with %v", got)
	}
	c.closeChannel(1, "")
	eventually(t, "the close is done", func() bool { return server.pool.open() == 1 })
	eventually(t, "there is room again", func() bool {
		s := server.Sessions()[0]
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.live == 1
	})
	c.open(goodOpen(4))
}
