//go:build !cgo || !(sv2_static || sv2_system || sv2_pkgconfig)

package ffihost

import (
	"errors"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// nobody is a host that is never asked.
type nobody struct{ sv2.Host }

func TestSaysHowToLinkTheLibrary(t *testing.T) {
	server, err := New(nobody{}, Options{ConfigFile: "sidecar.toml"})
	if server != nil || !errors.Is(err, ErrNoLibrary) {
		t.Errorf("a server %v and the error %v", server, err)
	}
}

func TestRejectsOptionsWithoutAConfiguration(t *testing.T) {
	for _, options := range []Options{{}, {ConfigFile: "x", Threads: -1}} {
		if _, err := New(nobody{}, options); err == nil || errors.Is(err, ErrNoLibrary) {
			t.Errorf("%+v: %v", options, err)
		}
	}
}
