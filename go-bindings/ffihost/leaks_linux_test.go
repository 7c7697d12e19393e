//go:build cgo && (sv2_static || sv2_system || sv2_pkgconfig)

package ffihost

import (
	"context"
	"os"
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

func TestLeavesNothingBehind(t *testing.T) {
	var log testlog.Buffer
	cycle := func() {
		server, served := serve(t, context.Background(), options(t, "127.0.0.1:0", &log))
		shutdown(t, server)
		if err := await(t, served); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 { // what is made once, of Go's own
		cycle()
	}
	descriptors, threads := held(t)
	for range 50 {
		cycle()
	}
	d, n := held(t)
	// Go makes threads as it likes, a few.
	if d > descriptors+1 || n > threads+4 {
		t.Errorf("%d descriptors and %d threads, and %d and %d before", d, n, descriptors, threads)
	}
}
