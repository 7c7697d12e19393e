//go:build linux

// Sockets and peers.

package grpchost

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

func TestSocketHasTheModeWanted(t *testing.T) {
	for _, want := range []fs.FileMode{0, 0o600, 0o660, 0o777} {
		path := filepath.Join(t.TempDir(), "sock")
		listener, err := ListenUnix(path, UnixOptions{Mode: want})
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if want == 0 {
			want = DefaultSocketMode
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode is %v, want %v", got, want)
		}
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file is there after Close: %v", err)
		}
	}
}

// leaveStale makes a socket file nobody listens on, as a killed process does.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReplacesAStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	leaveStale(t, path)
	listener, err := ListenUnix(path, UnixOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestOneOfManyGetsAStaleSocket(t *testing.T) {
	dir := t.TempDir()
	for round := range 50 {
		path := filepath.Join(dir, strconv.Itoa(round))
		leaveStale(t, path)
		var group sync.WaitGroup
		listeners := make(chan net.Listener, 8)
		for range cap(listeners) {
			group.Go(func() {
				if listener, err := ListenUnix(path, UnixOptions{}); err == nil {
					listeners <- listener
				}
			})
		}
		group.Wait()
		if n := len(listeners); n != 1 {
			t.Errorf("%d listen", n)
		}
		close(listeners)
		for listener := range listeners {
			_ = listener.Close()
		}
	}
}

func TestALockOnTheDirectoryHoldsNobodyUp(t *testing.T) {
	dir := t.TempDir()
	handle, err := os.Open(dir) // which every user may do
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = handle.Close() }()
	if err := unix.Flock(int(handle.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "sock")
	listener, err := ListenUnix(path, UnixOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	info, err := os.Lstat(path + LockSuffix)
	if err != nil || info.Mode() != 0o600 || info.Size() != 0 {
		t.Errorf("lock file: %v, %v", info, err)
	}
}

func TestRejectsALockFileThatOthersMayHold(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"readable": func(path string) error { return os.WriteFile(path, nil, 0o644) },
		"pipe":     func(path string) error { return unix.Mkfifo(path, 0o600) },
		"link":     func(path string) error { return os.Symlink("/dev/null", path) },
	} {
		path := filepath.Join(t.TempDir(), "sock")
		if err := make(path + LockSuffix); err != nil {
			t.Fatal(err)
		}
		listener, err := ListenUnix(path, UnixOptions{})
		if err == nil {
			_ = listener.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRejectsASocketSomebodyListensOn(t *testing.T) {
	server := start(t, Options{})
	_, err := ListenUnix(server.path, UnixOptions{})
	if err == nil || !strings.Contains(err.Error(), "another process listens") {
		t.Errorf("got %v", err)
	}
	server.welcomed(t, goodHello(1)) // and that somebody goes on
}

func TestRejectsPathsThatCanBeNoSocket(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"":                               "empty",
		"@abstract":                      "abstract",
		file:                             "not a socket",
		link:                             "not a socket",
		dir:                              "not a socket",
		filepath.Join(dir, "none", "s"):  "create it",
		"/" + strings.Repeat("long", 27): "shorter",
	} {
		listener, err := ListenUnix(path, UnixOptions{})
		if err == nil {
			_ = listener.Close()
			t.Fatalf("%q: no error", path)
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v doesn't say %q", path, err, want)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file was touched: %q, %v", text, err)
	}
	if _, err := ListenUnix(filepath.Join(dir, "s"), UnixOptions{Mode: fs.ModeSetuid | 0o600}); err == nil {
		t.Error("a mode with setuid: no error")
	}
}

func TestRejectsPeersThatAreNotAllowed(t *testing.T) {
	stranger := uint32(os.Geteuid()) + 12345
	server := startOn(t, Options{}, UnixOptions{OnlyListed: true, AllowUIDs: []uint32{stranger}})
	conn, err := net.Dial("unix", server.path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read %d bytes, %v; want the connection closed", n, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream, err := sv2pb.NewWorkServiceClient(server.dial(t)).Session(
		metadata.NewOutgoingContext(ctx, metadata.Pairs(ProtocolHeader, "1")))
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("a gRPC call got %v", err)
	}
	if !strings.Contains(server.logs.String(), "not allowed") {
		t.Error("nothing in the log")
	}
}

func TestWhoMayConnect(t *testing.T) {
	own := uint32(os.Geteuid())
	for _, test := range []struct {
		options UnixOptions
		peer    peer
		want    bool
	}{
		{UnixOptions{}, peer{uid: own}, true},
		{UnixOptions{}, peer{uid: 0}, true},
		{UnixOptions{}, peer{uid: own + 1, gid: 0}, false},
		{UnixOptions{AllowUIDs: []uint32{own + 1}}, peer{uid: own + 1}, true},
		{UnixOptions{AllowUIDs: []uint32{own + 1}}, peer{uid: own}, true},
		{UnixOptions{AllowGIDs: []uint32{7}}, peer{uid: own + 1, gid: 7}, true},
		{UnixOptions{AllowGIDs: []uint32{7}}, peer{uid: own + 1, gid: 8}, false},
		{UnixOptions{OnlyListed: true}, peer{uid: own}, false},
		{UnixOptions{OnlyListed: true, AllowGIDs: []uint32{7}}, peer{uid: own, gid: 7}, true},
	} {
		if got := test.options.allows(test.peer); got != test.want {
			t.Errorf("%+v allows %+v: %v", test.options, test.peer, got)
		}
	}
}

func TestAPeerIsWhoTheKernelSays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = accepted.Close() }()
	got, err := peerOf(accepted)
	want := peer{int32(os.Getpid()), uint32(os.Geteuid()), uint32(os.Getegid())}
	if err != nil || got != want {
		t.Errorf("peer is %+v, %v; want %+v", got, err, want)
	}
}

func TestRejectsTCPInTheClear(t *testing.T) {
	for _, plain := range []bool{false, true} {
		host := newPool(t)
		server, err := New(host, Options{PlainLoopback: plain, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		err = server.Serve(ctx, listener)
		if refused := err != nil && strings.Contains(err.Error(), "no TLS"); refused == plain {
			t.Errorf("PlainLoopback %v: %v", plain, err)
		}
		if err := server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		host.stop(t)
	}
}
