// What opening a channel promises.
package sv1host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

func TestIntroducesItselfInTheOrderThatPoolsExpect(t *testing.T) {
	r := newRig(t, usual(), func(o *Options) {
		o.Password = func(sv2.OpenRequest) string { return `se"cret` }
	})
	request := extendedRequest()
	request.NominalHashRate = 5e9
	m := r.open(request)
	defer m.end()
	for _, want := range []string{
		`"method":"mining.subscribe","params":["sv2:maker/1.0"]`,
		`"method":"mining.authorize","params":["alice.rig","se\"cret"]`,
		`"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"1fffffe0"}]`,
		// 5e9 * 60 / (6 * 2^32)
		`"method":"mining.suggest_difficulty","params":[11.641532182693481]`,
	} {
		if got := (<-m.peer.requests).line; !strings.Contains(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if m.opened.Job.ID != 1 || m.opened.Job.Height != 773 ||
		m.opened.Target != sv2.TargetFromDifficulty(easyDifficulty) ||
		m.opened.Job.VersionMask != sv2.RollableVersionBits || m.opened.Job.StaleRule != sv2.StaleHost {
		t.Errorf("opened with %+v, %+v", m.opened, m.opened.Job)
	}
}

func TestMovesHintsIntoThePoolsLimits(t *testing.T) {
	for _, test := range []struct {
		name    string
		request func(*sv2.OpenRequest)
		want    string
	}{
		{"slow", func(r *sv2.OpenRequest) { r.NominalHashRate = 1 },
			`"mining.suggest_difficulty","params":[64]`},
		{"fast", func(r *sv2.OpenRequest) { r.NominalHashRate = 1e30 },
			`"mining.suggest_difficulty","params":[1048576]`},
		{"as before a restart", func(r *sv2.OpenRequest) {
			r.NominalHashRate, r.LastTarget = 1, sv2.TargetFromDifficulty(4096)
		}, `"mining.suggest_difficulty","params":[4096]`},
		{"takes nothing easy", func(r *sv2.OpenRequest) {
			r.MaxTarget = sv2.TargetFromDifficulty(128)
		}, `[["version-rolling","minimum-difficulty"],{"minimum-difficulty.value":128,`},
		{"takes what the pool doesn't give",
			func(r *sv2.OpenRequest) { r.MaxTarget = sv2.TargetFromDifficulty(32) },
			`[["version-rolling"],{"version-rolling.mask":"1fffffe0"}]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := usual()
			s.then[methodConfigure] = difficultyLine(64) + notifyLine("1", 'a', hardBits, true)
			r := newRig(t, s, func(o *Options) { o.MinDifficulty = 64 })
			request := extendedRequest()
			test.request(&request)
			m := r.open(request)
			m.end()
			<-m.peer.gone
			if got := m.peer.raw.String(); !strings.Contains(got, test.want) {
				t.Errorf("the pool got\n%swant %s", got, test.want)
			}
			if m.opened.Target.Cmp(sv2.Harder(request.MaxTarget, sv2.TargetFromDifficulty(64))) > 0 {
				t.Errorf("target %s", m.opened.Target)
			}
		})
	}
}

func TestNoIdentityForgesASecondLine(t *testing.T) {
	evil := `"]}` + "\n" + `{"id":9,"method":"mining.authorize","params":["mallory`
	for _, identity := range []string{
		"alice\nbob", "alice\r\nbob", "nul\x00", evil, "tab\t", "escape\x1b[31m", "line\u2028",
		"c1\u0085", "not UTF-8 \xff", "cut \xe2\x82",
	} {
		r := newRig(t, usual(), nil)
		request := extendedRequest()
		request.UserIdentity = []byte(identity)
		_, _, err := r.OpenChannel(context.Background(), request, newTape())
		if reasonOfError(t, err) != sv2.RefuseInvalidUserIdentity || len(r.peers) != 0 {
			t.Errorf("%q: %v", identity, err)
		}
	}
	for _, identity := range []string{
		`quote"`, `back\slash`, `\n`, `\u000a`, strings.ReplaceAll(evil, "\n", ""), "<script>&",
		"emoji \U0001f600", "", strings.Repeat("x", 255),
	} {
		r := newRig(t, usual(), nil)
		request := extendedRequest()
		request.UserIdentity = []byte(identity)
		m := r.open(request)
		m.Submit([]sv2.Submit{m.share(m.opened.Job)})
		submit := m.peer.submit()
		m.end()
		<-m.peer.gone
		lines := strings.SplitAfter(m.peer.raw.String(), "\n")
		if len(lines) != 5 { // subscribe, authorize, configure, submit, and nothing behind
			t.Errorf("%q became %d lines: %q", identity, len(lines), lines)
		}
		var authorize asked
		if err := json.Unmarshal([]byte(lines[1]), &authorize); err != nil {
			t.Fatal(err)
		}
		for _, param := range []string{authorize.param(0), submit.param(0)} {
			var got string
			if err := json.Unmarshal([]byte(param), &got); err != nil || got != identity {
				t.Errorf("%q reached the pool as %q, %v", identity, got, err)
			}
		}
	}
}

func TestNoDeviceForgesASecondLine(t *testing.T) {
	r := newRig(t, usual(), nil)
	request := extendedRequest()
	request.Connection.Vendor = []byte("a\n\"]}\x00/\xff")
	request.Connection.Firmware = bytes.Repeat([]byte("\n"), 255)
	m := r.open(request)
	defer m.end()
	var name string
	if err := json.Unmarshal([]byte((<-m.peer.requests).param(0)), &name); err != nil {
		t.Fatal(err)
	}
	if want := `sv2:a?"]}???/` + strings.Repeat("?", 255); name != want[:maxClientID] &&
		name != want {
		t.Errorf("client id %q", name)
	}
}

func TestMapsTheExtranonce(t *testing.T) {
	const subscribed = `"result":[[],"a1b2c3d4",%d],"error":null`
	for _, test := range []struct {
		name         string
		kind         sv2.Kind
		size         int // of extranonce2
		option, need int
		prefix       string
		rolled       int
		refused      sv2.RefuseReason
	}{
		{name: "extended: all of extranonce2", kind: sv2.Extended, size: 8, need: 8,
			prefix: "\xa1\xb2\xc3\xd4", rolled: 8},
		{name: "standard: zeros", kind: sv2.Standard, size: 4, prefix: "\xa1\xb2\xc3\xd4\x00\x00\x00\x00"},
		{name: "less by option", kind: sv2.Extended, size: 8, option: 5,
			prefix: "\xa1\xb2\xc3\xd4\x00\x00\x00", rolled: 5},
		{name: "but what the miner needs", kind: sv2.Extended, size: 8, option: 5, need: 7,
			prefix: "\xa1\xb2\xc3\xd4\x00", rolled: 7},
		{name: "no more than there is", kind: sv2.Extended, size: 2, option: 5,
			prefix: "\xa1\xb2\xc3\xd4", rolled: 2},
		{name: "too much needed", kind: sv2.Extended, size: 4, need: 5,
			refused: sv2.RefuseExtranonceSize},
		{name: "beyond SV2", kind: sv2.Extended, size: 29, refused: sv2.RefuseInternal},
		{name: "nothing to roll", kind: sv2.Extended, size: 0, refused: sv2.RefuseInternal},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := usual()
			s.answers[methodSubscribe] = fmt.Sprintf(subscribed, test.size)
			r := newRig(t, s, func(o *Options) { o.ExtranonceSize = test.option })
			request := extendedRequest()
			request.Kind, request.MinExtranonceSize = test.kind, test.need
			if test.refused != 0 {
				_, _, err := r.OpenChannel(context.Background(), request, newTape())
				if reasonOfError(t, err) != test.refused {
					t.Error(err)
				}
				return
			}
			m := r.open(request)
			defer m.end()
			if string(m.opened.Prefix) != test.prefix || m.opened.ExtranonceSize != test.rolled {
				t.Fatalf("prefix %x, %d bytes", m.opened.Prefix, m.opened.ExtranonceSize)
			}
			// What the miner hashes is what the pool gets: prefix and extranonce are one after the other.
			share := m.share(m.opened.Job)
			m.Submit([]sv2.Submit{share})
			whole := append(bytes.Clone(m.opened.Prefix), share.Extranonce...)
			if got := m.peer.submit().param(2); got != fmt.Sprintf("%q", fmt.Sprintf("%x", whole[4:])) {
				t.Errorf("extranonce2 %s of %x", got, whole)
			}
		})
	}
}

func TestRefusesForThePoolsReason(t *testing.T) {
	for _, test := range []struct {
		method, answer string
		want           sv2.RefuseReason
	}{
		{methodSubscribe, `"result":null,"error":[20,"banned miner type",null]`, sv2.RefuseUnauthorized},
		{methodSubscribe, `"result":[[],"zz",4],"error":null`, sv2.RefuseInternal},
		{methodSubscribe, `"result":"what","error":null`, sv2.RefuseInternal},
		{methodAuthorize, `"result":null,"error":[20,"worker name has no valid bitcoin wallet",null]`,
			sv2.RefuseUnknownUser},
		{methodAuthorize, `"result":null,"error":[24,"invalid password",null]`, sv2.RefuseUnauthorized},
		{methodAuthorize, `"result":false,"error":[24,"banned until tomorrow",null]`,
			sv2.RefuseUnauthorized},
		{methodAuthorize, `"result":false,"error":null`, sv2.RefuseUnauthorized},
		{methodAuthorize, `"result":null,"error":[20,"worker name required",null]`,
			sv2.RefuseInvalidUserIdentity},
		{methodAuthorize, `"result":null,"error":{"code":20,"message":"channel-capacity-exhausted"}`,
			sv2.RefuseCapacity},
		{methodAuthorize, `"result":null,"error":"unknown-user"`, sv2.RefuseUnknownUser},
	} {
		s := usual()
		s.answers[test.method] = test.answer
		r := newRig(t, s, nil)
		_, _, err := r.OpenChannel(context.Background(), extendedRequest(), newTape())
		if reasonOfError(t, err) != test.want {
			t.Errorf("%s: %s: %v", test.method, test.answer, err)
		}
		if r.Channels() != 0 {
			t.Error("the channel stays")
		}
	}
}

func TestRefusesWhatNoMinerMayAsk(t *testing.T) {
	gate := &sv2.Refusal{Reason: sv2.RefuseRateLimited}
	for name, test := range map[string]struct {
		request func(*sv2.OpenRequest)
		option  func(*Options)
		want    sv2.RefuseReason
	}{
		"a payout key":         {request: func(r *sv2.OpenRequest) { r.PayoutKey = make([]byte, 33) }, want: sv2.RefusePayoutKey},
		"a hard max_target":    {request: func(r *sv2.OpenRequest) { r.MaxTarget = sv2.Target{1} }, want: sv2.RefuseMaxTarget},
		"no hash rate":         {request: func(r *sv2.OpenRequest) { r.NominalHashRate = -1 }, want: sv2.RefuseHashRate},
		"another kind":         {request: func(r *sv2.OpenRequest) { r.Kind = 3 }, want: sv2.RefuseInternal},
		"one channel too many": {option: func(o *Options) { o.MaxChannels = 1 }, want: sv2.RefuseCapacity},
		"at the gate": {option: func(o *Options) {
			n := 0
			o.Admit = func(context.Context, sv2.OpenRequest) error {
				if n++; n > 1 {
					return gate
				}
				return nil
			}
		}, want: sv2.RefuseRateLimited},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, usual(), test.option)
			m := r.open(extendedRequest())
			defer m.end()
			request := extendedRequest()
			if test.request != nil {
				test.request(&request)
			}
			_, _, err := r.OpenChannel(context.Background(), request, newTape())
			refusal := (*sv2.Refusal)(nil)
			if !errors.As(err, &refusal) || refusal.Reason != test.want || r.Channels() != 1 {
				t.Errorf("%v, %d channels", err, r.Channels())
			}
		})
	}
}

