// How a channel ends, and who hears of it.
package sv1host

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

func messageLine(text string) string {
	return `{"id":null,"method":"client.show_message","params":["` + text + `"]}` + "\n"
}

// kicked waits for the farewell; nothing may follow it.
func (m *miner) kicked() sv2.Kick {
	m.t.Helper()
	kick := await[sv2.Kick](m.t, m.tape, 1)[0]
	<-m.peer.gone
	if m.tape.tooLate != 0 {
		m.t.Errorf("%d events after the kick", m.tape.tooLate)
	}
	return kick
}

func TestSendsTheMinerAway(t *testing.T) {
	for _, test := range []struct {
		name   string
		write  string
		close  bool
		action sv2.KickAction
		reason string
	}{
		{"banned", messageLine("Banned until 2030: invalid shares"), false, sv2.KickChannel, "Banned until"},
		{"closed", "", true, sv2.KickChannel, "closed the connection"},
		{"paused", messageLine("Pool paused: node updates degraded."), true, sv2.KickConnection, "no work"},
		{"told something", messageLine("Warning: slow"), true, sv2.KickChannel, "closed the connection"},
		{"another extranonce", `{"id":null,"method":"mining.set_extranonce","params":["ff",4]}` + "\n", false,
			sv2.KickReconnect, "extranonce"},
		{"to reconnect", `{"id":null,"method":"client.reconnect","params":["elsewhere",3333,1]}` + "\n",
			false, sv2.KickReconnect, "reconnect"},
		{"a line without end", strings.Repeat("x", maxLine+1), false, sv2.KickChannel, "without end"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, usual(), nil)
			m := r.open(extendedRequest())
			m.Submit([]sv2.Submit{m.share(m.opened.Job)})
			m.peer.submit()
			m.peer.write(test.write)
			if test.close {
				_ = m.peer.conn.Close()
			}
			kick := m.kicked()
			if kick.Action != test.action || !strings.Contains(kick.Reason, test.reason) ||
				kick.Host != "" || kick.Port != 0 {
				t.Errorf("%+v", kick)
			}
			// What was under way is answered before that.
			if got := of[sv2.Verdict](m.tape); len(got) != 1 || got[0].Reason != sv2.RejectUnavailable {
				t.Errorf("verdicts %+v", got)
			}
			if r.Channels() != 0 {
				t.Error("the channel stays")
			}
			m.Submit([]sv2.Submit{m.share(m.opened.Job)}) // the carrier may not know yet
			m.Close("the carrier, too")
		})
	}
}

func TestSendsAwayWhoIsNotAuthorizedAnyMore(t *testing.T) {
	r := newRig(t, usual(), nil)
	m := r.open(extendedRequest())
	m.Submit([]sv2.Submit{m.share(m.opened.Job)})
	m.peer.answer(m.peer.submit(), `"result":false,"error":[24,"banned until 2030",null]`)
	if kick := m.kicked(); kick.Action != sv2.KickChannel || !strings.Contains(kick.Reason, "banned") {
		t.Errorf("%+v", kick)
	}
	if got := of[sv2.Verdict](m.tape); len(got) != 1 || got[0].Reason != sv2.RejectUnauthorized {
		t.Errorf("%+v", got)
	}
}

func TestAPoolThatWritesTooMuchLosesTheChannel(t *testing.T) {
	r := newRig(t, usual(), func(o *Options) { o.MaxInFlight = 1 })
	m := r.open(extendedRequest())
	// One Write, so that no reader can be quick enough.
	if _, err := m.peer.conn.Write([]byte(strings.Repeat(difficultyLine(1), 1+spareLines+1))); err == nil {
		t.Error("the pool's Write took it")
	}
	if kick := m.kicked(); !strings.Contains(kick.Reason, "more than can be taken") {
		t.Errorf("%+v", kick)
	}
}

func TestSuspendsChannelsOfAPoolThatRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, blockPool(), nil)
		m := r.open(extendedRequest())
		m.judge(m.block(false)) // a result is owed
		m.peer.write(messageLine("Pool restarting; please reconnect."))
		synctest.Wait()
		if len(of[sv2.Kick](m.tape)) != 0 {
			t.Fatal("sent away for the announcement")
		}
		// Until the pool hangs up, blocks still go to it.
		m.judge(m.block(false))
		m.peer.submit()
		m.peer.submit()
		_ = m.peer.conn.Close()
		synctest.Wait()
		for _, result := range of[sv2.BlockResult](m.tape) {
			if result.Accepted || !result.Unknown || !strings.Contains(result.Detail, "restarting") {
				t.Errorf("%+v", result)
			}
		}
		if n := len(of[sv2.BlockResult](m.tape)); n != 2 {
			t.Errorf("%d results of 2 blocks", n)
		}
		time.Sleep(DefaultSuspendFor - time.Second)
		if len(of[sv2.Kick](m.tape)) != 0 {
			t.Error("sent away while the pool restarts")
		}
		if got := m.judge(m.block(false)); !got.BlockCandidate {
			t.Errorf("%+v", got)
		}
		if n := len(of[sv2.BlockResult](m.tape)); n != 3 {
			t.Errorf("%d results of 3 blocks", n)
		}
		time.Sleep(2 * time.Second)
		if got := of[sv2.Kick](m.tape); len(got) != 1 || got[0].Action != sv2.KickReconnect {
			t.Errorf("the pool is still there: %+v", got)
		}
		r.close()
	})
}

