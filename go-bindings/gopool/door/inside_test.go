//go:build cgo && (sv2_static || sv2_system || sv2_pkgconfig)

package door

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/gopool/config"
)

// withListener changes a pool so that the listener is within.
func withListener(address string) func(*Pool) {
	return func(p *Pool) {
		p.Config.Mode, p.Config.Sidecar, p.Config.Listen = config.ModeFFI, config.Supervised, address
		p.Config.PublicHost = "127.0.0.1"
	}
}

func (r *rig) shown() status {
	r.t.Helper()
	var s status
	if err := json.Unmarshal(r.get("/api/sv2").Body.Bytes(), &s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

func TestServesMinersWithTheListenerInside(t *testing.T) {
	state, address := shortDir(t), freePort(t)
	r := newRig(t, state, withListener(address))
	await(t, "the listener's session and its key", func() bool {
		s := r.shown()
		return len(s.Sidecars) == 1 && s.Listener.URL != ""
	})
	s := r.shown()
	if s.Listener.Mode != "ffi" || s.Listener.Sidecar != "" || s.Listener.Address != address ||
		s.Sidecars[0].ID != "goPool" || !strings.HasPrefix(s.Listener.URL, "stratum2+tcp://"+address+"/9") {
		t.Errorf("shown: %+v", s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, program(t), "miner", s.Listener.URL, "--user", "a", "--shares", "3",
		"--threads", "1", "--hash-rate", "1000", "--json").Output()
	var mined struct{ Accepted uint64 }
	if err != nil || json.Unmarshal(out, &mined) != nil || mined.Accepted == 0 {
		t.Fatalf("the miner: %v, %s\n%s", err, out, r.logged)
	}
	await(t, "its shares in the door's counts", func() bool { return r.shown().Shares.Accepted == mined.Accepted })

	stranger, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = stranger.Write([]byte("GET /\r\n"))
	_ = stranger.Close()
	await(t, "the stranger is counted", func() bool {
		failed := r.shown().Handshakes
		return failed != nil && *failed == 1
	})
	if _, err := os.Lstat(socket(state)); err == nil {
		t.Error("there is a socket for sidecars")
	}
	r.end()
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("the port is still open")
	}
	if log := r.logged.String(); !strings.Contains(log, "stratum v2 door closed") ||
		strings.Contains(log, "did not stop cleanly") || strings.Contains(log, "did not end in time") {
		t.Errorf("not an orderly stop:\n%s", log)
	}
	// The next start has the same key.
	r = newRig(t, state, withListener(address))
	await(t, "the key after a restart", func() bool { return r.shown().Listener.URL == s.Listener.URL })
}

func TestTellsMinersToReconnectWhenThePoolStops(t *testing.T) {
	r := newRig(t, shortDir(t), withListener(freePort(t)))
	await(t, "the URL", func() bool { return r.shown().Listener.URL != "" })
	log := &lines{}
	miner := exec.CommandContext(t.Context(), program(t), "miner", r.shown().Listener.URL, "--user", "a",
		"--threads", "1", "--hash-rate", "1000", "--no-reconnect")
	miner.Stdout, miner.Stderr = log, log
	if err := miner.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- miner.Wait() }()
	await(t, "shares", func() bool { return r.shown().Shares.Accepted > 0 })
	r.end()
	select {
	case <-ended:
	case <-time.After(patience):
		_ = miner.Process.Kill()
		<-ended
		t.Error("the miner still waits")
	}
	if !strings.Contains(log.String(), "the server asked to connect again") {
		t.Errorf("the miner was not told to reconnect:\n%s", log)
	}
}

func TestSurvivesAPortThatIsTakenAndListensWhenItIsFree(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := newRig(t, shortDir(t), withListener(taken.Addr().String()))
	await(t, "the fault", func() bool { return r.shown().Listener.Fault != "" })
	if log := r.logged.String(); !strings.Contains(log, "another process listens there") ||
		!strings.Contains(log, "stratum v1 is not affected") {
		t.Errorf("the log does not say why:\n%s", log)
	}
	if page := r.get("/sv2").Body.String(); !strings.Contains(page, "can't be reached at the moment") {
		t.Errorf("the page says nothing of it:\n%s", page)
	}
	r.mustOpen(request(1, "a"), newSink()) // the pool goes on
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "the listener, after all", func() bool {
		s := r.shown()
		return s.Listener.Fault == "" && len(s.Sidecars) == 1
	})
}

func TestSurvivesTheEndOfItsListenerAndMakesAnother(t *testing.T) {
	r := newRig(t, shortDir(t), withListener(freePort(t)))
	await(t, "the first listener", func() bool { return len(r.shown().Sidecars) == 1 })
	carrier := r.door.carrier.(*inside)
	first, url := carrier.serving.Load(), r.shown().Listener.URL
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := first.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	await(t, "another listener", func() bool {
		s := r.shown()
		return carrier.serving.Load() != first && s.Listener.Fault == "" && len(s.Sidecars) == 1
	})
	out, err := exec.CommandContext(ctx, program(t), "miner", url, "--user", "a", "--shares", "3",
		"--threads", "1", "--hash-rate", "1000").CombinedOutput()
	if err != nil || r.shown().Shares.Accepted == 0 {
		t.Errorf("the miner: %v\n%s", err, out)
	}
	if log := r.logged.String(); !strings.Contains(log, "the SV2 listener ended; it is started again") {
		t.Errorf("the log does not tell:\n%s", log)
	}
}

func TestEndsWhileItWaitsForAPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := newRig(t, shortDir(t), withListener(taken.Addr().String()))
	await(t, "the fault", func() bool { return r.shown().Listener.Fault != "" })
	r.end()
	if log := r.logged.String(); !strings.Contains(log, "stratum v2 door closed") {
		t.Errorf("log:\n%s", log)
	}
}

func TestStartNamesWhatIsWrongWithTheListener(t *testing.T) {
	state := shortDir(t)
	own := filepath.Join(state, "own.toml")
	if err := os.WriteFile(own, []byte("[listen]\nadress = \"127.0.0.1:1\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Pool){
		"own.toml:2:1: listen.adress: unknown key": func(p *Pool) { p.Config.SidecarConfig = own },
		"[sidecar].key_file":                       func(p *Pool) { p.Config.KeyFile = filepath.Join(own, "key") },
	} {
		pool := newPool(emptyRig(t), state)
		withListener("127.0.0.1:1")(&pool)
		change(&pool)
		if _, err := Start(context.Background(), pool); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
