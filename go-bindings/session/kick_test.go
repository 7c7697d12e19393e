// Kicks that meet a close on their way.

package session

import (
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

func TestAKickOfAConnectionIsToldThoughTheSidecarJustClosedTheChannelItCameThrough(t *testing.T) {
	closing, hold := make(chan struct{}, 3), make(chan struct{})
	server := start(t, Options{}, func(p *pool) {
		p.onClose = func() {
			closing <- struct{}{}
			<-hold
		}
	})
	c, _ := server.welcomed(t, goodHello(1))
	for id := uint64(1); id <= 3; id++ {
		request := goodOpen(id)
		request.Connection.Id = 1 + id/3 // 3 is on another
		c.open(request)
	}
	all := server.pool.all
	c.closeChannel(1, "closed by the miner")
	<-closing // the host is about to hear of it
	all[0].sink.Kick(sv2.Kick{Action: sv2.KickConnection, Reason: "banned"})
	kick := c.next().GetKick()
	if kick.GetChannelId() != 2 || kick.GetReason() != "banned" ||
		kick.GetAction() != sv2pb.KickAction_KICK_ACTION_CLOSE_CONNECTION {
		t.Errorf("kick %v, want one that names the channel that is left", kick)
	}
	close(hold)
	eventually(t, "the other of the connection is closed", func() bool { return server.pool.open() == 1 })
	c.submit(share(1, 3, 1))
	if v := c.verdict(); v.GetReason() == sv2pb.RejectReason_REJECT_REASON_INVALID_CHANNEL_ID {
		t.Error("the channel of the other connection is closed")
	}
}
