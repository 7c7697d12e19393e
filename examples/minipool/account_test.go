// What the pool promises about user identities, and about the money in a block.

package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/examples/minipool/template"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

func TestRefusesIdentitiesThatItCannotPay(t *testing.T) {
	r := newRig(t, t.TempDir())
	s := dial(t, r.settings.socket)
	good := payoutAddress(t)
	for identity, want := range map[string]sv2.RefuseReason{
		"":                        sv2.RefuseInvalidUserIdentity,
		"worker":                  sv2.RefuseUnknownUser,
		".worker":                 sv2.RefuseUnknownUser,
		good[:len(good)-1]:        sv2.RefuseUnknownUser,
		good + " .worker":         sv2.RefuseUnknownUser,
		strings.Repeat("x", 255):  sv2.RefuseUnknownUser,
		strings.Repeat("\n", 255): sv2.RefuseUnknownUser,
		"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4": sv2.RefuseUnknownUser, // another network's
		"\xff\xfe\x00": sv2.RefuseUnknownUser,
	} {
		for _, kind := range kinds {
			c := s.ask(kind, []byte(identity))
			if c.refused == nil {
				t.Errorf("%q was let in", identity)
				continue
			}
			detail := c.refused.GetDetail()
			if sv2.RefuseReason(c.refused.GetReason()) != want || detail == "" || len(detail) > 255 {
				t.Errorf("%q: %v", identity, c.refused)
			}
		}
	}
	if n := len(r.pool.Channels()); n != 0 {
		t.Errorf("%d channels are open", n)
	}
}

// hostileWorkers follow an address and a dot.
var hostileWorkers = []string{
	"plain", "", ".", "a.b.c", "two\nlines", "\r\n{\"event\":\"verdict\",\"accepted\":true}\n",
	`","accepted":false,"x":"`, `\`, `\"`, `"'` + "`", "\x00", "nul\x00in between", "\xff\xfe\xfd",
	"cut \xe2\x82", "\u2028\u2029", "\x1b[31mred", "<script>", "%s%n", "=1+1", "snow ☃",
	strings.Repeat("\xff", 200), strings.Repeat("\n", 200),
}

func TestSurvivesHostileIdentities(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		r := newRig(t, t.TempDir(), "-log-format", format)
		s := dial(t, r.settings.socket)
		users := map[string]bool{}
		for i, worker := range hostileWorkers {
			user := payoutAddress(t) + "." + worker
			users[user] = true
			c := s.open(kinds[i%2], user)
			submit, _ := c.share()
			submit.Worker = []byte(worker)[:min(len(worker), 32)]
			if got := s.judge(submit)[0]; !got.GetAccepted() {
				t.Errorf("share of %q: %v", user, got)
			}
		}
		lines := r.book("verdict")
		if len(lines) != len(hostileWorkers) {
			t.Errorf("%d verdicts in the journal, want %d", len(lines), len(hostileWorkers))
		}
		for _, line := range lines {
			user, err := strconv.Unquote(`"` + line.User + `"`)
			if err != nil || !users[user] || !line.Accepted {
				t.Errorf("journal has %+v (%v)", line, err)
			}
			delete(users, user)
		}
		s.hangUp()
		r.end()
		for text := range strings.Lines(r.logs.String()) {
			if format == "text" && !strings.HasPrefix(text, "time=") ||
				format == "json" && !json.Valid([]byte(text)) {
				t.Errorf("log line %q", text)
			}
			for _, b := range []byte(strings.TrimSuffix(text, "\n")) {
				if b < 0x20 || b > 0x7e {
					t.Errorf("log line with byte %#x: %q", b, text)
					break
				}
			}
		}
	}
}

func TestPayoutsSpendTheWholeBlock(t *testing.T) {
	miner, pool := []byte{1}, []byte{2}
	for _, test := range []struct {
		percent         float64
		value           int64
		toMiner, toPool int64
	}{
		{2, 5_000_000_000, 4_900_000_000, 100_000_000},
		{0, 5_000_000_000, 5_000_000_000, 0},
		{100, 5_000_000_000, 0, 5_000_000_000},
		{0.01, 19_999, 19_998, 1},
		{33.33, 1, 1, 0}, // rounded in the miner's favour
		{2, 2_100_000_000_000_000, 2_058_000_000_000_000, 42_000_000_000_000},
	} {
		got := map[byte]int64{}
		for _, output := range newPayouts(pool, test.percent).outputs(test.value, miner) {
			if output.Value == 0 {
				t.Errorf("%+v: an output of nothing", test)
			}
			got[output.PkScript[0]] += output.Value
		}
		if got[1] != test.toMiner || got[2] != test.toPool {
			t.Errorf("%+v: miner %d, pool %d", test, got[1], got[2])
		}
	}
}

func TestTestAddressesArePayableAndNeverTheSame(t *testing.T) {
	r := newRig(t, t.TempDir())
	one, two := payoutAddress(t), payoutAddress(t)
	if one == two {
		t.Errorf("%s twice", one)
	}
	if script, err := template.PayoutScript(one, r.chain.Params()); err != nil || len(script) != 22 {
		t.Errorf("%s: script %x, %v", one, script, err)
	}
}
