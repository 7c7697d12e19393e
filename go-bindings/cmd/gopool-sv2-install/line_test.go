package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	bindings "github.com/gopool-sv2/gopool-sv2/go-bindings"
)

// linePatience only turns a hang into a failure.
const linePatience = 2 * time.Minute

// The whole line: the layer as it is, in the goPool that GOPOOL_SRC names, on the node that BITCOIND
// names, with the real sidecar and a miner.
func TestARealGoPoolServesStratumV2(t *testing.T) {
	l := newLine(t)
	l.build()
	l.startNode()
	l.startPool("[sidecar]\nprogram = \"" + l.sidecar + "\"\n")
	l.mineBothWays()
	l.pool.stop()
	if log := l.pool.log.String(); !strings.Contains(log, "stratum v2 door closed") ||
		!strings.Contains(log, "sv2 sidecar: stopped") || strings.Contains(log, "timed out waiting") {
		t.Errorf("not an orderly stop:\n%s", log)
	}
	l.refusesToServeInside()
}

// line is a node, a goPool with its sidecar, and what is needed to start them.
type line struct {
	*rig
	node, sidecar, binary string
	dir, rpc, web, url    string
	pool                  *process
	asked                 int
}

// newLine is for a copy of the goPool that GOPOOL_SRC names; a test without one is skipped.
func newLine(t *testing.T) *line {
	t.Helper()
	checkout, node := os.Getenv("GOPOOL_SRC"), os.Getenv("BITCOIND")
	if checkout == "" || node == "" {
		t.Skip("SKIPPED: set GOPOOL_SRC to a checkout of goPool and BITCOIND to Bitcoin Core's bitcoind " +
			"to mine on the whole line")
	}
	l := &line{rig: newRig(t, "pool"), node: node, sidecar: sidecarProgram(t)}
	if err := os.RemoveAll(l.root); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(l.root, os.DirFS(checkout)); err != nil {
		t.Fatal(err)
	}
	return l
}

// mineBothWays mines some shares, and looks for each in goPool's books.
func (l *line) mineBothWays() {
	l.t.Helper()
	extended, standard := l.mine("extended", "--extended"), l.mine("standard", "--standard")
	shown := l.status()
	accepted := extended.Accepted + standard.Accepted
	if extended.Accepted < 3 || standard.Accepted < 3 || len(extended.Rejected)+len(standard.Rejected) > 0 ||
		shown.Shares.Accepted != accepted || shown.Blocks.Found != accepted {
		l.t.Errorf("extended %+v, standard %+v, the pool says %+v", extended, standard, shown)
	}
	l.get("/api/blocks", func(body []byte) bool {
		return bytes.Contains(body, []byte(".standard")) && bytes.Contains(body, []byte(".extended"))
	})
}

// The addresses are of the witness programs 01 and 02, twenty times each.
const (
	lineWorker = "bcrt1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpvxat9t"
	linePayout = "bcrt1qqgpqyqszqgpqyqszqgpqyqszqgpqyqszazmwwa"
)

