// What the tests share: a small Stratum V1 pool behind a door, and a miner's end of the carrier.
package door

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/gopool/config"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/internal/testlog"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

const (
	patience = 30 * time.Second
	// easy is a difficulty that every fourth hash meets.
	easy = 1.0 / (1 << 30)
)

// rig is a door before a small pool. Tests set what the pool says before they open a channel.
type rig struct {
	t      *testing.T
	door   *Door
	stop   context.CancelFunc
	ended  *sync.WaitGroup
	mux    *http.ServeMux
	logged *lines

	health, room error
	refuseHost   string
	asked        atomic.Int32 // how often AllowAddress was
	passwords    chan string  // of mining.authorize
}

// lines is what the door logged.
type lines = testlog.Buffer

func newRig(t *testing.T, state string, change func(*Pool)) *rig {
	t.Helper()
	r := emptyRig(t)
	pool := newPool(r, state)
	if change != nil {
		change(&pool)
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	var err error
	if r.door, err = Start(ctx, pool); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.end)
	return r
}

func emptyRig(t *testing.T) *rig {
	return &rig{t: t, mux: http.NewServeMux(), ended: &sync.WaitGroup{}, logged: &lines{},
		passwords: make(chan string, 16)}
}

// newPool is a rig's pool.
func newPool(r *rig, state string) Pool {
	settings := config.Default()
	settings.Sidecar = config.Independent
	log := slog.NewTextHandler(r.logged, &slog.HandlerOptions{Level: slog.LevelDebug})
	return Pool{
		Software: "rig", State: state, Config: settings,
		Settings: Settings{MinDifficulty: easy},
		Log:      slog.New(log),
		Serve:    r.serve,
		Health:   func() error { return r.health },
		Room:     func() error { return r.room },
		AllowAddress: func(host string, _ time.Time) bool {
			r.asked.Add(1)
			return host != r.refuseHost
		},
		AssignedDifficulty: func(net.Conn, string) (float64, bool) { return easy, true },
		IsTip:              func(sv2.Hash) bool { return true },
		Mux:                r.mux, JSON: true, Ended: r.ended,
	}
}

// end stops the pool and waits for the door.
func (r *rig) end() {
	r.stop()
	r.ended.Wait()
}

// shortDir is a state folder whose path fits into a socket's address.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "door")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// serve is the pool's side of one miner: every share is good but those with nonce 1.
func (r *rig) serve(_ context.Context, conn net.Conn, prefix []byte) {
	requests := bufio.NewScanner(conn)
	for requests.Scan() {
		var request struct {
			ID     json.RawMessage   `json:"id"`
			Method string            `json:"method"`
			Params []json.RawMessage `json:"params"`
		}
		if err := json.Unmarshal(requests.Bytes(), &request); err != nil {
			r.t.Errorf("the pool got %q: %v", requests.Text(), err)
			return
		}
		answer := `"result":true,"error":null`
		switch request.Method {
		case "mining.subscribe":
			answer = fmt.Sprintf(`"result":[[],"%s",8],"error":null`, hex.EncodeToString(prefix))
		case "mining.authorize":
			r.passwords <- string(request.Params[1])
		case "mining.configure":
			answer = `"result":{"version-rolling":true,"version-rolling.mask":"1fffffe0"},"error":null`
		case "mining.submit":
			if string(request.Params[4]) == `"00000001"` {
				answer = `"result":null,"error":[23,"low difficulty share",null]`
			}
		}
		if _, err := fmt.Fprintf(conn, "{\"id\":%s,%s}\n", request.ID, answer); err != nil {
			return
		}
		if request.Method == "mining.configure" {
			_, _ = fmt.Fprintf(conn, `{"id":null,"method":"mining.notify","params":["1","%s",`+
				`"%s","%s",[],"20000000","1d00ffff","65000000",true]}`+"\n", strings.Repeat("ab", 32),
				strings.Repeat("01", 50), strings.Repeat("02", 20))
		}
	}
}

// sink remembers what the host says of a channel.
type sink struct {
	verdicts chan sv2.Verdict
	kicks    chan sv2.Kick
}

func newSink() *sink {
	return &sink{make(chan sv2.Verdict, 1024), make(chan sv2.Kick, 1)}
}

func (s *sink) Job(*sv2.Job)                {}
func (s *sink) Target(sv2.Target)           {}
func (s *sink) BlockResult(sv2.BlockResult) {}
func (s *sink) Kick(kick sv2.Kick)          { s.kicks <- kick }

func (s *sink) Verdicts(verdicts []sv2.Verdict) {
	for _, verdict := range verdicts {
		s.verdicts <- verdict
	}
}

// request is what a miner on connection id asks for.
func request(id uint64, user string) sv2.OpenRequest {
	return sv2.OpenRequest{
		Connection: sv2.Connection{ID: id, RemoteAddress: fmt.Sprintf("192.0.2.1:%d", 1000+id)},
		Kind:       sv2.Extended, UserIdentity: []byte(user), MaxTarget: sv2.MaxTarget,
	}
}

// open opens a channel as the carrier does.
func (r *rig) open(request sv2.OpenRequest, sink sv2.Sink) (sv2.Channel, sv2.Opened, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return (&host{r.door.host, r.door.counts}).OpenChannel(ctx, request, sink)
}

func (r *rig) mustOpen(request sv2.OpenRequest, sink sv2.Sink) (sv2.Channel, sv2.Opened) {
	r.t.Helper()
	channel, opened, err := r.open(request, sink)
	if err != nil {
		r.t.Fatalf("open: %v", err)
	}
	return channel, opened
}

// socket is where a door in a state folder listens.
func socket(state string) string { return filepath.Join(state, "sv2.sock") }
