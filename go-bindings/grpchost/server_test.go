// The server's life, and what it passes on to sessions.

package grpchost

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

func TestServeEndsWithItsContext(t *testing.T) {
	host := newPool(t)
	server, err := New(host, Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r := &running{Server: server, pool: host, path: filepath.Join(t.TempDir(), "sock")}
	listener, err := ListenUnix(r.path, UnixOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, listener) }()
	c, _ := r.welcomed(t, goodHello(1))
	c.open(1)
	cancel()
	if err := <-served; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve: %v", err)
	}
	c.ends(codes.Unavailable)
	if n := host.open(); n != 0 {
		t.Errorf("%d channels are open after Serve", n)
	}
	if err := server.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown after Serve: %v", err)
	}
	host.stop(t)
}

// The rules of a shutdown are tested with package session; here what gRPC adds.
func TestShutdownTurnsHealthOffAndEndsConnections(t *testing.T) {
	server := start(t, Options{})
	c, _ := server.welcomed(t, goodHello(1))
	c.open(1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	health := grpc_health_v1.NewHealthClient(server.dial(t))
	stopped := make(chan error, 1)
	go func() { stopped <- server.Shutdown(ctx) }()
	if drain := c.next().GetDrain(); drain.GetGraceMs() == 0 || drain.GetReason() == "" {
		t.Fatalf("want Drain, got %v", drain)
	}
	got, err := health.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil || got.GetStatus() != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health while draining: %v, %v", got, err)
	}
	c.ping(1) // still served
	if err := c.stream.CloseSend(); err != nil {
		t.Error(err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err = health.Check(ctx, &grpc_health_v1.HealthCheckRequest{}); status.Code(err) !=
		codes.Unavailable {
		t.Errorf("a call after the end: %v", err)
	}
}

// One share there, its verdict back, and the session goes on when its stream breaks.
func TestBringsStreamsToSessions(t *testing.T) {
	server := start(t, Options{})
	c, welcome := server.welcomed(t, goodHello(1))
	opened := c.open(1)
	c.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_SubmitBatch{
		SubmitBatch: &sv2pb.SubmitBatch{Submits: []*sv2pb.Submit{{Id: 1, ChannelId: 1,
			JobId: opened.GetJob().GetId(), Ntime: 1_700_000_001, Version: 0x20000000,
			Extranonce: []byte{1, 2, 3, 4}}}}}})
	verdicts := c.next().GetVerdictBatch().GetVerdicts()
	if len(verdicts) != 1 || verdicts[0].GetSubmitId() != 1 || len(verdicts[0].GetShareHash()) != 32 {
		t.Fatalf("verdicts are %v", verdicts)
	}
	hello := goodHello(1)
	hello.LastEpoch, hello.OpenChannelIds = welcome.GetEpoch(), []uint64{1}
	next, welcome := server.welcomed(t, hello)
	if !welcome.GetResumed() || welcome.GetLastSubmitId() != 1 {
		t.Errorf("welcome is %v", welcome)
	}
	c.ends(codes.Aborted)
	if next.next().GetJob() == nil {
		t.Error("no job on the new stream")
	}
}

// Every option has its effect in the sessions: Welcome says those that a sidecar is told, and bad values
// of the others are refused (TestRejectsBadOptions).
func TestPassesItsOptionsOn(t *testing.T) {
	epoch := bytes.Repeat([]byte{9}, 16)
	server := start(t, Options{Software: "mypool 2", Epoch: bytes.NewReader(epoch),
		ResumeWindow: 7 * time.Second, VerdictRing: 100, MaxInFlight: 60, MaxChannels: 1})
	hello := goodHello(1)
	hello.MaxInFlight = 60
	c, welcome := server.welcomed(t, hello)
	if welcome.GetSoftware() != "mypool 2" || !bytes.Equal(welcome.GetEpoch(), epoch) ||
		welcome.GetResumeWindowMs() != 7000 || welcome.GetVerdictRing() != 100 {
		t.Errorf("welcome is %v", welcome)
	}
	c.open(1)
	c.requestOpen(2)
	if refused := c.next().GetChannelRefused(); refused.GetReason() !=
		sv2pb.RefuseReason_REFUSE_REASON_CHANNEL_CAPACITY_EXHAUSTED {
		t.Errorf("one channel too many: %v", refused)
	}
	if text := server.logs.String(); !strings.Contains(text, "sidecar connected") {
		t.Errorf("the log is %q", text)
	}
	greedy := server.connect(t)
	hello = goodHello(2)
	hello.MaxInFlight = 61
	greedy.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_Hello{Hello: hello}})
	greedy.ends(codes.FailedPrecondition)
}

func TestRejectsBadOptions(t *testing.T) {
	host := newPool(t)
	defer host.stop(t)
	for name, options := range map[string]Options{
		"software": {Software: strings.Repeat("a", 65)}, "window": {ResumeWindow: -1},
		"ring": {VerdictRing: -1}, "in flight": {VerdictRing: 5, MaxInFlight: 6},
		"outbox": {OutboxLimit: -1}, "channels": {MaxChannels: -1}, "hello": {HelloTimeout: -1},
		"epoch": {Epoch: strings.NewReader("short")},
	} {
		if _, err := New(host, options); err == nil || !strings.HasPrefix(err.Error(), "grpchost: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(nil, Options{}); err == nil {
		t.Error("nil host: no error")
	}
}

// The calls themselves are tested with package session.
func TestMintCallsGoToASidecar(t *testing.T) {
	server := start(t, Options{})
	calls := map[string]func(context.Context) error{
		"payout": func(ctx context.Context) error {
			_, err := server.SetPayout(ctx, []byte("a"), nil, true)
			return err
		},
		"account": func(ctx context.Context) error {
			_, err := server.GetAccount(ctx, []byte("a"), nil)
			return err
		},
		"shares": func(ctx context.Context) error {
			_, err := server.RecordShares(ctx, make([]RecordedShare, 1))
			return err
		},
	}
	for name, call := range calls {
		if err := call(t.Context()); status.Code(err) != codes.Unavailable {
			t.Errorf("%s without a sidecar: %v", name, err)
		}
	}
	c, _ := server.welcomed(t, goodHello(1))
	for name, call := range calls {
		failed := make(chan error, 1)
		go func() { failed <- call(t.Context()) }()
		m := c.next()
		id := max(m.GetSetPayout().GetCallId(), m.GetGetAccount().GetCallId(),
			m.GetRecordShares().GetCallId())
		if asked := map[string]bool{"payout": m.GetSetPayout().GetClaimUnassigned(),
			"account": string(m.GetGetAccount().GetUserIdentity()) == "a",
			"shares":  len(m.GetRecordShares().GetShares()) == 1}; !asked[name] {
			t.Errorf("%s: the sidecar got %v", name, m)
		}
		c.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_CallFailed{
			CallFailed: &sv2pb.CallFailed{CallId: id, Code: uint32(codes.NotFound), Detail: name}}})
		if err := <-failed; status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
