// Random traffic against the invariants of the contract.

package session

import (
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// observer checks what a sidecar may rely on, message by message.
type observer struct {
	t        *testing.T
	seq      uint64
	answered map[uint64]bool // ChannelOpened or ChannelRefused was seen
	kicked   map[uint64]bool
	verdicts map[uint64]bool
	seen     map[string]int
}

// alive complains about a message for a channel that isn't open, or was kicked.
func (o *observer) alive(kind string, id uint64) {
	o.seen[kind]++
	if !o.answered[id] {
		o.t.Errorf("%s for channel %d before it was opened", kind, id)
	}
	if o.kicked[id] {
		o.t.Errorf("%s for channel %d after its kick", kind, id)
	}
}

func (o *observer) see(m *sv2pb.SessionResponse) {
	switch m := m.GetMessage().(type) {
	case *sv2pb.SessionResponse_ChannelOpened:
		id := m.ChannelOpened.GetChannelId()
		if o.answered[id] {
			o.t.Errorf("channel %d was answered twice", id)
		}
		o.answered[id] = true
		o.gapless(m.ChannelOpened.GetJob())
	case *sv2pb.SessionResponse_Job:
		o.gapless(m.Job)
		for _, id := range m.Job.GetChannelIds() {
			o.alive("job", id)
		}
	case *sv2pb.SessionResponse_SetTarget:
		o.alive("target", m.SetTarget.GetChannelId())
	case *sv2pb.SessionResponse_Kick:
		o.alive("kick", m.Kick.GetChannelId())
		o.kicked[m.Kick.GetChannelId()] = true
	case *sv2pb.SessionResponse_VerdictBatch:
		for _, v := range m.VerdictBatch.GetVerdicts() {
			o.seen["verdict"]++
			if o.verdicts[v.GetSubmitId()] {
				o.t.Errorf("submit %d got two verdicts", v.GetSubmitId())
			}
			o.verdicts[v.GetSubmitId()] = true
		}
	case *sv2pb.SessionResponse_BlockResult:
		if !o.verdicts[m.BlockResult.GetSubmitId()] {
			o.t.Errorf("block result of %d before its verdict", m.BlockResult.GetSubmitId())
		}
	case *sv2pb.SessionResponse_ChannelRefused:
		// The host's kick came before the channel was open: that is how the miner hears of it.
		id := m.ChannelRefused.GetChannelId()
		if m.ChannelRefused.GetDetail() != "test" || o.answered[id] {
			o.t.Errorf("refused: %v", m.ChannelRefused)
		}
		o.answered[id], o.kicked[id] = true, true
	}
}

func (o *observer) gapless(job *sv2pb.Job) {
	if o.seq++; job.GetSeq() != o.seq {
		o.t.Errorf("job has seq %d after %d", job.GetSeq(), o.seq-1)
		o.seq = job.GetSeq()
	}
}

// miners opens, uses and closes channels at random and then hangs up.
func miners(c *client, random *rand.Rand) error {
	var open []uint64
	next, submitted := uint64(0), uint64(0)
	send := func(m *sv2pb.SessionRequest) error { return c.stream.Send(m) }
	for range 5000 {
		var err error
		switch action := random.IntN(10); {
		case action < 2 || len(open) == 0:
			next++
			request := goodOpen(next)
			request.Connection.Id = 1 + next/3 // three channels a connection
			open = append(open, next)
			err = send(&sv2pb.SessionRequest{
				Message: &sv2pb.SessionRequest_OpenChannel{OpenChannel: request}})
		case action == 2:
			i := random.IntN(len(open))
			err = send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_CloseChannel{
				CloseChannel: &sv2pb.CloseChannel{ChannelId: open[i]}}})
			open = slices.Delete(open, i, i+1)
		case action == 3:
			err = send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_UpdateChannel{
				UpdateChannel: &sv2pb.UpdateChannel{ChannelId: open[random.IntN(len(open))],
					MaxTarget: halfTarget[:]}}})
		default:
			batch := make([]*sv2pb.Submit, 1+random.IntN(20))
			for i := range batch {
				submitted++
				batch[i] = share(submitted, open[random.IntN(len(open))], uint32(submitted))
			}
			err = send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_SubmitBatch{
				SubmitBatch: &sv2pb.SubmitBatch{Submits: batch}}})
		}
		if err != nil {
			return err
		}
	}
	if err := send(&sv2pb.SessionRequest{
		Message: &sv2pb.SessionRequest_Drain{Drain: &sv2pb.Drain{}}}); err != nil {
		return err
	}
	return c.stream.CloseSend()
}

// Everything at once: sidecars that open, submit, update and close at random while the host gives jobs
// and targets and kicks. The host's calls stay ordered and the sidecar's messages make sense.
func TestSurvivesEverythingAtOnce(t *testing.T) {
	server := start(t, Options{}, nil)
	done := make(chan struct{})
	var host, sidecars sync.WaitGroup
	host.Go(func() {
		random := rand.New(rand.NewPCG(2, 2))
		for id := uint64(2); ; id++ {
			select {
			case <-done:
				return
			default:
			}
			server.pool.mu.Lock()
			var some []*poolChannel // in the map's order, which is random
			for c := range server.pool.channels {
				if some = append(some, c); len(some) == 20 {
					break
				}
			}
			server.pool.mu.Unlock()
			shared := newJob(id, 1)
			for _, c := range some {
				switch random.IntN(40) {
				case 0:
					c.kick(sv2.Kick{Action: sv2.KickAction(1 + random.IntN(3)), Reason: "test"})
				case 1:
					c.sink.Target(halfTarget)
				default:
					c.sink.Job(shared)
				}
			}
		}
	})
	seen := make(chan map[string]int, 3)
	for number := range byte(3) {
		c, _ := server.welcomed(t, goodHello(number))
		sidecars.Go(func() {
			if err := miners(c, rand.New(rand.NewPCG(3, uint64(number)))); err != nil {
				t.Errorf("sidecar %d: %v", number, err)
			}
		})
		sidecars.Go(func() {
			o := &observer{t: t, answered: map[uint64]bool{}, kicked: map[uint64]bool{},
				verdicts: map[uint64]bool{}, seen: map[string]int{}}
			for {
				m, err := c.stream.Recv()
				if errors.Is(err, io.EOF) {
					seen <- o.seen
					return
				}
				if err != nil {
					t.Errorf("sidecar %d: %v", number, err)
					seen <- o.seen
					return
				}
				o.see(m)
			}
		})
	}
	sidecars.Wait()
	close(done)
	host.Wait()
	for range 3 {
		counts := <-seen
		for _, what := range []string{"job", "target", "kick", "verdict"} {
			if counts[what] == 0 {
				t.Errorf("a sidecar saw no %s", what)
			}
		}
	}
	eventually(t, "all channels are closed", func() bool { return server.pool.open() == 0 })
	eventually(t, "all sessions are over", func() bool { return len(server.Sessions()) == 0 })
	if len(server.pool.all) < 1000 {
		t.Errorf("only %d channels were opened", len(server.pool.all))
	}
	for _, c := range server.pool.all {
		if err := c.faults(); err != nil {
			t.Error(err)
		}
		if c.closes > 1 {
			t.Errorf("channel %d was closed %d times", c.id, c.closes)
		}
	}
}
