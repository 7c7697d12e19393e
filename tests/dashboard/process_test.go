// Processes: started, watched through their logs, ended by their id.

package dashboard

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a running program; what it writes goes to a file.
type process struct {
	t       *testing.T
	name    string
	command *exec.Cmd
	log     string
	ended   chan struct{} // closed at its end
}

// start runs a program in directory and ends it, at the latest, with the test.
func start(t *testing.T, directory, name, program string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, command: exec.Command(program, args...),
		log: filepath.Join(directory, name+".log"), ended: make(chan struct{})}
	file, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p.command.Dir = directory
	p.command.Env = append(os.Environ(), "RUST_LOG=info") // the tests read its lines
	p.command.Stdout, p.command.Stderr = file, file
	if err := p.command.Start(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	go func() {
		_ = p.command.Wait() // ProcessState tells
		close(p.ended)
	}()
	t.Cleanup(p.kill)
	return p
}

// running tells whether the program has not ended.
func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// text is what the program has written so far.
func (p *process) text() string {
	p.t.Helper()
	data, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(data)
}

// await waits until the program has written text, and gives the rest of that line.
func (p *process) await(text string) string {
	p.t.Helper()
	var rest string
	p.eventually("writes "+text, func() bool {
		_, after, found := strings.Cut(p.text(), text)
		rest, _, _ = strings.Cut(after, "\n")
		return found
	})
	return strings.TrimSpace(rest)
}

// eventually waits for something that needs this program to run. details tell how far it came.
func (p *process) eventually(what string, holds func() bool, details ...any) {
	p.t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(50 * time.Millisecond) {
		switch {
		case !p.running():
			p.t.Fatalf("%s ended (%v); awaited: %s", p.name, p.command.ProcessState, what)
		case time.Now().After(end):
			p.t.Fatalf("%s: not within %v: %s %+v", p.name, patience, what, details)
		}
	}
}

// signal sends a signal.
func (p *process) signal(signal syscall.Signal) {
	p.t.Helper()
	if err := p.command.Process.Signal(signal); err != nil {
		p.t.Fatalf("%s: %v: %v", p.name, signal, err)
	}
}

// stop asks the program to end and waits for it. It gives the exit code; -1: ended by the signal.
func (p *process) stop() int {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("%s does not end within %v", p.name, patience)
	}
	return p.command.ProcessState.ExitCode()
}

// kill ends it without a word.
func (p *process) kill() {
	if err := p.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("%s: kill: %v", p.name, err)
	}
	<-p.ended
}

// output runs a program to its end and gives what it printed.
func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var faults strings.Builder
	command := exec.CommandContext(ctx, program, args...)
	command.Stderr = &faults
	printed, err := command.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, faults.String())
	}
	return strings.TrimSpace(string(printed))
}
