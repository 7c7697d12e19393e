// What the pool's tests share: a sink that remembers, and a pool with work that costs nothing to mine.
package sv2

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// tape is a Sink that remembers what came, in order.
type tape struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every event
	events  []any         // *Job, Target, Verdict, BlockResult, Kick
	closed  bool          // Channel.Close has returned
	tooLate int           // events after that
}

func newTape() *tape { return &tape{changed: make(chan struct{})} }

func (s *tape) add(events ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.tooLate += len(events)
	}
	s.events = append(s.events, events...)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *tape) Job(job *Job)                   { s.add(job) }
func (s *tape) Target(target Target)           { s.add(target) }
func (s *tape) BlockResult(result BlockResult) { s.add(result) }
func (s *tape) Kick(kick Kick)                 { s.add(kick) }
func (s *tape) Verdicts(verdicts []Verdict) {
	events := make([]any, len(verdicts))
	for i, verdict := range verdicts {
		events[i] = verdict
	}
	s.add(events...)
}

func (s *tape) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
}

// of lists the events of one type.
func of[T any](s *tape) (found []T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, event := range s.events {
		if event, ok := event.(T); ok {
			found = append(found, event)
		}
	}
	return found
}

// await waits until there are n events of a type, and returns all there are.
func await[T any](t testing.TB, s *tape, n int) []T {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if found := of[T](s); len(found) >= n {
			return found
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("waited for %d events of %T, got %d", n, *new(T), len(of[T](s)))
		}
	}
}

// rig is a pool under test with its template, clock and block sink.
type rig struct {
	*Pool
	template atomic.Uint32 // number of the newest; each is a tip of its own
	nbits    atomic.Uint32
	seconds  atomic.Int64 // of the clock
	mu       sync.Mutex
	blocks   []Block
	journal  []Verdict
}

// newRig starts a pool whose every hash is a share. change may be nil.
func newRig(t testing.TB, change func(*PoolConfig, *rig)) *rig {
	t.Helper()
	r := &rig{}
	r.template.Store(1)
	r.nbits.Store(hardBits)
	r.seconds.Store(1500)
	config := PoolConfig{
		Limits:    Limits{Easiest: bitsTarget(256), Software: "rig"},
		QueueSize: 1 << 13, // tests mine faster than any miner
		BuildJob:  r.buildJob,
		OnBlock: func(_ context.Context, block Block) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.blocks = append(r.blocks, block)
			return nil
		},
		OnVerdict: func(_ context.Context, _ ChannelInfo, _ Submit, verdict Verdict) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.journal = append(r.journal, verdict)
			return nil
		},
		OnError: func(err error) { t.Errorf("pool: %v", err) },
		Clock:   func() time.Time { return time.Unix(r.seconds.Load(), 0) },
	}
	if change != nil {
		change(&config, r)
	}
	pool, err := NewPool(config)
	if err != nil {
		t.Fatal(err)
	}
	r.Pool = pool
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := pool.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

func (r *rig) buildJob(_ context.Context, request JobRequest) (*Job, error) {
	number := r.template.Load()
	job := testJob(request.ID, 0, r.nbits.Load())
	binary.LittleEndian.PutUint32(job.PrevHash[:], number)
	job.CoinbasePrefix = binary.LittleEndian.AppendUint64([]byte{1}, request.ID)
	job.Height = number
	return job, nil
}

// newTip makes a new template and gives it to all channels.
func (r *rig) newTip(t testing.TB) uint32 {
	t.Helper()
	number := r.template.Add(1)
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return number
}

// miner is one open channel and what came through its sink.
type miner struct {
	Channel
	Opened
	*tape
	next uint64 // submit id
}

func extendedRequest() OpenRequest {
	return OpenRequest{Kind: Extended, MaxTarget: MaxTarget, MinExtranonceSize: 4}
}

func (r *rig) join(t testing.TB, request OpenRequest) *miner {
	t.Helper()
	sink := newTape()
	channel, opened, err := r.OpenChannel(t.Context(), request, sink)
	if err != nil {
		t.Fatal(err)
	}
	return &miner{Channel: channel, Opened: opened, tape: sink}
}

// job is the newest job the miner has.
func (m *miner) job() *Job {
	if jobs := of[*Job](m.tape); len(jobs) > 0 {
		return jobs[len(jobs)-1]
	}
	return m.Opened.Job
}

// shares makes n new submits on a job.
func (m *miner) shares(job *Job, n int) []Submit {
	batch := make([]Submit, n)
	for i := range batch {
		m.next++
		batch[i] = Submit{
			ID: m.next, JobID: job.ID, Nonce: uint32(m.next), NTime: job.MinNTime,
			Version: job.Version, Extranonce: make([]byte, m.ExtranonceSize),
		}
	}
	return batch
}

func (m *miner) leave() {
	m.Channel.Close("test")
	m.tape.close()
}
