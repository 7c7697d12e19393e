// What a host delivers: order, merging, overflow, kicks.

package session

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

func TestASharedJobIsOneMessage(t *testing.T) {
	const channels = 300
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	for id := range uint64(channels) {
		c.open(goodOpen(id + 1))
	}
	job := newJob(5, 2)
	job.MaxNTime, job.StaleRule = 1_800_000_000, sv2.StaleStrict
	outbox := server.Sessions()[0].present().outbox
	entries := make([]entry, channels)
	for i := range entries {
		entries[i] = entry{channel: uint64(i + 1), job: job}
	}
	outbox.push(entries...)
	got := c.next().GetJob()
	if len(got.GetChannelIds()) != channels || got.GetSeq() != channels+1 || got.GetId() != 5 ||
		got.GetMaxNtime() != job.MaxNTime || got.GetHeight() != job.Height ||
		got.GetStaleRule() != sv2pb.StaleRule_STALE_RULE_STRICT {
		t.Fatalf("job is %v", got)
	}
	for i, id := range got.GetChannelIds() {
		if id != uint64(i+1) {
			t.Fatalf("channel %d at %d", id, i)
		}
	}
	// Equal but not the same: each channel's own.
	outbox.push(entry{channel: 1, job: newJob(6, 2)}, entry{channel: 2, job: newJob(6, 2)})
	for id := range uint64(2) {
		got := c.next().GetJob()
		if !slices.Equal(got.GetChannelIds(), []uint64{id + 1}) || got.GetSeq() != channels+2+id {
			t.Fatalf("job is %v", got)
		}
	}
}

func TestTargetsAndJobsOfAChannelKeepTheirOrder(t *testing.T) {
	const rounds = 2000
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	one := server.pool.only()
	c.open(goodOpen(2))
	go func() {
		for n := range uint64(rounds) {
			one.sink.Target(sv2.Target{byte(n), byte(n >> 8), 1})
			one.sink.Job(newJob(n+2, 1))
		}
	}()
	seq := uint64(2)
	submitted := uint64(0)
	for n := range uint64(rounds) {
		var target *sv2pb.SetTarget
		for target == nil { // verdicts of channel 2 come in between
			if n%100 == 0 && submitted <= n {
				submitted = n + 1
				c.submit(share(submitted, 2, uint32(n)))
			}
			target = c.next().GetSetTarget()
		}
		if target.GetTarget()[0] != byte(n) || target.GetTarget()[1] != byte(n>>8) {
			t.Fatalf("target %v in round %d", target, n)
		}
		var job *sv2pb.Job
		for job == nil {
			m := c.next()
			if m.GetSetTarget() != nil {
				t.Fatal("a target overtook a job")
			}
			job = m.GetJob()
		}
		if seq++; job.GetId() != n+2 || job.GetSeq() != seq {
			t.Fatalf("job %d with seq %d, want %d with %d", job.GetId(), job.GetSeq(), n+2, seq)
		}
	}
}

func TestAFullOutboxEndsTheStreamAndItsChannelsOutliveItNoLongerThanTheWindow(t *testing.T) {
	server := start(t, Options{OutboxLimit: 64, ResumeWindow: time.Millisecond}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	for id := range uint64(3) {
		c.open(goodOpen(id + 1))
	}
	channel := server.pool.only()
	// The client doesn't read: flow control stops the sender, then the outbox fills. The host is
	// never blocked, or this loop would hang.
	for id := uint64(2); server.pool.open() > 0; id++ {
		job := newJob(id, 1)
		job.CoinbasePrefix = make([]byte, maxCoinbase)
		channel.sink.Job(job)
	}
	c.ends(codes.ResourceExhausted)
	if !strings.Contains(server.logs.String(), "reads too slowly") {
		t.Error("nothing in the log")
	}
	for _, reason := range server.pool.reasons() {
		if !strings.Contains(reason, "did not come back") {
			t.Errorf("closed because of %q", reason)
		}
	}
	server.welcomed(t, goodHello(1)) // the server goes on
}

func TestAnOverfullOpenEndsTheStream(t *testing.T) {
	server := start(t, Options{OutboxLimit: 8, ResumeWindow: time.Millisecond}, func(p *pool) {
		p.afterOpen = func(_ *sv2.Opened, sink sv2.Sink) {
			for id := range uint64(9) {
				sink.Job(newJob(id+2, 1))
			}
		}
	})
	c, _ := server.welcomed(t, goodHello(1))
	c.requestOpen(goodOpen(1))
	c.ends(codes.ResourceExhausted)
	eventually(t, "the channel is closed", func() bool { return len(server.pool.reasons()) == 1 })
}

func TestASidecarThatLeavesOrStaysAwayClosesAllItsChannels(t *testing.T) {
	for name, test := range map[string]struct {
		end    func(*client)
		window time.Duration
	}{
		"left":          {func(c *client) { c.leave() }, time.Hour},
		"only hung up":  {func(c *client) { c.hangUp() }, time.Millisecond},
		"stream broken": {func(c *client) { c.cancel() }, time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			server := start(t, Options{ResumeWindow: test.window}, nil)
			c, _ := server.welcomed(t, goodHello(1))
			for id := range uint64(100) {
				c.open(goodOpen(id + 1))
			}
			other, _ := server.welcomed(t, goodHello(2))
			other.open(goodOpen(1))
			test.end(c)
			eventually(t, "all closed", func() bool { return len(server.pool.reasons()) == 100 })
			if n := server.pool.open(); n != 1 {
				t.Errorf("%d channels are open, want that of the other sidecar", n)
			}
			other.ping(1)
		})
	}
}

