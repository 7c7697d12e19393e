// What the package promises of answers that are seldom heard from a node.

package node

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/wire/v2"
)

func TestErrorsSayTheRemedy(t *testing.T) {
	for want, answer := range map[string]string{
		"it is still starting, wait":      refusal(codeWarmUp),
		"it has not caught up":            refusal(codeDownload),
		"it has no peers":                 refusal(codeNotConnected),
		"it is no node for mining":        refusal(codeUnknownMethod),
		`the node says "no" (-1)`:         refusal(-1),
		"raise its rpcworkqueue":          reply(http.StatusServiceUnavailable, "Work queue depth exceeded"),
		"rpcallowip":                      reply(http.StatusForbidden, ""),
		"is this the RPC port of a node":  reply(http.StatusOK, "<html>"),
		"isn't what was expected":         result(`"text"`),
		"HTTP 302 Found and no JSON":      reply(http.StatusFound, "elsewhere"),
		"the node answers HTTP 500":       reply(500, `{"result":1}`),
		"no coinbasevalue":                result(coreTemplate(fields{"coinbasevalue": nil})),
		`a rule "moon"`:                   result(coreTemplate(fields{"rules": []string{"!moon"}})),
		"previousblockhash":               result(coreTemplate(fields{"previousblockhash": "x"})),
		"bits":                            result(coreTemplate(fields{"bits": "x"})),
		"default_witness_commitment: ":    result(coreTemplate(fields{"default_witness_commitment": "xx"})),
		"is no witness commitment":        result(coreTemplate(fields{"default_witness_commitment": "6a"})),
		"transaction 0: hash":             result(withTransaction("x", "")),
		"transaction 0: data":             result(withTransaction(parent, "x")),
		"the data is that of ":            result(withTransaction(parent, aTransaction)),
		"raise its rpcworkqueue (btcd: r": reply(http.StatusServiceUnavailable, `{"result":null,"error":null}`),
	} {
		s := newScript(t, map[string][]string{"getblocktemplate": {answer}})
		if _, err := s.open(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want a word of %q, got %v", want, err)
		}
	}
	s := newScript(t, map[string][]string{})
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if _, err := Open(ctx, s.options()); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("a node that is silent: %v", err)
	}
}

// aTransaction has one input and one output, no witness.
var aTransaction = "01000000" + "01" + strings.Repeat("11", 32) + "00000000" + "00" + "ffffffff" +
	"01" + "e803000000000000" + "0151" + "00000000"

func withTransaction(hash, data string) string {
	return coreTemplate(fields{"transactions": []fields{{"hash": hash, "data": data}}})
}

func TestRejectsOptionsThatGiveAwayThePasswordOrHaveNone(t *testing.T) {
	s := newScript(t, map[string][]string{})
	dir := t.TempDir()
	at := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for want, change := range map[string]func(*Options){
		"no password belongs into": func(o *Options) { o.URL = strings.Replace(o.URL, "://", "://u:p@", 1) },
		"http://HOST:PORT":         func(o *Options) { o.URL = "127.0.0.1:8332" },
		"write https://":           func(o *Options) { o.CAFile = "rpc.cert" },
		"and not both":             func(o *Options) { o.CookieFile = o.AuthFile },
		"the node wants":           func(o *Options) { o.AuthFile = "" },
		"USER:PASSWORD":            func(o *Options) { o.AuthFile = at("bare", "password\n") },
		"refuses user or password": func(o *Options) { o.AuthFile = at("wrong", "rpc:b\n") },
		"holds no certificate": func(o *Options) {
			o.URL, o.CAFile = strings.Replace(o.URL, "http", "https", 1), at("cert", "none")
		},
		"write http://":             func(o *Options) { o.URL = strings.Replace(o.URL, "http", "https", 1) },
		"chain \"moon\" is unknown": func(o *Options) { o.Chain = "moon" },
		"must be above 0":           func(o *Options) { o.Refresh = 0 },
	} {
		options := s.options()
		change(&options)
		_, err := Open(t.Context(), options)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want a word of %q, got %v", want, err)
		}
		if err != nil && strings.Contains(err.Error(), "u:p@") {
			t.Errorf("the password is in %v", err)
		}
	}
}

