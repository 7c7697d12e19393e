package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// prefixOf is a folder like that of `make install-lib`.
func prefixOf(t *testing.T, name string) string {
	t.Helper()
	prefix := filepath.Join(t.TempDir(), name)
	for _, file := range []string{"lib/pkgconfig/gopool-sv2.pc", "lib/libgopool_sv2.a", "include/gopool_sv2.h"} {
		path := filepath.Join(prefix, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return prefix
}

func TestTellsHowToBuildWithTheListenerInside(t *testing.T) {
	prefix := prefixOf(t, "prefix")
	with := "CGO_ENABLED=1 PKG_CONFIG_PATH=" + prefix + `/lib/pkgconfig:"$PKG_CONFIG_PATH" CGO_LDFLAGS="` + prefix +
		`/lib/libgopool_sv2.a -lm -lpthread -ldl -Wl,--as-needed $CGO_LDFLAGS" go build -tags sv2_pkgconfig `
	r := newRig(t, "pool")
	tree := hashOfFolder(t, r.root)
	line := buildLineOf(t, r.must("overlay", "-ffi", prefix).out)
	if !strings.HasPrefix(line, "cd "+r.root+" && mkdir -p sv2bridge/ffihost && "+with+"-mod=readonly -modfile=") ||
		hashOfFolder(t, r.root) != tree {
		t.Errorf("overlay says:\n%s", line)
	}
	if line := buildLineOf(t, r.must("overlay").out); strings.Contains(line, "sv2_pkgconfig") ||
		strings.Contains(line, "mkdir") {
		t.Errorf("without the flag overlay says:\n%s", line)
	}
	// The folder that the line makes is in nobody's way.
	r.shell("mkdir -p sv2bridge/ffihost")
	want := "cd " + r.root + " && " + with + "-o goPool ."
	for range 2 { // the second time there is nothing else to do
		if line := buildLineOf(t, r.must("apply", "-ffi", prefix).out); line != want {
			t.Errorf("apply says:\n%s\nwant\n%s", line, want)
		}
	}
	r.env["GOWORK"] = "off"
	if line := buildLineOf(t, r.must("apply", "-ffi", prefix).out); !strings.Contains(line, " GOWORK=off CGO_ENABLED=1 ") {
		t.Errorf("without its workspace: %s", line)
	}
}

func TestRejectsALibraryThatIsNotInstalled(t *testing.T) {
	r := newRig(t, "pool")
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	for _, command := range []string{"overlay", "apply"} {
		r.refuses(command, []string{"-ffi", nowhere}, "make install-lib PREFIX="+nowhere)
		r.refuses(command, []string{"-ffi", prefixOf(t, "my library")}, "a path with spaces, quotes or the like")
	}
}
