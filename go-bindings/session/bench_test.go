// What a share costs on the way to the host and back.

package session

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strconv"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// One batch of submits to the host and all its verdicts back, over a real socket; the host hashes each
// share. ns/share is the time per share.
func BenchmarkSubmitRoundTrip(b *testing.B) {
	for _, size := range []int{1, 16, 256} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			server := start(b, Options{}, nil)
			c, _ := server.welcomed(b, goodHello(1))
			c.open(goodOpen(1))
			id := uint64(0)
			for b.Loop() {
				batch := make([]*sv2pb.Submit, size)
				for i := range batch {
					id++
					batch[i] = share(id, 1, uint32(id))
				}
				c.submit(batch...)
				for left := size; left > 0; {
					left -= len(c.next().GetVerdictBatch().GetVerdicts())
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/share")
		})
	}
}

// Eight batches under way all the time, over 16 channels: throughput.
func BenchmarkSubmitPipelined(b *testing.B) {
	const channels, window = 16, 8
	server := start(b, Options{}, nil)
	c, _ := server.welcomed(b, goodHello(1))
	for id := range uint64(channels) {
		c.open(goodOpen(id + 1))
	}
	id, owed := uint64(0), 0
	for b.Loop() {
		batch := make([]*sv2pb.Submit, MaxBatch)
		for i := range batch {
			id++
			batch[i] = share(id, 1+id%channels, uint32(id))
		}
		c.submit(batch...)
		owed += MaxBatch
		for owed > window*MaxBatch {
			owed -= len(c.next().GetVerdictBatch().GetVerdicts())
		}
	}
	for owed > 0 {
		owed -= len(c.next().GetVerdictBatch().GetVerdicts())
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*MaxBatch), "ns/share")
}

// quickHost accepts every share at once, in memory that it uses again.
type quickHost struct{}

func (quickHost) Limits() sv2.Limits { return sv2.Limits{Easiest: sv2.MaxTarget} }

func (quickHost) OpenChannel(
	_ context.Context, _ sv2.OpenRequest, sink sv2.Sink,
) (sv2.Channel, sv2.Opened, error) {
	return &quickChannel{sink: sink}, sv2.Opened{Prefix: []byte{1}, ExtranonceSize: 4, Target: sv2.MaxTarget,
		Job: newJob(1, 1)}, nil
}

func (quickHost) Drain(context.Context) error { return nil }

type quickChannel struct {
	sink     sv2.Sink
	verdicts []sv2.Verdict
}

func (c *quickChannel) Submit(batch []sv2.Submit) {
	c.verdicts = c.verdicts[:0]
	for i := range batch {
		c.verdicts = append(c.verdicts, sv2.Verdict{SubmitID: batch[i].ID, Hash: sv2.Hash{1},
			Credit: sv2.Difficulty{Whole: 1}})
	}
	c.sink.Verdicts(c.verdicts)
}

func (*quickChannel) Update(context.Context, sv2.UpdateRequest) error { return nil }

func (*quickChannel) Close(string) {}

// ringlike is a stream that costs nothing itself: one batch there, its verdicts back, in memory that is
// used again.
type ringlike struct {
	ctx      context.Context
	incoming chan Request
	opened   chan struct{}
	judged   chan int
}

func (r *ringlike) Context() context.Context { return r.ctx }

func (r *ringlike) Recv() (Request, error) {
	if request, ok := <-r.incoming; ok {
		return request, nil
	}
	return Request{}, io.EOF
}

func (r *ringlike) Send(m *sv2pb.SessionResponse) error {
	if m.GetChannelOpened() != nil {
		r.opened <- struct{}{}
	}
	return nil
}

func (r *ringlike) SendVerdicts(verdicts []sv2.Verdict) error {
	r.judged <- len(verdicts)
	return nil
}

// quickLine is a session with a host that accepts, on a ringlike, and submits for so many channels.
type quickLine struct {
	*ringlike
	channels, id uint64
	batch        []Submit
}

func newQuickLine(t testing.TB, channels uint64) *quickLine {
	t.Helper()
	server, err := New(quickHost{}, Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	q := &quickLine{channels: channels, batch: make([]Submit, MaxBatch), ringlike: &ringlike{
		ctx: t.Context(), incoming: make(chan Request), opened: make(chan struct{}),
		judged: make(chan int, MaxBatch)}}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeBatches(q) }()
	q.incoming <- Request{Message: &sv2pb.SessionRequest{
		Message: &sv2pb.SessionRequest_Hello{Hello: goodHello(1)}}}
	for id := range channels {
		q.incoming <- Request{Message: &sv2pb.SessionRequest{
			Message: &sv2pb.SessionRequest_OpenChannel{OpenChannel: goodOpen(id + 1)}}}
		<-q.opened
	}
	t.Cleanup(func() {
		close(q.incoming)
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := server.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return q
}

var quickExtranonce = []byte{1, 2, 3, 4}

// share has so many submits judged, for all channels in turn.
func (q *quickLine) share(submits int) {
	batch := q.batch[:submits]
	for i := range batch {
		q.id++
		batch[i] = Submit{1 + q.id%q.channels,
			sv2.Submit{ID: q.id, JobID: 1, Extranonce: quickExtranonce}}
	}
	q.incoming <- Request{Submits: batch}
	for submits > 0 {
		submits -= <-q.judged
	}
}

// A submit and its verdict take nothing of the heap for themselves, however they come: hosts own their
// submits, but those are pieces of what was made for many.
func TestTakesNoObjectForAShare(t *testing.T) {
	for _, size := range []int{1, 16, MaxBatch} {
		q := newQuickLine(t, 16)
		objects := testing.AllocsPerRun(1000, func() { q.share(size) }) / float64(size)
		t.Logf("batches of %d: %.3f objects a share", size, objects)
		if objects >= 0.5 {
			t.Errorf("batches of %d: %.2f objects a share", size, objects)
		}
	}
}

// What the session itself costs a share: 256 a batch, for so many channels, from a stream with memory of
// its own to a host that accepts, and the verdicts back.
func BenchmarkSessionOfBatches(b *testing.B) {
	for _, channels := range []uint64{1, 16, 256} {
		b.Run(strconv.FormatUint(channels, 10), func(b *testing.B) {
			q := newQuickLine(b, channels)
			b.ReportAllocs()
			for b.Loop() {
				q.share(MaxBatch)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*MaxBatch), "ns/share")
		})
	}
}
