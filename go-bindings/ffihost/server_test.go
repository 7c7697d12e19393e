//go:build cgo && (sv2_static || sv2_system || sv2_pkgconfig)

package ffihost

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/internal/testlog"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// patience only turns a hang into a failure.
const patience = 60 * time.Second

// none is a host that takes nobody.
type none struct{}

func (none) Limits() sv2.Limits {
	return sv2.Limits{Easiest: sv2.TargetFromDifficulty(1), Software: "none"}
}

func (none) OpenChannel(context.Context, sv2.OpenRequest, sv2.Sink) (sv2.Channel, sv2.Opened, error) {
	return nil, sv2.Opened{}, &sv2.Refusal{Reason: sv2.RefuseUnauthorized}
}

func (none) Drain(context.Context) error { return nil }

// keyFile makes an authority key, as the file of one is: base58check of 32 bytes.
func keyFile(t *testing.T) string {
	t.Helper()
	secret := sha256.Sum256([]byte(t.Name()))
	secret[0] |= 1 // base58 writes leading zeros in another way
	once := sha256.Sum256(secret[:])
	check := sha256.Sum256(once[:])
	rest := new(big.Int).SetBytes(append(secret[:], check[:4]...))
	const characters = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	var text []byte
	for digit := new(big.Int); rest.Sign() > 0; {
		rest.QuoRem(rest, big.NewInt(58), digit)
		text = append([]byte{characters[digit.Int64()]}, text...)
	}
	path := filepath.Join(t.TempDir(), "authority.key")
	if err := os.WriteFile(path, append(text, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func options(t *testing.T, address string, log *testlog.Buffer) Options {
	return Options{
		Config: fmt.Appendf(nil, "[listen]\naddress = %q\n[authority]\nkey_file = %q\n", address, keyFile(t)),
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	}
}

// bridge configures a mint bridge whose mint is not there: nobody serves on port 1.
func bridge(t *testing.T) []byte {
	return fmt.Appendf(nil, "[mint]\nledger_file = %q\nurl = \"http://127.0.0.1:1\"\nseal_interval_sec = 1\n"+
		"[mint.processor]\nlisten = \"127.0.0.1:0\"\nallow_plain = true\n", filepath.Join(t.TempDir(), "ledger.db"))
}

// serve starts a server and gives what Serve returns.
func serve(t *testing.T, ctx context.Context, o Options) (*Server, <-chan error) {
	t.Helper()
	server, err := New(none{}, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx) }()
	return server, served
}

func await(t *testing.T, served <-chan error) error {
	t.Helper()
	select {
	case err := <-served:
		return err
	case <-time.After(patience):
		t.Fatal("Serve does not return")
		return nil
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// address is where miners connect.
func address(server *Server) string {
	_, rest, _ := strings.Cut(server.URL(), "://")
	at, _, _ := strings.Cut(rest, "/")
	return at
}

func shutdown(t *testing.T, server *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

func TestServesUntilItIsShutDown(t *testing.T) {
	var log testlog.Buffer
	server, served := serve(t, context.Background(), options(t, "127.0.0.1:0", &log))
	eventually(t, "the listener's session with the host", func() bool { return len(server.Sessions()) == 1 })
	conn, err := net.Dial("tcp", address(server))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	shutdown(t, server)
	if err := await(t, served); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", address(server)); err == nil {
		t.Error("the port is still open")
	}
	if !strings.Contains(log.String(), "listener: listening for Stratum V2 miners") {
		t.Errorf("the listener's log is missing:\n%s", log.String())
	}
	if err := server.Start(); err == nil {
		t.Error("it was started again")
	}
	shutdown(t, server) // again, it changes nothing
}

func TestServeEndsWithItsContext(t *testing.T) {
	var log testlog.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	server, served := serve(t, ctx, options(t, "127.0.0.1:0", &log))
	eventually(t, "the listener's session with the host", func() bool { return len(server.Sessions()) == 1 })
	cancel()
	if err := await(t, served); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	shutdown(t, server)
}

func TestRejectsAConfigurationWithAllItsProblems(t *testing.T) {
	config := "[listen]\nadress = \"127.0.0.1:0\"\n[limits]\nmax_in_flight = 0\n"
	_, err := New(none{}, Options{ConfigFile: "sidecar.toml", Config: []byte(config)})
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, want := range []string{"sidecar.toml:2:1: listen.adress: unknown key", "sidecar.toml:4:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
	if _, err := New(none{}, Options{ConfigFile: "no-such-file.toml"}); err == nil ||
		!strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
}

func TestRejectsAPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	var log testlog.Buffer
	server, err := New(none{}, options(t, taken.Addr().String(), &log))
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(context.Background()); err == nil ||
		!strings.Contains(err.Error(), "another process listens there") {
		t.Error(err)
	}
	shutdown(t, server)
	server, err = New(none{}, options(t, taken.Addr().String(), &log))
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err == nil {
		t.Error("it started")
	}
	if err := server.Serve(context.Background()); err == nil {
		t.Error("it serves though it could not be started")
	}
	shutdown(t, server)
}

func TestIsShutDownWithoutEverServing(t *testing.T) {
	var log testlog.Buffer
	server, err := New(none{}, options(t, "127.0.0.1:0", &log))
	if err != nil {
		t.Fatal(err)
	}
	shutdown(t, server)
	server, err = New(none{}, options(t, "127.0.0.1:0", &log))
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	shutdown(t, server)
	if err := server.Serve(context.Background()); err != nil {
		t.Errorf("after Shutdown: %v", err)
	}
}

func TestRefusesToServeTwice(t *testing.T) {
	var log testlog.Buffer
	server, served := serve(t, context.Background(), options(t, "127.0.0.1:0", &log))
	eventually(t, "the listener's session with the host", func() bool { return len(server.Sessions()) == 1 })
	if err := server.Serve(context.Background()); err == nil {
		t.Error("it served twice")
	}
	shutdown(t, server)
	if err := await(t, served); err != nil {
		t.Error(err)
	}
}

func TestBeginsNoStreamOfAListenerThatWasFreed(t *testing.T) {
	var log testlog.Buffer
	server, err := New(none{}, options(t, "127.0.0.1:0", &log))
	if err != nil {
		t.Fatal(err)
	}
	shutdown(t, server)
	// A Hello that was polled before, and is taken after.
	if server.begin(1); server.newest != nil {
		t.Error("a stream was begun that nobody waits for")
	}
}

func TestServeReturnsNilHoweverEarlyTheShutdownComes(t *testing.T) {
	var log testlog.Buffer
	for range 20 {
		server, err := New(none{}, options(t, "127.0.0.1:0", &log))
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- server.Serve(context.Background()) }()
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // cuts off at once whatever has begun
		_ = server.Shutdown(ctx)
		if err := await(t, served); err != nil {
			t.Fatal(err)
		}
	}
}