func sidecarProgram(t *testing.T) string {
	t.Helper()
	target := os.Getenv("CARGO_TARGET_DIR")
	if target == "" {
		target = filepath.Join("..", "..", "..", "target")
	}
	path, err := filepath.Abs(filepath.Join(target, "debug", "gopool-sv2"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: build it with `cargo build --bin gopool-sv2`", err)
	}
	return path
}

// install runs the installer with the layer as it is.
func (l *line) install(command string, flags ...string) string {
	l.t.Helper()
	var out, complaints bytes.Buffer
	i := &installer{source: bindings.Sources, version: "v0.0.0-test", stdout: &out,
		getenv: func(string) string { return "" }}
	code := i.run(l.t.Context(), append([]string{command, "-C", l.root}, flags...), &complaints)
	if code != exitDone {
		l.t.Fatalf("%s: %d\n%s", command, code, complaints.String())
	}
	return out.String()
}

// build makes goPool with its door, and runs the layer's own tests in goPool's package.
func (l *line) build() {
	l.t.Helper()
	l.install("apply", "-tests")
	l.binary = filepath.Join(filepath.Dir(l.root), "goPool-sv2")
	l.shell("go vet . && go test -count=1 -run SV2Bridge . && go build -o " + l.binary + " .")
}

func lineAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func (l *line) startNode() {
	l.t.Helper()
	l.rpc = lineAddress(l.t)
	_, port, _ := net.SplitHostPort(l.rpc)
	startProcess(l.t, l.t.TempDir(), l.node, "-regtest", "-datadir="+l.t.TempDir(), "-listen=0",
		"-rpcport="+port, "-rpcuser=u", "-rpcpassword=p")
	// On a chain without blocks of now the node says that it is still loading; one block ends that.
	l.await("the node", func() bool {
		request, err := http.NewRequest(http.MethodPost, "http://u:p@"+l.rpc, strings.NewReader(
			`{"method":"generatetodescriptor","params":[1,"raw(51)#8lvh9jxk"]}`))
		if err != nil {
			l.t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

// poolFlags are those of every start.
var poolFlags = []string{"-network", "regtest", "-allow-rpc-creds", "-stdout", "-sv2"}

// startPool starts goPool, with more of sv2.toml behind [server].listen.
func (l *line) startPool(settings string) {
	l.t.Helper()
	dir, err := os.MkdirTemp("", "gopool-line") // a socket's path is short
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l.dir = dir
	config := filepath.Join(dir, "data", "config")
	if err := os.MkdirAll(config, 0o700); err != nil {
		l.t.Fatal(err)
	}
	l.web = lineAddress(l.t)
	for name, text := range map[string]string{
		"config.toml": "[node]\npayout_address = \"" + linePayout + "\"\nrpc_url = \"http://" + l.rpc + "\"\n" +
			"zmq_hashblock_addr = \"tcp://" + lineAddress(l.t) + "\"\n" +
			"zmq_rawblock_addr = \"tcp://" + lineAddress(l.t) + "\"\n" +
			"[server]\npool_listen = \"" + lineAddress(l.t) + "\"\nstatus_listen = \"" + l.web + "\"\n" +
			"status_tls_listen = \"\"\n[stratum]\nstratum_tls_listen = \"" + lineAddress(l.t) + "\"\n",
		"secrets.toml": "rpc_user = \"u\"\nrpc_pass = \"p\"\n",
		// At this difficulty a miner finds some shares a second; on this chain each is a block.
		"tuning.toml": "[difficulty]\nmin_difficulty = 0.0005\n",
		"sv2.toml":    "[server]\nlisten = \"" + lineAddress(l.t) + "\"\n" + settings,
	} {
		if err := os.WriteFile(filepath.Join(config, name), []byte(text), 0o600); err != nil {
			l.t.Fatal(err)
		}
	}
	l.resumePool()
}

// resumePool starts goPool in the folder that it has.
func (l *line) resumePool() {
	l.t.Helper()
	l.pool = startProcess(l.t, l.dir, l.binary, poolFlags...)
	l.await("the door's URL", func() bool {
		l.get("/api/sv2", func([]byte) bool { return true })
		l.url = l.status().Listener.URL
		return l.url != ""
	})
}

// mined is what a miner says at its end.
type mined struct {
	Accepted uint64
	Rejected map[string]uint64
}

// mine runs a miner for some shares.
func (l *line) mine(name, kind string) mined {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), linePatience)
	defer cancel()
	command := exec.CommandContext(ctx, l.sidecar, "miner", l.url, "--user", lineWorker+"."+name, kind,
		"--threads", "1", "--hash-rate", "1000000", "--shares", "3", "--json")
	var complaints bytes.Buffer
	command.Stderr = &complaints
	out, err := command.Output()
	if err != nil {
		l.t.Fatalf("the miner: %v\n%s\npool:\n%s", err, complaints.String(), l.pool.log)
	}
	var result mined
	if err := json.Unmarshal(out, &result); err != nil {
		l.t.Fatalf("the miner said %q: %v", out, err)
	}
	return result
}

// doorStatus is what /api/sv2 says, as far as it matters here.
type doorStatus struct {
	Listener struct{ URL string }
	Shares   struct{ Accepted uint64 }
	Blocks   struct{ Found uint64 }
}

func (l *line) status() doorStatus {
	l.t.Helper()
	var shown doorStatus
	l.get("/api/sv2", func(body []byte) bool { return json.Unmarshal(body, &shown) == nil })
	return shown
}

// get asks goPool's status page until the answer is as wanted. goPool gives the same answer to the same
// question for some seconds.
func (l *line) get(path string, wanted func([]byte) bool) {
	l.t.Helper()
	l.await(path, func() bool {
		l.asked++
		answer, err := http.Get(fmt.Sprintf("http://%s%s?n=%d", l.web, path, l.asked))
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		var body bytes.Buffer
		_, err = body.ReadFrom(answer.Body)
		return err == nil && answer.StatusCode == http.StatusOK && wanted(body.Bytes())
	})
}

func (l *line) await(what string, is func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(linePatience); !is(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			said := ""
			if l.pool != nil {
				said = l.pool.log.String()
			}
			l.t.Fatalf("waited in vain for %s; goPool's log:\n%s", what, said)
		}
	}
}

// process is a program that runs until its test ends.
type process struct {
	t       *testing.T
	command *exec.Cmd
	log     *logFile
	stopped bool
}

// logFile is a file that a process writes and its test reads.
type logFile struct{ path string }

func (f *logFile) String() string {
	text, err := os.ReadFile(f.path)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func startProcess(t *testing.T, dir, program string, args ...string) *process {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, command: exec.Command(program, args...), log: &logFile{log.Name()}}
	p.command.Dir, p.command.Stdout, p.command.Stderr = dir, log, log
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	_ = log.Close()
	t.Cleanup(p.stop)
	return p
}

// stop asks the process to stop and waits for it.
func (p *process) stop() {
	if p.stopped {
		return
	}
	p.stopped = true
	_ = p.command.Process.Signal(syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() { ended <- p.command.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			p.t.Errorf("%s ended: %v", p.command.Path, err)
		}
	case <-time.After(linePatience):
		_ = p.command.Process.Kill()
		p.t.Errorf("%s did not stop", p.command.Path)
	}
}
