package door

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"html"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/gopool/config"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// reasonOf is why a channel was refused.
func reasonOf(err error) sv2.RefuseReason {
	if refusal := (*sv2.Refusal)(nil); errors.As(err, &refusal) {
		return refusal.Reason
	}
	return 0
}

func TestRejectsWhomThePoolWouldSendAway(t *testing.T) {
	r := newRig(t, shortDir(t), func(p *Pool) {
		p.Settings = Settings{MinDifficulty: 256, MaxDifficulty: 1000, EnforceLimits: true}
	})
	refused := func(what, user string, want sv2.RefuseReason) {
		t.Helper()
		if _, _, err := r.open(request(1, user), newSink()); reasonOf(err) != want {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	refused("a wish below the limits", "address.rig+0.001", sv2.RefuseInvalidUserIdentity)
	refused("a wish above them", "address.rig,d=1001", sv2.RefuseInvalidUserIdentity)
	refused("a number that goPool takes for a wish", "address.rig #3", sv2.RefuseInvalidUserIdentity)
	refused("a wish in other words", "address;diff=1k", sv2.RefuseInvalidUserIdentity)
	r.health = errors.New("node updates degraded")
	refused("an unhealthy node", "address", sv2.RefuseNoWork)
	r.health, r.room = nil, errors.New("full")
	refused("no room", "address", sv2.RefuseCapacity)
	r.room, r.refuseHost = nil, "192.0.2.1"
	refused("an address that connects too often", "address", 0)
	// That address was let in on this connection before; another one of it is asked about.
	if _, _, err := r.open(request(2, "address"), newSink()); reasonOf(err) != sv2.RefuseRateLimited {
		t.Errorf("a new connection of it: %v", err)
	}
	again := request(3, "address")
	again.Reopen = true
	if _, _, err := r.open(again, newSink()); err != nil {
		t.Errorf("a channel that is back after a restart: %v", err)
	}
}

func TestAcceptsNamesAndWishesWithinTheLimits(t *testing.T) {
	s := Settings{MinDifficulty: 256, MaxDifficulty: 1000}
	for _, user := range []string{"address", "address.rig-1_2", "address.rig+256", "address+d=1000",
		"address.rig #farm", "address|diff=300&x=y"} {
		if err := s.checkHint(user); err != nil {
			t.Errorf("%q: %v", user, err)
		}
	}
	if err := (&Settings{MinDifficulty: 1}).checkHint("address+1e300"); err != nil {
		t.Errorf("without a maximum: %v", err)
	}
}

func TestAsksTheReconnectLimitOncePerConnection(t *testing.T) {
	r := newRig(t, shortDir(t), nil)
	for range 3 {
		r.mustOpen(request(1, "a"), newSink())
	}
	r.mustOpen(request(2, "a"), newSink())
	if asked := r.asked.Load(); asked != 2 {
		t.Errorf("asked %d times for 2 connections", asked)
	}
}

func TestForgetsTheOldestConnectionsFirst(t *testing.T) {
	a := newAdmission(Pool{AllowAddress: func(string, time.Time) bool { return true }})
	for id := range uint64(rememberedConnections + 10) {
		if !a.allow(sv2.Connection{ID: id, RemoteAddress: "192.0.2.1:1"}) {
			t.Fatal("refused")
		}
	}
	_, first := a.known[connectionOf(sv2.Connection{ID: 9, RemoteAddress: "192.0.2.1:1"})]
	_, later := a.known[connectionOf(sv2.Connection{ID: 10, RemoteAddress: "192.0.2.1:1"})]
	if len(a.known) != rememberedConnections || first || !later {
		t.Errorf("%d known; the tenth %v, the eleventh %v", len(a.known), first, later)
	}
}

func TestPasswordGoesByThePolicy(t *testing.T) {
	secret := Settings{MinDifficulty: easy, PasswordNeeded: true, Password: "secret"}
	r := newRig(t, shortDir(t), func(p *Pool) { p.Settings = secret })
	if _, _, err := r.open(request(1, "a"), newSink()); reasonOf(err) != sv2.RefuseUnauthorized {
		t.Errorf("refuse: %v", err)
	}
	r = newRig(t, shortDir(t), func(p *Pool) { p.Settings, p.Config.Password = secret, config.PasswordTrust })
	r.mustOpen(request(1, "a"), newSink())
	if given := <-r.passwords; given != `"secret"` {
		t.Errorf("trust gave the pool %s", given)
	}
}

func TestPrefixesAreApartAndComeAgainAfterARestart(t *testing.T) {
	state := shortDir(t)
	r := newRig(t, state, nil)
	_, first := r.mustOpen(request(1, "a"), newSink())
	_, second := r.mustOpen(request(2, "b"), newSink())
	if len(first.Prefix) != 4 || first.Prefix[0]&ours == 0 || bytes.Equal(first.Prefix, second.Prefix) {
		t.Errorf("prefixes %x and %x", first.Prefix, second.Prefix)
	}
	r.end()
	r = newRig(t, state, nil)
	_, stranger := r.mustOpen(request(1, "c"), newSink())
	back := request(2, "b")
	back.WantedPrefix, back.Reopen = second.Prefix, true
	channel, again := r.mustOpen(back, newSink())
	if !bytes.Equal(again.Prefix, second.Prefix) || bytes.Equal(stranger.Prefix, second.Prefix) {
		t.Errorf("back with %x, had %x; a stranger got %x", again.Prefix, second.Prefix, stranger.Prefix)
	}
	if _, twice := r.mustOpen(back, newSink()); bytes.Equal(twice.Prefix, second.Prefix) {
		t.Error("a prefix was given twice")
	}
	channel.Close("done")
	of1 := request(3, "d")
	of1.WantedPrefix = []byte{0, 0, 0, 1} // of Stratum V1
	if _, own := r.mustOpen(of1, newSink()); own.Prefix[0]&ours == 0 {
		t.Errorf("granted %x, which is goPool's own", own.Prefix)
	}
}

func TestShowsWhatPassed(t *testing.T) {
	r := newRig(t, shortDir(t), nil)
	seen := newSink()
	channel, opened := r.mustOpen(request(1, "a"), seen)
	r.mustOpen(request(1, "a"), newSink())
	r.mustOpen(request(2, "a"), newSink())
	r.health = errors.New("down")
	if _, _, err := r.open(request(3, "a"), newSink()); err == nil {
		t.Fatal("opened")
	}
	var batch []sv2.Submit
	for nonce := range uint32(64) {
		batch = append(batch, sv2.Submit{ID: uint64(nonce) + 1, JobID: opened.Job.ID, Nonce: nonce,
			NTime: opened.Job.MinNTime, Version: opened.Job.Version,
			Extranonce: make([]byte, opened.ExtranonceSize)})
	}
	channel.Submit(batch)
	accepted, rejected := 0.0, map[string]any{}
	for range batch {
		verdict := <-seen.verdicts
		if verdict.Accepted() {
			accepted++
			continue
		}
		count, _ := rejected[verdict.Reason.String()].(float64)
		rejected[verdict.Reason.String()] = count + 1
	}
	channel.Close("done")
	var shown map[string]any
	answer := r.get("http://pool.example.com:80/api/sv2")
	if err := json.Unmarshal(answer.Body.Bytes(), &shown); err != nil {
		t.Fatal(err)
	}
	text := func(value any) string {
		written, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return string(written)
	}
	if shown["connections"] != 2.0 || shown["channels"] != 2.0 || accepted == 0 ||
		text(shown["opens"]) != `{"opened":3,"refused":{"backend-unavailable":1}}` ||
		text(shown["shares"]) != text(map[string]any{"accepted": accepted, "rejected": rejected}) {
		t.Errorf("shown: %s; accepted %v, rejected %v", answer.Body, accepted, rejected)
	}
	post := httptest.NewRecorder()
	r.mux.ServeHTTP(post, httptest.NewRequest(http.MethodPost, "/api/sv2", nil))
	if post.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", post.Code)
	}
}

func TestSaysWhatMinersType(t *testing.T) {
	for want, change := range map[string]func(*Pool){
		"stratum2+tcp://HOST:3336/9abc":     func(*Pool) {},
		"stratum2+tcp://203.0.113.5:1/9abc": func(p *Pool) { p.Config.Listen = "203.0.113.5:1" },
		"stratum2+tcp://pool:3336/9abc": func(p *Pool) {
			p.Settings.PublicURL = "https://pool:8443/x"
		},
		"stratum2+tcp://[2001:db8::1]:3336/9abc": func(p *Pool) { p.Config.PublicHost = "2001:db8::1" },
		"stratum2+tcp://sv2.pool:1/9abc": func(p *Pool) {
			p.Config.PublicHost, p.Settings.PublicURL = "sv2.pool:1", "https://pool"
		},
	} {
		r := newRig(t, shortDir(t), func(p *Pool) {
			p.Config.PublicKey = "9abc"
			change(p)
		})
		// Whoever asks under another name must not change what others are shown.
		page := html.UnescapeString(r.get("http://evil.example.com/sv2").Body.String())
		api := r.get("http://evil.example.com/api/sv2").Body.String()
		if !strings.Contains(page, "<code>"+want+"</code>") || strings.Contains(page+api, "evil") ||
			strings.Contains(api, want) == strings.Contains(want, unknownHost) {
			t.Errorf("want %s:\n%s\n%s", want, page, api)
		}
		r.end()
	}
}

func (r *rig) get(url string) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	r.mux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, url, nil))
	return answer
}

