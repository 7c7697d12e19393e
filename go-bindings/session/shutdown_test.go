// Stopping.

package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

func TestShutdownDrainsAndWaitsForTheSidecar(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- server.Shutdown(ctx) }()
	if drain := c.next().GetDrain(); drain.GetGraceMs() == 0 || drain.GetReason() == "" {
		t.Fatalf("want Drain, got %v", drain)
	}
	c.submit(share(1, 1, 1)) // what is in flight is still served
	if c.next().GetVerdictBatch() == nil {
		t.Error("no verdict")
	}
	want := sv2pb.RefuseReason_REFUSE_REASON_NO_WORK
	if got := c.refused(goodOpen(2)).GetReason(); got != want {
		t.Errorf("open while stopping: %v", got)
	}
	late := server.connect(t)
	late.hello(goodHello(2))
	late.ends(codes.Unavailable)
	if err := c.stream.CloseSend(); err != nil {
		t.Error(err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if n := server.pool.open(); n != 0 {
		t.Errorf("%d channels are open", n)
	}
}

func TestShutdownCutsOffASidecarThatStays(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	silent := server.connect(t) // never says Hello
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- server.Shutdown(ctx) }()
	if c.next().GetDrain() == nil {
		t.Error("want Drain")
	}
	cancel()
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	c.ends(codes.Unavailable)
	silent.ends(codes.Unavailable)
	if n := server.pool.open(); n != 0 {
		t.Errorf("%d channels are open", n)
	}
}

func TestShutdownEndsAHandshakeWithoutDrain(t *testing.T) {
	asked, hold := make(chan struct{}), make(chan struct{})
	server := start(t, Options{}, nil)
	server.pool.onLimits = func() {
		close(asked)
		<-hold
	}
	c := server.connect(t)
	c.hello(goodHello(1))
	<-asked
	stopped := make(chan error, 1)
	go func() { stopped <- server.Shutdown(context.Background()) }()
	if m, err := c.stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, %v before Welcome", m, err)
	}
	close(hold)
	if err := <-stopped; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// A host that ignores its context holds up its own channel and the end of the server, nothing else.
func TestSurvivesAHostThatNeverReturns(t *testing.T) {
	hold := make(chan struct{})
	entered := make(chan struct{}, 1)
	server := start(t, Options{ResumeWindow: time.Millisecond}, nil)
	server.pool.onUpdate = func(context.Context, *poolChannel, sv2.UpdateRequest) error {
		entered <- struct{}{}
		<-hold
		return nil
	}
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	c.open(goodOpen(2))
	c.update(&sv2pb.UpdateChannel{ChannelId: 1, MaxTarget: halfTarget[:]})
	<-entered
	c.cancel()
	eventually(t, "the other channel is closed", func() bool { return server.pool.open() == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := server.Shutdown(ctx); err == nil {
		t.Error("Shutdown found nothing to complain about")
	}
	close(hold)
	eventually(t, "the channel is closed after all", func() bool { return server.pool.open() == 0 })
}

func TestTheLogTellsASidecarThatLeftFromASessionThatFailed(t *testing.T) {
	server := start(t, Options{}, nil)
	for number, leave := range []func(*client){
		func(c *client) { c.leave() },
		func(c *client) { c.hangUp() },
		func(c *client) { c.cancel() },
	} {
		c, _ := server.welcomed(t, goodHello(byte(number)))
		c.open(goodOpen(1))
		leave(c)
		eventually(t, "the stream is over", func() bool {
			return strings.Count(server.logs.String(), "sidecar disconnected") == number+1
		})
	}
	if text := server.logs.String(); strings.Contains(text, "cause") ||
		strings.Count(text, "its channels wait for it") != 2 ||
		!slices.Equal(server.pool.reasons(), []string{"the sidecar disconnected"}) {
		t.Errorf("a fault was told: %s\n%q", text, server.pool.reasons())
	}
	c, _ := server.welcomed(t, goodHello(3))
	c.submit() // an empty batch
	c.ends(codes.InvalidArgument)
	eventually(t, "the fault is in the log", func() bool {
		return strings.Contains(server.logs.String(), `msg="session ended"`) &&
			strings.Contains(server.logs.String(), "SubmitBatch has 0 submits")
	})
}
