package events

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/internal/testlog"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// panicky is a book that panics at calls of these numbers, counted from 1.
type panicky struct {
	book
	calls                  int
	begins, before, behind []int
}

func (p *panicky) Begin(ctx context.Context, source Source) (uint64, error) {
	if p.calls++; slices.Contains(p.begins, p.calls) {
		panic("no index")
	}
	return p.book.Begin(ctx, source)
}

func (p *panicky) Keep(ctx context.Context, source Source, events []*sv2pb.Event) error {
	p.calls++
	if slices.Contains(p.before, p.calls) {
		panic(errors.New("no disk"))
	}
	if slices.Contains(p.behind, p.calls) {
		if err := p.book.Keep(ctx, source, events[:1]); err != nil {
			return err
		}
		events[len(events)] = nil
	}
	return p.book.Keep(ctx, source, events)
}

func TestKeepsEachEventOnceThoughTheSinkPanics(t *testing.T) {
	// Each panics twice, and the last in the midst of a batch.
	sink := &panicky{begins: []int{1, 2}, before: []int{4, 6}, behind: []int{9, 11}}
	var log testlog.Buffer
	server := NewServer(sink, "pool/1", slog.New(slog.NewTextHandler(&log, nil)))
	var said strings.Builder // to the sidecar
	for {
		stream := &script{requests: []*sv2pb.PublishRequest{begin(1), batch(1, 2), batch(3, 4, 5, 6)}}
		err := server.Serve(stream)
		if err == nil {
			break
		}
		if status.Code(err) != codes.Unavailable {
			t.Fatal(err)
		}
		said.WriteString(status.Convert(err).Message() + "\n")
	}
	if want := []uint64{1, 2, 3, 4, 5, 6}; !slices.Equal(sink.kept, want) {
		t.Errorf("kept %v", sink.kept)
	}
	for _, text := range []string{"no index", "no disk", "runtime error: index out of range"} {
		if n := strings.Count(said.String(), "can't keep events: the sink panicked: "+text); n != 2 {
			t.Errorf("%d times %q, want 2:\n%s", n, text, said.String())
		}
		if n := strings.Count(log.String(), text); n != 1 {
			t.Errorf("%d times %q in the log, want 1:\n%s", n, text, log.String())
		}
	}
	if strings.Count(log.String(), "level=ERROR") != 3 || !strings.Contains(log.String(), "(*panicky).Keep") {
		t.Errorf("not three errors with their stacks:\n%s", log.String())
	}
}

// hollow is an error of the sink that panics when it is asked what it says.
type hollow struct{ text string }

func (h *hollow) Error() string { return h.text }

func TestSurvivesAnErrorThatPanics(t *testing.T) {
	var none *hollow
	if _, err := serve(t, &book{fails: none}, begin(1)); status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
}

// stuck is a book that keeps nothing until it may.
type stuck struct {
	book
	asked, may chan struct{}
}

func (s *stuck) Keep(ctx context.Context, source Source, events []*sv2pb.Event) error {
	s.asked <- struct{}{}
	<-s.may // whatever its context says
	return s.book.Keep(ctx, source, events)
}

// cut is a stream that may end before its requests do.
type cut struct {
	script
	ctx context.Context
}

func (c *cut) Context() context.Context { return c.ctx }

func TestStreamsThatEndDoNotWaitForASinkThatIsStuck(t *testing.T) {
	sink := &stuck{asked: make(chan struct{}, 2), may: make(chan struct{})}
	server := NewServer(sink, "pool/1", nil)
	held := make(chan error, 1)
	go func() { held <- server.Serve(&script{requests: []*sv2pb.PublishRequest{begin(1), batch(1, 2)}}) }()
	<-sink.asked
	for range 3 { // the sidecar tries again
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(&cut{script{requests: []*sv2pb.PublishRequest{begin(1)}}, ctx}) }()
		cancel()
		if err := <-ended; status.Code(err) != codes.Canceled {
			t.Error(err)
		}
	}
	close(sink.may)
	if err := <-held; err != nil {
		t.Error(err)
	}
	if err := server.Serve(&script{requests: []*sv2pb.PublishRequest{begin(1), batch(1, 2, 3)}}); err != nil {
		t.Error(err)
	}
	if !slices.Equal(sink.kept, []uint64{1, 2, 3}) {
		t.Errorf("kept %v", sink.kept)
	}
}
