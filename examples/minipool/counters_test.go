// The counters against what runs.

package main

import (
	"encoding/json"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func askCounters(t *testing.T, path string) counters {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	var c counters
	if err := json.Unmarshal(text, &c); err != nil || strings.Count(string(text), "\n") != 1 {
		t.Fatalf("%q: %v", text, err)
	}
	return c
}

func TestShowsWhatItHoldsToEachWhoAsks(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "counters")
	r := newRig(t, dir, "-counters", path)
	before := askCounters(t, path)
	if before.Goroutines < 3 || before.HeapBytes < 100_000 || before.Channels != 0 || before.AtMS > now() {
		t.Errorf("counters are %+v", before)
	}
	stop := make(chan struct{})
	for range 50 {
		go func() { <-stop }()
	}
	after := askCounters(t, path)
	close(stop)
	if after.Goroutines < before.Goroutines+50 {
		t.Errorf("%d goroutines, and %d after 50 more", before.Goroutines, after.Goroutines)
	}
	r.end()
	if _, err := net.Dial("unix", path); err == nil {
		t.Error("the socket of a stopped pool takes connections")
	}
}

func TestRejectsCountersWhereSomethingElseIs(t *testing.T) {
	dir := t.TempDir()
	settings, err := parseFlags(testArgs(dir, "-counters", dir), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	m, err := start(settings, newLogger(settings, &logs{}))
	if err == nil {
		err = m.stop(patience)
		t.Fatalf("started; stop: %v", err)
	}
	if !strings.Contains(err.Error(), "counters: ") || !strings.Contains(err.Error(), "not a socket") {
		t.Error(err)
	}
}
