// The first exchange on a stream: Hello and Welcome.

package session

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

const (
	idSize       = 16 // epoch, boot_id, session_id
	maxSidecarID = 64
)

// sessionID is Hello.session_id.
type sessionID [idSize]byte

// hello is a Hello whose lengths were checked.
type hello struct {
	sidecar     string
	boot        [idSize]byte
	session     sessionID
	lastEpoch   []byte // empty, or idSize bytes
	software    string
	maxInFlight int64
	// dial counts the Hellos of a session, from 1.
	dial uint64
	// cancelled submits and open channels, ascending.
	cancelled, open []uint64
}

// helloFrom checks a Hello; the error is a gRPC status.
func helloFrom(m *sv2pb.Hello, o Options) (hello, error) {
	if m.GetProtocol() != Protocol {
		return hello{}, status.Errorf(codes.FailedPrecondition,
			"Hello.protocol is %d and this pool speaks %d: use a sidecar of the same release",
			m.GetProtocol(), Protocol)
	}
	invalid := func(format string, values ...any) error {
		return status.Error(codes.InvalidArgument, "Hello: "+fmt.Sprintf(format, values...))
	}
	sidecar, inFlight := m.GetSidecarId(), m.GetMaxInFlight()
	switch {
	case len(sidecar) == 0 || len(sidecar) > maxSidecarID ||
		printable(sidecar, maxSidecarID) != sidecar:
		return hello{}, invalid("sidecar_id must be 1 to %d printable ASCII characters", maxSidecarID)
	case len(m.GetBootId()) != idSize:
		return hello{}, invalid("boot_id has %d bytes, want %d", len(m.GetBootId()), idSize)
	case len(m.GetSessionId()) != idSize:
		return hello{}, invalid("session_id has %d bytes, want %d", len(m.GetSessionId()), idSize)
	case len(m.GetLastEpoch()) != 0 && len(m.GetLastEpoch()) != idSize:
		return hello{}, invalid("last_epoch has %d bytes, want 0 or %d", len(m.GetLastEpoch()), idSize)
	case len(m.GetSoftware()) > maxSoftware:
		return hello{}, invalid("software has %d bytes, at most %d", len(m.GetSoftware()), maxSoftware)
	case m.GetDial() == 0:
		return hello{}, invalid("dial is 0: it counts the dials of a session, from 1")
	case inFlight == 0:
		return hello{}, invalid("max_in_flight is 0, want 1 or more")
	case int64(inFlight) > int64(o.VerdictRing):
		return hello{}, status.Errorf(codes.FailedPrecondition, "Hello.max_in_flight is %d and the "+
			"pool's verdict ring holds %d: lower the one or raise the other", inFlight, o.VerdictRing)
	case int64(inFlight) > int64(o.MaxInFlight):
		return hello{}, status.Errorf(codes.FailedPrecondition, "Hello.max_in_flight is %d and the "+
			"pool takes at most %d: lower the one or raise the other", inFlight, o.MaxInFlight)
	case uint64(len(m.GetCancelledSubmitIds())) > uint64(inFlight):
		return hello{}, invalid("%d cancelled_submit_ids, at most max_in_flight (%d)",
			len(m.GetCancelledSubmitIds()), inFlight)
	}
	return hello{
		sidecar: sidecar, boot: [idSize]byte(m.GetBootId()), session: sessionID(m.GetSessionId()),
		lastEpoch: m.GetLastEpoch(), software: printable(m.GetSoftware(), maxSoftware),
		maxInFlight: int64(inFlight), dial: m.GetDial(), cancelled: ascending(m.GetCancelledSubmitIds()),
		open: ascending(m.GetOpenChannelIds()),
	}, nil
}

// ascending is a list in order, each id once.
func ascending(ids []uint64) []uint64 {
	slices.Sort(ids)
	return slices.Compact(ids)
}

// welcomeMessage is the answer to a Hello that begins a session.
func welcomeMessage(o Options, epoch [idSize]byte, limits sv2.Limits) (*sv2pb.SessionResponse, error) {
	if limits.Easiest.IsZero() {
		return nil, status.Error(codes.Internal, "the host's easiest target is zero: no share meets it")
	}
	welcome := &sv2pb.Welcome{
		Protocol: Protocol, Epoch: epoch[:], EasiestTarget: limits.Easiest[:],
		ResumeWindowMs: uint32(o.ResumeWindow.Milliseconds()), VerdictRing: uint32(o.VerdictRing),
		Software: printable(o.Software, maxSoftware),
	}
	if welcome.Software == "" {
		welcome.Software = printable(limits.Software, maxSoftware)
	}
	if !limits.Hardest.IsZero() {
		welcome.HardestTarget = limits.Hardest[:]
	}
	return &sv2pb.SessionResponse{Message: &sv2pb.SessionResponse_Welcome{Welcome: welcome}}, nil
}

// handshake takes messages until Hello, finds or makes the session and queues Welcome and, when the
// session goes on, what repairs it.
func (l *link) handshake() error {
	late := status.Errorf(codes.FailedPrecondition, "no Hello within %v",
		l.server.options.HelloTimeout)
	deadline := time.AfterFunc(l.server.options.HelloTimeout, func() { l.fail(late) })
	defer deadline.Stop()
	var first *sv2pb.SessionRequest
	for first.GetMessage() == nil { // a newer sidecar's message that we don't know
		request, err := l.stream.Recv()
		if err != nil {
			return err
		}
		if first = request.Message; first == nil {
			return status.Error(codes.FailedPrecondition, "the first message must be Hello, not submits")
		}
	}
	if first.GetHello() == nil {
		return status.Errorf(codes.FailedPrecondition, "the first message must be Hello, not %T",
			first.GetMessage())
	}
	var err error
	if l.hello, err = helloFrom(first.GetHello(), l.server.options); err != nil {
		return err
	}
	if !deadline.Stop() {
		return late
	}
	s, resumed, err := l.server.admit(l)
	if err != nil {
		return err
	}
	welcome, err := welcomeMessage(l.server.options, s.epoch, l.server.host.Limits())
	if err != nil {
		return err
	}
	var repairs []entry
	if resumed {
		if repairs, err = s.resume(l); err != nil {
			return err
		}
		welcome.GetWelcome().Resumed = true
		welcome.GetWelcome().LastSubmitId = l.again
	}
	s.mu.Lock()
	l.welcomed = true
	l.outbox.begin(append([]entry{{message: welcome}}, repairs...))
	s.mu.Unlock()
	l.log.Info("sidecar connected", "software", l.hello.software,
		"max_in_flight", l.hello.maxInFlight, "resumed", resumed)
	return nil
}
