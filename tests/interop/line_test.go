// The line under test: minipool and the sidecar, as processes of their own.

package interop

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const (
	// networkBits make a block of 2^23 hashes: a peer on one CPU core finds some in a test, and
	// minipool mines one in a few seconds.
	networkBits = "1e01ffff"
	// shareSeconds is the distance of shares that minipool's vardiff aims at.
	shareSeconds = "0.3"
	// minDifficulty is 2^-18, 16384 hashes: nothing for any CPU core.
	minDifficulty = "0.000003814697265625"
)

// line is a running pool with its sidecar.
type line struct {
	t             *testing.T
	directory     string
	pool, sidecar *process // one and the same when the listener is inside of minipool
	address       string   // who is mined for
	host, port    string   // where miners connect
	key           string   // whom they expect there
	mint          *process // nil without a bridge to one
}

// startLine starts both and waits until miners can come. Its files go away with the test, unless that
// fails.
func startLine(t *testing.T) *line {
	t.Helper()
	return startLineWith(t, "")
}

// startLineWith is startLine with more in the sidecar's configuration.
func startLineWith(t *testing.T, sections string) *line {
	t.Helper()
	sidecar, minipool := required(t, "SIDECAR_BIN"), required(t, "MINIPOOL_BIN")
	// Not t.TempDir: the path of a Unix socket is short.
	directory, err := os.MkdirTemp("", "interop")
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
	l := &line{t: t, directory: directory}
	output(t, sidecar, "keygen", "--out", l.path("authority.key"))
	l.address = output(t, minipool, "-test-address")
	l.write("sidecar.toml", `[listen]
address = "127.0.0.1:0"
[authority]
key_file = "authority.key"
[pool]
address = "unix:pool.sock"
[log]
format = "human"
filter = "info,gopool_sv2=debug"
journal = "sidecar.journal"
`+sections)
	flags := []string{"-datadir", "chain", "-journal", "minipool.journal",
		"-network-bits", networkBits, "-share-seconds", shareSeconds,
		"-min-difficulty", minDifficulty, "-log-level", "debug"}
	var url string
	if os.Getenv("GOPOOL_SV2_CARRIER") == "ffi" {
		flags = append(flags, "-carrier", "ffi", "-listener-config", "sidecar.toml")
		l.pool = start(t, directory, "minipool", minipool, flags...)
		l.sidecar = l.pool
		url, _, _ = strings.Cut(l.pool.await("listens=stratum2+tcp://"), " ")
	} else {
		l.pool = start(t, directory, "minipool", minipool, append(flags, "-socket", "pool.sock")...)
		l.pool.await("minipool is ready")
		l.sidecar = start(t, directory, "sidecar", sidecar, "serve", "--config", "sidecar.toml")
		url = l.sidecar.await("miners type: stratum2+tcp://")
	}
	endpoint, key, ok := strings.Cut(url, "/")
	host, port, ok2 := strings.Cut(endpoint, ":")
	if !ok || !ok2 {
		t.Fatalf("the sidecar's URL: %q", url)
	}
	l.host, l.port, l.key = host, port, key
	l.sidecar.await("link to the pool is up")
	return l
}

func (l *line) path(name string) string { return filepath.Join(l.directory, name) }

func (l *line) write(name, text string) {
	l.t.Helper()
	if err := os.WriteFile(l.path(name), []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// books reads a journal of this line, as far as it is written: sidecar or minipool.
func (l *line) books(name string) books {
	l.t.Helper()
	read, err := readBooks(l.path(name + ".journal"))
	if err != nil {
		l.t.Fatal(err)
	}
	return read
}

// newTip has minipool mine a block, and waits until miners work on a new one, whoever found it.
func (l *line) newTip() {
	l.t.Helper()
	before := len(l.books("minipool").of("tip"))
	l.pool.signal(syscall.SIGUSR1)
	l.pool.eventually("a new tip", func() bool {
		return len(l.books("minipool").of("tip")) > before
	})
}

// stop ends the sidecar, then the pool, and gives their complete books. All peers must be gone. It
// fails when the two disagree about a single share.
func (l *line) stop() (sidecar, minipool books) {
	l.t.Helper()
	if code := l.sidecar.stop(); code != 0 {
		l.t.Errorf("the sidecar's exit code is %d", code)
	}
	if l.pool != l.sidecar {
		if code := l.pool.stop(); code != 0 {
			l.t.Errorf("minipool's exit code is %d", code)
		}
	}
	sidecar, minipool = l.books("sidecar"), l.books("minipool")
	closed := sidecar.of("closed")
	if len(closed) != 1 || closed[0].Dropped != 0 {
		l.t.Errorf("the sidecar's journal is not complete: %+v", closed)
	}
	if told, booked := sidecar.acceptedIDs(), minipool.acceptedIDs(); !slices.Equal(told, booked) {
		l.t.Errorf("accepted submits differ:\nsidecar  %v\nminipool %v", told, booked)
	}
	for _, block := range minipool.of("block") {
		// Only who loses a race for a block may be refused one.
		if !block.Accepted && !strings.Contains(block.Detail, "stale") {
			l.t.Errorf("a block was refused: %+v", block)
		}
	}
	return sidecar, minipool
}

// checkRejects: a new tip may cost each miner the shares that were under way, and each of targets new
// targets one that met it too early. Nothing else costs any.
func checkRejects(t *testing.T, sidecar, minipool books, targets int) {
	t.Helper()
	tips, rejected := len(minipool.of("tip")), sidecar.rejected()
	stale, low := rejected["stale-share"], rejected["difficulty-too-low"]
	if total(rejected) != stale+low || stale > 3*tips || low > targets {
		t.Errorf("rejected with %d tips and %d new targets: %v", tips, targets, rejected)
	}
}

// required is a setting that tests/interop/run makes.
func required(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: start these tests with make interop", name)
	}
	return value
}
