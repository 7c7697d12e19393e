// What minipool promises as a process: signals, exit codes, and books that survive a kill.

package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// process is a minipool of its own: this test binary as the program.
type process struct {
	*exec.Cmd
	t       testing.TB
	logs    *logs
	socket  string
	journal string
}

// launch starts a process with its files in dir and waits until it takes sidecars.
func launch(t testing.TB, dir string, more ...string) *process {
	t.Helper()
	return launchArgs(t, dir, testArgs(dir, more...))
}

// launchArgs is launch with these flags, which must put socket and journal where testArgs does.
func launchArgs(t testing.TB, dir string, args []string) *process {
	t.Helper()
	p := &process{t: t, logs: &logs{}, socket: filepath.Join(dir, "sock"),
		journal: filepath.Join(dir, "journal")}
	p.Cmd = exec.Command(os.Args[0], args...)
	p.Env = append(os.Environ(), runAsPool+"=1")
	p.Stderr = p.logs
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait()
		if t.Failed() {
			t.Logf("the process's log:\n%s", p.logs)
		}
	})
	eventually(t, "the process is ready", func() bool {
		return strings.Contains(p.logs.String(), "minipool is ready")
	})
	return p
}

func (p *process) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// exitCode waits for the end.
func (p *process) exitCode() int {
	p.t.Helper()
	var exit *exec.ExitError
	if err := p.Wait(); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return p.ProcessState.ExitCode()
}

func TestStopsCleanlyOnASignal(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		p := launch(t, t.TempDir())
		s := dial(t, p.socket)
		c := s.open(extended, payoutAddress(t))
		submit, _ := c.share()
		if got := s.judge(submit)[0]; !got.GetAccepted() {
			t.Errorf("share: %v", got)
		}
		p.signal(sig)
		s.until("Drain", func() bool { return s.drained })
		s.hangUp()
		if code := p.exitCode(); code != exitOK {
			t.Errorf("%v: exit code %d", sig, code)
		}
		lines := readJournal(t, p.journal, "")
		if first, last := lines[0], lines[len(lines)-1]; first.Event != "start" ||
			first.Epoch != hex.EncodeToString(s.welcome.GetEpoch()) || last.Event != "stop" {
			t.Errorf("journal %+v", lines)
		}
		if _, err := os.Stat(p.socket); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	}
}

func TestStopsThoughItsFilesAreGone(t *testing.T) {
	dir := t.TempDir()
	p := launch(t, dir, "-datadir", filepath.Join(dir, "data"))
	if err := os.RemoveAll(filepath.Join(dir, "data")); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	// Its database may or may not notice; what counts is that it ends.
	if code := p.exitCode(); code != exitOK && code != exitFailure {
		t.Errorf("exit code %d", code)
	}
}

func TestASecondSignalEndsItAtOnce(t *testing.T) {
	p := launch(t, t.TempDir())
	s := dial(t, p.socket) // and never hangs up
	p.signal(syscall.SIGTERM)
	s.until("Drain", func() bool { return s.drained })
	p.signal(syscall.SIGUSR1) // is no second signal
	p.signal(os.Interrupt)
	if code := p.exitCode(); code != exitForced {
		t.Errorf("exit code %d", code)
	}
}

func TestSIGUSR1MinesABlock(t *testing.T) {
	p := launch(t, t.TempDir(), "-network-bits", trivialBits)
	s := dial(t, p.socket)
	c := s.open(standard, payoutAddress(t))
	p.signal(syscall.SIGUSR1)
	s.until("the new tip", func() bool { return c.job.Height == 2 })
	eventually(t, "the tip is in the journal", func() bool {
		tips := readJournal(t, p.journal, "tip")
		return len(tips) == 1 && tips[0].Hash == c.job.PrevHash.String() && tips[0].Height == 1
	})
}

func TestAKillLosesNoShareThatAMinerWasToldOf(t *testing.T) {
	dir := t.TempDir()
	args := []string{"-datadir", filepath.Join(dir, "chain")}
	p := launch(t, dir, args...)
	s := dial(t, p.socket)
	c := s.open(extended, payoutAddress(t))
	block, hash := c.block(c.job)
	s.judge(block)
	s.until("the block's result", func() bool { return s.results[block.GetId()] != nil })
	s.until("work on the block", func() bool { return c.job.PrevHash == hash })
	for range 50 {
		submit, _ := c.share()
		s.submit(submit)
	}
	s.until("some verdicts", func() bool { return len(s.verdicts) > 20 })
	p.signal(os.Kill)
	for { // what was told before the end
		message, err := s.stream.Recv()
		if err != nil {
			break
		}
		s.take(message)
	}
	p.exitCode()
	// The killed one left its socket and its chain behind; the next goes on with both.
	again := launch(t, dir, args...)
	if got := dial(t, again.socket).open(standard, payoutAddress(t)); got.job.PrevHash != hash {
		t.Errorf("after the kill the tip is %s, want %s", got.job.PrevHash, hash)
	}
	booked := map[string]bool{}
	for _, line := range readJournal(t, p.journal, "verdict") {
		booked[line.Hash] = line.Accepted
	}
	for id, verdict := range s.verdicts {
		if hash := sv2.Hash(verdict.GetShareHash()); !verdict.GetAccepted() || !booked[hash.String()] {
			t.Errorf("submit %d was told %v and is not in the journal", id, verdict)
		}
	}
}

func TestASecondInstanceLeavesTheBooksOfTheFirstAlone(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, dir)
	s := dial(t, r.settings.socket)
	c := s.open(extended, payoutAddress(t))
	submit, _ := c.share()
	s.judge(submit)
	before := r.book("")
	fresh := filepath.Join(dir, "fresh") // its own journal, but the first one's socket
	for _, more := range [][]string{{}, {"-socket", filepath.Join(dir, "other")}, {"-journal", fresh}} {
		settings, err := parseFlags(testArgs(dir, more...), io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := start(settings, newLogger(settings, io.Discard)); err == nil {
			t.Errorf("%v: it runs", more)
			_ = second.stop(patience)
		}
	}
	if after := r.book(""); len(after) != len(before) {
		t.Errorf("the journal was %+v and is %+v", before, after)
	}
	if lines := readJournal(t, fresh, ""); len(lines) != 0 {
		t.Errorf("a run that never was is in the books: %+v", lines)
	}
}

func TestRefusesToStartWithTheReason(t *testing.T) {
	dir := t.TempDir()
	newRig(t, dir)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"another process listens":   testArgs(dir, "-journal", ""),
		"another process writes":    testArgs(dir),
		"no such file or directory": testArgs(t.TempDir(), "-journal", dir+"/none/journal"),
		"not a directory":           testArgs(t.TempDir(), "-datadir", file),
		"no space left on device":   testArgs(t.TempDir(), "-journal", "/dev/full"),
	} {
		var out, errs bytes.Buffer
		if code := run(args, &out, &errs); code != exitFailure || !strings.Contains(errs.String(), want) {
			t.Errorf("%s: code %d, %s", want, code, errs.String())
		}
	}
	var out, errs bytes.Buffer
	if code := run([]string{"-test-address"}, &out, &errs); code != exitOK || errs.Len() > 0 ||
		!strings.HasPrefix(out.String(), "bcrt1q") {
		t.Errorf("-test-address: code %d, %q, %q", code, out.String(), errs.String())
	}
}
