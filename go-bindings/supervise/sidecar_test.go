package supervise

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sidecar is the real program, as `make go-test` builds it.
func sidecar(t *testing.T) string {
	t.Helper()
	target := os.Getenv("CARGO_TARGET_DIR")
	if target == "" {
		target = filepath.Join("..", "..", "target")
	}
	program, err := filepath.Abs(filepath.Join(target, "debug", programName))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%v: build it with `cargo build --bin gopool-sv2`", err)
	}
	return program
}

func TestMakesAKeyAndRunsTheRealSidecar(t *testing.T) {
	dir := t.TempDir()
	config, key := filepath.Join(dir, "sidecar.toml"), filepath.Join(dir, "state", "authority.key")
	text := "[listen]\naddress = \"127.0.0.1:0\"\n[authority]\nkey_file = \"" + key + "\"\n" +
		"[pool]\naddress = \"unix:" + filepath.Join(dir, "pool.sock") + "\"\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l := &logs{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, Options{Program: sidecar(t), Config: config, KeyFile: key,
			Logger: slog.New(slog.NewTextHandler(l, nil))})
	}()
	l.await(t, "miners type: stratum2+tcp://127.0.0.1:", 1)
	l.await(t, "no socket at", 1)
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if !strings.Contains(l.String(), "sv2 sidecar: stopped") {
		t.Errorf("not an orderly stop:\n%s", l)
	}
	info, err := os.Stat(key)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", info, err)
	}
}

func TestNamesWhatIsWrongInTheRealConfiguration(t *testing.T) {
	config := filepath.Join(t.TempDir(), "sidecar.toml")
	if err := os.WriteFile(config, []byte("[listen]\nadress = \"x\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := Run(t.Context(), Options{Program: sidecar(t), Config: config})
	if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "adress") {
		t.Errorf("Run: %v", err)
	}
}
