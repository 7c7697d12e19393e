package door

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/gopool/config"
)

// program is the real sidecar, as `make go-test` builds it.
func program(t *testing.T) string {
	t.Helper()
	target := os.Getenv("CARGO_TARGET_DIR")
	if target == "" {
		target = filepath.Join("..", "..", "..", "target")
	}
	path, err := filepath.Abs(filepath.Join(target, "debug", "gopool-sv2"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: build it with `cargo build --bin gopool-sv2`", err)
	}
	return path
}

// await waits until something is so.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain: " + what)
		}
	}
}

// freePort is a port that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func TestRunsTheRealSidecarAndSaysWhatMinersType(t *testing.T) {
	state := shortDir(t)
	address := freePort(t)
	r := newRig(t, state, func(p *Pool) {
		p.Config.Sidecar, p.Config.Program, p.Config.Listen = config.Supervised, program(t), address
		p.Config.PublicHost = "pool.example.com"
	})
	var shown status
	await(t, "a sidecar and its key", func() bool {
		if err := json.Unmarshal(r.get("/api/sv2").Body.Bytes(), &shown); err != nil {
			t.Fatal(err)
		}
		return len(shown.Sidecars) == 1 && shown.Listener.URL != ""
	})
	_, port, _ := net.SplitHostPort(address)
	if shown.Sidecars[0].ID != "goPool" || shown.Listener.Address != address ||
		!strings.HasPrefix(shown.Listener.URL, "stratum2+tcp://pool.example.com:"+port+"/9") {
		t.Errorf("shown: %+v", shown)
	}
	stranger, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = stranger.Write([]byte("GET /\r\n")) // and leaves, before there are the 64 bytes of a key
	_ = stranger.Close()
	await(t, "the stranger is counted", func() bool {
		var now status
		if err := json.Unmarshal(r.get("/api/sv2").Body.Bytes(), &now); err != nil {
			t.Fatal(err)
		}
		return now.Handshakes != nil && *now.Handshakes == 1
	})
	r.end()
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("the sidecar still listens")
	}
	if log := r.logged.String(); !strings.Contains(log, "sv2 sidecar: stopped") {
		t.Errorf("not an orderly stop:\n%s", log)
	}
}

func TestSurvivesASidecarThatIsNotThere(t *testing.T) {
	r := newRig(t, shortDir(t), func(p *Pool) {
		p.Config.Sidecar, p.Config.Program = config.Supervised, "/nonexistent/gopool-sv2"
	})
	await(t, "the log's word", func() bool {
		return strings.Contains(r.logged.String(), "no stratum v2 miner can connect")
	})
	if page := r.get("/sv2").Body.String(); !strings.Contains(page, "can't be reached at the moment") {
		t.Errorf("the page says nothing of it:\n%s", page)
	}
	r.mustOpen(request(1, "a"), newSink()) // the pool goes on
}
