// What the pool promises about blocks and tips.

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/btcsuite/btcd/wire/v2"
	"golang.org/x/sys/unix"

	"github.com/gopool-sv2/gopool-sv2/examples/minipool/template"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// find mines a block on a channel's newest job, and waits until each of the miners works on it.
func find(r *rig, c *miner, all ...*miner) sv2.Hash {
	r.t.Helper()
	s := c.sidecar
	submit, hash := c.block(c.job)
	got := s.judge(submit)[0]
	if !got.GetBlockCandidate() || !got.GetAccepted() || sv2.Hash(got.GetShareHash()) != hash {
		r.t.Fatalf("verdict on a block: %v", got)
	}
	s.until("the block's result", func() bool { return s.results[submit.GetId()] != nil })
	result := s.results[submit.GetId()]
	if !result.GetAccepted() || sv2.Hash(result.GetBlockHash()) != hash || result.GetDetail() != "" {
		r.t.Fatalf("result of a block: %v", result)
	}
	if r.tipHash() != hash.String() {
		r.t.Fatalf("the tip is %s, want the block %s", r.tipHash(), hash)
	}
	for _, miner := range all {
		s.until("work on the block", func() bool { return miner.job.PrevHash == hash })
	}
	return hash
}

func TestAShareThatIsABlockBecomesTheTip(t *testing.T) {
	r := newRig(t, t.TempDir())
	s := dial(t, r.settings.socket)
	one, two := s.open(standard, payoutAddress(t)), s.open(extended, payoutAddress(t)+".two")
	for height, c := range []*miner{one, two, one} {
		hash := find(r, c, one, two).String()
		if one.job.Height != uint32(height+2) || two.job.Height != uint32(height+2) {
			t.Errorf("next heights %d and %d", one.job.Height, two.job.Height)
		}
		blocks := r.book("block")
		got := blocks[len(blocks)-1]
		if got.Hash != hash || int(got.Height) != height+1 || !got.Accepted || got.Detail != "" {
			t.Errorf("block %s is %+v in the journal", hash, got)
		}
		verdicts := r.book("verdict")
		if got := verdicts[len(verdicts)-1]; got.Hash != hash || !got.Block || !got.Accepted {
			t.Errorf("block %s has verdict %+v in the journal", hash, got)
		}
		eventually(t, "the tip is in the journal", func() bool {
			tips := r.book("tip")
			return len(tips) > 0 && tips[len(tips)-1].Hash == hash
		})
	}
	if !strings.Contains(r.logs.String(), `msg="block accepted" height=3`) {
		t.Error("the log doesn't tell of the block")
	}
}

func TestCoinbasePaysTheMinerAndThePool(t *testing.T) {
	r := newRig(t, t.TempDir(), "-pool-fee", "2.5")
	s := dial(t, r.settings.socket)
	for _, kind := range kinds {
		user := payoutAddress(t)
		c := s.open(kind, user+".worker")
		raw := sv2.Coinbase(c.job, c.prefix, make([]byte, c.size))
		var coinbase wire.MsgTx
		if err := coinbase.DeserializeNoWitness(bytes.NewReader(raw)); err != nil {
			t.Fatal(err)
		}
		script, err := template.PayoutScript(user, r.chain.Params())
		if err != nil {
			t.Fatal(err)
		}
		out := coinbase.TxOut
		if len(out) != 3 || !bytes.Equal(out[0].PkScript, script) || out[0].Value != 4_875_000_000 ||
			!bytes.Equal(out[1].PkScript, r.chain.PoolScript()) || out[1].Value != 125_000_000 {
			t.Errorf("%s: outputs %+v", kind, out)
		}
	}
}

