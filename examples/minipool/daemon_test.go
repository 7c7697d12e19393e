// Other programs that tests start: the sidecar, nodes.

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// daemon is a process that runs until the test ends it, or ends.
type daemon struct {
	*exec.Cmd
	logs *logs
	once sync.Once
}

// startDaemon starts a program; its output is shown when the test fails.
func startDaemon(t testing.TB, program string, args ...string) *daemon {
	t.Helper()
	d := &daemon{Cmd: exec.Command(program, args...), logs: &logs{}}
	d.Stdout, d.Stderr = d.logs, d.logs
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.end(os.Kill)
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(program), d.logs)
		}
	})
	return d
}

// end sends a signal and waits for the end of the process.
func (d *daemon) end(sig os.Signal) {
	d.once.Do(func() {
		_ = d.Process.Signal(sig)
		_ = d.Wait()
	})
}

// await waits for a text in the log of a process and returns what follows it on its line.
func (d *daemon) await(t testing.TB, text string) string {
	t.Helper()
	rest := ""
	eventually(t, fmt.Sprintf("%q in the log of %s", text, filepath.Base(d.Path)), func() bool {
		_, after, found := strings.Cut(d.logs.String(), text)
		rest, _, _ = strings.Cut(after, "\n")
		return found && strings.Contains(after, "\n")
	})
	return strings.TrimSpace(rest)
}

// sidecarProgram is the sidecar and the miner in one.
func sidecarProgram(t testing.TB) string {
	t.Helper()
	program := os.Getenv("GOPOOL_SV2_BIN")
	if program == "" {
		program = filepath.Join("..", "..", "target", "debug", "gopool-sv2")
	}
	program, err := filepath.Abs(program)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("no sidecar at %s: build it (cargo build --bin gopool-sv2), or set GOPOOL_SV2_BIN",
			program)
	}
	return program
}
