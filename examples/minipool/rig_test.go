// A pool as it runs in tests, in this process or in one of its own, and what it wrote.

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// patience only turns a hang into a failure.
const patience = 60 * time.Second

// What tests mine: a share takes 16 hashes, a block 2^16, a trivial block two.
const (
	shareDifficulty = 1.0 / (1 << 28)
	blockBits       = "1f00ffff"
	trivialBits     = "207fffff"
)

// runAsPool in the environment makes the test binary a minipool.
const runAsPool = "MINIPOOL_TEST_RUN"

// afterTests are called at the end.
var afterTests []func()

func TestMain(m *testing.M) {
	if os.Getenv(runAsPool) != "" {
		main()
	}
	code := m.Run()
	for _, clean := range afterTests {
		clean()
	}
	os.Exit(code)
}

// logs is a log that may be read while it is written.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// testArgs are the flags of a pool whose difficulty stands still, with more of them behind.
func testArgs(dir string, more ...string) []string {
	return append([]string{"-socket", filepath.Join(dir, "sock"),
		"-journal", filepath.Join(dir, "journal"), "-network-bits", blockBits, "-log-level", "debug",
		"-min-difficulty", fmt.Sprint(shareDifficulty),
		"-max-difficulty", fmt.Sprint(shareDifficulty)}, more...)
}

// rig is a pool in this process.
type rig struct {
	*minipool
	t    testing.TB
	logs *logs
	// end stops the pool, once; the test's end does, too.
	end func()
}

// newRig starts a pool with its files in dir.
func newRig(t testing.TB, dir string, more ...string) *rig {
	t.Helper()
	settings, err := parseFlags(testArgs(dir, more...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, logs: &logs{}}
	if r.minipool, err = start(settings, newLogger(settings, r.logs)); err != nil {
		t.Fatal(err)
	}
	r.end = sync.OnceFunc(func() {
		if err := r.stop(patience); err != nil {
			t.Errorf("stop: %v", err)
		}
		if err := <-r.served; err != nil {
			t.Errorf("serve: %v", err)
		}
		if t.Failed() {
			t.Logf("the pool's log:\n%s", r.logs)
		}
	})
	t.Cleanup(r.end)
	return r
}

// payoutAddress is a new payout address.
func payoutAddress(t testing.TB) string {
	t.Helper()
	addr, err := newTestAddress(&chaincfg.RegressionNetParams)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// bookLine is any line of a journal.
type bookLine struct {
	Event    string
	Epoch    string
	Conn     uint64
	Channel  uint64
	SubmitID uint64 `json:"submit_id"`
	Accepted bool
	Reason   string
	Hash     string
	Height   int32
	Detail   string
	Credit   sv2.Difficulty
	User     string
	Worker   string
	Block    bool
	Count    uint64
	Reasons  map[string]uint64
	AtMS     int64 `json:"at_ms"`
}

// readJournal reads the lines of an event, or all for "". Every line must be whole and valid.
func readJournal(t testing.TB, path, event string) []bookLine {
	t.Helper()
	var data []byte
	// A read may see the first half of a write(2) that crosses a page; it must not stay a half.
	eventually(t, "the journal's last line is whole", func() bool {
		var err error
		if data, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
		return len(data) == 0 || data[len(data)-1] == '\n'
	})
	var lines []bookLine
	for text := range strings.Lines(string(data)) {
		var line bookLine
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("journal line %q: %v", text, err)
		}
		if line.Event == "" || line.AtMS == 0 {
			t.Fatalf("journal line without event or time: %q", text)
		}
		if event == "" || line.Event == event {
			lines = append(lines, line)
		}
	}
	return lines
}

// book reads the lines of an event in the pool's journal.
func (r *rig) book(event string) []bookLine {
	r.t.Helper()
	return readJournal(r.t, r.settings.journal, event)
}

// tipHash is the hash of the chain's tip, as explorers print it.
func (r *rig) tipHash() string {
	hash, _ := r.chain.Tip()
	return sv2.Hash(hash).String()
}

// eventually waits for what happens on another goroutine or in another process.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	eventuallyIn(t, patience, what, holds)
}

// eventuallyIn is eventually with a patience of its own, for what takes luck.
func eventuallyIn(t testing.TB, patience time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}
