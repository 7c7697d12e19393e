// What a sink of events can't do to the rest.

package grpchost

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/events"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// publish begins a stream of a source's events.
func publish(t *testing.T, conn *grpc.ClientConn, source byte) (
	grpc.BidiStreamingClient[sv2pb.PublishRequest, sv2pb.PublishResponse], uint64, error,
) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	stream, err := sv2pb.NewEventServiceClient(conn).Publish(
		metadata.NewOutgoingContext(ctx, metadata.Pairs(ProtocolHeader, "1")))
	if err != nil {
		t.Fatal(err)
	}
	id := make([]byte, 16)
	id[0] = source
	err = stream.Send(&sv2pb.PublishRequest{Message: &sv2pb.PublishRequest_Start{Start: &sv2pb.PublishStart{
		Protocol: 1, SidecarId: "s", SourceId: id, Durable: true, FirstSeq: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	ready, err := stream.Recv()
	return stream, ready.GetReady().GetHaveSeq(), err
}

// batchFrom is a batch of so many events.
func batchFrom(first, count uint64) *sv2pb.PublishRequest {
	var batch []*sv2pb.Event
	for seq := first; seq < first+count; seq++ {
		batch = append(batch, &sv2pb.Event{Seq: seq})
	}
	return &sv2pb.PublishRequest{Message: &sv2pb.PublishRequest_Batch{Batch: &sv2pb.EventBatch{Events: batch}}}
}

// trouble is a sink in memory that panics at every third call, or gets stuck with the events of a source.
type trouble struct {
	panics bool
	source byte          // the one it is stuck with
	stuck  chan struct{} // nil: it isn't
	asked  chan struct{} // closed when it is
	once   sync.Once

	mu    sync.Mutex
	calls int
	kept  map[events.SourceID][]uint64
}

func (s *trouble) call() {
	if s.calls++; s.panics && s.calls%3 == 0 {
		panic("every third call")
	}
}

func (s *trouble) Begin(_ context.Context, source events.Source) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.call()
	return uint64(len(s.kept[source.ID])), nil
}

func (s *trouble) Keep(_ context.Context, source events.Source, batch []*sv2pb.Event) error {
	if s.stuck != nil && source.ID[0] == s.source {
		s.once.Do(func() { close(s.asked) })
		<-s.stuck // whatever its context says
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.call()
	if s.kept == nil {
		s.kept = make(map[events.SourceID][]uint64)
	}
	for _, event := range batch {
		s.kept[source.ID] = append(s.kept[source.ID], event.GetSeq())
	}
	return nil
}

func TestEventsReachTheSinkOnceThoughItPanics(t *testing.T) {
	const all = 7
	sink := &trouble{panics: true}
	server := start(t, Options{Events: sink})
	conn := server.dial(t)
	tries, have := 0, uint64(0)
	for ; have < all; tries++ {
		stream, has, err := publish(t, conn, 1)
		for have = has; err == nil && have < all; {
			if err = stream.Send(batchFrom(have+1, 1)); err != nil {
				t.Fatal(err)
			}
			var ack *sv2pb.PublishResponse
			if ack, err = stream.Recv(); err == nil {
				have = ack.GetAck().GetSeq()
			}
		}
		if err != nil && (status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "every third call")) {
			t.Fatal(err)
		}
	}
	if got := sink.kept[events.SourceID{1}]; !slices.Equal(got, []uint64{1, 2, 3, 4, 5, 6, 7}) || tries < 3 {
		t.Errorf("kept %v in %d tries", got, tries)
	}
	if text := server.logs.String(); !strings.Contains(text, "the sink of events panicked") ||
		!strings.Contains(text, "(*trouble).call") {
		t.Errorf("the log does not say where:\n%s", text)
	}
}

func TestSurvivesASinkThatNeverReturns(t *testing.T) {
	sink := &trouble{source: 1, stuck: make(chan struct{}), asked: make(chan struct{})}
	defer close(sink.stuck)
	server := start(t, Options{Events: sink})
	conn := server.dial(t)
	stuck, _, err := publish(t, conn, 1)
	if err != nil {
		t.Fatal(err)
	}
	flood := make(chan error, 1)
	go func() { // until it has no room: more than a connection's
		err := error(nil)
		for first := uint64(1); err == nil; first += 1024 {
			err = stuck.Send(batchFrom(first, 1024))
		}
		flood <- err
	}()
	<-sink.asked

	// Shares, on the same connection.
	c := connectOn(t, conn, metadata.Pairs(ProtocolHeader, "1"))
	c.greet(goodHello(1))
	job := c.open(1).GetJob().GetId()
	for id := range uint64(100) {
		c.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_SubmitBatch{
			SubmitBatch: &sv2pb.SubmitBatch{Submits: []*sv2pb.Submit{{Id: id + 1, ChannelId: 1, JobId: job,
				Nonce: uint32(id), Ntime: 1_700_000_001, Version: 0x20000000, Extranonce: []byte{1, 2, 3, 4}}}}}})
		if verdicts := c.next().GetVerdictBatch().GetVerdicts(); len(verdicts) != 1 ||
			verdicts[0].GetSubmitId() != id+1 {
			t.Fatalf("verdicts are %v", verdicts)
		}
	}
	// Calls of the pool.
	pinged := make(chan error, 1)
	go func() {
		_, err := server.Sessions()[0].Ping(t.Context())
		pinged <- err
	}()
	c.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_Pong{
		Pong: &sv2pb.Pong{Id: c.next().GetPing().GetId()}}})
	if err := <-pinged; err != nil {
		t.Error(err)
	}
	// The events of another sidecar.
	other, _, err := publish(t, conn, 2)
	if err == nil {
		err = other.Send(batchFrom(1, 3))
	}
	if err != nil {
		t.Fatal(err)
	}
	if ack, err := other.Recv(); err != nil || ack.GetAck().GetSeq() != 3 {
		t.Errorf("%v, %v", ack, err)
	}
	// A stop.
	now, cancel := context.WithCancel(context.Background())
	cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- server.Shutdown(now) }()
	select {
	case err := <-stopped:
		if err == nil || !strings.Contains(err.Error(), "the sink of events has not returned") {
			t.Errorf("Shutdown says %v", err)
		}
	case <-time.After(patience):
		t.Error("Shutdown does not return")
	}
	<-flood
}
