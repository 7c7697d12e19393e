// A node's RPC server with answers written down: what a real node can't be brought to say at will. What
// nodes really do is in the tests of minipool with the build tag "node".

package node

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

const (
	regtestInfo = `{"chain":"regtest","blocks":0}`

	// parent is the genesis block of regtest, as a node prints it.
	parent = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"

	// commitment is Bitcoin Core's for a block without transactions.
	commitment = "6a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9"
)

// fields is a JSON object.
type fields map[string]any

// coreTemplate is an answer of Bitcoin Core to getblocktemplate, with changes.
func coreTemplate(changes fields) string {
	answer := fields{"version": 536870912, "rules": []string{"csv", "!segwit", "taproot"},
		"vbrequired": 0, "previousblockhash": parent, "transactions": []any{},
		"coinbasevalue": 5000000000, "mintime": 1296688603, "curtime": 1795273117, "bits": "207fffff",
		"height": 1, "default_witness_commitment": commitment}
	for name, value := range changes {
		answer[name] = value
	}
	text, _ := json.Marshal(answer) // of strings and numbers: it can't fail
	return string(text)
}

// script is a server that gives the answers of each method one after the other, the last for ever.
type script struct {
	t       *testing.T
	server  *httptest.Server
	mu      sync.Mutex
	answers map[string][]string
	asked   map[string][]string // the parameters of each call
}

// reply is an HTTP answer: its code and its body.
func reply(code int, body string) string { return fmt.Sprintf("%03d%s", code, body) }

// result is a good answer.
func result(json string) string { return reply(200, `{"result":`+json+`,"error":null,"id":1}`) }

// refusal is an error of the node.
func refusal(code int) string {
	return reply(500, fmt.Sprintf(`{"result":null,"error":{"code":%d,"message":"no"},"id":1}`, code))
}

func newScript(t *testing.T, answers map[string][]string) *script {
	s := &script{t: t, answers: answers, asked: map[string][]string{}}
	if answers["getblockchaininfo"] == nil {
		answers["getblockchaininfo"] = []string{result(regtestInfo)}
	}
	if answers["getblocktemplate"] == nil {
		answers["getblocktemplate"] = []string{result(coreTemplate(nil))}
	}
	s.server = httptest.NewServer(s)
	t.Cleanup(s.server.Close)
	return s
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Method string
		Params json.RawMessage
	}
	if user, password, _ := r.BasicAuth(); user != "rpc" || password != "a:b" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		s.t.Errorf("request: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[request.Method] = append(s.asked[request.Method], string(request.Params))
	answers := s.answers[request.Method]
	if len(answers) == 0 {
		s.t.Errorf("unexpected call of %s", request.Method)
		return
	}
	if len(answers) > 1 {
		s.answers[request.Method] = answers[1:]
	}
	var code int
	fmt.Sscanf(answers[0][:3], "%d", &code)
	w.WriteHeader(code)
	fmt.Fprint(w, answers[0][3:])
}

// calls counts the calls of a method.
func (s *script) calls(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked[method])
}

// options reach the server.
func (s *script) options() Options {
	path := filepath.Join(s.t.TempDir(), "auth")
	if err := os.WriteFile(path, []byte("rpc:a:b\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return Options{URL: s.server.URL, AuthFile: path, Refresh: time.Hour, Away: time.Hour}
}

// open opens a node.
func (s *script) open() (*Node, error) {
	n, err := Open(s.t.Context(), s.options())
	if err == nil {
		s.t.Cleanup(func() { _ = n.Close() })
	}
	return n, err
}
