//go:build cgo && (sv2_static || sv2_system || sv2_pkgconfig) && !sv2_mint

package ffihost

import (
	"strings"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/internal/testlog"
)

func TestRejectsAMintBridgeThatTheLibraryIsBuiltWithout(t *testing.T) {
	var log testlog.Buffer
	options := options(t, "127.0.0.1:0", &log)
	options.Config = append(options.Config, bridge(t)...)
	server, err := New(none{}, options)
	if err == nil {
		shutdown(t, server)
		t.Fatal("the library has a mint bridge: test that with `make ffi-test MINT=1`")
	}
	for _, want := range []string{"mint.ledger_file", "no mint bridge", "make lib MINT=1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}
