//go:build node

// What the pool promises of mining on a Bitcoin node, with each of the nodes.

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/gopool-sv2/gopool-sv2/examples/minipool/node"
	"github.com/gopool-sv2/gopool-sv2/examples/minipool/template"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// lineDifficulty makes a share of each 2^18 hashes. On regtest each share is a block.
const lineDifficulty = 1.0 / (1 << 14)

// regtestNodes are the nodes that each of these promises holds for, with money to spend.
var regtestNodes = map[string]func(testing.TB) (*bitcoinNode, *purse){
	"core": func(t testing.TB) (*bitcoinNode, *purse) { return regtestCore(t) },
	"btcd": regtestBtcd,
}

// withEachNode runs a test with Bitcoin Core and with btcd.
func withEachNode(t *testing.T, test func(t *testing.T, n *bitcoinNode, money *purse)) {
	for name, start := range regtestNodes {
		t.Run(name, func(t *testing.T) {
			n, money := start(t)
			test(t, n, money)
		})
	}
}

func TestABlockMinedThroughTheWholeLineBecomesTheNodesTip(t *testing.T) {
	for _, kind := range []string{"extended", "standard"} {
		t.Run(kind, func(t *testing.T) {
			withEachNode(t, func(t *testing.T, n *bitcoinNode, money *purse) { mineOneBlock(t, n, money, kind) })
		})
	}
}

func mineOneBlock(t *testing.T, n *bitcoinNode, money *purse, kind string) {
	id := money.spend(n, 1)
	pool := nodePool(t, n, lineDifficulty, "-node-chain", "regtest",
		"-pool-fee", "2", "-pool-address", money.address)
	before := n.tip()
	books := newLine(t, pool).mine(payoutAddress(t)+".rig", kind, 1)
	block := pool.blockLines(1)[0]
	if acceptedShares(books) != 1 || !block.Accepted || block.Detail != "" {
		t.Fatalf("block %+v, the miner's journal:\n%s", block, books)
	}
	if tip := n.tip(); tip != block.Hash || tip == before {
		t.Errorf("the node's tip is %s, the block is %s", tip, block.Hash)
	}
	if ids := n.transactionsOf(block.Hash); len(ids) != 2 || ids[1] != id {
		t.Errorf("the block's transactions are %v, want the second to be %s", ids, id)
	}
	eventually(t, "the tip is in the journal", func() bool {
		tips := readJournal(t, pool.journal, "tip")
		return len(tips) > 0 && tips[len(tips)-1].Hash == block.Hash
	})
}

