// The line under test: minipool, the sidecar, the statistics service and miners, as processes.

package dashboard

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const (
	// networkBits make a block of 2^23 hashes: miners on CPU cores find some in a test.
	networkBits = "1e01ffff"
	// shareSeconds is the distance of shares that minipool's vardiff aims at.
	shareSeconds = "0.3"
	// minDifficulty is 2^-18, 16384 hashes: nothing for any CPU core.
	minDifficulty = "0.000003814697265625"
)

// line is a running pool with its sidecar and the statistics service.
type line struct {
	t                    *testing.T
	directory            string
	binary               string // ours, with all its commands
	pool, sidecar, stats *process
	address              string // who is mined for
	miners               string // the URL for miners
	page                 string // the URL of the dashboard
}

// newLine is a line of which nothing runs yet. Its files go away with the test, unless that fails.
func newLine(t *testing.T) *line {
	t.Helper()
	// Not t.TempDir: the path of a Unix socket is short.
	directory, err := os.MkdirTemp("", "dashboard")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("logs and journals: %s", directory)
		} else if err := os.RemoveAll(directory); err != nil {
			t.Error(err)
		}
	})
	return &line{t: t, directory: directory, binary: program(t, "SIDECAR_BIN")}
}

// startLine starts all of them and waits until miners can come.
func startLine(t *testing.T) *line {
	t.Helper()
	l, minipool := newLine(t), program(t, "MINIPOOL_BIN")
	output(t, l.binary, "keygen", "--out", l.path("authority.key"))
	l.address = output(t, minipool, "-test-address")
	l.write("sidecar.toml", `[listen]
address = "127.0.0.1:0"
[authority]
key_file = "authority.key"
[pool]
address = "unix:pool.sock"
[stats]
sink = "unix:stats.sock"
every_sec = 1
[log]
format = "human"
`)
	l.startStats("127.0.0.1:0")
	l.pool = start(t, l.directory, "minipool", minipool, "-datadir", "chain", "-socket", "pool.sock",
		"-journal", "minipool.journal", "-network-bits", networkBits, "-share-seconds", shareSeconds,
		"-min-difficulty", minDifficulty)
	l.pool.await("minipool is ready")
	l.startSidecar()
	return l
}

// startStats starts the statistics service and waits until its page can be asked for.
func (l *line) startStats(http string) {
	l.t.Helper()
	l.write("stats.toml", `[stats]
events = "unix:stats.sock"
http = "`+http+`"
database = "stats.db"
[log]
format = "human"
`)
	l.stats = start(l.t, l.directory, "stats", l.binary, "stats", "--config", "stats.toml")
	l.page = "http://" + l.stats.await("the dashboard is at http://")
}

// restartStats starts it anew at the same address.
func (l *line) restartStats() {
	l.t.Helper()
	l.startStats(strings.Trim(strings.TrimPrefix(l.page, "http://"), "/"))
}

func (l *line) startSidecar() {
	l.t.Helper()
	l.sidecar = start(l.t, l.directory, "sidecar", l.binary, "serve", "--config", "sidecar.toml")
	url, _, _ := strings.Cut(l.sidecar.await("miners type: stratum2+tcp://"), " ")
	l.miners = "stratum2+tcp://" + url
	l.sidecar.await("link to the pool is up")
}

// mine starts a miner on a kind of channel whose user identity ends with a worker's name.
func (l *line) mine(kind, worker string) *process {
	l.t.Helper()
	return start(l.t, l.directory, "miner-"+kind, l.binary, "miner", l.miners,
		"--user", l.address+"."+worker, "--"+kind, "--threads", "1")
}

// ended is what a miner says at its end: how many of its shares were accepted and rejected.
var ended = regexp.MustCompile(`(?m)^submitted \d+, accepted (\d+), rejected (\d+)`)

// told is what a miner that has ended was told of its shares.
func (l *line) told(kind string) (accepted, rejected int) {
	l.t.Helper()
	text, err := os.ReadFile(l.path("miner-" + kind + ".log"))
	if err != nil {
		l.t.Fatal(err)
	}
	found := ended.FindSubmatch(text)
	if found == nil {
		l.t.Fatalf("the miner did not say how it ended:\n%s", text)
	}
	for i, count := range []*int{&accepted, &rejected} {
		if *count, err = strconv.Atoi(string(found[i+1])); err != nil {
			l.t.Fatal(err)
		}
	}
	return accepted, rejected
}

func (l *line) path(name string) string { return filepath.Join(l.directory, name) }

func (l *line) write(name, text string) {
	l.t.Helper()
	if err := os.WriteFile(l.path(name), []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// sums are what the pool has in its books.
type sums struct {
	accepted, rejected, blocks int
	credit                     float64
}

// books reads minipool's journal, as far as it is written.
func (l *line) books() sums {
	l.t.Helper()
	data, err := os.ReadFile(l.path("minipool.journal"))
	if err != nil {
		l.t.Fatal(err)
	}
	var read sums
	lines := bytes.Split(data, []byte("\n"))
	for _, text := range lines[:len(lines)-1] {
		var entry struct {
			Event    string
			Accepted *bool
			Count    int
			Credit   struct{ Whole, Fraction uint64 }
		}
		if err := json.Unmarshal(text, &entry); err != nil {
			l.t.Fatalf("minipool.journal: %v in %s", err, text)
		}
		accepted := entry.Accepted != nil && *entry.Accepted
		switch {
		case entry.Event == "verdict" && accepted:
			read.accepted++
			read.credit += float64(entry.Credit.Whole) + float64(entry.Credit.Fraction)/(1<<32)
		case entry.Event == "verdict":
			read.rejected++
		case entry.Event == "rejects":
			read.rejected += entry.Count
		case entry.Event == "block":
			read.blocks++
		}
	}
	return read
}
