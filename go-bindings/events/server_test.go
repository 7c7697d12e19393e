package events

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// script is a stream that says what it was given, and notes the answers.
type script struct {
	requests []*sv2pb.PublishRequest
	answers  []*sv2pb.PublishResponse
}

func (s *script) Context() context.Context { return context.Background() }

func (s *script) Recv() (*sv2pb.PublishRequest, error) {
	if len(s.requests) == 0 {
		return nil, io.EOF
	}
	next := s.requests[0]
	s.requests = s.requests[1:]
	return next, nil
}

func (s *script) Send(answer *sv2pb.PublishResponse) error {
	s.answers = append(s.answers, answer)
	return nil
}

// book is a sink in memory.
type book struct {
	have  map[SourceID]uint64
	kept  []uint64
	fails error
}

func (b *book) Begin(_ context.Context, source Source) (uint64, error) {
	return b.have[source.ID], b.fails
}

func (b *book) Keep(_ context.Context, source Source, events []*sv2pb.Event) error {
	if b.fails != nil {
		return b.fails
	}
	for _, event := range events {
		b.kept = append(b.kept, event.GetSeq())
	}
	if b.have == nil {
		b.have = map[SourceID]uint64{}
	}
	b.have[source.ID] = events[len(events)-1].GetSeq()
	return nil
}

var id = SourceID{7}

func begin(first uint64) *sv2pb.PublishRequest {
	return &sv2pb.PublishRequest{Message: &sv2pb.PublishRequest_Start{Start: &sv2pb.PublishStart{
		Protocol: 1, SidecarId: "sidecar", SourceId: id[:], Durable: true, FirstSeq: first}}}
}

func batch(seqs ...uint64) *sv2pb.PublishRequest {
	var events []*sv2pb.Event
	for _, seq := range seqs {
		events = append(events, &sv2pb.Event{Seq: seq})
	}
	return &sv2pb.PublishRequest{Message: &sv2pb.PublishRequest_Batch{
		Batch: &sv2pb.EventBatch{Events: events}}}
}

// serve runs one stream; said is "ready N" and "ack N" for each answer.
func serve(t *testing.T, sink *book, requests ...*sv2pb.PublishRequest) (said []string, err error) {
	t.Helper()
	stream := &script{requests: requests}
	server := NewServer(sink, "pool/1", slog.New(slog.DiscardHandler))
	err = server.Serve(stream)
	for _, answer := range stream.answers {
		if ready := answer.GetReady(); ready != nil {
			said = append(said, fmt.Sprint("ready ", ready.GetHaveSeq()))
		} else {
			said = append(said, fmt.Sprint("ack ", answer.GetAck().GetSeq()))
		}
	}
	if len(server.sources) != 0 {
		t.Errorf("%d sources are held after their streams", len(server.sources))
	}
	return said, err
}

func TestKeepsEachEventOnceHoweverOftenItComes(t *testing.T) {
	sink := &book{}
	for i, run := range []struct {
		requests []*sv2pb.PublishRequest
		said     []string
	}{
		{[]*sv2pb.PublishRequest{begin(1), batch(1, 2), batch(3)}, []string{"ready 0", "ack 2", "ack 3"}},
		{[]*sv2pb.PublishRequest{begin(1), batch(1, 2, 3)}, []string{"ready 3", "ack 3"}},
		{[]*sv2pb.PublishRequest{begin(2), batch(2, 3, 4, 5), batch(4, 5), batch(6)},
			[]string{"ready 3", "ack 5", "ack 5", "ack 6"}},
		{[]*sv2pb.PublishRequest{begin(7)}, []string{"ready 6"}},
	} {
		if said, err := serve(t, sink, run.requests...); err != nil || !slices.Equal(said, run.said) {
			t.Errorf("%d: %v, %v; want %v", i, said, err, run.said)
		}
	}
	if want := []uint64{1, 2, 3, 4, 5, 6}; !slices.Equal(sink.kept, want) {
		t.Errorf("kept %v", sink.kept)
	}
}

func TestANewSinkBeginsWhereTheSidecarStillCan(t *testing.T) {
	sink := &book{}
	said, err := serve(t, sink, begin(40), batch(40, 41))
	if err != nil || !slices.Equal(said, []string{"ready 39", "ack 41"}) {
		t.Errorf("%v, %v", said, err)
	}
}

func TestRejectsWhatIsNotASequence(t *testing.T) {
	start := func(change func(*sv2pb.PublishStart)) *sv2pb.PublishRequest {
		request := begin(1)
		change(request.GetStart())
		return request
	}
	many := make([]uint64, maxBatch+1)
	for i := range many {
		many[i] = uint64(i + 1)
	}
	for name, requests := range map[string][]*sv2pb.PublishRequest{
		"no start":      {batch(1)},
		"empty":         {{}},
		"source":        {start(func(s *sv2pb.PublishStart) { s.SourceId = s.SourceId[:15] })},
		"no name":       {start(func(s *sv2pb.PublishStart) { s.SidecarId = "" })},
		"name":          {start(func(s *sv2pb.PublishStart) { s.SidecarId = "a\nb" })},
		"a gap":         {begin(1), batch(1), batch(3)},
		"a gap within":  {begin(1), batch(1, 3)},
		"backwards":     {begin(1), batch(2, 1)},
		"number 0":      {begin(1), batch(0, 1)},
		"no event":      {begin(1), batch()},
		"too many":      {begin(1), batch(many...)},
		"a gap at once": {begin(1), batch(2)},
	} {
		sink := &book{}
		if _, err := serve(t, sink, requests...); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
		if len(sink.kept) > 1 {
			t.Errorf("%s: kept %v", name, sink.kept)
		}
	}
	other := start(func(s *sv2pb.PublishStart) { s.Protocol = 2 })
	if _, err := serve(t, &book{}, other); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("another version: %v", err)
	}
}

func TestASinkThatFailsIsNotSaidToHaveKeptAnything(t *testing.T) {
	sink := &book{fails: errors.New("disk full")}
	if said, err := serve(t, sink, begin(1)); status.Code(err) != codes.Unavailable || len(said) != 0 {
		t.Errorf("%v, %v", said, err)
	}
	stream := &script{requests: []*sv2pb.PublishRequest{begin(1), batch(1)}}
	sink.fails = nil
	server := NewServer(&failing{book: sink}, "pool/1", nil)
	if err := server.Serve(stream); status.Code(err) != codes.Unavailable || len(stream.answers) != 1 {
		t.Errorf("%v, %v", stream.answers, err)
	}
}

// failing begins, and can't keep.
type failing struct{ *book }

func (f *failing) Keep(context.Context, Source, []*sv2pb.Event) error {
	return errors.New("disk full")
}
