// What is missing is said, and counted at the end.

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

var skips struct {
	sync.Mutex
	lines []string
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, line := range skips.lines {
		fmt.Println(line)
	}
	if count := len(skips.lines); count > 0 {
		fmt.Printf("%d skipped\n", count)
	}
	os.Exit(code)
}

// skip ends a test for want of a prerequisite. With CI_NO_SKIP=1 that is a failure.
func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI_NO_SKIP") == "1" {
		t.Fatalf("skipped, with CI_NO_SKIP=1: %s", why)
	}
	skips.Lock()
	skips.lines = append(skips.lines, fmt.Sprintf("SKIPPED %s: %s", t.Name(), why))
	skips.Unlock()
	t.Skip(why)
}

// peer is the path of a program made by others; without it the test is skipped.
func peer(t *testing.T, name string) string {
	t.Helper()
	folder := os.Getenv("PEERS_BIN")
	if folder == "" {
		why := os.Getenv("PEERS_MISSING")
		if why == "" {
			why = "PEERS_BIN names no folder; make interop sets it"
		}
		skip(t, why)
	}
	path := filepath.Join(folder, name)
	if info, err := os.Stat(path); err != nil || info.Mode()&0o111 == 0 {
		skip(t, fmt.Sprintf("no program %s in PEERS_BIN (%s)", name, folder))
	}
	return path
}
