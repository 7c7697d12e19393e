// Kicks that meet a close on their way.

package session

import (
	"testing"
	"time"

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

func TestASubmitThatComesAgainWhileItsConnectionIsKickedHasOneVerdict(t *testing.T) {
	server := start(t, Options{}, nil)
	c, _ := server.welcomed(t, goodHello(1))
	for id := uint64(1); id <= 2; id++ {
		request := goodOpen(id)
		request.Connection.Id = 1
		c.open(request)
	}
	server.pool.pause(true)
	submit := share(1, 2, 1)
	c.submit(submit)
	other := server.pool.all[1].sink.(*sink)
	eventually(t, "the host owes a verdict", func() bool { return other.owes(1) })
	c.cancel()
	server.detached(t, 1)
	c, _ = server.resumed(t, comeBack(1, server, 1, 2))
	session := other.channel.session

	// The host's verdict waits at the channel, the kick that ends the channel behind it.
	other.mu.Lock()
	done := make(chan struct{}, 2)
	go func() {
		other.Verdicts([]sv2.Verdict{{SubmitID: 1, Credit: sv2.Difficulty{Whole: 1}}})
		done <- struct{}{}
	}()
	time.Sleep(10 * time.Millisecond)
	go func() {
		server.pool.all[0].kick(sv2.Kick{Action: sv2.KickConnection, Reason: "banned"})
		done <- struct{}{}
	}()
	eventually(t, "the kick is under way", func() bool {
		if !session.mu.TryLock() {
			return true
		}
		defer session.mu.Unlock()
		return session.channels[2] == nil
	})
	c.submit(submit)
	time.Sleep(50 * time.Millisecond)
	other.mu.Unlock()
	<-done
	<-done

	c.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_Ping{Ping: &sv2pb.Ping{Id: 1}}})
	verdicts := 0
	for m := c.next(); m.GetPong() == nil; m = c.next() {
		verdicts += len(m.GetVerdictBatch().GetVerdicts())
	}
	if verdicts != 1 {
		t.Errorf("%d verdicts on one submit, want one", verdicts)
	}
	server.pool.pause(false)
}
