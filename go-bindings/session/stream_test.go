// Streams with memory of their own for submits and verdicts.

package session

import (
	"bytes"
	"context"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// batching makes a stream with batches of a wire. It keeps nothing of what it may not, and spoils what it
// lent as soon as that is its own again.
type batching struct {
	*wire
	t    testing.TB
	lent []Submit

	mu   sync.Mutex
	told []sv2.Verdict
}

func (b *batching) Recv() (Request, error) {
	for i := range b.lent {
		b.lent[i] = Submit{ChannelID: 1 << 60, Submit: sv2.Submit{ID: 1 << 60}}
	}
	b.lent = b.lent[:0]
	message, err := b.wire.Recv()
	if err != nil || message.GetSubmitBatch() == nil {
		return Request{Message: message}, err
	}
	for _, m := range message.GetSubmitBatch().GetSubmits() {
		b.lent = append(b.lent, Submit{m.GetChannelId(), sv2.Submit{
			ID: m.GetId(), JobID: m.GetJobId(), Nonce: m.GetNonce(), NTime: m.GetNtime(),
			Version: m.GetVersion(), Extranonce: bytes.Clone(m.GetExtranonce()),
			Worker: bytes.Clone(m.GetWorker()), WouldRefuse: sv2.RejectReason(m.GetWouldRefuse())}})
	}
	return Request{Submits: b.lent}, nil
}

func (b *batching) Send(m *sv2pb.SessionResponse) error {
	if m.GetVerdictBatch() != nil {
		b.t.Error("verdicts came as a message")
	}
	return b.wire.Send(m)
}

func (b *batching) SendVerdicts(verdicts []sv2.Verdict) error {
	if n := len(verdicts); n == 0 || n > MaxBatch {
		b.t.Errorf("%d verdicts at once", n)
	}
	b.mu.Lock()
	b.told = append(b.told, verdicts...)
	b.mu.Unlock()
	return b.wire.Send(verdictsMessage(verdicts))
}

// verdicts are all that were told, in the order of submits.
func (b *batching) verdicts() []sv2.Verdict {
	b.mu.Lock()
	defer b.mu.Unlock()
	told := slices.Clone(b.told)
	slices.SortFunc(told, func(a, b sv2.Verdict) int { return int(a.SubmitID) - int(b.SubmitID) })
	return told
}

// rawBatches is a rawStream that has batches.
func (r *running) rawBatches(t *testing.T) (*rawStream, *batching) {
	ctx, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	s := &rawStream{t: t, end: end, ended: make(chan error, 1), wire: &wire{ctx: ctx,
		incoming: make(chan *sv2pb.SessionRequest, 100),
		outgoing: make(chan *sv2pb.SessionResponse, 100)}}
	t.Cleanup(sync.OnceFunc(func() { close(s.incoming) }))
	b := &batching{wire: s.wire, t: t}
	go func() { s.ended <- r.ServeBatches(b) }()
	return s, b
}

// welcome says Hello, and opens channels that nobody can object to.
func (s *rawStream) welcome(hello *sv2pb.Hello, open ...uint64) {
	s.t.Helper()
	s.incoming <- &sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_Hello{Hello: hello}}
	s.until("Welcome", func(m *sv2pb.SessionResponse) bool { return m.GetWelcome() != nil })
	for _, id := range open {
		s.incoming <- &sv2pb.SessionRequest{
			Message: &sv2pb.SessionRequest_OpenChannel{OpenChannel: goodOpen(id)}}
		s.until("the channel", func(m *sv2pb.SessionResponse) bool {
			return m.GetChannelOpened() != nil
		})
	}
}

// mixed is a batch of everything that can be said of submits; the ids are 1 to 256.
func mixed() []*sv2pb.Submit {
	batch := make([]*sv2pb.Submit, MaxBatch)
	for i := range batch {
		id := uint64(i + 1)
		m := share(id, 1+id%3, uint32(id))
		switch id {
		case 10:
			m.ChannelId = 99
		case 20:
			m.Extranonce = m.Extranonce[:3]
		case 30:
			m.Extranonce = make([]byte, 33)
		case 40:
			m.Worker = make([]byte, maxWorker)
		case 50:
			m.Worker = make([]byte, maxWorker+1)
		case 60:
			m.JobId = 77
		case 70:
			m.WouldRefuse = sv2pb.RejectReason_REJECT_REASON_UNAUTHORIZED
		case 80:
			m.WouldRefuse = 200
		}
		batch[i] = m
	}
	return batch
}

