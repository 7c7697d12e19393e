// Package e2e has only tests: this client against the real line, which is the sidecar and the example pool as
// processes, or, with GOPOOL_SV2_CARRIER=ffi, that pool with the listener inside.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gopool-sv2/gopool-sv2/tests/sv2client"
)

const (
	// patience is how long anything may take that takes moments on an idle machine.
	patience = 2 * time.Minute
	// repository is its root, from here.
	repository = "../../.."
	// sidecarVariable names the sidecar's binary, when it is not where cargo puts it.
	sidecarVariable = "GOPOOL_SV2_BIN"
	// carrierVariable is ffi to test the listener inside of the pool, after `make lib`; else it is a
	// sidecar.
	carrierVariable = "GOPOOL_SV2_CARRIER"
	// easyBits make a block of every 2^20 hashes, hardBits of none that a test will see.
	easyBits, hardBits = "1e0fffff", "1c00ffff"
)

// programs are the paths of what is tested, in a folder of their own. inOneProcess: the listener is in the
// pool, and the sidecar's binary only makes the key.
var programs struct {
	dir, sidecar, pool string
	inOneProcess       bool
}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if programs.dir, err = os.MkdirTemp("", "sv2client-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(programs.dir) }()
		return m.Run()
	}())
}

// prepare finds the sidecar and builds the pool, once. The first test that needs them calls it, not
// TestMain: go test keeps results by the variables that tests read, and of none that were read before.
var prepare = sync.OnceValue(func() error {
	sidecar := os.Getenv(sidecarVariable)
	if sidecar == "" {
		target := os.Getenv("CARGO_TARGET_DIR")
		if target == "" {
			target = "target"
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(repository, target)
		}
		sidecar = filepath.Join(target, "debug", "gopool-sv2")
	}
	sidecar, err := filepath.Abs(sidecar)
	if err != nil {
		return fmt.Errorf("find the sidecar: %w", err)
	}
	if _, err := os.Stat(sidecar); err != nil {
		return fmt.Errorf("there is no sidecar to test: %w\nbuild it with `cargo build --bin gopool-sv2`, "+
			"or name its absolute path in %s", err, sidecarVariable)
	}
	programs.sidecar, programs.pool = sidecar, filepath.Join(programs.dir, "minipool")
	var tags, remedy string
	switch carrier := os.Getenv(carrierVariable); carrier {
	case "", "grpc":
	case "ffi":
		programs.inOneProcess = true
		tags, remedy = "sv2_static", " (`make lib` makes the library that it links)"
	default:
		return fmt.Errorf("%s is %q: give grpc or ffi", carrierVariable, carrier)
	}
	build := exec.Command("go", "build", "-tags", tags, "-o", programs.pool, ".")
	build.Dir = filepath.Join(repository, "examples", "minipool")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build minipool%s: %w\n%s", remedy, err, output)
	}
	return nil
})

// process is a running program, whose output goes to a file.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
}

// launch starts a program in dir; it is killed at the end of the test if it still runs.
func launch(t *testing.T, dir, path string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: filepath.Base(path), done: make(chan struct{})}
	p.log = filepath.Join(dir, p.name+".log")
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	p.cmd = exec.Command(path, args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, log, log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // stop looks at the state
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // fails when it has ended, which is as well
		<-p.done
		if t.Failed() {
			t.Logf("%s:\n%s", p.name, p.output())
		}
	})
	return p
}

func (p *process) output() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// await waits until the output has text, and returns the rest of its line.
func (p *process) await(text string) string {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if _, after, found := strings.Cut(p.output(), text); found {
			if line, _, whole := strings.Cut(after, "\n"); whole {
				return strings.TrimSpace(line)
			}
		}
		select {
		case <-p.done:
			p.t.Fatalf("%s ended before it said %q", p.name, text)
		default:
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s doesn't say %q", p.name, text)
		}
	}
}

func (p *process) signal(signal os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
}

