//go:build !cgo || !(sv2_static || sv2_system || sv2_pkgconfig)

package door

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/gopool/config"
)

func TestRejectsFFIInAProgramWithoutTheListener(t *testing.T) {
	state := shortDir(t)
	pool := newPool(emptyRig(t), state)
	pool.Config.Mode = config.ModeFFI
	_, err := Start(context.Background(), pool)
	if err == nil {
		t.Fatal("it started")
	}
	for _, want := range []string{"make install-lib PREFIX=", "-tags sv2_pkgconfig", `mode = "grpc"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	for _, name := range []string{"sv2.sock", "sv2_authority.key", "sv2_sidecar.toml"} {
		if _, err := os.Lstat(filepath.Join(state, name)); err == nil {
			t.Errorf("%s was made", name)
		}
	}
}
