//go:build node

// What the pool promises of Bitcoin Core alone: other chains, a node that is away, and what it says to
// an operator.

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// easiest makes almost each hash a share: on regtest, half of the shares are blocks.
const easiest = 1.0 / (1 << 32)

// offline lets Core give templates on a public chain of which it has the first block only.
var offline = []string{"-maxtipage=3000000000", "-minimumchainwork=0"}

// addressOn is a new address of a chain.
func addressOn(t testing.TB, chain string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if run([]string{"-test-address", "-node-chain", chain}, &out, &errs) != exitOK {
		t.Fatal(errs.String())
	}
	return strings.TrimSpace(out.String())
}

func TestSharesAreNoBlocksWhereTheNetworkIsHarder(t *testing.T) {
	n := startCore(t, "testnet4", offline...)
	before := n.tip()
	pool := nodePool(t, n, lineDifficulty)
	l := newLine(t, pool)
	books := l.mine(addressOn(t, "testnet4")+".rig", "extended", 5)
	verdicts := readJournal(t, pool.journal, "verdict")
	if len(verdicts) != 5 || !strings.Contains(books, `"event":"accepted"`) {
		t.Errorf("%d verdicts; the miner's journal:\n%s", len(verdicts), books)
	}
	for _, verdict := range verdicts {
		if !verdict.Accepted || verdict.Block || verdict.Credit.Float() != lineDifficulty {
			t.Errorf("a share is %+v in the journal", verdict)
		}
	}
	if blocks := readJournal(t, pool.journal, "block"); len(blocks) > 0 || n.tip() != before {
		t.Errorf("blocks %+v, the tip is %s", blocks, n.tip())
	}
	// Addresses are those of the node's chain.
	s := dial(t, pool.socket)
	if c := s.ask(extended, []byte(payoutAddress(t))); c.refused == nil ||
		sv2.RefuseReason(c.refused.GetReason()) != sv2.RefuseUnknownUser ||
		!strings.Contains(c.refused.GetDetail(), "tb1") {
		t.Errorf("an address of regtest on testnet4: %v", c.refused)
	}
}

func TestABlockAmongManySharesIsGoodOnASignet(t *testing.T) {
	n := startCore(t, "signet", append(offline, "-signetchallenge=51")...)
	pool := nodePool(t, n, 1.0/(1<<15)) // a block takes about 40 shares
	l := newLine(t, pool)
	startDaemon(t, l.program, "miner", l.url, "--user", addressOn(t, "signet"), "--threads", "2")
	eventuallyIn(t, 5*patience, "a block, on a busy machine", func() bool {
		return len(readJournal(t, pool.journal, "block")) > 0
	})
	block := pool.blockLines(1)[0]
	if !block.Accepted || block.Height != 1 {
		t.Errorf("block %+v", block)
	}
	var hash string
	if n.must(&hash, "getblockhash", 1); hash != block.Hash {
		t.Errorf("the node has %s at height 1, the block is %s", hash, block.Hash)
	}
}

func TestAFoundBlockWaitsForANodeThatIsAway(t *testing.T) {
	n, _ := regtestCore(t)
	pool := nodePool(t, n, easiest)
	s := dial(t, pool.socket)
	c := s.open(extended, payoutAddress(t))
	n.stop()
	block, hash := c.block(c.job)
	share, _ := c.share()
	for _, verdict := range s.judge(block, share) {
		if !verdict.GetAccepted() {
			t.Errorf("while the node is away: %v", verdict)
		}
	}
	eventually(t, "the log tells of the block that waits", func() bool {
		return strings.Contains(pool.logs.String(), "a block waits for the node")
	})
	if fresh := s.open(standard, payoutAddress(t)); fresh.job.PrevHash != c.job.PrevHash {
		t.Errorf("a channel opened meanwhile works on %s", fresh.job.PrevHash)
	}
	if len(s.results) > 0 {
		t.Errorf("results %v before the node is back", s.results)
	}
	n.again()
	s.until("the block's result", func() bool { return s.results[block.GetId()] != nil })
	if got := s.results[block.GetId()]; !got.GetAccepted() || n.tip() != hash.String() {
		t.Errorf("result %v, the tip is %s, want %s", got, n.tip(), hash)
	}
	s.until("work on the block", func() bool { return c.job.PrevHash == hash })
	if got := pool.blockLines(1)[0]; !got.Accepted || got.Hash != hash.String() {
		t.Errorf("block %+v in the journal", got)
	}
}

func TestMinersAreSentAwayWhenTheNodeStaysAwayAndComeBackWithIt(t *testing.T) {
	n, _ := regtestCore(t)
	pool := nodePool(t, n, easiest, "-node-away", "1ms")
	s := dial(t, pool.socket)
	s.open(extended, payoutAddress(t))
	n.stop()
	s.until("the kick", func() bool { return len(s.kicks) > 0 })
	if got := s.kicks[0]; got.GetAction() != sv2pb.KickAction_KICK_ACTION_CLOSE_CONNECTION ||
		got.GetReason() != "the pool has no work" {
		t.Errorf("kick %v", got)
	}
	if c := s.ask(extended, []byte(payoutAddress(t))); c.refused == nil ||
		sv2.RefuseReason(c.refused.GetReason()) != sv2.RefuseNoWork {
		t.Errorf("a channel while there is no work: %v", c.refused)
	}
	// The first words may be those of a node that is shutting down.
	eventually(t, "the log says the remedy", func() bool {
		return strings.Contains(pool.logs.String(), "is the node running")
	})
	n.again()
	n.mine()
	eventually(t, "there is work on the new tip", func() bool {
		time.Sleep(100 * time.Millisecond) // as a miner that tries again
		c := s.ask(extended, []byte(payoutAddress(t)))
		return c.refused == nil && c.job.PrevHash.String() == n.tip()
	})
}

