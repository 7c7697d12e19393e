// What is missing is said, and counted at the end.

package dashboard

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
)

// assets is where the files of the page are.
const assets = "../../sidecar/assets/dashboard"

var skips struct {
	sync.Mutex
	lines []string
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, line := range skips.lines {
		fmt.Println(line)
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
	skips.lines = append(skips.lines, fmt.Sprintf("SKIPPED dashboard: %s: %s", t.Name(), why))
	skips.Unlock()
	t.Skip(why)
}

// chromium is the browser's path; without one the test is skipped.
func chromium(t *testing.T) string {
	t.Helper()
	names := []string{"chromium", "chromium-browser", "google-chrome"}
	if named := os.Getenv("CHROMIUM"); named != "" {
		names = []string{named}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	skip(t, "no Chromium: apt-get install chromium, or name another one as CHROMIUM")
	return ""
}

// program is one of ours; tests/dashboard/run names it, and without it the test is skipped.
func program(t *testing.T, name string) string {
	t.Helper()
	path := os.Getenv(name)
	if path == "" {
		skip(t, name+" names no program: tests/dashboard/run builds them")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return path
}
