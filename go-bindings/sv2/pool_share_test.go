// What the pool promises about shares, blocks and work.
package sv2

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestAnswersEverySubmitInOrderAfterTheJournal(t *testing.T) {
	r := newRig(t, nil)
	m := r.join(t, extendedRequest())
	for size := range 60 { // 1770 shares
		m.Submit(m.shares(m.job(), size))
	}
	for i, verdict := range await[Verdict](t, m.tape, int(m.next)) {
		if verdict.SubmitID != uint64(i+1) || !verdict.Accepted() {
			t.Fatalf("verdict %d: %+v", i, verdict)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.journal, of[Verdict](m.tape)) {
		t.Errorf("the journal has %d other verdicts", len(r.journal))
	}
}

func TestNothingIsCreditedThatTheJournalRefuses(t *testing.T) {
	var down atomic.Bool
	r := newRig(t, func(c *PoolConfig, _ *rig) {
		c.OnVerdict = func(context.Context, ChannelInfo, Submit, Verdict) error {
			if down.Load() {
				return errors.New("disk full\n")
			}
			return nil
		}
	})
	m := r.join(t, extendedRequest())
	share := m.shares(m.job(), 1)
	bad := m.shares(m.job(), 1)
	bad[0].NTime = 1
	down.Store(true)
	m.Submit(slices.Clone(share))
	m.Submit(bad)
	got := await[Verdict](t, m.tape, 2)
	if got[0].Reason != RejectUnavailable || !got[0].Credit.IsZero() ||
		got[0].Detail != "journal: disk full?" {
		t.Errorf("%+v", got[0])
	}
	if got[1].Reason != RejectNTimeTooOld {
		t.Errorf("a rejected share: %+v", got[1])
	}
	down.Store(false)
	m.Submit(share)
	if got := await[Verdict](t, m.tape, 3)[2]; got.Reason != RejectDuplicate {
		t.Errorf("sent again: %+v", got)
	}
}

func TestNoVerdictWaitsForTheNodeAndTheResultFollows(t *testing.T) {
	node := make(chan error)
	var offered Block
	r := newRig(t, func(c *PoolConfig, _ *rig) {
		c.Authorize = func(context.Context, OpenRequest) (any, error) { return "alice", nil }
		c.OnBlock = func(_ context.Context, block Block) error {
			offered = block
			return <-node
		}
	})
	r.nbits.Store(easyBits)
	m := r.join(t, extendedRequest())
	submit := m.shares(m.job(), 1)[0]
	submit.Worker = []byte("rig1")
	network, _ := TargetFromNBits(easyBits)
	root := MerkleRoot(m.job(), m.Prefix, submit.Extranonce)
	for !HashHeader(Header(m.job(), root, submit)).Meets(network) {
		submit.Nonce++
	}
	m.Submit([]Submit{submit})
	verdict := await[Verdict](t, m.tape, 1)[0]
	if !verdict.Accepted() || !verdict.BlockCandidate {
		t.Fatalf("%+v", verdict)
	}
	if results := of[BlockResult](m.tape); len(results) != 0 {
		t.Fatalf("%+v before the node spoke", results)
	}
	node <- errors.New("bad-cb-amount")
	got := await[BlockResult](t, m.tape, 1)[0]
	want := BlockResult{SubmitID: submit.ID, Hash: verdict.Hash, Height: 1, Detail: "bad-cb-amount"}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if HashHeader(offered.Header) != verdict.Hash || offered.Job != m.job() ||
		doubleSHA(offered.Coinbase) != MerkleRoot(&Job{
			CoinbasePrefix: m.job().CoinbasePrefix, CoinbaseSuffix: m.job().CoinbaseSuffix,
		}, m.Prefix, submit.Extranonce) ||
		offered.Channel.Account != "alice" || string(offered.Worker) != "rig1" {
		t.Errorf("offered %+v", offered)
	}
	close(node)
}

func TestAFullQueueRefusesSharesAtOnceButLosesNoBlock(t *testing.T) {
	gate := make(chan struct{})
	const room = 4
	r := newRig(t, func(c *PoolConfig, r *rig) {
		c.QueueSize = room
		journal := c.OnVerdict
		c.OnVerdict = func(ctx context.Context, i ChannelInfo, s Submit, v Verdict) error {
			<-gate
			return journal(ctx, i, s, v)
		}
	})
	r.nbits.Store(easyBits)
	m := r.join(t, extendedRequest())
	m.Submit(m.shares(m.job(), 3))
	m.Submit(m.shares(m.job(), 40))
	refused := await[Verdict](t, m.tape, 39)
	candidates := 0
	for i, verdict := range refused {
		if verdict.Reason != RejectRateLimited || verdict.SubmitID != uint64(room+1+i) {
			t.Fatalf("%d: %+v", i, verdict)
		}
		if verdict.BlockCandidate {
			candidates++
		}
	}
	if candidates == 0 {
		t.Error("39 coins all fell on one side: the test finds no block")
	}
	if results := await[BlockResult](t, m.tape, candidates); !results[0].Accepted {
		t.Errorf("%+v", results)
	}
	close(gate)
	if all := await[Verdict](t, m.tape, 43); all[42].SubmitID != room || !all[42].Accepted() {
		t.Errorf("last: %+v", all[42])
	}
}

func TestSharesTakenBeforeACloseAreJournalledButNotTold(t *testing.T) {
	gate := make(chan struct{})
	r := newRig(t, func(c *PoolConfig, r *rig) {
		journal := c.OnVerdict
		c.OnVerdict = func(ctx context.Context, i ChannelInfo, s Submit, v Verdict) error {
			<-gate
			return journal(ctx, i, s, v)
		}
	})
	m := r.join(t, extendedRequest())
	m.Submit(m.shares(m.job(), 5))
	m.leave()
	m.leave()
	m.Submit(m.shares(m.job(), 1)) // too late: nobody hears of it
	close(gate)
	if err := r.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(r.journal) != 5 || len(of[any](m.tape)) != 0 {
		t.Errorf("journal %+v, sink %+v", r.journal, of[any](m.tape))
	}
	if held := r.prefixes.Held(); held != 0 {
		t.Errorf("%d prefixes held", held)
	}
}

func TestDrainAndCloseEndWithTheirContext(t *testing.T) {
	gate := make(chan struct{})
	r := newRig(t, func(c *PoolConfig, _ *rig) {
		c.OnVerdict = func(context.Context, ChannelInfo, Submit, Verdict) error {
			<-gate
			return nil
		}
	})
	m := r.join(t, extendedRequest())
	m.Submit(m.shares(m.job(), 1))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Drain(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("drain: %v", err)
	}
	if err := r.Close(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("close: %v", err)
	}
	if r.running.Err() == nil {
		t.Error("the callbacks' context goes on")
	}
	close(gate)
	if err := r.Close(t.Context()); err != nil || len(of[any](m.tape)) != 0 {
		t.Errorf("second close: %v, sink %+v", err, of[any](m.tape))
	}
}

func TestANewTipReachesEveryChannelAndMakesOldWorkStale(t *testing.T) {
	r := newRig(t, nil)
	miners := []*miner{r.join(t, extendedRequest()), r.join(t, extendedRequest())}
	old := miners[0].Opened.Job
	r.newTip(t)
	for _, m := range miners {
		if got := of[*Job](m.tape); len(got) != 1 || got[0].Height != 2 {
			t.Errorf("jobs %+v", got)
		}
	}
	m := miners[0]
	m.Submit(append(m.shares(old, 1), m.shares(m.job(), 1)...))
	got := await[Verdict](t, m.tape, 2)
	if got[0].Reason != RejectStale || !got[1].Accepted() {
		t.Errorf("%+v", got)
	}
}

func TestRefreshSaysWhoKeepsOldWork(t *testing.T) {
	var bad atomic.Bool
	r := newRig(t, func(c *PoolConfig, r *rig) {
		c.BuildJob = func(ctx context.Context, request JobRequest) (*Job, error) {
			job, err := r.buildJob(ctx, request)
			if bad.Load() {
				job.ID++
			}
			return job, err
		}
	})
	m := r.join(t, extendedRequest())
	bad.Store(true)
	err := r.Refresh(t.Context())
	if err == nil || !strings.Contains(err.Error(), "1 of 1 channels") {
		t.Errorf("%v", err)
	}
	if len(of[*Job](m.tape)) != 0 {
		t.Error("a job with another id was given")
	}
	bad.Store(false)
	r.newTip(t)
	await[*Job](t, m.tape, 1)
}

func TestVardiffGivesATargetThenAJobOfTheSameTip(t *testing.T) {
	r := newRig(t, nil)
	m := r.join(t, extendedRequest())
	bad := m.shares(m.job(), 200)
	for i := range bad {
		bad[i].NTime = 1
	}
	m.Submit(bad)
	await[Verdict](t, m.tape, 200)
	r.seconds.Add(2)
	if err := r.retarget(t.Context()); err != nil || len(of[Target](m.tape)) != 0 {
		t.Fatalf("rejected shares moved the target: %v, %v", of[Target](m.tape), err)
	}
	m.Submit(m.shares(m.job(), 200))
	await[Verdict](t, m.tape, 400)
	if err := r.retarget(t.Context()); err != nil {
		t.Fatal(err)
	}
	await[*Job](t, m.tape, 1)
	m.mu.Lock()
	last := m.events[len(m.events)-2:]
	m.mu.Unlock()
	target, first := last[0].(Target)
	job, second := last[1].(*Job)
	if !first || !second || target.Cmp(m.Opened.Target) >= 0 ||
		job.PrevHash != m.Opened.Job.PrevHash {
		t.Fatalf("%+v", last)
	}
	// The first job was born with a tip: it stays as easy as it was. The new one doesn't.
	m.Submit(append(m.shares(m.Opened.Job, 50), m.shares(job, 50)...))
	low := 0
	for i, verdict := range await[Verdict](t, m.tape, 500)[400:] {
		if verdict.Reason == RejectLowDifficulty {
			low++
		}
		if i < 50 && !verdict.Accepted() {
			t.Errorf("share %d on the old job: %s", i, verdict.Reason)
		}
	}
	if low == 0 {
		t.Error("the new target is not in force")
	}
}

func TestAnUpdateWithTheSameHashRateLeavesVardiffAlone(t *testing.T) {
	r := newRig(t, func(c *PoolConfig, _ *rig) { c.Limits.Easiest = bitsTarget(255) })
	request := extendedRequest()
	request.NominalHashRate = 1
	m := r.join(t, request)
	m.Submit(m.shares(m.job(), 5000))
	await[Verdict](t, m.tape, 5000)
	r.seconds.Add(2)
	if err := r.retarget(t.Context()); err != nil {
		t.Fatal(err)
	}
	await[*Job](t, m.tape, 1)
	if err := m.Update(t.Context(), UpdateRequest{1, MaxTarget}); err != nil {
		t.Fatal(err)
	}
	if got := of[Target](m.tape); len(got) != 1 || got[0].Cmp(m.Opened.Target) >= 0 {
		t.Errorf("targets %v after %v", got, m.Opened.Target)
	}
}

func TestAMinerThatFloodsCannotAskForAnEasierTarget(t *testing.T) {
	r := newRig(t, func(c *PoolConfig, _ *rig) { c.Limits.Easiest = bitsTarget(255) })
	request := extendedRequest()
	request.NominalHashRate = 10
	m := r.join(t, request)
	m.Submit(m.shares(m.job(), 4000))
	await[Verdict](t, m.tape, 4000)
	for second := range 3 {
		r.seconds.Add(1)
		update := UpdateRequest{NominalHashRate: 1 / float64(second+1), MaxTarget: MaxTarget}
		if err := m.Update(t.Context(), update); err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range of[Target](m.tape) { // vardiff's, if the second has come
		if target.Cmp(m.Opened.Target) > 0 {
			t.Errorf("target %v after %v", target, m.Opened.Target)
		}
	}
}

func TestKickTellsTheSinkLast(t *testing.T) {
	r := newRig(t, nil)
	m := r.join(t, extendedRequest())
	id := r.Channels()[0].ID
	kick := Kick{Action: KickConnection, Reason: "banned"}
	if !r.Kick(id, kick) {
		t.Fatal("the channel was open")
	}
	m.tape.close()
	if r.Kick(id, kick) {
		t.Error("kicked twice")
	}
	r.newTip(t)
	if got := of[any](m.tape); len(got) != 1 || got[0] != kick {
		t.Errorf("%+v", got)
	}
}

func TestABlockMayRefreshThePoolFromItsCallback(t *testing.T) {
	var pool atomic.Pointer[rig]
	r := newRig(t, func(c *PoolConfig, r *rig) {
		c.OnBlock = func(ctx context.Context, _ Block) error {
			pool.Load().template.Add(1)
			return pool.Load().Refresh(ctx)
		}
	})
	pool.Store(r)
	r.nbits.Store(easyBits)
	m := r.join(t, extendedRequest())
	m.Submit(m.shares(m.job(), 20))
	if got := await[BlockResult](t, m.tape, 1); !got[0].Accepted {
		t.Errorf("%+v", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := r.Drain(ctx); err != nil {
		t.Error(err)
	}
}