func TestSurvivesPoolsThatSayLittle(t *testing.T) {
	for name, change := range map[string]func(*script){
		"knows no mining.configure": func(s *script) {
			s.answers[methodConfigure] = `"result":null,"error":[-32601,"method not found",null]`
		},
		"ignores mining.configure": func(s *script) {
			s.then[methodAuthorize] = s.then[methodConfigure]
			delete(s.answers, methodConfigure)
		},
		"ignores mining.suggest_difficulty": func(s *script) { delete(s.answers, methodSuggest) },
		"gives a job when pinged": func(s *script) {
			s.then[methodPing] = s.then[methodConfigure]
			s.then[methodConfigure] = ""
		},
		"writes nonsense besides": func(s *script) {
			s.then[methodSubscribe] = "nonsense\n[]\n\n" + `{"id":null,"method":"mining.notify","params":[]}` +
				"\n" + `{"id":null,"method":"mining.set_difficulty","params":[-1]}` + "\n" +
				`{"id":null,"method":"mining.news","params":{}}` + "\n" + `{"id":77,"result":true}` + "\n"
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := usual()
				change(&s)
				r := newRig(t, s, nil)
				request := extendedRequest()
				request.NominalHashRate = 1e6
				m := r.open(request)
				share := m.share(m.opened.Job)
				m.Submit([]sv2.Submit{share})
				m.peer.answer(m.peer.submit(), `"result":true,"error":null`)
				if got := await[sv2.Verdict](t, m.tape, 1)[0]; !got.Accepted() {
					t.Errorf("%+v", got)
				}
				m.end()
			})
		})
	}
}