func TestAKickEndsTheChannelWithoutClose(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	channel := server.pool.only()
	channel.kick(sv2.Kick{Action: sv2.KickChannel, Reason: "bann\x07ed"})
	channel.sink.Job(newJob(2, 1)) // too late
	kick := c.next().GetKick()
	if kick.GetChannelId() != 1 || kick.GetReason() != "bann?ed" ||
		kick.GetAction() != sv2pb.KickAction_KICK_ACTION_CLOSE_CHANNEL {
		t.Fatalf("kick is %v", kick)
	}
	c.closeChannel(1, "crossed the kick")
	c.submit(share(1, 1, 1))
	verdict := c.next().GetVerdictBatch().GetVerdicts()[0]
	if verdict.GetReason() != sv2pb.RejectReason_REJECT_REASON_INVALID_CHANNEL_ID {
		t.Errorf("verdict %v", verdict)
	}
	c.cancel()
	eventually(t, "the session ends", func() bool { return len(server.Sessions()) == 0 })
	if got := server.pool.reasons(); len(got) != 0 {
		t.Errorf("Close was called: %q", got)
	}
}

func TestAKickThatCrossesACloseSparesTheHostTheClose(t *testing.T) {
	entered, hold := make(chan struct{}), make(chan struct{})
	server := start(t, Options{ResumeWindow: time.Millisecond}, nil)
	server.pool.onUpdate = func(context.Context, *poolChannel, sv2.UpdateRequest) error {
		close(entered)
		<-hold
		return nil
	}
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	channel := server.pool.only()
	c.update(&sv2pb.UpdateChannel{ChannelId: 1, MaxTarget: halfTarget[:]})
	<-entered
	c.closeChannel(1, "waits behind the update")
	c.ping(1)
	channel.kick(sv2.Kick{Action: sv2.KickChannel, Reason: "banned"})
	close(hold)
	c.ping(2) // the kick is not sent any more
	c.cancel()
	eventually(t, "the session ends", func() bool { return len(server.Sessions()) == 0 })
	eventually(t, "its calls end", func() bool {
		server.mu.Lock()
		defer server.mu.Unlock()
		return len(server.sessions) == 0
	})
	if got := server.pool.reasons(); len(got) != 0 {
		t.Errorf("Close was called: %q", got)
	}
}

func TestAKickOfAConnectionClosesItsOtherChannels(t *testing.T) {
	for action, want := range map[sv2.KickAction]*sv2pb.Kick{
		sv2.KickConnection: {ChannelId: 1, Reason: "moved",
			Action: sv2pb.KickAction_KICK_ACTION_CLOSE_CONNECTION},
		sv2.KickReconnect: {ChannelId: 1, Reason: "moved", Host: "other.example", Port: 34255,
			Action: sv2pb.KickAction_KICK_ACTION_RECONNECT},
	} {
		server := start(t, Options{}, nil)
		c, _ := server.welcomed(t, goodHello(1))
		c.open(goodOpen(1))
		channel := server.pool.only()
		for id := uint64(2); id <= 4; id++ {
			request := goodOpen(id)
			if id < 4 {
				request.Connection.Id = 1
			}
			c.open(request)
		}
		channel.kick(sv2.Kick{Action: action, Reason: "moved", Host: "other.example", Port: 34255})
		if got := c.next().GetKick(); !proto.Equal(got, want) {
			t.Fatalf("kick is %v, want %v", got, want)
		}
		eventually(t, "the two others are closed",
			func() bool { return len(server.pool.reasons()) == 2 })
		if left := server.pool.only(); server.pool.open() != 1 || left.request.Connection.ID != 4 {
			t.Errorf("%d channels are left", server.pool.open())
		}
		c.ping(1)
	}
}

func TestBadDeliveriesAreDroppedAndLogged(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	channel := server.pool.only()
	channel.sink.Job(nil)
	channel.sink.Job(&sv2.Job{ID: 2})
	channel.sink.Target(sv2.Target{})
	c.ping(1)
	if n := strings.Count(server.logs.String(), "dropped"); n != 3 {
		t.Errorf("%d lines in the log:\n%s", n, server.logs)
	}
	server.pool.mute = true
	c.submit(share(9, 1, 1))
	eventually(t, "the host has it", func() bool { return server.Sessions()[0].outstanding.Load() == 1 })
	// Nobody asked for the verdict on 8, nor for a second one on 9.
	channel.sink.Verdicts([]sv2.Verdict{{SubmitID: 8}, {SubmitID: 9, Reason: 200, Detail: "é"},
		{SubmitID: 9}})
	verdicts := c.next().GetVerdictBatch().GetVerdicts()
	if len(verdicts) != 1 || verdicts[0].GetSubmitId() != 9 || verdicts[0].GetDetail() != "??" ||
		verdicts[0].GetReason() != sv2pb.RejectReason_REJECT_REASON_INVALID_SHARE {
		t.Errorf("verdicts %v", verdicts)
	}
	if !strings.Contains(server.logs.String(), "more verdicts") {
		t.Error("the surplus verdict is not in the log")
	}
}
