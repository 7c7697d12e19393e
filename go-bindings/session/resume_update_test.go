// Updates whose answer was lost with a stream.

package session

import (
	"context"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

func TestAnUpdateWhoseAnswerWasLostIsAnsweredOnce(t *testing.T) {
	entered, hold := make(chan struct{}, 2), make(chan struct{})
	server := start(t, Options{}, nil)
	server.pool.onUpdate = func(ctx context.Context, _ *poolChannel, _ sv2.UpdateRequest) error {
		entered <- struct{}{}
		select {
		case <-hold:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	update := &sv2pb.UpdateChannel{ChannelId: 1, MaxTarget: halfTarget[:], RequestId: 5}
	c.update(update)
	<-entered
	c.cancel()
	server.detached(t, 1)
	c, _ = server.resumed(t, comeBack(1, server, 1))
	c.nextJob()
	c.update(update) // while the first one still runs: its answer belongs to the old stream
	c.ping(1)
	close(hold)
	if got := c.next().GetChannelUpdated(); got.GetRequestId() != 5 || got.GetRefused() != 0 {
		t.Errorf("answer %v", got)
	}
	c.ping(2)
	if len(entered) != 0 {
		t.Error("the host was asked again")
	}
}

func TestAnUpdateThatWasTakenIsNotRefusedWhenItComesAgain(t *testing.T) {
	var asked atomic.Int32
	server := start(t, Options{}, nil)
	server.pool.onUpdate = func(_ context.Context, _ *poolChannel, _ sv2.UpdateRequest) error {
		if asked.Add(1) > 1 {
			return &sv2.Refusal{Reason: sv2.RefuseRateLimited}
		}
		return nil
	}
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	answer := func(m *sv2pb.UpdateChannel) sv2pb.RefuseReason {
		t.Helper()
		c.update(m)
		got := c.next().GetChannelUpdated()
		if got == nil || got.GetRequestId() != m.GetRequestId() {
			t.Fatalf("want the answer to update %d, got %v", m.GetRequestId(), got)
		}
		return got.GetRefused()
	}
	const taken, refused = 0, sv2pb.RefuseReason_REFUSE_REASON_RATE_LIMITED
	first := &sv2pb.UpdateChannel{ChannelId: 1, NominalHashRate: 5, MaxTarget: halfTarget[:], RequestId: 1}
	second := proto.Clone(first).(*sv2pb.UpdateChannel)
	second.RequestId = 2
	if got := answer(first); got != taken {
		t.Fatalf("the first is refused: %v", got)
	}
	for range 2 { // its answer is lost, and lost again
		c.cancel()
		server.detached(t, 1)
		c, _ = server.resumed(t, comeBack(1, server, 1))
		c.nextJob()
		if got := answer(first); got != taken {
			t.Errorf("what was taken is refused when it comes again: %v", got)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the host was asked %d times", n)
	}
	if got := answer(second); got != refused {
		t.Errorf("another one: %v", got)
	}
	if got := answer(second); got != refused || asked.Load() != 3 {
		t.Errorf("a refused one comes again: %v, asked %d times", got, asked.Load())
	}
	other := proto.Clone(first).(*sv2pb.UpdateChannel)
	other.NominalHashRate = 6
	if got := answer(other); got != refused {
		t.Errorf("the number of the first with another wish: %v", got)
	}
}

func TestUpdatesThatWaitAcrossABreakAreAskedOnceAndNotRefusedForTheirNumber(t *testing.T) {
	entered, hold := make(chan struct{}, 100), make(chan struct{})
	server := start(t, Options{}, nil)
	server.pool.onUpdate = func(ctx context.Context, _ *poolChannel, _ sv2.UpdateRequest) error {
		entered <- struct{}{}
		select {
		case <-hold:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	send := func() {
		for id := range uint32(maxUpdates) {
			c.update(&sv2pb.UpdateChannel{ChannelId: 1, MaxTarget: halfTarget[:], RequestId: id + 1})
		}
		c.ping(1)
	}
	send()
	<-entered
	c.cancel()
	server.detached(t, 1)
	c, _ = server.resumed(t, comeBack(1, server, 1))
	c.nextJob()
	send() // again; and what takes back others is not refused either
	c.update(&sv2pb.UpdateChannel{ChannelId: 1, MaxTarget: halfTarget[:], RequestId: revertRequest})
	c.ping(2)
	close(hold)
	for _, want := range append(ids(1, maxUpdates), revertRequest) {
		if got := c.next().GetChannelUpdated(); got.GetRequestId() != want || got.GetRefused() != 0 {
			t.Errorf("answer %v, want that to %d", got, want)
		}
	}
	c.ping(3)
	if n := len(entered); n != maxUpdates { // less the first, plus the revert
		t.Errorf("the host was asked %d times", n+1)
	}
}

// ids are the numbers from first to last.
func ids(first, last uint32) []uint32 {
	var all []uint32
	for id := first; id <= last; id++ {
		all = append(all, id)
	}
	return all
}
