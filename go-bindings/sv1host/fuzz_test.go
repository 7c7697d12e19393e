// Whatever a pool writes is read or refused, and whatever a miner is called stays in its line.
package sv1host

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"
	"unicode/utf8"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

func FuzzReadLine(f *testing.F) {
	for _, line := range []string{
		notifyLine("1", 'a', hardBits, true), difficultyLine(0.5), messageLine("Banned: no"),
		`{"id":1,"result":[[],"a1b2",4],"error":null}`,
		`{"id":"2","result":{"version-rolling":true,"version-rolling.mask":"1fffffe0"}}`,
		`{"id":3,"result":null,"error":[21,"job not found",null]}`,
		`{"id":4,"result":false,"error":{"code":-1,"message":"no"}}`, `{"id":null,"params":["1fffe000"]}`,
		`{}`, `[]`, `null`, `{"id":18446744073709551615,"result":true}`, "\xff", `{"params":[1e999]}`,
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := parseMessage(line)
		if err != nil {
			return
		}
		if fault := m.fault(); fault != nil {
			if reason := rejectOf(fault); reason == sv2.RejectNone {
				t.Errorf("error %v is no reject", fault)
			}
			if printable(fault.Error()) == "" || refusalOf(methodAuthorize, fault).Reason == 0 {
				t.Errorf("error %v says nothing", fault)
			}
		}
		if n, err := parseNotify(m.Params); err == nil {
			if len(n.coinb1) == 0 || len(n.coinb2) == 0 {
				t.Errorf("coinbase %x … %x", n.coinb1, n.coinb2)
			}
			heightIn(n.coinb1)
		}
		if s, err := parseSubscription(m.Result); err == nil {
			if sum := len(s.extranonce1) + s.extranonce2Size; len(s.extranonce1) < 1 ||
				s.extranonce2Size < 1 || sum > maxExtranonce {
				t.Errorf("extranonce %+v", s)
			}
		}
		if d, err := parseDifficulty(m.Params); err == nil && (!(d > 0) || math.IsInf(d, 1)) {
			t.Errorf("difficulty %v", d)
		}
		if text, err := parseText(m.Params); err == nil && announcementIn(text) > announcePause {
			t.Errorf("announcement %q", text)
		}
		_, _ = parseMask(m.Result)
		m.id()
	})
}

func FuzzWriteLine(f *testing.F) {
	f.Add("alice.rig", uint32(1), []byte{1, 2})
	f.Add("\"]}\n{\"id\":1}", uint32(0), []byte{})
	f.Add("\x00\xff\u2028\r\n", ^uint32(0), make([]byte, 32))
	f.Fuzz(func(t *testing.T, name string, word uint32, extranonce []byte) {
		submit := sv2.Submit{ID: uint64(word), NTime: word, Nonce: ^word}
		lines := appendSubmit(nil, &submit, quote(name), quote("job"+name), extranonce, word, true)
		called, err := request(uint64(word), methodAuthorize, name, []string{name})
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range [][]byte{lines, called} {
			if bytes.Count(line, []byte{'\n'}) != 1 || line[len(line)-1] != '\n' {
				t.Fatalf("%q is not one line", line)
			}
			for _, b := range line[:len(line)-1] {
				if b < 0x20 {
					t.Fatalf("%q has a control character", line)
				}
			}
			var back asked
			if err := json.Unmarshal(line, &back); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			var got string
			if err := json.Unmarshal(back.Params[0], &got); err != nil ||
				utf8.ValidString(name) && got != name {
				t.Fatalf("%q came back as %q, %v", name, got, err)
			}
		}
	})
}
