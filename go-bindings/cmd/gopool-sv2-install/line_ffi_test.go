package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The whole line with the listener in goPool's own process, built as `overlay -ffi` says.
func TestARealGoPoolServesStratumV2InItsOwnProcess(t *testing.T) {
	l := newLine(t)
	prefix := installLibrary(t)
	l.proveApplied(prefix)
	l.shell(buildLineOf(t, l.install("overlay", "-ffi", prefix)))
	l.binary = filepath.Join(l.root+".sv2bridge", "goPool")
	l.startNode()
	l.startPool("mode = \"ffi\"\n")
	l.mineBothWays()
	if children := l.children(); children != "" {
		t.Errorf("goPool has children: %s", children)
	}
	if _, err := os.Lstat(filepath.Join(l.dir, "data", "state", "sv2.sock")); err == nil {
		t.Error("there is a socket for sidecars")
	}
	l.proveRestart()
}

// installLibrary is where the listener's library was put for this test.
func installLibrary(t *testing.T) string {
	t.Helper()
	prefix := t.TempDir()
	command := exec.CommandContext(t.Context(), "make", "install-lib", "PREFIX="+prefix)
	command.Dir = filepath.Join("..", "..", "..")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("make install-lib: %v\n%s", err, out)
	}
	return prefix
}

// proveApplied builds what apply leaves, as it says, and reverts it.
func (l *line) proveApplied(prefix string) {
	l.t.Helper()
	before := l.hash()
	said := l.install("apply", "-ffi", prefix)
	l.shell("CGO_ENABLED=0 go vet ./sv2bridge/...")
	l.shell(buildLineOf(l.t, said) + " && rm goPool")
	if again := l.install("apply", "-ffi", prefix); buildLineOf(l.t, again) != buildLineOf(l.t, said) {
		l.t.Errorf("apply, once more, says:\n%s", again)
	}
	l.install("revert")
	if l.hash() != before {
		l.t.Error("revert left a difference")
	}
}

// children are the processes that goPool has started and that run.
func (l *line) children() string {
	l.t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", l.pool.command.Process.Pid))
	if err != nil || len(threads) == 0 {
		l.t.Fatal(threads, err)
	}
	var all bytes.Buffer
	for _, name := range threads {
		if text, err := os.ReadFile(name); err == nil { // else that thread has ended
			all.Write(text)
		}
	}
	return all.String()
}

// proveRestart stops goPool under a miner, and starts it again: the miner is told, and comes back.
func (l *line) proveRestart() {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), linePatience)
	defer cancel()
	miner := exec.CommandContext(ctx, l.sidecar, "miner", l.url, "--user", lineWorker+".stays", "--threads", "1",
		"--hash-rate", "1000000", "--no-reconnect")
	var said bytes.Buffer
	miner.Stdout, miner.Stderr = &said, &said
	before := l.status().Shares.Accepted
	if err := miner.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.await("a share of the miner that stays", func() bool { return l.status().Shares.Accepted > before })
	l.pool.stop()
	_ = miner.Wait() // it ends with the connection, and says so
	if log := l.pool.log.String(); !strings.Contains(log, "stratum v2 door closed") ||
		!strings.Contains(log, "listener: ") || strings.Contains(log, "sv2 sidecar") ||
		strings.Contains(log, "did not stop cleanly") || strings.Contains(log, "timed out waiting") {
		l.t.Errorf("not an orderly stop:\n%s", log)
	}
	if !strings.Contains(said.String(), "the server asked to connect again") {
		l.t.Errorf("the miner was not told:\n%s", said.String())
	}
	url := l.url
	l.resumePool()
	if l.url != url {
		l.t.Errorf("miners typed %s, and type %s after a restart", url, l.url)
	}
	if again := l.mine("again", "--extended"); again.Accepted < 3 || len(again.Rejected) > 0 {
		l.t.Errorf("after a restart: %+v", again)
	}
	l.pool.stop()
}

// refusesToServeInside starts a goPool that was built without the listener in mode ffi: it must not run.
func (l *line) refusesToServeInside() {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), linePatience)
	defer cancel()
	pool := exec.CommandContext(ctx, l.binary, append(poolFlags, "-sv2-mode", "ffi")...)
	pool.Dir = l.dir
	out, err := pool.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() < 1 || !strings.Contains(string(out), "make install-lib PREFIX=") {
		l.t.Errorf("without the listener goPool ended with %v:\n%s", err, out)
	}
}