func TestKeepsThePagesThatThePoolHas(t *testing.T) {
	r := newRig(t, shortDir(t), func(p *Pool) {
		p.Mux.HandleFunc("/sv2", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("the pool's own"))
		})
		p.JSON = false
	})
	if page := r.get("/sv2").Body.String(); page != "the pool's own" {
		t.Errorf("/sv2 is %q", page)
	}
	if code := r.get("/api/sv2").Code; code != http.StatusNotFound {
		t.Errorf("/api/sv2 without JSON: %d", code)
	}
}

func TestEndsWithThePoolAndLeavesNoSocket(t *testing.T) {
	state := shortDir(t)
	r := newRig(t, state, nil)
	r.mustOpen(request(1, "a"), newSink())
	conn, err := net.Dial("unix", socket(state))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r.end()
	if _, err := os.Stat(socket(state)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if log := r.logged.String(); !strings.Contains(log, "stratum v2 door closed") ||
		strings.Contains(log, "did not end in time") {
		t.Errorf("log:\n%s", log)
	}
}

func TestStartNamesWhatIsInTheWay(t *testing.T) {
	state := shortDir(t)
	for want, change := range map[string]func(*Pool){
		"choose a shorter one": func(p *Pool) { p.Config.Socket = "/" + strings.Repeat("x", 120) },
		"unknown user":         func(p *Pool) { p.Config.AllowUsers = []string{"nobody-by-that-name"} },
		"unknown group":        func(p *Pool) { p.Config.AllowGroups = []string{"no-group-by-that-name"} },
		"does not hold a number": func(p *Pool) {
			if err := os.WriteFile(filepath.Join(state, eraName), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		pool := newPool(emptyRig(t), state)
		change(&pool)
		if _, err := Start(context.Background(), pool); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
		_ = os.Remove(filepath.Join(state, eraName))
	}
}