func TestJobsCarryThePoolsPolicy(t *testing.T) {
	before := uint32(time.Now().Unix())
	r := newRig(t, t.TempDir())
	s := dial(t, r.settings.socket)
	for _, kind := range kinds {
		got := s.open(kind, payoutAddress(t)).job
		if got.StaleRule != sv2.StaleStrict || got.VersionMask != 0x1fffffe0 ||
			got.Version != 0x20000000 || got.NBits != 0x1f00ffff || got.Height != 1 ||
			got.MaxNTime != 0 || got.PrevHash.String() != r.tipHash() {
			t.Errorf("%s: job %+v", kind, got)
		}
		if got.MinNTime < before || got.MinNTime > uint32(time.Now().Unix()) {
			t.Errorf("%s: MinNTime %d is not the present", kind, got.MinNTime)
		}
	}
	if got := sv2.Target(s.welcome.GetEasiestTarget()); got != sv2.TargetFromDifficulty(shareDifficulty) {
		t.Errorf("easiest target %s", got)
	}
}

func TestBlocksCarryTheTransactionsOfTheirTemplate(t *testing.T) {
	r := newRig(t, t.TempDir())
	s := dial(t, r.settings.socket)
	one, two := s.open(standard, payoutAddress(t)), s.open(extended, payoutAddress(t))
	for i := 0; len(one.job.MerklePath) < 2; i++ {
		if i == 12 {
			t.Fatal("twelve blocks and no two transactions in a template")
		}
		find(r, two, one, two)
	}
	find(r, one, one, two)
	find(r, two, one, two)
}

func TestABlockOfAnEarlierJobOfTheTipIsABlock(t *testing.T) {
	r := newRig(t, t.TempDir())
	s := dial(t, r.settings.socket)
	c := s.open(extended, payoutAddress(t))
	first := c.job
	for c.job.ID < first.ID+3 {
		before := c.job.ID
		if err := r.renewWork(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.until("new work", func() bool { return c.job.ID > before })
	}
	if c.job.PrevHash != first.PrevHash || bytes.Equal(c.job.CoinbasePrefix, first.CoinbasePrefix) {
		t.Error("a refreshed job is not new work on the same tip")
	}
	c.job = first
	find(r, c)
}

func TestRejectsSharesOnAnOldTipButOffersTheirBlocks(t *testing.T) {
	r := newRig(t, t.TempDir())
	s := dial(t, r.settings.socket)
	c := s.open(extended, payoutAddress(t))
	old := c.job
	share, _ := c.share()
	find(r, c, c)
	late, hash := c.block(old)
	for _, got := range s.judge(share, late) {
		if got.GetAccepted() || sv2.RejectReason(got.GetReason()) != sv2.RejectStale {
			t.Errorf("on an old tip: %v", got)
		}
	}
	s.until("the block's result", func() bool { return s.results[late.GetId()] != nil })
	if got := s.results[late.GetId()]; got.GetAccepted() || !strings.Contains(got.GetDetail(), "stale") {
		t.Errorf("result %v", got)
	}
	blocks := r.book("block")
	if got := blocks[len(blocks)-1]; got.Hash != hash.String() || got.Accepted || got.Detail == "" {
		t.Errorf("late block is %+v in the journal", got)
	}
	if !strings.Contains(r.logs.String(), `level=ERROR msg="block rejected"`) {
		t.Error("the log doesn't tell of the rejected block")
	}
}

func TestATestTipReachesEveryChannel(t *testing.T) {
	r := newRig(t, t.TempDir(), "-network-bits", trivialBits)
	s := dial(t, r.settings.socket)
	one, two := s.open(standard, payoutAddress(t)), s.open(extended, payoutAddress(t))
	for height := range uint32(3) {
		r.wantBlock()
		for _, c := range []*miner{one, two} {
			s.until("the new tip", func() bool { return c.job.Height == height+2 })
			if c.job.PrevHash.String() != r.tipHash() {
				t.Errorf("work on %s, the tip is %s", c.job.PrevHash, r.tipHash())
			}
		}
	}
}

func TestTipsComeByThemselvesWhenAsked(t *testing.T) {
	r := newRig(t, t.TempDir(), "-network-bits", trivialBits, "-test-tip-every", "5ms")
	eventually(t, "three tips", func() bool { return len(r.book("tip")) >= 3 })
}

func TestAChannelOpenedWhileTipsChangeHasWorkOnAPresentOne(t *testing.T) {
	r := newRig(t, t.TempDir(), "-network-bits", trivialBits)
	heights := map[sv2.Hash]uint32{}
	genesis, _ := r.chain.Tip()
	heights[genesis] = 0
	ctx, stopMining := context.WithCancel(t.Context())
	var mining sync.WaitGroup
	mining.Go(func() {
		pause := time.NewTicker(10 * time.Millisecond)
		defer pause.Stop()
		for height := uint32(1); ctx.Err() == nil; height++ {
			<-pause.C
			block, err := r.chain.MineBlock(ctx)
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("mine: %v", err)
				}
				return
			}
			heights[sv2.Hash(block.BlockHash())] = height
		}
	})
	s := dial(t, r.settings.socket)
	user := payoutAddress(t)
	type opened struct {
		first   *sv2.Job
		atLeast int32
	}
	var opens []opened
	for i := 0; i < 60 || opens[i-1].first.Height < opens[0].first.Height+5; i++ {
		_, before := r.chain.Tip()
		c := s.open(kinds[i%2], user)
		opens = append(opens, opened{c.job, before})
	}
	stopMining()
	mining.Wait()
	for _, o := range opens {
		height, known := heights[o.first.PrevHash]
		if !known || height != o.first.Height-1 || int32(height) < o.atLeast {
			t.Errorf("first work on %s (height %d, a tip: %v), the tip was at %d before",
				o.first.PrevHash, o.first.Height-1, known, o.atLeast)
		}
	}
	tip, _ := r.chain.Tip()
	for _, c := range s.channels {
		s.until("work on the last tip", func() bool { return c.job.PrevHash == tip })
	}
}

