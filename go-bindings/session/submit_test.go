// Submits and verdicts.

package session

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

func TestVerdictsAreTheHosts(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	opened := c.open(goodOpen(1))
	credit := halfTarget.Difficulty()
	network, err := sv2.TargetFromNBits(blockBits)
	if err != nil {
		t.Fatal(err)
	}
	var accepted, rejected, blocks int
	for id := uint64(1); id <= 600; id++ {
		submit := share(id, 1, uint32(id))
		submit.Worker = []byte("worker")
		c.submit(submit)
		v := c.next().GetVerdictBatch().GetVerdicts()[0]
		hash := hashOf(opened.GetExtranoncePrefix(), submit)
		if v.GetSubmitId() != id || !bytes.Equal(v.GetShareHash(), hash[:]) ||
			v.GetAccepted() != hash.Meets(halfTarget) ||
			v.GetBlockCandidate() != hash.Meets(network) {
			t.Fatalf("verdict of %d is %v", id, v)
		}
		if !v.GetAccepted() {
			rejected++
			if v.GetReason() != sv2pb.RejectReason_REJECT_REASON_DIFFICULTY_TOO_LOW ||
				v.GetCreditWhole() != 0 || v.GetCreditFraction() != 0 {
				t.Fatalf("rejected with %v", v)
			}
			continue
		}
		accepted++
		if v.GetCreditWhole() != credit.Whole || v.GetCreditFraction() != credit.Fraction {
			t.Fatalf("credit of %v, want %v", v, credit)
		}
		if v.GetBlockCandidate() {
			blocks++
			result := c.next().GetBlockResult()
			if result.GetSubmitId() != id || !bytes.Equal(result.GetBlockHash(), hash[:]) ||
				result.GetChannelId() != 1 || !result.GetAccepted() {
				t.Fatalf("block result is %v", result)
			}
		}
	}
	if accepted == 0 || rejected == 0 || blocks == 0 {
		t.Errorf("%d accepted, %d rejected, %d blocks: not all kinds were seen", accepted, rejected,
			blocks)
	}
	c.submit(share(601, 1, 1), share(602, 1, 1))
	reasons := map[uint64]sv2pb.RejectReason{}
	for len(reasons) < 2 {
		for _, v := range c.next().GetVerdictBatch().GetVerdicts() {
			reasons[v.GetSubmitId()] = v.GetReason()
		}
	}
	if reasons[601] == 0 || reasons[602] == 0 {
		t.Errorf("a duplicate was accepted: %v", reasons)
	}
}

func TestRejectsSubmitsNoHostCanJudge(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	long := share(3, 1, 1)
	long.Extranonce = make([]byte, 33)
	short := share(4, 1, 1)
	short.Extranonce = short.Extranonce[:3]
	worker := share(5, 1, 1)
	worker.Worker = make([]byte, 33)
	c.submit(share(2, 99, 1), long, short, worker)
	want := map[uint64]sv2pb.RejectReason{
		2: sv2pb.RejectReason_REJECT_REASON_INVALID_CHANNEL_ID,
		3: sv2pb.RejectReason_REJECT_REASON_BAD_EXTRANONCE_SIZE,
		4: sv2pb.RejectReason_REJECT_REASON_BAD_EXTRANONCE_SIZE,
		5: sv2pb.RejectReason_REJECT_REASON_INVALID_SHARE,
	}
	var got []*sv2pb.Verdict
	for len(got) < len(want) { // in one message or in several
		got = append(got, c.next().GetVerdictBatch().GetVerdicts()...)
	}
	if len(got) != len(want) {
		t.Fatalf("%d verdicts", len(got))
	}
	for _, v := range got {
		if v.GetAccepted() || v.GetReason() != want[v.GetSubmitId()] || v.GetDetail() == "" {
			t.Errorf("verdict %v", v)
		}
	}
}

func TestRejectsSubmitsForAChannelThatIsBeingOpened(t *testing.T) {
	hold := make(chan struct{})
	server := start(t, Options{}, func(p *pool) {
		p.onOpen = func(ctx context.Context, _ sv2.OpenRequest, _ sv2.Sink) error {
			select {
			case <-hold:
			case <-ctx.Done():
			}
			return nil
		}
	})
	c, _ := server.welcomed(t, goodHello(1))
	c.requestOpen(goodOpen(1))
	c.submit(share(1, 1, 1))
	verdict := c.next().GetVerdictBatch().GetVerdicts()[0]
	if verdict.GetReason() != sv2pb.RejectReason_REJECT_REASON_INVALID_CHANNEL_ID {
		t.Errorf("verdict %v", verdict)
	}
	c.update(&sv2pb.UpdateChannel{ChannelId: 1, MaxTarget: halfTarget[:]})
	want := sv2pb.RefuseReason_REFUSE_REASON_INVALID_CHANNEL_ID
	if got := c.next().GetChannelUpdated().GetRefused(); got != want {
		t.Errorf("update was answered with %v", got)
	}
	close(hold)
	if c.next().GetChannelOpened() == nil {
		t.Error("want ChannelOpened")
	}
}

