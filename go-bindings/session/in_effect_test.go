// What the host hears of the targets that miners were told.

package session

import (
	"context"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// inEffect says that the miner was told a target when the pool wanted the other.
func (c *client) inEffect(wanted, target []byte) {
	c.t.Helper()
	c.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_TargetInEffect{
		TargetInEffect: &sv2pb.TargetInEffect{ChannelId: 1, WantedTarget: wanted, Target: target}}})
}

// reports are what the host was told of targets.
func (c *poolChannel) reports() []inEffect {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.told)
}

func TestTargetInEffectReachesAHostThatWantsIt(t *testing.T) {
	harder := sv2.Target{30: 1}
	for name, test := range map[string]struct{ wanted, target []byte }{
		"no target": {halfTarget[:], make([]byte, 32)}, "no wanted target": {make([]byte, 32), harder[:]},
		"wanted target left out": {nil, harder[:]},
	} {
		t.Run(name, func(t *testing.T) {
			server := start(t, Options{}, nil)
			c, _ := server.welcomed(t, goodHello(1))
			c.open(goodOpen(1))
			channel := server.pool.only()
			c.inEffect(halfTarget[:], harder[:])
			eventually(t, "the host is told", func() bool {
				return slices.Equal(channel.reports(), []inEffect{{halfTarget, harder}})
			})
			c.inEffect(test.wanted, test.target)
			c.ends(codes.InvalidArgument)
		})
	}
}

func TestAReportOnAnOlderTargetIsNoAnswerToANewerOne(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	channel := server.pool.only()
	one, two, three := sv2.Target{30: 1}, sv2.Target{30: 2}, sv2.Target{30: 3}
	// They cross: what the sidecar says of the target of the open, when there is a newer one.
	channel.sink.Target(two)
	c.inEffect(halfTarget[:], one[:])
	c.inEffect(two[:], three[:])
	eventually(t, "the host is told", func() bool { return len(channel.reports()) > 0 })
	if got := channel.reports(); !slices.Equal(got, []inEffect{{two, three}}) {
		t.Errorf("the host was told %v", got)
	}
}

func TestAReportThatWaitedForTheHostIsHeldAgainstItsNewestTarget(t *testing.T) {
	entered, hold := make(chan struct{}), make(chan struct{})
	server := start(t, Options{}, nil)
	server.pool.onUpdate = func(_ context.Context, c *poolChannel, _ sv2.UpdateRequest) error {
		close(entered)
		<-hold
		c.sink.Target(sv2.Target{30: 2})
		return nil
	}
	c, _ := server.welcomed(t, goodHello(1))
	c.open(goodOpen(1))
	channel := server.pool.only()
	c.update(&sv2pb.UpdateChannel{ChannelId: 1, MaxTarget: halfTarget[:], RequestId: 1})
	<-entered
	c.inEffect(halfTarget[:], halfTarget[:]) // behind the update
	c.ping(1)
	close(hold)
	for c.next().GetChannelUpdated() == nil {
		continue
	}
	two := sv2.Target{30: 2}
	c.inEffect(two[:], two[:])
	eventually(t, "the host is told", func() bool { return len(channel.reports()) > 0 })
	if got := channel.reports(); !slices.Equal(got, []inEffect{{two, two}}) {
		t.Errorf("the host was told %v", got)
	}
}
