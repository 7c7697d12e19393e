// A share may be a block: whatever else goes on, it reaches the host.

package session

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// minersOf serves a real sv2.Pool whose every share is a block or the neighbour of one. BuildJob waits
// for the gate once slow is set.
func minersOf(t *testing.T, slow *atomic.Bool, gate chan struct{}, blocks *atomic.Int64) *running {
	t.Helper()
	pool, err := sv2.NewPool(sv2.PoolConfig{
		Limits:         sv2.Limits{Easiest: sv2.MaxTarget},
		ExtranonceSize: 4,
		BuildJob: func(ctx context.Context, request sv2.JobRequest) (*sv2.Job, error) {
			if slow.Load() {
				select {
				case <-gate:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			job := newJob(request.ID, 1)
			job.NBits = 0x207fffff // every second hash is a block
			return job, nil
		},
		OnBlock: func(context.Context, sv2.Block) error {
			blocks.Add(1)
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server, err := New(pool, Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	path, end := carry(t, server)
	t.Cleanup(func() {
		_ = server.Shutdown(gone())
		end()
		if err := pool.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return &running{Server: server, path: path}
}

func TestABlockWaitsForNoJobOfAnUpdateAndSurvivesTheClose(t *testing.T) {
	var slow atomic.Bool
	var blocks atomic.Int64
	gate := make(chan struct{})
	server := minersOf(t, &slow, gate, &blocks)
	c, _ := server.welcomed(t, goodHello(1))
	job := c.open(goodOpen(1)).GetJob().GetId()
	batch := func(first uint64) (shares []*sv2pb.Submit) {
		for id := first; id < first+64; id++ {
			submit := share(id, 1, uint32(id))
			submit.JobId = job
			shares = append(shares, submit)
		}
		return shares
	}
	slow.Store(true)
	harder := sv2.TargetFromDifficulty(1e9)
	c.update(&sv2pb.UpdateChannel{ChannelId: 1, RequestId: 1, MaxTarget: harder[:]})
	c.submit(batch(1)...)
	for answered, results := 0, 0; answered < 64 || results == 0; { // while the job is being built
		m := c.next()
		answered += len(m.GetVerdictBatch().GetVerdicts())
		if m.GetBlockResult() != nil {
			results++
		}
		if m.GetChannelUpdated() != nil {
			t.Fatal("the update is done: the test doesn't test it")
		}
	}
	before := blocks.Load()
	c.submit(batch(65)...)
	c.closeChannel(1, "the miner left")
	eventually(t, "a block sent before the close is offered", func() bool {
		return blocks.Load() > before
	})
	close(gate)
}

// wire is a stream whose messages come when the test says so, also after its context has ended.
type wire struct {
	ctx      context.Context
	incoming chan *sv2pb.SessionRequest
	outgoing chan *sv2pb.SessionResponse
	// lossy loses what has not been received yet.
	lossy atomic.Bool
}

func (w *wire) Context() context.Context { return w.ctx }

func (w *wire) Send(m *sv2pb.SessionResponse) error {
	w.outgoing <- m
	return nil
}

func (w *wire) Recv() (*sv2pb.SessionRequest, error) {
	if m, ok := <-w.incoming; ok && !w.lossy.Load() {
		return m, nil
	}
	return nil, io.EOF
}

func TestSharesReceivedAsTheStreamEndsReachTheHost(t *testing.T) {
	server := start(t, Options{ResumeWindow: time.Millisecond}, nil)
	ctx, hangUp := context.WithCancel(context.Background())
	w := &wire{ctx: ctx, incoming: make(chan *sv2pb.SessionRequest, 10),
		outgoing: make(chan *sv2pb.SessionResponse, 10)}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(w) }()
	w.incoming <- &sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_Hello{Hello: goodHello(1)}}
	w.incoming <- &sv2pb.SessionRequest{
		Message: &sv2pb.SessionRequest_OpenChannel{OpenChannel: goodOpen(1)}}
	for opened := false; !opened; {
		opened = (<-w.outgoing).GetChannelOpened() != nil
	}
	channel := server.pool.only()
	hangUp()
	if err := <-ended; err == nil {
		t.Error("the session ended without a cause")
	}
	// Two that were on their way, and one that is no share.
	for id := range uint64(2) {
		w.incoming <- &sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_SubmitBatch{
			SubmitBatch: &sv2pb.SubmitBatch{Submits: []*sv2pb.Submit{share(id+1, 1, uint32(id))}}}}
	}
	w.incoming <- &sv2pb.SessionRequest{
		Message: &sv2pb.SessionRequest_OpenChannel{OpenChannel: goodOpen(2)}}
	close(w.incoming)
	eventually(t, "the channel is closed", func() bool { return server.pool.open() == 0 })
	eventually(t, "both shares are judged", func() bool {
		channel.mu.Lock()
		defer channel.mu.Unlock()
		return channel.judged == 2
	})
	if err := channel.faults(); err != nil {
		t.Error(err)
	}
	if len(server.pool.all) != 1 {
		t.Error("a channel was opened after the session's end")
	}
}