func TestContinuesAtTheSameHeightAfterARestart(t *testing.T) {
	dir := t.TempDir()
	args := []string{"-datadir", dir + "/chain"}
	var epochs []string
	for run := range uint32(3) {
		r := newRig(t, dir, args...)
		s := dial(t, r.settings.socket)
		c := s.open(extended, payoutAddress(t))
		if c.job.Height != run+1 {
			t.Fatalf("run %d begins with height %d", run, c.job.Height)
		}
		find(r, c, c)
		s.hangUp()
		r.end()
		lines := r.book("")
		if got := lines[len(lines)-1]; got.Event != "stop" {
			t.Errorf("the journal ends with %+v", got)
		}
		starts := r.book("start")
		if len(starts) != int(run)+1 {
			t.Errorf("%d starts in the journal of run %d", len(starts), run)
		}
		epochs = append(epochs, starts[run].Epoch)
	}
	if epochs[0] == epochs[1] || epochs[1] == epochs[2] {
		t.Errorf("epochs %v", epochs)
	}
}

func TestABlockThatIsNotOnDiskIsAcceptedAndTheOperatorIsTold(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "chain")
	r := newRig(t, dir, "-datadir", data)
	s := dial(t, r.settings.socket)
	c := s.open(extended, payoutAddress(t))
	// The descriptor of the chain's journal becomes /dev/full for a while.
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	descriptor := -1
	open, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range open {
		if target, err := os.Readlink(link); err == nil && target == filepath.Join(data, "journal") {
			descriptor, _ = strconv.Atoi(filepath.Base(link))
		}
	}
	kept, err := unix.Dup(descriptor)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(kept)
	if err := unix.Dup3(int(full.Fd()), descriptor, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	hash := find(r, c, c).String() // the sidecar is told that it was accepted
	if err := unix.Dup3(kept, descriptor, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if blocks := r.book("block"); len(blocks) != 1 || blocks[0].Hash != hash || !blocks[0].Accepted {
		t.Errorf("in the journal: %+v", blocks)
	}
	if text := r.logs.String(); !strings.Contains(text, "make room in -datadir") ||
		!strings.Contains(text, "level=ERROR") || !strings.Contains(text, "no space left on device") {
		t.Error("the log doesn't tell the operator")
	}
}
