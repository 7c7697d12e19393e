//go:build cgo && (sv2_static || sv2_system || sv2_pkgconfig)

package ffihost

import (
	"context"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/internal/testlog"
)

// held counts descriptors and threads of this process.
func held(t *testing.T) (descriptors, threads int) {
	t.Helper()
	for folder, count := range map[string]*int{"fd": &descriptors, "task": &threads} {
		entries, err := os.ReadDir("/proc/self/" + folder)
		if err != nil {
			t.Fatal(err)
		}
		*count = len(entries)
	}
	return descriptors, threads
}

// resident is the memory of this process in KiB, without what Go's collector would give back.
func resident(t *testing.T) int {
	t.Helper()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		t.Fatal("no VmRSS")
	}
	kib, err := strconv.Atoi(fields[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib
}

// growthMax is what the resident memory may grow by in the second half, in KiB: less than 4 a cycle.
const growthMax = 2048

// 50 times; 1,000 with GOPOOL_SV2_LONG=1, and only then memory is judged: what Go keeps for itself is as much
// as 50 leaks.
func TestLeavesNothingBehind(t *testing.T) {
	cycle := func() {
		var log testlog.Buffer
		server, served := serve(t, context.Background(), options(t, "127.0.0.1:0", &log))
		shutdown(t, server)
		if err := await(t, served); err != nil {
			t.Fatal(err)
		}
	}
	cycles, long := 50, os.Getenv("GOPOOL_SV2_LONG") != ""
	if long {
		cycles = 1000
	}
	for range 5 { // what is made once, of Go's own
		cycle()
	}
	descriptors, threads := held(t)
	half := 0
	for n := range cycles {
		if n == cycles/2 {
			half = resident(t)
		}
		cycle()
	}
	d, n := held(t)
	// Go makes threads as it likes, a few.
	if d > descriptors+1 || n > threads+4 {
		t.Errorf("%d descriptors and %d threads, and %d and %d before", d, n, descriptors, threads)
	}
	end := resident(t)
	t.Logf("%d cycles, %d KiB resident at half and %d at the end", cycles, half, end)
	if long && end-half > growthMax {
		t.Errorf("resident memory grew from %d to %d KiB in the second half of %d cycles", half, end, cycles)
	}
}
