// Updates, and what a slow host may not hold up.

package grpchost

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"

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
	// Submits and a close of the busy channel wait behind the update, in order; channel 2 goes on.
	c.submit(share(1, 1, 1), share(2, 2, 2))
	if got := c.next().GetVerdictBatch().GetVerdicts(); len(got) != 1 || got[0].GetSubmitId() != 2 {
		t.Fatalf("want the verdict of 2, got %v", got)
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
	var updated *sv2pb.ChannelUpdated
	var verdicts []*sv2pb.Verdict
	for updated == nil || verdicts == nil { // verdicts may overtake
		m := c.next()
		if m.GetChannelUpdated() != nil {
			updated = m.GetChannelUpdated()
		} else {
			verdicts = m.GetVerdictBatch().GetVerdicts()
		}
	}
	if updated.GetRequestId() != 11 || updated.GetDetail() != "no" ||
		updated.GetRefused() != sv2pb.RefuseReason_REFUSE_REASON_MAX_TARGET_OUT_OF_RANGE {
		t.Errorf("want the answer to update 11, got %v", updated)
	}
	if len(verdicts) != 1 || verdicts[0].GetSubmitId() != 1 {
		t.Errorf("want the verdict of 1, got %v", verdicts)
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
	c.submit(share(1, 1, 1))
	c.closeChannel(1, "gone")
	eventually(t, "the close reaches the host", func() bool { return server.pool.open() == 0 })
	c.ping(1) // neither ChannelUpdated nor a verdict came for the closed channel
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

func TestTargetInEffectReachesAHostThatWantsIt(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	send := func(target []byte) {
		c.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_TargetInEffect{
			TargetInEffect: &sv2pb.TargetInEffect{ChannelId: 1, Target: target}}})
	}
	send(halfTarget[:])
	channel := server.pool.only()
	eventually(t, "the host is told", func() bool {
		channel.mu.Lock()
		defer channel.mu.Unlock()
		return len(channel.told) == 1 && channel.told[0] == halfTarget
	})
	send(make([]byte, 32))
	c.ends(codes.InvalidArgument)
}
