// What the journal promises whatever happens to its file.

package main

import (
	"bytes"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

const wholeLine = `{"event":"stop","at_ms":1}` + "\n"

func TestJournalDropsALineThatACrashCutShort(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	for content, want := range map[string]string{
		"":                          "",
		wholeLine:                   wholeLine,
		`{"event":"ver`:             "",
		long:                        "",
		wholeLine + `{"event":"ver`: wholeLine,
		wholeLine + long:            wholeLine,
		wholeLine + "x":             wholeLine,
	} {
		path := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := openJournal(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%.40q: left %.40q, %v", content, got, err)
		}
		if err := j.start([]byte{1}); err != nil {
			t.Error(err)
		}
		if err := j.close(); err != nil {
			t.Error(err)
		}
		lines := readJournal(t, path, "")
		if n := len(lines); n < 2 || lines[n-2].Epoch != "01" || lines[n-1].Event != "stop" {
			t.Errorf("%.40q: then %+v", content, lines)
		}
	}
}

func TestJournalTakesBackHalfALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.tip(sv2.Hash{1}, 1); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Ten bytes more and files are full: the system takes the first ten of the next line.
	signal.Ignore(unix.SIGXFSZ)
	defer signal.Reset(unix.SIGXFSZ)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	limit := unix.Rlimit{Cur: uint64(len(whole)) + 10, Max: old.Max}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	full := j.tip(sv2.Hash{2}, 2)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(full, unix.EFBIG) {
		t.Errorf("write over the limit: %v", full)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, whole) {
		t.Errorf("left %q, %v", got, err)
	}
	if err := j.tip(sv2.Hash{3}, 3); err != nil {
		t.Error(err)
	}
	if err := j.close(); err != nil {
		t.Error(err)
	}
	lines := readJournal(t, path, "tip")
	if len(lines) != 2 || lines[0].Height != 1 || lines[1].Height != 3 {
		t.Errorf("left %+v", lines)
	}
}

func TestJournalEndsWhereHalfALineCannotBeTakenBack(t *testing.T) {
	reader, writer, err := os.Pipe() // what is in a pipe stays there
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	j := &journal{file: writer}
	if err := j.takeBack(3); err == nil {
		t.Error("took back what a pipe holds")
	}
	if err := j.tip(sv2.Hash{1}, 1); err == nil {
		t.Error("went on behind half a line")
	}
}

func TestJournalKeepsLinesOfManyWritersWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	const writers, each = 8, 50
	var all sync.WaitGroup
	for w := range uint64(writers) {
		all.Go(func() {
			channel := sv2.ChannelInfo{ID: w, UserIdentity: []byte(strings.Repeat("\n", int(w)*10))}
			for id := range uint64(each) {
				if err := j.verdict(channel, sv2.Submit{ID: id + 1}, sv2.Verdict{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	next := map[uint64]uint64{}
	for _, line := range readJournal(t, path, "verdict") {
		next[line.Channel]++
		if line.SubmitID != next[line.Channel] {
			t.Errorf("channel %d: submit %d comes as number %d",
				line.Channel, line.SubmitID, next[line.Channel])
		}
	}
	for w := range uint64(writers) {
		if next[w] != each {
			t.Errorf("channel %d has %d lines", w, next[w])
		}
	}
	if err := j.close(); err != nil {
		t.Error(err)
	}
}

func TestNoJournalIsNoFault(t *testing.T) {
	var none *journal
	if err := none.tip(sv2.Hash{}, 0); err != nil {
		t.Error(err)
	}
	if err := none.close(); err != nil {
		t.Error(err)
	}
	r := newRig(t, t.TempDir(), "-journal", "")
	s := dial(t, r.settings.socket)
	c := s.open(extended, payoutAddress(t))
	find(r, c, c)
}
