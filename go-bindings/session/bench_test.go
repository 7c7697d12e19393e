// What a share costs on the way to the host and back.

package session

import (
	"context"
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

// quickHost accepts every share at once, and costs one slice of verdicts a call.
type quickHost struct{}

func (quickHost) Limits() sv2.Limits { return sv2.Limits{Easiest: sv2.MaxTarget} }

func (quickHost) OpenChannel(
	_ context.Context, _ sv2.OpenRequest, sink sv2.Sink,
) (sv2.Channel, sv2.Opened, error) {
	return quickChannel{sink}, sv2.Opened{Prefix: []byte{1}, ExtranonceSize: 4, Target: sv2.MaxTarget,
		Job: newJob(1, 1)}, nil
}

func (quickHost) Drain(context.Context) error { return nil }

type quickChannel struct{ sink sv2.Sink }

func (c quickChannel) Submit(batch []sv2.Submit) {
	verdicts := make([]sv2.Verdict, len(batch))
	for i := range batch {
		verdicts[i] = sv2.Verdict{SubmitID: batch[i].ID, Hash: sv2.Hash{1},
			Credit: sv2.Difficulty{Whole: 1}}
	}
	c.sink.Verdicts(verdicts)
}

func (quickChannel) Update(context.Context, sv2.UpdateRequest) error { return nil }

func (quickChannel) Close(string) {}

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

// What the session itself costs a share: 256 a batch, for so many channels, from a stream with memory of
// its own to a host that accepts, and the verdicts back.
func BenchmarkSessionOfBatches(b *testing.B) {
	for _, channels := range []uint64{1, 16, 256} {
		b.Run(strconv.FormatUint(channels, 10), func(b *testing.B) {
			server, err := New(quickHost{}, Options{Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			r := &ringlike{ctx: b.Context(), incoming: make(chan Request),
				opened: make(chan struct{}), judged: make(chan int, MaxBatch)}
			ended := make(chan error, 1)
			go func() { ended <- server.ServeBatches(r) }()
			r.incoming <- Request{Message: &sv2pb.SessionRequest{
				Message: &sv2pb.SessionRequest_Hello{Hello: goodHello(1)}}}
			for id := range channels {
				r.incoming <- Request{Message: &sv2pb.SessionRequest{
					Message: &sv2pb.SessionRequest_OpenChannel{OpenChannel: goodOpen(id + 1)}}}
				<-r.opened
			}
			batch := make([]Submit, MaxBatch)
			extranonce, id := []byte{1, 2, 3, 4}, uint64(0)
			b.ReportAllocs()
			for b.Loop() {
				for i := range batch {
					id++
					batch[i] = Submit{1 + id%channels, sv2.Submit{ID: id, JobID: 1,
						Extranonce: extranonce}}
				}
				r.incoming <- Request{Submits: batch}
				for left := MaxBatch; left > 0; {
					left -= <-r.judged
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*MaxBatch), "ns/share")
			close(r.incoming)
			if err := <-ended; err != nil {
				b.Error(err)
			}
			if err := server.Stop(context.Background()); err != nil {
				b.Error(err)
			}
		})
	}
}