func TestANodeThatComesBackOnAnotherChainGivesNoWork(t *testing.T) {
	n, _ := regtestCore(t)
	pool := nodePool(t, n, easiest)
	s := dial(t, pool.socket)
	c := s.open(extended, payoutAddress(t))
	n.stop()
	_, port, _ := strings.Cut(strings.TrimPrefix(n.url, "http://"), ":")
	cookie := n.flags[slices.Index(n.flags, "-node-cookie")+1]
	startDaemon(t, os.Getenv("BITCOIND"), append(offline, "-chain=testnet4", "-datadir="+t.TempDir(),
		"-listen=0", "-connect=0", "-dnsseed=0", "-rpcport="+port, "-rpccookiefile="+cookie)...)
	eventually(t, "the log tells of the wrong chain", func() bool {
		return strings.Contains(pool.logs.String(), "wrong chain")
	})
	before := c.job.PrevHash
	if fresh := s.open(standard, payoutAddress(t)); fresh.job.PrevHash != before {
		t.Errorf("work is on %s, of another chain", fresh.job.PrevHash)
	}
}

func TestStartsOnlyOnANodeThatFitsAndSaysTheRemedy(t *testing.T) {
	regtest := startCore(t, "regtest")
	alone := startCore(t, "main")
	signet := startCore(t, "signet", offline...)
	p2p := freePort(t)
	startCore(t, "main", "-listen=1", "-bind=127.0.0.1:"+p2p, "-listenonion=0")
	behind := startCore(t, "main", "-connect=127.0.0.1:"+p2p)
	eventually(t, "the node has a peer", func() bool {
		var peers int
		behind.must(&peers, "getconnectioncount")
		return peers > 0
	})
	dir := t.TempDir()
	password, open := filepath.Join(dir, "password"), filepath.Join(dir, "open")
	for path, mode := range map[string]os.FileMode{password: 0o600, open: 0o604} {
		if err := os.WriteFile(path, []byte("user:wrong\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	nobody := "http://127.0.0.1:1"
	tls := strings.Replace(regtest.url, "http", "https", 1)
	for name, test := range map[string]struct {
		want  string
		flags []string
	}{
		"no node there": {"is the node running",
			[]string{"-node-rpc", nobody, "-node-auth-file", password}},
		"no cookie": {"is the node running",
			[]string{"-node-rpc", regtest.url, "-node-cookie", filepath.Join(dir, "no")}},
		"wrong password": {"refuses user or password",
			[]string{"-node-rpc", regtest.url, "-node-auth-file", password}},
		"open password": {"chmod 600", []string{"-node-rpc", regtest.url, "-node-auth-file", open}},
		"wrong chain": {"wrong chain: it is on regtest, wanted is mainnet",
			append(slices.Clip(regtest.flags), "-node-chain", "main")},
		"TLS":      {"write http://", append(slices.Clip(regtest.flags), "-node-rpc", tls)},
		"no peers": {"it has no peers", alone.flags},
		"behind":   {"has not caught up", behind.flags},
		"signet":   {"signetchallenge=51", signet.flags},
		"fee to nobody": {"-pool-address",
			append(slices.Clip(regtest.flags), "-pool-fee", "1", "-pool-address", "bc1qxyz")},
	} {
		args := slices.Concat([]string{"-socket", filepath.Join(dir, "sock"), "-pool-fee", "0"}, test.flags)
		var out, errs bytes.Buffer
		if code := run(args, &out, &errs); code != exitFailure || !strings.Contains(errs.String(), test.want) {
			t.Errorf("%s: code %d, %s", name, code, errs.String())
		}
		if _, err := os.Stat(filepath.Join(dir, "sock")); err == nil {
			t.Errorf("%s: the socket is left", name)
		}
	}
}

func TestNewTransactionsReachTheMinersWithoutANewTip(t *testing.T) {
	n, money := regtestCore(t)
	pool := nodePool(t, n, easiest, "-template-seconds", "0.5")
	s := dial(t, pool.socket)
	c := s.open(extended, payoutAddress(t))
	tip := c.job.PrevHash
	id := money.spend(n, 1)
	s.until("a job with the transaction", func() bool { return len(c.job.MerklePath) == 1 })
	if got := fmt.Sprint(c.job.MerklePath[0]); got != id || c.job.PrevHash != tip {
		t.Errorf("the job has %s on %s, want %s on %s", got, c.job.PrevHash, id, tip)
	}
}

func TestABlockThatTheNodeDidNotAnswerBeforeTheStopIsSubmittedByHand(t *testing.T) {
	n, _ := regtestCore(t)
	pool := nodePool(t, n, easiest)
	s := dial(t, pool.socket)
	c := s.open(extended, payoutAddress(t))
	n.stop()
	block, hash := c.block(c.job)
	if verdict := s.judge(block)[0]; !verdict.GetAccepted() {
		t.Errorf("while the node is away: %v", verdict)
	}
	s.hangUp()
	pool.signal(syscall.SIGTERM)
	if code := pool.exitCode(); code != exitFailure {
		t.Errorf("exit code %d of a stop with a block under way", code)
	}
	books, err := os.ReadFile(pool.journal)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(books), `"hash":"`+hash.String()+`","height":102,"accepted":null`) {
		t.Errorf("the journal:\n%s", books)
	}
	text, err := os.ReadFile(pool.journal + ".block-" + hash.String() + ".hex")
	if err != nil {
		t.Fatal(err)
	}
	n.again()
	n.must(nil, "submitblock", strings.TrimSpace(string(text)))
	if n.tip() != hash.String() {
		t.Errorf("the tip is %s, want %s", n.tip(), hash)
	}
}
