// Updates, and what a slow host may not hold up.

package session

import (
	"context"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

func TestABlockedUpdateHoldsUpNoOtherChannel(t *testing.T) {
	entered, hold := make(chan struct{}), make(chan struct{})
	server := start(t, Options{}, nil)
	server.pool.onUpdate = func(ctx context.Context, c *poolChannel, r sv2.UpdateRequest) error {
		if c.request.Connection.ID != 1 {
			return nil
		}
		entered <- struct{}{}
		select {
		case <-hold:
		case <-ctx.Done():
		}
		return &sv2.Refusal{Reason: sv2.RefuseMaxTarget, Detail: "no"}
	}
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	slow := server.pool.only()
	c.open(goodOpen(2))
	update := &sv2pb.UpdateChannel{ChannelId: 1, MaxTarget: halfTarget[:], RequestId: 11}
	c.update(update)
	<-entered
	// Nor do its own shares wait.
	c.submit(share(1, 1, 1), share(2, 2, 2))
	judged := map[uint64]bool{}
	for len(judged) < 2 {
		for _, verdict := range c.next().GetVerdictBatch().GetVerdicts() {
			judged[verdict.GetSubmitId()] = true
		}
	}
	if !judged[1] || !judged[2] {
		t.Fatalf("want verdicts of 1 and 2, got %v", judged)
	}
	c.update(&sv2pb.UpdateChannel{ChannelId: 2, MaxTarget: halfTarget[:], RequestId: 12})
	if got := c.next().GetChannelUpdated(); got.GetRequestId() != 12 || got.GetRefused() != 0 {
		t.Fatalf("want the answer to update 12, got %v", got)
	}
	c.submit(share(3, 2, 3))
	if got := c.next().GetVerdictBatch().GetVerdicts(); len(got) != 1 || got[0].GetSubmitId() != 3 {
		t.Fatalf("want the verdict of 3, got %v", got)
	}
	close(hold)
	updated := c.next().GetChannelUpdated()
	if updated.GetRequestId() != 11 || updated.GetDetail() != "no" ||
		updated.GetRefused() != sv2pb.RefuseReason_REFUSE_REASON_MAX_TARGET_OUT_OF_RANGE {
		t.Errorf("want the answer to update 11, got %v", updated)
	}
	if err := slow.faults(); err != nil {
		t.Error(err)
	}
}

func TestACloseEndsTheUpdateThatBlocks(t *testing.T) {
	entered := make(chan struct{})
	server := start(t, Options{}, nil)
	server.pool.onUpdate = func(ctx context.Context, _ *poolChannel, _ sv2.UpdateRequest) error {
		close(entered)
		<-ctx.Done()
		return ctx.Err()
	}
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	channel := server.pool.only()
	c.update(&sv2pb.UpdateChannel{ChannelId: 1, MaxTarget: halfTarget[:], RequestId: 1})
	<-entered
	c.closeChannel(1, "gone")
	eventually(t, "the close reaches the host", func() bool { return server.pool.open() == 0 })
	c.ping(1) // no ChannelUpdated came for the closed channel
	if err := channel.faults(); err != nil {
		t.Error(err)
	}
}

func TestRejectsUpdatesThatCannotBe(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	for i, test := range []struct {
		update *sv2pb.UpdateChannel
		want   sv2.RefuseReason
	}{
		{&sv2pb.UpdateChannel{ChannelId: 9, MaxTarget: halfTarget[:]}, sv2.RefuseInvalidChannelID},
		{&sv2pb.UpdateChannel{ChannelId: 1, MaxTarget: make([]byte, 32)}, sv2.RefuseMaxTarget},
		{&sv2pb.UpdateChannel{ChannelId: 1, NominalHashRate: -1, MaxTarget: halfTarget[:]}, sv2.RefuseHashRate},
	} {
		test.update.RequestId = uint32(i)
		c.update(test.update)
		got := c.next().GetChannelUpdated()
		if got.GetRequestId() != uint32(i) || got.GetRefused() != sv2pb.RefuseReason(test.want) {
			t.Errorf("update %v became %v", test.update, got)
		}
	}
}

func TestRejectsUpdatesBeyondTheQueueOfAChannel(t *testing.T) {
	hold := make(chan struct{})
	server := start(t, Options{}, nil)
	server.pool.onUpdate = func(ctx context.Context, _ *poolChannel, _ sv2.UpdateRequest) error {
		select {
		case <-hold:
		case <-ctx.Done():
		}
		return nil
	}
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	for id := range uint32(maxUpdates + 1) {
		c.update(&sv2pb.UpdateChannel{ChannelId: 1, MaxTarget: halfTarget[:], RequestId: id})
	}
	got := c.next().GetChannelUpdated()
	if got.GetRequestId() != maxUpdates ||
		got.GetRefused() != sv2pb.RefuseReason_REFUSE_REASON_RATE_LIMITED {
		t.Fatalf("want a refusal of the last one, got %v", got)
	}
	close(hold)
	for id := range uint32(maxUpdates) {
		if got := c.next().GetChannelUpdated(); got.GetRequestId() != id || got.GetRefused() != 0 {
			t.Fatalf("want the answer to %d, got %v", id, got)
		}
	}
}
