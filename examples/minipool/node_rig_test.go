//go:build node

// Real nodes as processes of their own, on loopback, with their files in the test's directory.

package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// bitcoinNode is a Bitcoin Core or btcd with its RPC.
type bitcoinNode struct {
	*daemon
	t      testing.TB
	url    string
	auth   func() (user, password string)
	client *http.Client
	flags  []string // of minipool, to reach it
	again  func()   // starts it on the same chain after an end
	mine   func()   // has it mine a block by itself
}

// rpc asks the node and decodes the result. It returns the node's error.
func (n *bitcoinNode) rpc(result any, method string, params ...any) error {
	body, err := json.Marshal(map[string]any{
		"jsonrpc": "1.0", "id": 1, "method": method, "params": append([]any{}, params...)})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(n.t.Context(), "POST", n.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.SetBasicAuth(n.auth())
	response, err := n.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer struct {
		Result json.RawMessage
		Error  json.RawMessage
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %s: %w", method, response.Status, err)
	}
	if len(answer.Error) > 0 && string(answer.Error) != "null" {
		return fmt.Errorf("%s: %s", method, answer.Error)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(answer.Result, result)
}

// must is rpc, and the node must not refuse.
func (n *bitcoinNode) must(result any, method string, params ...any) {
	n.t.Helper()
	if err := n.rpc(result, method, params...); err != nil {
		n.t.Fatal(err)
	}
}

// tip is the hash of the best block, as the node says.
func (n *bitcoinNode) tip() string {
	n.t.Helper()
	var hash string
	n.must(&hash, "getbestblockhash")
	return hash
}

// transactionsOf are the ids of a block's transactions, as the node says.
func (n *bitcoinNode) transactionsOf(hash string) []string {
	n.t.Helper()
	var block struct{ Tx []string }
	n.must(&block, "getblock", hash, 1)
	return block.Tx
}

// ready waits until the node answers.
func (n *bitcoinNode) ready() {
	n.t.Helper()
	eventually(n.t, "the node answers", func() bool { return n.rpc(nil, "getblockcount") == nil })
}

// freePort is a port of the loopback address that nobody listens on.
func freePort(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

// startCore starts Bitcoin Core on a chain, offline.
func startCore(t testing.TB, chain string, args ...string) *bitcoinNode {
	t.Helper()
	program := os.Getenv("BITCOIND")
	if program == "" {
		t.Skip("SKIPPED node-core: set BITCOIND to the path of Bitcoin Core's bitcoind")
	}
	dir, port := t.TempDir(), freePort(t)
	cookie := filepath.Join(dir, chain, ".cookie")
	if chain == "main" {
		cookie = filepath.Join(dir, ".cookie")
	}
	args = append([]string{"-chain=" + chain, "-datadir=" + dir, "-rpcport=" + port, "-listen=0",
		"-connect=0", "-dnsseed=0", "-fixedseeds=0", "-dbcache=16", "-par=1", "-printtoconsole=1"}, args...)
	n := &bitcoinNode{t: t, url: "http://127.0.0.1:" + port, client: http.DefaultClient,
		flags: []string{"-node-cookie", cookie}}
	n.flags = append(n.flags, "-node-rpc", n.url)
	n.auth = func() (string, string) {
		text, _ := os.ReadFile(cookie) // not there: the node refuses, which is what ready waits out
		user, password, _ := strings.Cut(string(text), ":")
		return user, password
	}
	n.again = func() {
		n.daemon = startDaemon(t, program, args...)
		n.ready()
	}
	n.again()
	n.mine = func() { n.must(nil, "generatetoaddress", 1, payoutAddress(t)) }
	return n
}

// buildBtcd builds btcd at the version that go.mod has, once.
var buildBtcd = sync.OnceValues(func() (string, error) {
	version, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}",
		"github.com/btcsuite/btcd").Output()
	if err != nil {
		return "", fmt.Errorf("which btcd does go.mod have: %w", err)
	}
	dir, err := os.MkdirTemp("", "minipool-btcd-")
	if err != nil {
		return "", err
	}
	afterTests = append(afterTests, func() { _ = os.RemoveAll(dir) })
	install := exec.Command("go", "install",
		"github.com/btcsuite/btcd@"+strings.TrimSpace(string(version)))
	install.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if output, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build btcd: %w: %s", err, output)
	}
	return filepath.Join(dir, "btcd"), nil
})

// startBtcd starts btcd on regtest, with TLS; what it mines by itself pays to address.
func startBtcd(t testing.TB, address string) *bitcoinNode {
	t.Helper()
	program, err := buildBtcd()
	if err != nil {
		t.Fatal(err)
	}
	dir, port := t.TempDir(), freePort(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{"auth": "minipool:of-the-test\n", "btcd.conf": ""} {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := &bitcoinNode{t: t, url: "https://127.0.0.1:" + port}
	n.flags = []string{"-node-rpc", n.url, "-node-auth-file", at("auth"), "-node-ca", at("rpc.cert")}
	n.auth = func() (string, string) { return "minipool", "of-the-test" }
	n.mine = func() { n.must(nil, "generate", 1) }
	n.daemon = startDaemon(t, program, "--regtest", "--nolisten",
		"--configfile="+at("btcd.conf"), "--datadir="+at("data"), "--logdir="+at("log"),
		"--rpclisten=127.0.0.1:"+port, "--rpcuser=minipool", "--rpcpass=of-the-test",
		"--rpccert="+at("rpc.cert"), "--rpckey="+at("rpc.key"), "--miningaddr="+address)
	eventually(t, "btcd has made its certificate", func() bool {
		certificate, err := os.ReadFile(at("rpc.cert"))
		roots := x509.NewCertPool()
		if err != nil || !roots.AppendCertsFromPEM(certificate) {
			return false
		}
		n.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
		return true
	})
	n.ready()
	return n
}

// stop ends the node in its own time.
func (n *bitcoinNode) stop() { n.end(syscall.SIGTERM) }
