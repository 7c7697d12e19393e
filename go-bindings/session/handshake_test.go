// What must hold before and at Welcome, and for the server as such.

package session

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

func TestWelcomeSaysWhatThePoolIs(t *testing.T) {
	epoch := bytes.Repeat([]byte{9}, 16)
	server := start(t, Options{Epoch: bytes.NewReader(epoch), ResumeWindow: 7 * time.Second,
		VerdictRing: 100, Software: "mypool 2"}, nil)
	hello := goodHello(1)
	hello.MaxInFlight = 100
	_, welcome := server.welcomed(t, hello)
	limits := server.pool.Limits()
	if welcome.GetProtocol() != 1 || !bytes.Equal(welcome.GetEpoch(), epoch) || welcome.GetResumed() ||
		welcome.GetResumeWindowMs() != 7000 || welcome.GetVerdictRing() != 100 ||
		welcome.GetSoftware() != "mypool 2" || welcome.GetLastSubmitId() != 0 ||
		!bytes.Equal(welcome.GetEasiestTarget(), limits.Easiest[:]) ||
		!bytes.Equal(welcome.GetHardestTarget(), limits.Hardest[:]) {
		t.Fatalf("welcome is %v", welcome)
	}
}

func TestRejectsEachBadHello(t *testing.T) {
	server := start(t, Options{VerdictRing: 100, MaxInFlight: 50}, nil)
	for name, test := range map[string]struct {
		spoil func(*sv2pb.Hello)
		want  codes.Code
	}{
		"protocol 0":        {func(m *sv2pb.Hello) { m.Protocol = 0 }, codes.FailedPrecondition},
		"protocol 2":        {func(m *sv2pb.Hello) { m.Protocol = 2 }, codes.FailedPrecondition},
		"no sidecar id":     {func(m *sv2pb.Hello) { m.SidecarId = "" }, codes.InvalidArgument},
		"long sidecar id":   {func(m *sv2pb.Hello) { m.SidecarId = strings.Repeat("a", 65) }, codes.InvalidArgument},
		"sidecar id text":   {func(m *sv2pb.Hello) { m.SidecarId = "a\nb" }, codes.InvalidArgument},
		"short boot id":     {func(m *sv2pb.Hello) { m.BootId = m.BootId[:15] }, codes.InvalidArgument},
		"no session id":     {func(m *sv2pb.Hello) { m.SessionId = nil }, codes.InvalidArgument},
		"long session id":   {func(m *sv2pb.Hello) { m.SessionId = make([]byte, 17) }, codes.InvalidArgument},
		"short last epoch":  {func(m *sv2pb.Hello) { m.LastEpoch = make([]byte, 8) }, codes.InvalidArgument},
		"long software":     {func(m *sv2pb.Hello) { m.Software = strings.Repeat("a", 65) }, codes.InvalidArgument},
		"no dial":           {func(m *sv2pb.Hello) { m.Dial = 0 }, codes.InvalidArgument},
		"nothing in flight": {func(m *sv2pb.Hello) { m.MaxInFlight = 0 }, codes.InvalidArgument},
		"above the ring":    {func(m *sv2pb.Hello) { m.MaxInFlight = 101 }, codes.FailedPrecondition},
		"above the limit":   {func(m *sv2pb.Hello) { m.MaxInFlight = 51 }, codes.FailedPrecondition},
		"many cancelled": {func(m *sv2pb.Hello) { m.CancelledSubmitIds = make([]uint64, 51) },
			codes.InvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			hello := goodHello(1)
			hello.MaxInFlight = 50
			test.spoil(hello)
			c := server.connect(t)
			c.hello(hello)
			c.ends(test.want)
		})
	}
	hello := goodHello(1)
	hello.MaxInFlight = 50
	server.welcomed(t, hello) // the unspoiled one is fine
}

func TestRejectsAFirstMessageThatIsNotHello(t *testing.T) {
	server := start(t, Options{}, nil)
	c := server.connect(t)
	c.requestOpen(goodOpen(1))
	c.ends(codes.FailedPrecondition)
	if server.pool.opened != 0 {
		t.Error("the host was asked")
	}
}

func TestIgnoresUnknownMessagesBeforeAndAfterHello(t *testing.T) {
	c := start(t, Options{}, nil).connect(t)
	c.send(&sv2pb.SessionRequest{})
	c.hello(goodHello(1))
	if c.next().GetWelcome() == nil {
		t.Fatal("no Welcome")
	}
	c.send(&sv2pb.SessionRequest{})
	c.ping(1)
}

func TestRejectsSilenceInsteadOfHello(t *testing.T) {
	server := start(t, Options{HelloTimeout: time.Millisecond}, nil)
	server.connect(t).ends(codes.FailedPrecondition)
}

func TestRejectsASecondHelloOnTheSameStream(t *testing.T) {
	c, _ := start(t, Options{}, nil).welcomed(t, goodHello(1))
	c.hello(goodHello(1))
	c.ends(codes.InvalidArgument)
}

func TestANewerStreamFencesTheOlderOne(t *testing.T) {
	server := start(t, Options{}, func(p *pool) {
		p.onClose = func() { time.Sleep(20 * time.Millisecond) } // Welcome must wait for it
	})
	older, _ := server.welcomed(t, goodHello(1))
	older.open(goodOpen(1))
	other, _ := server.welcomed(t, goodHello(2))
	newer, welcome := server.welcomed(t, goodHello(1))
	if welcome.GetResumed() {
		t.Error("resumed")
	}
	if n := server.pool.open(); n != 0 {
		t.Errorf("%d channels of the fenced stream are open after Welcome", n)
	}
	older.ends(codes.Aborted)
	newer.open(goodOpen(1))
	other.ping(1)
	if n := len(server.Sessions()); n != 2 {
		t.Errorf("%d sessions", n)
	}
}

func TestRejectsAHostWithoutEasiestTarget(t *testing.T) {
	server, err := New(noTarget{newPool()}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = welcomeMessage(server.options, server.epoch, server.host.Limits())
	if status.Code(err) != codes.Internal {
		t.Errorf("welcome with a zero target: %v", err)
	}
	server.host.(noTarget).stop()
	if err := server.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

type noTarget struct{ *pool }

func (noTarget) Limits() sv2.Limits { return sv2.Limits{} }

func TestRejectsBadOptions(t *testing.T) {
	host := newPool()
	defer host.stop()
	for name, options := range map[string]Options{
		"software": {Software: strings.Repeat("a", 65)}, "window": {ResumeWindow: -1},
		"long window": {ResumeWindow: 50 * 24 * time.Hour}, "ring": {VerdictRing: -1},
		"in flight": {VerdictRing: 5, MaxInFlight: 6}, "outbox": {OutboxLimit: -1},
		"channels": {MaxChannels: -1}, "hello": {HelloTimeout: -1},
		"epoch": {Epoch: strings.NewReader("short")},
	} {
		if _, err := New(host, options); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := New(nil, Options{}); err == nil {
		t.Error("nil host: no error")
	}
}
