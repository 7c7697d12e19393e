package main

import (
	"bytes"
	"strings"
	"testing"

	bindings "github.com/gopool-sv2/gopool-sv2/go-bindings"
)

func runPlain(t *testing.T, args ...string) outcome {
	t.Helper()
	var out, complaints bytes.Buffer
	i := &installer{
		source: bindings.Sources, stdout: &out, getenv: func(string) string { return "" },
	}
	code := i.run(t.Context(), args, &complaints)
	return outcome{code, out.String(), complaints.String()}
}

func TestHelpTeaches(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"-h"}, {"--help"}, {"apply", "-h"}, {"revert", "--help"}} {
		got := runPlain(t, args...)
		if got.code != exitDone || got.out != help || got.errors != "" {
			t.Errorf("%v: exit code %d: %s%s", args, got.code, got.out, got.errors)
		}
	}
	for _, word := range []string{
		"overlay", "apply", "check", "revert", "-C DIR", "-out DIR", "-tests", "-discard-edits",
		"-keep-go-mod", "-ffi PREFIX", "Exit codes", "  0  ", "  1  ", "  2  ", "  3  ",
	} {
		if !strings.Contains(help, word) {
			t.Errorf("help does not mention %q", word)
		}
	}
	for line := range strings.Lines(help) {
		if len(line) > 101 {
			t.Errorf("too long for a terminal: %s", line)
		}
	}
}

func TestRejectsCommandLinesThatMakeNoSense(t *testing.T) {
	for _, args := range [][]string{
		{"install"}, {"apply", "x"}, {"apply", "-out", "x"}, {"revert", "-tests"}, {"check", "-keep-go-mod"},
		{"-x"}, {"overlay", "-C"}, {"revert", "-ffi", "x"}, {"check", "-ffi", "x"},
	} {
		got := runPlain(t, args...)
		if got.code != exitUsage || !strings.Contains(got.errors, "gopool-sv2-install help") || got.out != "" {
			t.Errorf("%v: exit code %d: %s%s", args, got.code, got.out, got.errors)
		}
	}
}

func TestFailsOnFoldersThatAreNotThere(t *testing.T) {
	for _, command := range []string{"check", "apply", "overlay", "revert"} {
		got := runPlain(t, command, "-C", t.TempDir()+"/nowhere")
		if got.code != exitFailed || !strings.Contains(got.errors, "nowhere") {
			t.Errorf("%s: exit code %d: %s", command, got.code, got.errors)
		}
	}
}

// Without a command it is overlay, so that nothing edits a tree by accident.
func TestTheDefaultIsOverlay(t *testing.T) {
	r := newRig(t, "pool")
	tree := hashOfFolder(t, r.root)
	var out, complaints bytes.Buffer
	i := &installer{source: r.source, stdout: &out, getenv: func(string) string { return "" }}
	if code := i.run(t.Context(), []string{"-C", r.root}, &complaints); code != exitDone {
		t.Fatalf("exit code %d: %s", code, complaints.String())
	}
	if hashOfFolder(t, r.root) != tree || !r.exists("../goPool.sv2bridge/overlay.json") {
		t.Error("that was no overlay")
	}
}