func TestAcceptsNothingWhileThePoolRestarts(t *testing.T) {
	r := newRig(t, usual(), nil)
	m := r.open(extendedRequest())
	m.peer.write(messageLine("Pool restarting; please reconnect."))
	_ = m.peer.conn.Close()
	<-m.peer.gone
	// A share that is too early still goes to the connection's queue, and is lost with it.
	if got := m.judge(m.share(m.opened.Job)); got.Reason != sv2.RejectUnavailable || !got.Credit.IsZero() {
		t.Errorf("%+v", got)
	}
	m.end() // ends the wait, too
	if r.Channels() != 0 {
		t.Error("the channel stays")
	}
}

func TestPingsAPoolThatHearsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, usual(), nil)
		m := r.open(extendedRequest())
		for range 3 { // subscribe, authorize, configure
			<-m.peer.requests
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		pings := len(m.peer.requests)
		if pings < 7 || pings > 10 {
			t.Errorf("%d pings in 10 minutes", pings)
		}
		for range pings {
			if got := <-m.peer.requests; got.Method != methodPing {
				t.Errorf("the pool got %s", got.line)
			}
		}
		if len(of[sv2.Kick](m.tape)) != 0 {
			t.Error("sent away")
		}
		m.end()
		r.close()
	})
}

func TestCloseEndsAllChannels(t *testing.T) {
	r := newRig(t, usual(), nil)
	miners := []*miner{r.open(extendedRequest()), r.open(extendedRequest())}
	r.close()
	for _, m := range miners {
		<-m.peer.gone
		if len(m.tape.events) != 0 {
			t.Errorf("the sink was told %v", m.tape.events)
		}
	}
	_, _, err := r.OpenChannel(context.Background(), extendedRequest(), newTape())
	if reasonOfError(t, err) != sv2.RefuseNoWork {
		t.Error(err)
	}
	r.close()
}

func TestCloseSaysThatThePoolGoesOn(t *testing.T) {
	stuck, asked := make(chan struct{}), make(chan struct{}, 1)
	r := newRig(t, usual(), func(o *Options) {
		o.Serve = func(ctx context.Context, _ net.Conn) {
			asked <- struct{}{}
			<-ctx.Done()
			<-stuck
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	opened := make(chan error)
	go func() {
		_, _, err := r.OpenChannel(ctx, extendedRequest(), newTape())
		opened <- err
	}()
	<-asked
	cancel()
	if err := r.Close(ctx); err == nil || !strings.Contains(err.Error(), "Serve must return") {
		t.Errorf("close: %v", err)
	}
	close(stuck)
	if err := <-opened; reasonOfError(t, err) != sv2.RefuseNoWork {
		t.Error(err)
	}
}

func TestRejectsOptionsWithTheRemedy(t *testing.T) {
	serve := func(context.Context, net.Conn) {}
	for want, options := range map[string]Options{
		"Serve is nil":               {MinDifficulty: 1},
		"MinDifficulty is 0":         {Serve: serve},
		"at least MinDifficulty (2)": {Serve: serve, MinDifficulty: 2, MaxDifficulty: 1},
		"SharesPerMinute":            {Serve: serve, MinDifficulty: 1, SharesPerMinute: -1},
		"at most 64":                 {Serve: serve, MinDifficulty: 1, Software: strings.Repeat("x", 65)},
		"MaxInFlight is -1":          {Serve: serve, MinDifficulty: 1, MaxInFlight: -1},
		"SuspendFor is -1ns":         {Serve: serve, MinDifficulty: 1, SuspendFor: -1},
		"VersionBits or":             {Serve: serve, MinDifficulty: 1, Version: 2},
		"sv2.StaleHost or":           {Serve: serve, MinDifficulty: 1, StaleRule: 3},
	} {
		if _, err := New(options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want a word of %q", err, want)
		}
	}
}
