package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	bindings "github.com/gopool-sv2/gopool-sv2/go-bindings"
)

// carrierLayer is a layer that imports what the real one is built on: sv2 and its carriers.
const carrierLayer = `//go:build sv2bridge

package main

import (
	"context"
	"net"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/ffihost"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/grpchost"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

func sv2bridgeStart(ctx context.Context, pool sv2bridgePool) {
	var host sv2.Host
	if _, err := grpchost.New(host, grpchost.Options{}); err != nil {
		return
	}
	if _, err := ffihost.New(host, ffihost.Options{}); err != nil {
		return
	}
	_ = pool.newMinerConn(net.Conn(nil), pool.newJobManager(pool.config()), pool.config())
}
`

// useRealPackages gives a rig this module's own packages, and a layer that needs them.
func useRealPackages(r *rig) {
	r.source = fstest.MapFS{}
	for _, folder := range []string{"sv2", "sv2pb", "events", "session", "grpchost", "ffihost", "."} {
		entries, err := bindings.Sources.ReadDir(folder)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, entry := range entries {
			name := filepath.ToSlash(filepath.Join(folder, entry.Name()))
			if entry.IsDir() {
				continue
			}
			text, err := bindings.Sources.ReadFile(name)
			if err != nil {
				r.t.Fatal(err)
			}
			r.source[name] = &fstest.MapFile{Data: text}
		}
	}
	hook, err := bindings.Sources.ReadFile("gopool/sv2bridge_hook.go")
	if err != nil {
		r.t.Fatal(err)
	}
	r.source["gopool/sv2bridge_hook.go"] = &fstest.MapFile{Data: hook}
	r.source["gopool/sv2bridge_start.go"] = &fstest.MapFile{Data: []byte(carrierLayer)}
}

// The modules come from where this module's own build has them from.
func TestBuildsWithTheRealPackages(t *testing.T) {
	r := newRig(t, "run") // its go.mod asks for an older Go, and for no module
	before := r.hash()
	useRealPackages(r)
	r.must("apply")
	if mod := r.read("go.mod"); !strings.Contains(mod, "google.golang.org/grpc v1.") ||
		!strings.Contains(mod, "google.golang.org/genproto/googleapis/rpc v") ||
		!strings.Contains(mod, " // indirect") || strings.Contains(mod, "rapid") {
		t.Errorf("go.mod is now:\n%s", mod)
	}
	if text := r.read("sv2bridge/grpchost/server.go"); !strings.Contains(text,
		`"example.com/fork/goPool/sv2bridge/sv2"`) || strings.Contains(text, `"`+bindingsModule) {
		t.Error("imports were not rewritten")
	}
	if listed := r.shell("gofmt -l ."); listed != "" {
		t.Errorf("not formatted: %s", listed)
	}
	if r.exists("sv2bridge/sv2/check_test.go") || r.exists("sv2bridge/session/ring_test.go") ||
		!r.exists("sv2bridge/grpchost/listen_other.go") || !r.exists("sv2bridge/session/ring.go") {
		t.Error("tests were copied, or a platform's file was not")
	}
	header, err := bindings.Sources.ReadFile("ffihost/gopool_sv2.h")
	if err != nil || r.read("sv2bridge/ffihost/gopool_sv2.h") != string(header) {
		t.Errorf("the header of the listener's library is another: %v", err)
	}
	// Without the library's build tag there is nothing for cgo in it.
	r.shell("go build -mod=readonly ./... && CGO_ENABLED=0 go build -mod=readonly ./...")
	r.must("revert")
	if r.hash() != before {
		t.Error("revert left a difference")
	}
}

// With GOPOOL_SRC naming a checkout of goPool, the same on a copy of the real thing.
func TestFitsARealGoPool(t *testing.T) {
	checkout := os.Getenv("GOPOOL_SRC")
	if checkout == "" {
		t.Skip("SKIPPED: set GOPOOL_SRC to a checkout of goPool to install into a copy of it")
	}
	r := newRig(t, "pool")
	useRealPackages(r)
	if err := os.RemoveAll(r.root); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(r.root, os.DirFS(checkout)); err != nil {
		t.Fatal(err)
	}
	before := r.hash()
	r.must("check")
	tree := hashOfFolder(t, r.root)
	line := buildLineOf(t, r.must("overlay").out)
	r.shell(line)
	if hashOfFolder(t, r.root) != tree {
		t.Error("the overlay touched the tree")
	}
	if err := os.RemoveAll(r.root + ".sv2bridge"); err != nil {
		t.Fatal(err)
	}
	r.must("apply")
	r.shell("go vet . && go build -o ../built . && rm ../built && go test -count=1 .")
	r.must("revert")
	if r.hash() != before {
		t.Error("revert left a difference")
	}
}
