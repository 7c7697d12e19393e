// The sidecar of the tests: a real gRPC client on a real socket.

package session

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/internal/testlog"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// patience only turns a hang into a failure.
const patience = 60 * time.Second

// logs is what the server logged.
type logs = testlog.Buffer

// running is a server with a host behind it, on a Unix socket at path.
type running struct {
	*Server
	pool *pool
	path string
	logs *logs
}

// carrier is the least that gRPC needs to bring streams to sessions.
type carrier struct {
	sv2pb.UnimplementedWorkServiceServer
	server *Server
}

func (c carrier) Session(
	stream grpc.BidiStreamingServer[sv2pb.SessionRequest, sv2pb.SessionResponse],
) error {
	return c.server.Serve(stream)
}

// carry serves over gRPC on a Unix socket, and gives its path and what ends that.
func carry(t testing.TB, server *Server) (path string, end func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "sv2.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	service := grpc.NewServer(grpc.WaitForHandlers(true))
	sv2pb.RegisterWorkServiceServer(service, carrier{server: server})
	served := make(chan error, 1)
	go func() { served <- service.Serve(listener) }()
	return path, func() {
		service.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("Serve: %v", err)
		}
	}
}

// start runs a server until the test ends. setUp may change the host before it is used.
func start(t testing.TB, options Options, setUp func(*pool)) *running {
	t.Helper()
	r := &running{pool: newPool(), logs: &logs{}}
	if setUp != nil {
		setUp(r.pool)
	}
	options.Logger = slog.New(slog.NewTextHandler(r.logs, nil))
	server, err := New(r.pool, options)
	if err != nil {
		t.Fatal(err)
	}
	r.Server = server
	path, end := carry(t, server)
	r.path = path
	t.Cleanup(func() {
		_ = server.Shutdown(gone())
		end()
		r.pool.stop()
		if n := r.pool.open(); n != 0 {
			t.Errorf("%d channels are still open on the host", n)
		}
	})
	return r
}

// gone is a context that has ended.
func gone() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// dial connects as a sidecar does.
func (r *running) dial(t testing.TB) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+r.path,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
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
	cancel context.CancelFunc
}

// connect opens a stream, without Hello.
func (r *running) connect(t testing.TB) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	stream, err := sv2pb.NewWorkServiceClient(r.dial(t)).Session(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &client{t: t, stream: stream, cancel: cancel}
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
	c.hello(hello)
	welcome := c.next().GetWelcome()
	if welcome == nil {
		t.Fatal("the first answer is not Welcome")
	}
	return c, welcome
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

// hangUp ends the stream from the sidecar's side, without a word.
func (c *client) hangUp() {
	c.t.Helper()
	if err := c.stream.CloseSend(); err != nil {
		c.t.Error(err)
	}
}

// leave ends the stream as a sidecar does that stops.
func (c *client) leave() {
	c.t.Helper()
	c.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_Drain{Drain: &sv2pb.Drain{}}})
	c.hangUp()
}

func (c *client) hello(m *sv2pb.Hello) {
	c.t.Helper()
	c.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_Hello{Hello: m}})
}

// goodOpen is an OpenChannel of an extended channel nobody can object to.
func goodOpen(id uint64) *sv2pb.OpenChannel {
	return &sv2pb.OpenChannel{ChannelId: id, Kind: sv2pb.ChannelKind_CHANNEL_KIND_EXTENDED,
		Connection:   &sv2pb.Connection{Id: id, RemoteAddress: "127.0.0.1:1"},
		UserIdentity: []byte("miner\x00one"), NominalHashRate: 1e12,
		MaxTarget: sv2.MaxTarget[:], MinExtranonceSize: 4}
}

func (c *client) requestOpen(m *sv2pb.OpenChannel) {
	c.t.Helper()
	c.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_OpenChannel{OpenChannel: m}})
}

// open opens a channel; the next message must be its ChannelOpened.
func (c *client) open(m *sv2pb.OpenChannel) *sv2pb.ChannelOpened {
	c.t.Helper()
	c.requestOpen(m)
	got := c.next()
	if got.GetChannelOpened().GetChannelId() != m.GetChannelId() {
		c.t.Fatalf("want ChannelOpened of %d, got %v", m.GetChannelId(), got)
	}
	return got.GetChannelOpened()
}

// refused asks for a channel; the next message must be its ChannelRefused.
func (c *client) refused(m *sv2pb.OpenChannel) *sv2pb.ChannelRefused {
	c.t.Helper()
	c.requestOpen(m)
	got := c.next()
	if got.GetChannelRefused().GetChannelId() != m.GetChannelId() {
		c.t.Fatalf("want ChannelRefused of %d, got %v", m.GetChannelId(), got)
	}
	return got.GetChannelRefused()
}

func (c *client) update(m *sv2pb.UpdateChannel) {
	c.t.Helper()
	c.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_UpdateChannel{UpdateChannel: m}})
}

func (c *client) closeChannel(id uint64, reason string) {
	c.t.Helper()
	c.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_CloseChannel{
		CloseChannel: &sv2pb.CloseChannel{ChannelId: id, Reason: reason}}})
}

func (c *client) submit(submits ...*sv2pb.Submit) {
	c.t.Helper()
	c.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_SubmitBatch{
		SubmitBatch: &sv2pb.SubmitBatch{Submits: submits}}})
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

// share is a submit for the first job with that nonce.
func share(id, channel uint64, nonce uint32) *sv2pb.Submit {
	return &sv2pb.Submit{Id: id, ChannelId: channel, JobId: 1, Nonce: nonce, Ntime: 1_700_000_001,
		Version: 0x20000000, Extranonce: []byte{1, 2, 3, 4}}
}

// hashOf is the header hash of a submit for the first job of a channel.
func hashOf(prefix []byte, m *sv2pb.Submit) sv2.Hash {
	return headerHash(newJob(1, 1), prefix, sv2.Submit{Nonce: m.GetNonce(), NTime: m.GetNtime(),
		Version: m.GetVersion(), Extranonce: m.GetExtranonce()})
}

// eventually waits for what happens on another goroutine.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}
