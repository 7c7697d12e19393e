package events

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

func sealed(seq uint64) *sv2pb.Event {
	return &sv2pb.Event{Seq: seq, AtMs: 5, Event: &sv2pb.Event_MintSealed{MintSealed: &sv2pb.MintSealed{
		CreditId: seq, Amount: 7, UserIdentity: []byte("line\nbreak")}}}
}

func TestAFolderKeepsEventsOverRestartsAndCutsWhatACrashLeft(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	source := Source{ID: SourceID{0xab}}
	path := filepath.Join(dir, source.ID.String()+".jsonl")
	for round := range uint64(3) {
		folder, err := OpenFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		have, err := folder.Begin(ctx, source)
		if err != nil || have != 2*round {
			t.Fatalf("round %d: %d, %v", round, have, err)
		}
		events := []*sv2pb.Event{sealed(have + 1), sealed(have + 2)}
		if err := folder.Keep(ctx, source, events); err != nil {
			t.Fatal(err)
		}
		if again, err := folder.Begin(ctx, source); err != nil || again != have+2 {
			t.Errorf("%d, %v", again, err)
		}
		if err := folder.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := folder.Begin(ctx, source); err == nil {
			t.Error("a closed folder answers")
		}
		text, err := os.ReadFile(path)
		if err != nil || strings.Count(string(text), "\n") != int(have+2) ||
			!strings.Contains(string(text), `"amount":"7"`) {
			t.Errorf("%s, %v", text, err)
		}
		if err := os.WriteFile(path, append(text, `{"seq":"99`...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFolderRefusesAFileThatHoldsSomethingElse(t *testing.T) {
	dir, source := t.TempDir(), Source{ID: SourceID{1}}
	path := filepath.Join(dir, source.ID.String()+".jsonl")
	if err := os.WriteFile(path, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	folder, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Begin(context.Background(), source); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
}