func TestTemplatesAreWhatTheNodeOffers(t *testing.T) {
	raw, err := hex.DecodeString(aTransaction)
	if err != nil {
		t.Fatal(err)
	}
	var tx wire.MsgTx
	if err := tx.Deserialize(strings.NewReader(string(raw))); err != nil {
		t.Fatal(err)
	}
	hash := tx.TxHash().String()
	for name, test := range map[string]struct{ given, want string }{
		"Bitcoin Core":                {commitment, commitment},
		"btcd, a hash without script": {commitment[12:], commitment},
		"btcd, no witness":            {"", ""},
	} {
		s := newScript(t, map[string][]string{"getblocktemplate": {result(coreTemplate(fields{
			"default_witness_commitment": test.given, "vbrequired": 16, "curtime": 5, "mintime": 9,
			"transactions": []fields{{"hash": hash, "data": aTransaction}}}))}})
		n, err := s.open()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := n.Template()
		if err != nil {
			t.Fatal(err)
		}
		if hex.EncodeToString(got.WitnessCommitment) != test.want || got.Height != 1 ||
			got.Version != 1<<29 || got.Bits != 0x207fffff || got.CoinbaseValue != 5e9 ||
			got.RequiredBits != 16 || got.CurTime != 9 || len(got.Transactions) != 1 ||
			len(got.MerklePath) != 1 || got.MerklePath[0] != tx.TxHash() ||
			got.PrevHash != *n.Params().GenesisHash {
			t.Errorf("%s: template %+v", name, got)
		}
		if asked := s.asked["getblocktemplate"][0]; !strings.Contains(asked, `"rules":["segwit"]`) ||
			!strings.Contains(asked, `"coinbasevalue"`) {
			t.Errorf("asked %s", asked)
		}
	}
}

func TestSubmitReadsTheNodesAnswers(t *testing.T) {
	here, aside := result(`{"confirmations":1}`), result(`{"confirmations":-1}`)
	for name, test := range map[string]struct {
		submitblock, getblockheader string
		want                        string // "": accepted
	}{
		"accepted":                {result(`null`), here, ""},
		"on a side chain":         {result(`null`), aside, "another block came first"},
		"btcd, on a side chain":   {result(`null`), refusal(codeInternal), "another block came first"},
		"btcd, an orphan":         {result(`null`), refusal(codeUnknownBlock), "doesn't know its parent"},
		"brought by a lost try":   {result(`"duplicate"`), here, ""},
		"btcd, by a lost try":     {result(`"rejected: already have block 00"`), here, ""},
		"another came first":      {result(`"inconclusive"`), aside, "inconclusive: not in the best chain"},
		"twice, and aside":        {result(`"duplicate-inconclusive"`), aside, "not in the best chain"},
		"known to be invalid":     {result(`"duplicate-invalid"`), "", "duplicate-invalid"},
		"too little work":         {result(`"high-hash"`), "", "high-hash"},
		"against a rule":          {result(`"bad-witness-merkle-match"`), "", "bad-witness-merkle-match"},
		"btcd, against a rule":    {result(`"rejected: block is wrong"`), "", "refused by the node: block is wrong"},
		"not even a block":        {refusal(codeDecode), "", "no"},
		"some text of the future": {result(`"moon"`), "", "moon"},
	} {
		answers := map[string][]string{"submitblock": {test.submitblock}}
		if test.getblockheader != "" {
			answers["getblockheader"] = []string{test.getblockheader}
		}
		n, err := newScript(t, answers).open()
		if err != nil {
			t.Fatal(err)
		}
		err = n.Submit(t.Context(), &wire.MsgBlock{})
		if test.want == "" && err != nil || test.want != "" && (!errors.Is(err, ErrRefused) ||
			!strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestABlockIsOfferedUntilTheNodeDecides(t *testing.T) {
	away := reply(http.StatusServiceUnavailable, "")
	s := newScript(t, map[string][]string{
		"getblockchaininfo": {result(regtestInfo), result(regtestInfo), result(regtestInfo),
			refusal(codeWarmUp),
			result(`{"chain":"main"}`), result(regtestInfo)},
		"submitblock":    {away, result(`null`), result(`"duplicate"`)},
		"getblockheader": {away, result(`{"confirmations":1}`)},
	})
	n, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Submit(t.Context(), &wire.MsgBlock{}); err != nil {
		t.Errorf("in the end: %v", err)
	}
	if tries := s.calls("submitblock"); tries != 3 {
		t.Errorf("%d tries", tries)
	}
}

func TestALongPollThatDoesNotWaitIsNotAskedWithoutEnd(t *testing.T) {
	s := newScript(t, map[string][]string{
		"getblocktemplate": {result(coreTemplate(fields{"longpollid": "same"}))}})
	n, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	news, unsubscribe := n.Subscribe()
	defer unsubscribe()
	<-news
	<-news
	if asked := s.calls("getblocktemplate"); asked > 10 {
		t.Errorf("asked %d times for two answers", asked)
	}
}

func TestANodeWithoutLongPollIsAskedAtIntervals(t *testing.T) {
	next := strings.Repeat("12", 32)
	s := newScript(t, map[string][]string{"getblocktemplate": {result(coreTemplate(nil)),
		result(coreTemplate(nil)), result(coreTemplate(fields{"previousblockhash": next, "height": 2}))}})
	options := s.options()
	options.Refresh = time.Millisecond
	n, err := Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	news, unsubscribe := n.Subscribe()
	defer unsubscribe()
	for _, height := n.Tip(); height != 1; _, height = n.Tip() {
		<-news
	}
}