func TestGivesUpOnAPoolThatGivesNoWork(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*script, *Options)
		want   string
	}{
		"silent":  {func(s *script, _ *Options) { s.answers = nil }, "did not answer"},
		"no work": {func(s *script, _ *Options) { s.then = nil }, "no job"},
		"leaves": {func(_ *script, o *Options) {
			o.Serve = func(context.Context, net.Conn) {}
		}, "closed the connection"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := usual()
				var r *rig
				options := func(*Options) {}
				if name == "leaves" {
					options = func(o *Options) { test.change(&s, o) }
				} else {
					test.change(&s, nil)
				}
				r = newRig(t, s, options)
				start := time.Now()
				_, _, err := r.OpenChannel(context.Background(), extendedRequest(), newTape())
				if reasonOfError(t, err) != sv2.RefuseNoWork || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%v, want a word of %q", err, test.want)
				}
				if waited := time.Since(start); waited > DefaultOpenTimeout {
					t.Errorf("waited %v", waited)
				}
				r.close()
			})
		})
	}
}

func TestAMinerWhoLeavesEndsTheOpen(t *testing.T) {
	s := usual()
	s.answers = nil
	r := newRig(t, s, nil)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { (<-r.peers).submitNothing(cancel) }()
	_, _, err := r.OpenChannel(ctx, extendedRequest(), newTape())
	if reasonOfError(t, err) != sv2.RefuseNoWork || r.Channels() != 0 {
		t.Errorf("%v, %d channels", err, r.Channels())
	}
}

// submitNothing waits for the first request.
func (p *peer) submitNothing(then func()) {
	<-p.requests
	then()
}
