// The two ends of the tests: a real pool behind a real socket, and a real gRPC client.

package grpchost

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/internal/testlog"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// patience only turns a hang into a failure.
const patience = 60 * time.Second

// logs is what the server logged.
type logs = testlog.Buffer

// pool is the host of the tests.
type pool struct{ *sv2.Pool }

func newPool(t testing.TB) pool {
	t.Helper()
	host, err := sv2.NewPool(sv2.PoolConfig{
		Limits:         sv2.Limits{Easiest: sv2.MaxTarget, Software: "testpool 1"},
		ExtranonceSize: 4,
		BuildJob: func(_ context.Context, request sv2.JobRequest) (*sv2.Job, error) {
			return &sv2.Job{
				ID: request.ID, PrevHash: sv2.Hash{1, 2, 3}, NBits: 0x1d00ffff, Version: 0x20000000,
				MinNTime: 1_700_000_000, CoinbasePrefix: bytes.Repeat([]byte{byte(request.ID)}, 60),
				CoinbaseSuffix: []byte{4, 5, 6}, StaleRule: sv2.StaleHost,
			}, nil
		},
		OnBlock: func(context.Context, sv2.Block) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return pool{host}
}

// stop ends the pool, which nobody asks any more.
func (p pool) stop(t testing.TB) {
	t.Helper()
	if err := p.Close(context.Background()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// open reports how many channels are open.
func (p pool) open() int { return len(p.Channels()) }

// running is a server with a host behind it, on a Unix socket at path.
type running struct {
	*Server
	pool pool
	path string
	logs *logs
	// log writes to logs.
	log *slog.Logger
	// target and credentials are how a sidecar dials, when not over that socket.
	target      string
	credentials credentials.TransportCredentials
}

// start runs a server until the test ends.
func start(t testing.TB, options Options) *running {
	t.Helper()
	return startOn(t, options, UnixOptions{})
}

func startOn(t testing.TB, options Options, unix UnixOptions) *running {
	t.Helper()
	return startWith(t, options, func(r *running) (net.Listener, error) {
		r.path = filepath.Join(t.TempDir(), "sv2.sock")
		unix.Logger = r.log
		return ListenUnix(r.path, unix)
	})
}

// startWith is start on a listener of any kind.
func startWith(t testing.TB, options Options,
	listen func(*running) (net.Listener, error),
) *running {
	t.Helper()
	r := &running{pool: newPool(t), logs: &logs{}}
	r.log = slog.New(slog.NewTextHandler(r.logs, nil))
	options.Logger = r.log
	server, err := New(r.pool, options)
	if err != nil {
		t.Fatal(err)
	}
	r.Server = server
	listener, err := listen(r)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background(), listener) }()
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		_ = server.Shutdown(now)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if n := r.pool.open(); n != 0 {
			t.Errorf("%d channels are still open on the host", n)
		}
		r.pool.stop(t)
	})
	return r
}

// dial connects as a sidecar does, keepalive included.
func (r *running) dial(t testing.TB) *grpc.ClientConn {
	t.Helper()
	target, secured := r.target, r.credentials
	if secured == nil {
		target, secured = "unix:"+r.path, insecure.NewCredentials()
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(secured),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 10 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// client is one stream of a sidecar.
type client struct {
	t      testing.TB
	stream grpc.BidiStreamingClient[sv2pb.SessionRequest, sv2pb.SessionResponse]
}

// connect opens a stream with the protocol header, without Hello.
func (r *running) connect(t testing.TB) *client {
	t.Helper()
	return r.connectWith(t, metadata.Pairs(ProtocolHeader, "1"))
}

func (r *running) connectWith(t testing.TB, md metadata.MD) *client {
	t.Helper()
	return connectOn(t, r.dial(t), md)
}

// connectOn opens a stream on a connection that may have others.
func connectOn(t testing.TB, conn *grpc.ClientConn, md metadata.MD) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	stream, err := sv2pb.NewWorkServiceClient(conn).Session(
		metadata.NewOutgoingContext(ctx, md))
	if err != nil {
		t.Fatal(err)
	}
	return &client{t: t, stream: stream}
}

// dials counts the Hellos of all tests.
var dials atomic.Uint64

// goodHello is a Hello nobody can object to, of the session with that number and a dial of its own.
func goodHello(session byte) *sv2pb.Hello {
	return &sv2pb.Hello{Protocol: 1, SidecarId: "sidecar-1", BootId: make([]byte, 16),
		SessionId: bytes.Repeat([]byte{session}, 16), MaxInFlight: DefaultVerdictRing,
		Software: "test 1", Dial: dials.Add(1)}
}

// welcomed opens a stream and says Hello.
func (r *running) welcomed(t testing.TB, hello *sv2pb.Hello) (*client, *sv2pb.Welcome) {
	t.Helper()
	c := r.connect(t)
	return c, c.greet(hello)
}

// greet says Hello.
func (c *client) greet(hello *sv2pb.Hello) *sv2pb.Welcome {
	c.t.Helper()
	c.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_Hello{Hello: hello}})
	welcome := c.next().GetWelcome()
	if welcome == nil {
		c.t.Fatal("the first answer is not Welcome")
	}
	return welcome
}

func (c *client) send(m *sv2pb.SessionRequest) {
	c.t.Helper()
	if err := c.stream.Send(m); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// next is the next message; a stream that ends is a failure.
func (c *client) next() *sv2pb.SessionResponse {
	c.t.Helper()
	m, err := c.stream.Recv()
	if err != nil {
		c.t.Fatalf("receive: %v", err)
	}
	return m
}

// ends reads until the stream ends, which it must with that code.
func (c *client) ends(want codes.Code) error {
	c.t.Helper()
	for {
		if _, err := c.stream.Recv(); err != nil {
			if status.Code(err) != want {
				c.t.Fatalf("stream ended with %v, want %v", err, want)
			}
			return err
		}
	}
}

// requestOpen asks for an extended channel.
func (c *client) requestOpen(id uint64) {
	c.t.Helper()
	c.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_OpenChannel{
		OpenChannel: &sv2pb.OpenChannel{ChannelId: id,
			Kind:         sv2pb.ChannelKind_CHANNEL_KIND_EXTENDED,
			Connection:   &sv2pb.Connection{Id: id, RemoteAddress: "127.0.0.1:1"},
			UserIdentity: []byte("miner\x00one"), NominalHashRate: 1e12,
			MaxTarget: sv2.MaxTarget[:], MinExtranonceSize: 4}}})
}

// open opens an extended channel; the next message must be its ChannelOpened.
func (c *client) open(id uint64) *sv2pb.ChannelOpened {
	c.t.Helper()
	c.requestOpen(id)
	got := c.next()
	if got.GetChannelOpened().GetChannelId() != id {
		c.t.Fatalf("want ChannelOpened of %d, got %v", id, got)
	}
	return got.GetChannelOpened()
}

// ping sends Ping and expects Pong next: whatever was queued before has arrived.
func (c *client) ping(id uint64) {
	c.t.Helper()
	c.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_Ping{
		Ping: &sv2pb.Ping{Id: id, SentUs: 77}}})
	if pong := c.next().GetPong(); pong.GetId() != id || pong.GetSentUs() != 77 {
		c.t.Fatalf("want Pong %d, got %v", id, pong)
	}
}
