// What a miner is owed when the pool ends his channel.
package sv1host

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

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