func TestRejectsBadBatches(t *testing.T) {
	server := start(t, Options{}, nil)
	many := make([]*sv2pb.Submit, 257)
	for i := range many {
		many[i] = share(uint64(i+1), 1, 1)
	}
	for name, batches := range map[string][][]*sv2pb.Submit{
		"empty":         {{}},
		"long":          {many},
		"id 0":          {{share(0, 1, 1)}},
		"same id":       {{share(1, 1, 1), share(1, 1, 2)}},
		"falling id":    {{share(5, 1, 1)}, {share(4, 1, 2)}},
		"across chans":  {{share(5, 1, 1), share(6, 2, 1), share(6, 1, 2)}},
		"unknown falls": {{share(5, 99, 1)}, {share(5, 99, 2)}},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := server.welcomed(t, goodHello(1))
			c.open(goodOpen(1))
			c.open(goodOpen(2))
			for _, batch := range batches {
				c.submit(batch...)
			}
			c.ends(codes.InvalidArgument)
		})
	}
}

func TestRejectsMoreInFlightThanHelloSaid(t *testing.T) {
	server := start(t, Options{}, func(p *pool) { p.mute = true })
	hello := goodHello(1)
	hello.MaxInFlight = 3
	c, _ := server.welcomed(t, hello)
	c.open(goodOpen(1))
	c.open(goodOpen(2))
	c.submit(share(1, 1, 1), share(2, 1, 2))
	c.submit(share(3, 2, 3), share(4, 2, 4), share(5, 1, 5))
	var got []*sv2pb.Verdict
	for len(got) < 2 { // in one message or two
		got = append(got, c.next().GetVerdictBatch().GetVerdicts()...)
	}
	if len(got) != 2 || got[0].GetSubmitId() != 4 || got[1].GetSubmitId() != 5 ||
		got[0].GetReason() != sv2pb.RejectReason_REJECT_REASON_RATE_LIMITED {
		t.Fatalf("verdicts are %v", got)
	}
	// What a closed channel owed is owed no more.
	c.closeChannel(1, "")
	c.submit(share(6, 2, 6), share(7, 2, 7), share(8, 2, 8))
	got = c.next().GetVerdictBatch().GetVerdicts()
	if len(got) != 1 || got[0].GetSubmitId() != 8 {
		t.Fatalf("verdicts after the close are %v", got)
	}
}

// Many channels, batches from several goroutines with submits mixed over the channels: each submit gets
// exactly one verdict, the right one.
func TestEverySubmitOfAThousandChannelsGetsOneVerdict(t *testing.T) {
	const channels, senders, batches = 1000, 4, 40
	server := start(t, Options{VerdictRing: senders * batches * MaxBatch}, nil)
	hello := goodHello(1)
	hello.MaxInFlight = senders * batches * MaxBatch
	c, _ := server.welcomed(t, hello)
	prefixes := make(map[uint64][]byte)
	for id := uint64(1); id <= channels; id++ {
		c.requestOpen(goodOpen(id))
	}
	for len(prefixes) < channels {
		opened := c.next().GetChannelOpened()
		if opened == nil || prefixes[opened.GetChannelId()] != nil {
			t.Fatalf("want ChannelOpened, got %v", opened)
		}
		prefixes[opened.GetChannelId()] = opened.GetExtranoncePrefix()
	}
	var sending sync.Mutex // a gRPC stream takes one Send at a time, and ids must rise on it
	var senderGroup sync.WaitGroup
	sent := make(map[uint64]*sv2pb.Submit)
	for sender := range uint64(senders) {
		senderGroup.Go(func() {
			random := rand.New(rand.NewPCG(1, sender))
			for range batches {
				sending.Lock()
				batch := make([]*sv2pb.Submit, 1+random.IntN(MaxBatch))
				for i := range batch {
					id := uint64(len(sent) + 1)
					batch[i] = share(id, 1+random.Uint64N(channels+10), uint32(id))
					sent[id] = batch[i]
				}
				err := c.stream.Send(&sv2pb.SessionRequest{
					Message: &sv2pb.SessionRequest_SubmitBatch{
						SubmitBatch: &sv2pb.SubmitBatch{Submits: batch}}})
				sending.Unlock()
				if err != nil {
					t.Errorf("send: %v", err)
					return
				}
			}
		})
	}
	senderGroup.Wait()
	verdicts := make(map[uint64]*sv2pb.Verdict)
	results := make(map[uint64]bool)
	blocks := 0
	for len(verdicts) < len(sent) || len(results) < blocks {
		m := c.next()
		if result := m.GetBlockResult(); result != nil {
			if verdicts[result.GetSubmitId()] == nil {
				t.Fatalf("block result of %d comes before its verdict", result.GetSubmitId())
			}
			results[result.GetSubmitId()] = true
		}
		batch := m.GetVerdictBatch().GetVerdicts()
		if len(batch) > MaxBatch {
			t.Fatalf("%d verdicts in a batch", len(batch))
		}
		for _, v := range batch {
			if verdicts[v.GetSubmitId()] != nil {
				t.Fatalf("submit %d got two verdicts", v.GetSubmitId())
			}
			verdicts[v.GetSubmitId()] = v
			if v.GetBlockCandidate() {
				blocks++
			}
		}
	}
	c.ping(1) // nothing comes after the last one
	for id, submit := range sent {
		v, prefix := verdicts[id], prefixes[submit.GetChannelId()]
		if prefix == nil {
			if v.GetReason() != sv2pb.RejectReason_REJECT_REASON_INVALID_CHANNEL_ID {
				t.Fatalf("submit for an unknown channel: %v", v)
			}
			continue
		}
		hash := hashOf(prefix, submit)
		if !bytes.Equal(v.GetShareHash(), hash[:]) || v.GetAccepted() != hash.Meets(halfTarget) {
			t.Fatalf("verdict of %v is %v", submit, v)
		}
	}
	if n := server.Sessions()[0].outstanding.Load(); n != 0 {
		t.Errorf("%d submits are owed in the end", n)
	}
}