func TestBatchesAreJudgedAsMessagesAre(t *testing.T) {
	var verdicts [2]map[uint64]*sv2pb.Verdict
	var taken [2]map[uint64]sv2.Submit
	for i, batches := range []bool{false, true} {
		taken[i] = make(map[uint64]sv2.Submit)
		server := start(t, Options{}, func(p *pool) {
			p.onBatch = func(batch []sv2.Submit) {
				for _, submit := range batch {
					taken[i][submit.ID] = submit
				}
			}
		})
		var s *rawStream
		var b *batching
		if batches {
			s, b = server.rawBatches(t)
		} else {
			s = server.rawStream(t)
			t.Cleanup(func() { close(s.incoming) })
		}
		s.welcome(goodHello(1), 1, 2, 3)
		s.submit(mixed()...)
		verdicts[i] = s.judged(MaxBatch)
		if !batches {
			continue
		}
		for _, v := range b.verdicts() {
			m := verdicts[i][v.SubmitID]
			if m.GetAccepted() != v.Accepted() || m.GetDetail() != v.Detail ||
				m.GetCreditWhole() != v.Credit.Whole || m.GetBlockCandidate() != v.BlockCandidate ||
				!v.Accepted() && v.Credit != (sv2.Difficulty{}) {
				t.Errorf("%+v is not %v", v, m)
			}
		}
	}
	for _, m := range mixed() {
		want := sv2.Submit{ID: m.GetId(), JobID: m.GetJobId(), Nonce: m.GetNonce(), NTime: m.GetNtime(),
			Version: m.GetVersion(), Extranonce: m.GetExtranonce(), Worker: m.GetWorker(),
			WouldRefuse: sv2.RejectReason(m.GetWouldRefuse())}
		if want.ID == 80 { // nobody knows that reason
			want.WouldRefuse = sv2.RejectInvalidShare
		}
		first, told := taken[0][want.ID]
		if second := taken[1][want.ID]; !reflect.DeepEqual(first, second) ||
			told && !reflect.DeepEqual(first, want) {
			t.Errorf("the host got %+v from a message and %+v from a batch, want %+v", first, second, want)
		}
	}
	if len(taken[0]) != MaxBatch-4 {
		t.Errorf("%d submits reached the host", len(taken[0]))
	}
	accepted, reasons := 0, map[sv2pb.RejectReason]bool{}
	for id, want := range verdicts[0] {
		if got := verdicts[1][id]; !proto.Equal(got, want) {
			t.Errorf("verdict on a message is %v, on a batch %v", want, got)
		}
		if reasons[want.GetReason()] = true; want.GetAccepted() {
			accepted++
		}
	}
	if accepted < 50 || len(reasons) != 6 {
		t.Errorf("%d accepted, and the reasons are %v: the test tests little", accepted, reasons)
	}
}

// What a host is given stays as it is when the stream reuses its memory, and a reason that nobody knows is
// told as one that everybody does.
func TestTheHostKeepsWhatABatchWas(t *testing.T) {
	server := start(t, Options{}, nil)
	server.pool.pause(true)
	s, _ := server.rawBatches(t)
	s.welcome(goodHello(1), 1)
	channel := server.pool.only()
	s.submit(share(1, 1, 1), share(2, 1, 2))
	s.submit(share(3, 1, 3))
	s.incoming <- &sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_Ping{Ping: &sv2pb.Ping{Id: 1}}}
	s.until("Pong", func(m *sv2pb.SessionResponse) bool { return m.GetPong() != nil })
	server.pool.pause(false)
	for id, v := range s.judged(3) {
		if want := hashOf(channel.prefix, share(id, 1, uint32(id))); !bytes.Equal(v.GetShareHash(), want[:]) {
			t.Errorf("another share than %d was judged: %v", id, v)
		}
	}
}

func TestVerdictsOfABatchStreamFitTheContract(t *testing.T) {
	server := start(t, Options{}, nil)
	server.pool.mute = true
	s, b := server.rawBatches(t)
	s.welcome(goodHello(1), 1)
	const count = MaxBatch + 44
	for first := uint64(1); first <= count; first += 100 {
		batch := make([]*sv2pb.Submit, 100)
		for i := range batch {
			batch[i] = share(first+uint64(i), 1, uint32(i))
		}
		s.submit(batch...)
	}
	channel := server.pool.only()
	eventually(t, "the host has them", func() bool {
		return server.Sessions()[0].outstanding.Load() == count
	})
	given := make([]sv2.Verdict, count)
	for i := range given {
		given[i] = sv2.Verdict{SubmitID: uint64(i + 1), Reason: 99,
			Credit: sv2.Difficulty{Whole: 5, Fraction: 6}, Detail: "\n" + strings.Repeat("a", 300)}
	}
	channel.sink.Verdicts(given)
	s.judged(count)
	for _, v := range b.verdicts() {
		if v.Reason != sv2.RejectInvalidShare || v.Credit != (sv2.Difficulty{}) ||
			v.Detail != "?"+strings.Repeat("a", 254) {
			t.Fatalf("told %+v", v)
		}
	}
}

func TestRejectsBatchesThatCannotBe(t *testing.T) {
	server := start(t, Options{}, nil)
	for name, test := range map[string]struct {
		batch []*sv2pb.Submit
		early bool
		want  codes.Code
		text  string
	}{
		"before Hello": {batch: mixed(), early: true, want: codes.FailedPrecondition,
			text: "must be Hello, not submits"},
		"empty": {want: codes.InvalidArgument, text: "0 submits"},
		"too many": {batch: append(mixed(), share(MaxBatch+1, 1, 1)),
			want: codes.InvalidArgument, text: "257 submits"},
		"ids that fall": {batch: []*sv2pb.Submit{share(2, 1, 1), share(1, 1, 2)},
			want: codes.InvalidArgument, text: "ids must rise"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := server.rawBatches(t)
			if !test.early {
				s.welcome(goodHello(1))
			}
			s.submit(test.batch...)
			err := <-s.ended
			if status.Code(err) != test.want || !strings.Contains(err.Error(), test.text) {
				t.Errorf("the stream ended with %v, want %v: %s", err, test.want, test.text)
			}
		})
	}
}

// deafStream is a stream that must not be touched.
type deafStream struct{ t *testing.T }

func (d deafStream) Context() context.Context { return d.t.Context() }

func (d deafStream) Recv() (*sv2pb.SessionRequest, error) {
	d.t.Error("Recv was called")
	return nil, io.EOF
}

func (d deafStream) Send(*sv2pb.SessionResponse) error {
	d.t.Error("Send was called")
	return io.EOF
}

func TestRejectsStreamsWhenTheServerHasStopped(t *testing.T) {
	server := start(t, Options{}, nil)
	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(deafStream{t}); status.Code(err) != codes.Unavailable {
		t.Errorf("a stream after the stop: %v", err)
	}
	if err := server.Stop(t.Context()); err != nil {
		t.Errorf("a second stop: %v", err)
	}
}