// spoil changes the node's templates on their way: their witness commitment is wrong by one bit. The
// returned flags reach the node through it.
func spoil(t *testing.T, n *bitcoinNode) *bitcoinNode {
	t.Helper()
	target, err := url.Parse(n.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	transport := &http.Transport{DisableKeepAlives: true}
	if own, ok := n.client.Transport.(*http.Transport); ok {
		transport.TLSClientConfig = &tls.Config{RootCAs: own.TLSClientConfig.RootCAs,
			MinVersion: tls.VersionTLS12}
	}
	proxy.Transport = transport
	proxy.ModifyResponse = func(response *http.Response) error {
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		var answer map[string]any
		if err := json.Unmarshal(body, &answer); err != nil {
			return err
		}
		if result, ok := answer["result"].(map[string]any); ok {
			if text, ok := result["default_witness_commitment"].(string); ok {
				last := "0"
				if strings.HasSuffix(text, "0") {
					last = "1"
				}
				result["default_witness_commitment"] = text[:len(text)-1] + last
				if body, err = json.Marshal(answer); err != nil {
					return err
				}
			}
		}
		response.Body = io.NopCloser(strings.NewReader(string(body)))
		response.ContentLength = int64(len(body))
		response.Header.Del("Content-Length")
		return nil
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	spoilt := *n
	spoilt.flags = nil
	for i := 0; i < len(n.flags); i += 2 {
		switch n.flags[i] {
		case "-node-rpc":
			spoilt.flags = append(spoilt.flags, "-node-rpc", server.URL)
		case "-node-ca": // the proxy has no TLS
		default:
			spoilt.flags = append(spoilt.flags, n.flags[i:i+2]...)
		}
	}
	return &spoilt
}

func TestABlockThatTheNodeRefusesLeavesTheMinerHisShare(t *testing.T) {
	withEachNode(t, func(t *testing.T, n *bitcoinNode, money *purse) {
		money.spend(n, 1) // with a segwit transaction in it, the block needs a right commitment
		before := n.tip()
		pool := nodePool(t, spoil(t, n), lineDifficulty)
		books := newLine(t, pool).mine(payoutAddress(t), "extended", 2)
		if got := acceptedShares(books); got == 0 || strings.Contains(books, `"event":"rejected"`) {
			t.Errorf("the miner's journal:\n%s", books)
		}
		for _, block := range pool.blockLines(2) {
			if block.Accepted || !strings.Contains(block.Detail, "refused by the node") ||
				!strings.Contains(block.Detail, "witness") {
				t.Errorf("the block is %+v in the journal", block)
			}
		}
		for _, verdict := range readJournal(t, pool.journal, "verdict") {
			if !verdict.Accepted || !verdict.Block || verdict.Credit.IsZero() {
				t.Errorf("the share is %+v in the journal", verdict)
			}
		}
		if n.tip() != before {
			t.Errorf("the node has a new tip, %s", n.tip())
		}
		if !strings.Contains(pool.logs.String(), `level=ERROR msg="block rejected"`) {
			t.Error("the log doesn't tell of the refused block")
		}
	})
}

// openNode opens a node the way the pool does.
func openNode(t *testing.T, n *bitcoinNode) *node.Node {
	t.Helper()
	flags, err := parseFlags(slices.Concat(n.flags, []string{"-pool-fee", "0"}), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := node.Open(t.Context(), node.Options{URL: flags.nodeRPC,
		CookieFile: flags.nodeCookie, AuthFile: flags.nodeAuthFile, CAFile: flags.nodeCA,
		Refresh: time.Hour, Away: time.Hour}) // new tips come by the long poll, or not at all
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() })
	return opened
}

// solve makes a block of a template; different tags make different blocks.
func solve(t *testing.T, tmpl *template.Template, script []byte, tag string) *wire.MsgBlock {
	t.Helper()
	prefix, suffix, err := tmpl.Coinbase(template.CoinbaseSpec{Tag: tag, ExtranonceLen: 8,
		Outputs: []*wire.TxOut{wire.NewTxOut(tmpl.CoinbaseValue, script)}})
	if err != nil {
		t.Fatal(err)
	}
	coinbase := slices.Concat(prefix, make([]byte, 8), suffix)
	block, err := tmpl.Block(coinbase, tmpl.Header(coinbase, tmpl.CurTime))
	if err != nil {
		t.Fatal(err)
	}
	for target := blockchain.CompactToBig(tmpl.Bits); ; block.Header.Nonce++ {
		if hash := block.BlockHash(); blockchain.HashToBig(&hash).Cmp(target) <= 0 {
			return block
		}
	}
}

func TestATipOfTheNetworkReachesTheMiners(t *testing.T) {
	withEachNode(t, func(t *testing.T, n *bitcoinNode, money *purse) {
		pool := nodePool(t, n, easiest, "-template-seconds", "7200") // so it is the long poll that tells
		s := dial(t, pool.socket)
		one, two := s.open(standard, payoutAddress(t)), s.open(extended, payoutAddress(t))
		for height := one.job.Height; height < 105; height++ {
			n.mine()
			for _, c := range []*miner{one, two} {
				s.until("work on the new tip", func() bool { return c.job.Height == height+1 })
				if got := c.job.PrevHash.String(); got != n.tip() {
					t.Errorf("work is on %s, the tip is %s", got, n.tip())
				}
			}
		}
		s.hangUp()
		pool.signal(syscall.SIGTERM) // with a request that waits at the node
		if code := pool.exitCode(); code != exitOK {
			t.Errorf("exit code %d", code)
		}
	})
}

func TestSubmitTellsWhatBecameOfABlock(t *testing.T) {
	withEachNode(t, func(t *testing.T, n *bitcoinNode, money *purse) {
		opened := openNode(t, n)
		news, unsubscribe := opened.Subscribe()
		defer unsubscribe()
		tmpl, err := opened.Template()
		if err != nil {
			t.Fatal(err)
		}
		first, second := solve(t, tmpl, money.script, "1"), solve(t, tmpl, money.script, "2")
		if err := opened.Submit(t.Context(), first); err != nil {
			t.Fatalf("the first: %v", err)
		}
		if n.tip() != first.BlockHash().String() {
			t.Fatalf("the tip is %s", n.tip())
		}
		select {
		case <-news:
		case <-time.After(patience):
			t.Fatal("no word of the new tip")
		}
		if tip, _ := opened.Tip(); tip != first.BlockHash() {
			t.Errorf("work is on %s", sv2.Hash(tip))
		}
		if err := opened.Submit(t.Context(), first); err != nil {
			t.Errorf("the first again, as after an answer that was lost: %v", err)
		}
		high := solve(t, tmpl, money.script, "3")
		for target := blockchain.CompactToBig(tmpl.Bits); ; high.Header.Nonce++ {
			if hash := high.BlockHash(); blockchain.HashToBig(&hash).Cmp(target) > 0 {
				break
			}
		}
		old := solve(t, tmpl, money.script, "4")
		for old.Header.Timestamp = time.Unix(1_300_000_000, 0); ; old.Header.Nonce++ {
			hash := old.BlockHash()
			if blockchain.HashToBig(&hash).Cmp(blockchain.CompactToBig(tmpl.Bits)) <= 0 {
				break
			}
		}
		orphan := solve(t, tmpl, money.script, "5")
		for orphan.Header.PrevBlock = (chainhash.Hash{1}); ; orphan.Header.Nonce++ {
			hash := orphan.BlockHash()
			if blockchain.HashToBig(&hash).Cmp(blockchain.CompactToBig(tmpl.Bits)) <= 0 {
				break
			}
		}
		for name, test := range map[string]struct {
			block *wire.MsgBlock
			words []string // one of them is in the reason
		}{
			"second of the same height": {second, []string{"another block came first"}},
			"too little work":           {high, []string{"high-hash", "higher than expected"}},
			"an old time":               {old, []string{"time-too-old", "timestamp"}},
			"an unknown parent":         {orphan, []string{"prev-blk-not-found", "doesn't know its parent"}},
		} {
			err := opened.Submit(t.Context(), test.block)
			told := slices.ContainsFunc(test.words, func(word string) bool {
				return err != nil && strings.Contains(err.Error(), word)
			})
			if !errors.Is(err, node.ErrRefused) || !told {
				t.Errorf("%s: %v", name, err)
			}
		}
		stopped, cancel := context.WithCancel(t.Context())
		cancel()
		if err := opened.Submit(stopped, second); errors.Is(err, node.ErrRefused) || err == nil {
			t.Errorf("stopped before the answer: %v", err)
		}
	})
}
