// What a miner is owed when the pool ends his channel.
package sv1host

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/internal/testlog"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// logs is what the host logged.
type logs = testlog.Buffer

// reply is the line that answers a submit.
func reply(a asked, answer string) string { return fmt.Sprintf(`{"id":%s,%s}`, a.ID, answer) + "\n" }

func TestWhatThePoolAcceptedIsToldThoughTheChannelEndsInTheSameBreath(t *testing.T) {
	unauthorized := `"result":false,"error":[24,"banned",null]`
	for name, last := range map[string]func(a asked) string{
		"a ban":               func(asked) string { return messageLine("Banned until 2030: invalid shares") },
		"another extranonce":  func(asked) string { return `{"method":"mining.set_extranonce","params":["ff",4]}` + "\n" },
		"a reconnect":         func(asked) string { return `{"method":"client.reconnect","params":[]}` + "\n" },
		"a line without end":  func(asked) string { return strings.Repeat("x", maxLine+1) },
		"an unauthorized one": func(a asked) string { return reply(a, unauthorized) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, usual(), nil)
			m := r.open(extendedRequest())
			m.Submit([]sv2.Submit{m.share(m.opened.Job), m.share(m.opened.Job), m.share(m.opened.Job)})
			first, second, third := m.peer.submit(), m.peer.submit(), m.peer.submit()
			m.peer.write(reply(first, yes) + reply(second, yes) + last(third)) // one Write: one read
			m.kicked()
			got := of[sv2.Verdict](m.tape)
			if len(got) != 3 {
				t.Fatalf("%d verdicts on 3 shares: %+v", len(got), got)
			}
			for i, want := range []bool{true, true, false} {
				if got[i].Accepted() != want || got[i].Credit.IsZero() == want {
					t.Errorf("share %d: %+v", i+1, got[i])
				}
			}
		})
	}
}

func TestABlockThatNobodyHasLookedAtReachesThePoolThatSendsTheMinerAway(t *testing.T) {
	r := newRig(t, blockPool(), nil)
	m := r.open(extendedRequest())
	c := m.Channel.(*channel)
	network, err := sv2.TargetFromNBits(m.opened.Job.NBits)
	if err != nil {
		t.Fatal(err)
	}
	share := m.find(m.opened.Job, func(hash sv2.Hash) bool { return !hash.Meets(network) })
	block := m.block(false)
	c.mu.Lock() // as if the pool's line was read before the shares were looked at
	c.queue = append(c.queue, share, block)
	c.mu.Unlock()
	c.giveUp(sv2.KickChannel, "banned")
	if got := m.peer.submit(); string(got.ID) != fmt.Sprint(block.ID) {
		t.Errorf("the pool got %s", got.line)
	}
	m.kicked()
	select {
	case got := <-m.peer.submits:
		t.Errorf("the pool got %s, too", got.line)
	default:
	}
	for i, verdict := range of[sv2.Verdict](m.tape) {
		if verdict.Reason != sv2.RejectUnavailable || verdict.BlockCandidate != (i == 1) {
			t.Errorf("%+v", verdict)
		}
	}
	if got := of[sv2.BlockResult](m.tape); len(got) != 1 || !got[0].Unknown || got[0].SubmitID != block.ID {
		t.Errorf("%+v", got)
	}
}

func TestABlockThatThePoolDidNotGetIsNotCredited(t *testing.T) {
	logs := &logs{}
	r := newRig(t, blockPool(), func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(logs, nil)) })
	m := r.open(extendedRequest())
	defer m.end()
	m.peer.write(messageLine("Pool restarting; please reconnect."))
	_ = m.peer.conn.Close()
	<-m.peer.gone
	var lost []sv2.Submit
	for range 4 { // before the channel has heard of it, and after
		share := m.block(false)
		lost = append(lost, share)
		got := m.judge(share)
		if got.Accepted() || !got.Credit.IsZero() || !got.BlockCandidate || got.Hash == (sv2.Hash{}) {
			t.Errorf("%+v", got)
		}
	}
	for _, result := range await[sv2.BlockResult](t, m.tape, 4) {
		if result.Accepted || !result.Unknown {
			t.Errorf("%+v", result)
		}
	}
	for _, share := range lost { // the operator has what it takes to submit them by hand
		header := sv2.Header(m.opened.Job,
			sv2.MerkleRoot(m.opened.Job, m.opened.Prefix, share.Extranonce), share)
		coinbase := sv2.Coinbase(m.opened.Job, m.opened.Prefix, share.Extranonce)
		if text := logs.String(); !strings.Contains(text, fmt.Sprintf("header=%x coinbase=%x", header, coinbase)) {
			t.Errorf("the log says %s", text)
		}
	}
	// Nor are those beyond what may wait.
	r = newRig(t, blockPool(), func(o *Options) { o.MaxInFlight = 1 })
	m = r.open(extendedRequest())
	defer m.end()
	m.judge(m.block(false))
	c := m.Channel.(*channel)
	c.mu.Lock()
	for id := range uint64(1 + spareLines) {
		c.pending[1<<40+id] = &share{}
	}
	c.queue = append(c.queue, m.block(false))
	c.mu.Unlock()
	c.nudge()
	if got := await[sv2.Verdict](t, m.tape, 2)[1]; got.Reason != sv2.RejectUnavailable || !got.BlockCandidate {
		t.Errorf("with no room: %+v", got)
	}
}