// stop ends it the orderly way; it must exit with 0.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			p.t.Errorf("%s: exit code %d", p.name, code)
		}
	case <-time.After(patience):
		p.t.Fatalf("%s doesn't end", p.name)
	}
}

// line is a sidecar with its pool.
type line struct {
	t             *testing.T
	dir           string
	pool, sidecar *process // one and the same when the listener is in the pool
	url           sv2client.URL
	address       string  // whom miners mine for
	hashRate      float32 // what they say of themselves
}

// start runs a line whose chain has the given difficulty and whose shares take 2^16 hashes at first; with
// more flags for the pool.
func start(t *testing.T, networkBits string, more ...string) *line {
	t.Helper()
	if err := prepare(); err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: the path of a Unix socket is short.
	dir, err := os.MkdirTemp("", "sv2-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l := &line{t: t, dir: dir, hashRate: 1e5}
	l.address = l.run(programs.pool, "-test-address")
	l.run(programs.sidecar, "keygen", "--out", filepath.Join(dir, "authority.key"))
	config := "[listen]\naddress = \"127.0.0.1:0\"\n[authority]\nkey_file = \"authority.key\"\n" +
		"[pool]\naddress = \"unix:pool.sock\"\n[log]\nformat = \"human\"\njournal = \"sidecar.journal\"\n"
	if err := os.WriteFile(filepath.Join(dir, "sidecar.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := append([]string{"-datadir", "chain", "-journal", "minipool.journal",
		"-network-bits", networkBits, "-share-seconds", "0.1", "-min-difficulty", "0.0000152587890625"},
		more...)
	var url string
	if programs.inOneProcess {
		flags = append(flags, "-carrier", "ffi", "-listener-config", "sidecar.toml")
		l.pool = launch(t, dir, programs.pool, flags...)
		l.sidecar = l.pool
		url, _, _ = strings.Cut(l.pool.await(" listens="), " ")
	} else {
		l.pool = launch(t, dir, programs.pool, append(flags, "-socket", "pool.sock")...)
		l.pool.await("minipool is ready")
		l.sidecar = launch(t, dir, programs.sidecar, "serve", "--config", "sidecar.toml")
		url = l.sidecar.await("miners type: ")
	}
	l.sidecar.await("link to the pool is up")
	if l.url, err = sv2client.ParseURL(url); err != nil {
		t.Fatal(err)
	}
	return l
}

// run runs a program to its end and returns what it prints.
func (l *line) run(path string, args ...string) string {
	l.t.Helper()
	output, err := exec.Command(path, args...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			output = exit.Stderr
		}
		l.t.Fatalf("%s %q: %v\n%s", filepath.Base(path), args, err, output)
	}
	return strings.TrimSpace(string(output))
}

// stop ends the sidecar, then the pool.
func (l *line) stop() {
	l.t.Helper()
	l.sidecar.stop()
	if l.pool != l.sidecar {
		l.pool.stop()
	}
}

// context ends when the test has run too long.
func (l *line) context() context.Context {
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	l.t.Cleanup(cancel)
	return ctx
}

// dial connects a client that is closed at the end of the test.
func (l *line) dial(config sv2client.Config) *sv2client.Client {
	l.t.Helper()
	client, err := sv2client.Dial(l.context(), l.url, config)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := client.Close(); err != nil {
			l.t.Error(err)
		}
	})
	return client
}

// request asks for a channel of the line's address.
func (l *line) request(worker string) sv2client.OpenRequest {
	return sv2client.OpenRequest{User: l.address + "." + worker, HashRate: l.hashRate}
}

// open opens a channel of either kind.
func (l *line) open(
	client *sv2client.Client, kind sv2client.ChannelKind, worker string,
) *sv2client.Channel {
	l.t.Helper()
	var channel *sv2client.Channel
	var err error
	if kind == sv2client.Standard {
		channel, err = client.OpenStandard(l.context(), l.request(worker))
	} else {
		channel, err = client.OpenExtended(l.context(), l.request(worker), 4)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return channel
}
