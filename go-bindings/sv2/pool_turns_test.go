// Nobody's junk keeps another miner's shares waiting for long, nor gets them refused.
package sv2

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// crowd is a pool with one judging goroutine that stands still until its gate is opened, and the order
// in which it judged: the channel of each share.
type crowd struct {
	*rig
	gate  chan struct{}
	order []uint64
}

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	before := runtime.GOMAXPROCS(1)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	c := &crowd{gate: make(chan struct{})}
	c.rig = newRig(t, func(config *PoolConfig, r *rig) {
		config.QueueSize = 1000
		config.OnVerdict = func(_ context.Context, info ChannelInfo, _ Submit, _ Verdict) error {
			<-c.gate
			c.order = append(c.order, info.ID)
			return nil
		}
	})
	return c
}

func (c *crowd) joinOn(t *testing.T, connection uint64, address string) (*miner, uint64) {
	t.Helper()
	request := extendedRequest()
	request.Connection = Connection{ID: connection, RemoteAddress: address}
	m := c.join(t, request)
	return m, m.Channel.(*poolChannel).info.ID
}

func TestJunkOfOtherConnectionsDelaysAnHonestShareByATurnEach(t *testing.T) {
	for _, test := range []struct{ connections, channels int }{{5, 1}, {1, 64}, {3, 20}} {
		t.Run(fmt.Sprintf("%d with %d channels", test.connections, test.channels), func(t *testing.T) {
			c := newCrowd(t)
			var junk []*miner
			for connection := range test.connections {
				for range test.channels {
					// The sidecars are two, and number their connections alike.
					m, _ := c.joinOn(t, uint64(connection/2), fmt.Sprint("192.0.2.1:", connection))
					junk = append(junk, m)
					m.Submit(m.shares(m.job(), 1200)) // and 200 of them are refused
				}
			}
			honest, id := c.joinOn(t, 99, "192.0.2.2:1")
			honest.Submit(honest.shares(honest.job(), 1))
			close(c.gate)
			for _, m := range junk {
				await[Verdict](t, m.tape, 1200)
			}
			if got := await[Verdict](t, honest.tape, 1)[0]; !got.Accepted() {
				t.Errorf("the honest share: %+v", got)
			}
			if err := c.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			// One turn was under way, then each connection had one.
			before := slices.Index(c.order, id)
			if most := (1 + test.connections) * turnShares; before > most {
				t.Errorf("%d shares were judged before it, want at most %d", before, most)
			}
		})
	}
}

func TestChannelsOfOneConnectionTakeTurns(t *testing.T) {
	c := newCrowd(t)
	first, _ := c.joinOn(t, 1, "")
	first.Submit(first.shares(first.job(), 1000))
	second, id := c.joinOn(t, 1, "")
	second.Submit(second.shares(second.job(), 40))
	close(c.gate)
	for i, verdict := range await[Verdict](t, second.tape, 40) {
		if !verdict.Accepted() || verdict.SubmitID != uint64(i+1) {
			t.Errorf("%d: %+v", i, verdict)
		}
	}
	await[Verdict](t, first.tape, 1000)
	if err := c.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(c.order)
	if last := 1040 - slices.Index(c.order, id); last > 40+3*turnShares {
		t.Errorf("its last share was judged as number %d", last)
	}
}

func TestEveryShareIsJudgedOnceWhateverTheTurns(t *testing.T) {
	r := newRig(t, func(c *PoolConfig, _ *rig) { c.QueueSize = 100 })
	var all sync.WaitGroup
	for connection := range uint64(4) {
		for range 4 {
			request := extendedRequest()
			request.Connection.ID = connection
			m := r.join(t, request)
			all.Go(func() {
				for size := range 60 {
					m.Submit(m.shares(m.job(), size))
				}
				last := uint64(0)
				answered := map[uint64]bool{}
				for _, verdict := range await[Verdict](t, m.tape, int(m.next)) {
					if answered[verdict.SubmitID] {
						t.Errorf("submit %d has two verdicts", verdict.SubmitID)
					}
					answered[verdict.SubmitID] = true
					if verdict.Reason == RejectRateLimited {
						continue
					}
					if verdict.SubmitID < last {
						t.Errorf("submit %d was judged after %d", verdict.SubmitID, last)
					}
					last = verdict.SubmitID
				}
				m.leave()
			})
		}
	}
	all.Wait()
	if err := r.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(r.turns.lines) != 0 || r.turns.ready.len() != 0 {
		t.Errorf("%d lines and %d turns are left", len(r.turns.lines), r.turns.ready.len())
	}
}

// What goes in comes out once and in order, however pushes and pops follow each other, and a list that never
// gets longer doesn't take more memory.
func TestFifoKeepsTheOrder(t *testing.T) {
	var f fifo[int]
	in, out := 0, 0
	random := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		if f.len() < 20 && random.IntN(2) == 0 {
			f.push(in)
			in++
		} else if f.len() > 0 {
			if got := f.pop(); got != out {
				t.Fatalf("popped %d, want %d", got, out)
			}
			out++
		}
		if f.len() != in-out {
			t.Fatalf("%d are in it, want %d", f.len(), in-out)
		}
	}
	if cap(f.items) > 64 {
		t.Errorf("room for %d, though 20 were in it at most", cap(f.items))
	}
}
