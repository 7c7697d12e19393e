// Ten thousand cuts at random: what the link promises, held against all that was ever sent.

package session

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// book is what the host took and decided.
type book struct {
	mu       sync.Mutex
	took     map[uint64]*poolChannel
	accepted map[uint64]*poolChannel
}

// modelChannel is a channel as the sidecar knows it.
type modelChannel struct {
	open   bool
	job    uint64
	target []byte
}

// modelSidecar is a sidecar that keeps to the contract, on streams that break.
type modelSidecar struct {
	t      *testing.T
	server *running
	random *rand.Rand
	books  *book

	wire     *wire
	cut      func()
	ended    chan error
	onStream map[uint64]bool // submits with a verdict on this stream

	channels    map[uint64]*modelChannel
	lastChannel uint64
	last        uint64                    // Submit.id
	unanswered  map[uint64]*sv2pb.Submit  // none was told
	answered    map[uint64]bool           // told to the miner
	cancelled   map[uint64]bool           // told backend-unavailable, and Hello has said so
	lost        map[uint64]bool           // of channels that are gone
	verdicts    map[uint64]*sv2pb.Verdict // ever sent by the pool, arrived or not
}

const modelInFlight = 48

// kickedForTest is the reason of every kick.
const kickedForTest = "test"

func (m *modelSidecar) send(request *sv2pb.SessionRequest) { m.wire.incoming <- request }

// connect opens a stream, resumes, and sends again what has no answer.
func (m *modelSidecar) connect(first bool) {
	ctx, cancel := context.WithCancel(context.Background())
	m.wire = &wire{ctx: ctx, incoming: make(chan *sv2pb.SessionRequest, 4096),
		outgoing: make(chan *sv2pb.SessionResponse, 1<<12)}
	m.cut = cancel
	m.ended = make(chan error, 1)
	m.onStream = map[uint64]bool{}
	if plain := m.random.IntN(2) == 0; plain {
		go func(w *wire, ended chan error) { ended <- m.server.Serve(w) }(m.wire, m.ended)
	} else {
		go func(w *wire, ended chan error) {
			ended <- m.server.ServeBatches(&batching{wire: w, t: m.t})
		}(m.wire, m.ended)
	}
	hello := comeBack(1, m.server)
	if first {
		hello.LastEpoch = nil
	}
	hello.MaxInFlight = modelInFlight
	var opening []uint64
	for id, c := range m.channels {
		if c.open {
			hello.OpenChannelIds = append(hello.OpenChannelIds, id)
		} else {
			opening = append(opening, id)
		}
	}
	for id := range m.unanswered {
		if m.random.IntN(20) == 0 {
			m.cancelled[id] = true
		}
	}
	for id := range m.cancelled { // until a Welcome has come, and longer does no harm
		if m.unanswered[id] != nil {
			hello.CancelledSubmitIds = append(hello.CancelledSubmitIds, id)
		}
	}
	m.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_Hello{Hello: hello}})
	if m.random.IntN(10) == 0 {
		return // cut before Welcome
	}
	var welcome *sv2pb.Welcome
	select {
	case r := <-m.wire.outgoing:
		welcome = r.GetWelcome()
	case err := <-m.ended:
		m.t.Fatalf("no Welcome: %v\n%s", err, m.server.logs)
	}
	if welcome == nil || welcome.GetResumed() == first {
		m.t.Fatalf("welcome is %v", welcome)
	}
	for _, id := range hello.CancelledSubmitIds {
		delete(m.unanswered, id)
	}
	ids := slices.Sorted(maps.Keys(m.unanswered))
	for len(ids) > 0 {
		n := 1 + m.random.IntN(len(ids))
		m.batch(ids[:n])
		ids = ids[n:]
	}
	slices.Sort(opening)
	for _, id := range opening {
		m.open(id)
	}
	for range m.random.IntN(6) {
		m.act()
	}
	if ids := slices.Sorted(maps.Keys(m.channels)); len(ids) > 6 && m.random.IntN(4) == 0 {
		m.drop(ids[0]) // its close is lost with the stream
		return
	}
	if m.random.IntN(3) > 0 {
		m.listen(m.random.IntN(2) == 0)
	}
}

func (m *modelSidecar) batch(ids []uint64) {
	batch := make([]*sv2pb.Submit, len(ids))
	for i, id := range ids {
		batch[i] = m.unanswered[id]
	}
	m.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_SubmitBatch{
		SubmitBatch: &sv2pb.SubmitBatch{Submits: batch}}})
}

func (m *modelSidecar) open(id uint64) {
	request := goodOpen(id)
	request.Connection.Id = 1 + id/2
	m.send(&sv2pb.SessionRequest{
		Message: &sv2pb.SessionRequest_OpenChannel{OpenChannel: request}})
}

// drop forgets a channel with its submits, as when the miner is gone.
func (m *modelSidecar) drop(id uint64) {
	delete(m.channels, id)
	for submit, s := range m.unanswered {
		if s.GetChannelId() == id {
			delete(m.unanswered, submit)
			m.lost[submit] = true
		}
	}
}

// act does one thing that sidecars or hosts do.
func (m *modelSidecar) act() {
	ids := slices.Sorted(maps.Keys(m.channels))
	switch action := m.random.IntN(12); {
	case action == 0 || len(ids) < 2:
		m.lastChannel++
		m.channels[m.lastChannel] = &modelChannel{}
		m.open(m.lastChannel)
	case action == 1 && len(ids) > 4:
		id := ids[m.random.IntN(len(ids))]
		m.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_CloseChannel{
			CloseChannel: &sv2pb.CloseChannel{ChannelId: id}}})
		m.drop(id)
	case action == 2:
		m.server.pool.pause(m.random.IntN(2) == 0)
	case action == 3:
		m.host()
	default:
		var batch []uint64
		for range 1 + m.random.IntN(8) {
			id := ids[m.random.IntN(len(ids))]
			if !m.channels[id].open || len(m.unanswered) >= modelInFlight {
				continue
			}
			m.last++
			m.unanswered[m.last] = share(m.last, id, uint32(m.last))
			batch = append(batch, m.last)
		}
		if len(batch) > 0 {
			m.batch(batch)
		}
	}
}

// host lets the host give work and kick.
func (m *modelSidecar) host() {
	p := m.server.pool
	p.mu.Lock()
	var some []*poolChannel
	for c := range p.channels {
		some = append(some, c)
	}
	p.mu.Unlock()
	p.nextJob++
	shared := newJob(p.nextJob+1, byte(p.nextJob))
	for _, c := range some {
		switch m.random.IntN(30) {
		case 0:
			c.kick(sv2.Kick{Action: sv2.KickAction(1 + m.random.IntN(3)), Reason: kickedForTest})
		case 1, 2:
			c.sink.Target(sv2.Target{byte(p.nextJob), byte(p.nextJob >> 8), 31: 1})
		default:
			c.sink.Job(shared)
		}
	}
}

// listen takes what has come; all of it, up to the answer to a ping.
func (m *modelSidecar) listen(all bool) {
	m.send(&sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_Ping{Ping: &sv2pb.Ping{Id: 1}}})
	for left := m.random.IntN(30); all || left > 0; left-- {
		var r *sv2pb.SessionResponse
		select {
		case r = <-m.wire.outgoing:
		case err := <-m.ended:
			m.t.Fatalf("the stream ended: %v", err)
		}
		m.sent(r)
		m.arrived(r)
		if r.GetPong() != nil {
			return
		}
	}
}

// hangUp cuts the stream: a part of what was sent is lost, both ways.
func (m *modelSidecar) hangUp() {
	m.wire.lossy.Store(m.random.IntN(2) == 0)
	m.cut()
	close(m.wire.incoming)
	if m.random.IntN(2) == 0 {
		<-m.ended // else the next stream fences this one
		m.ended = nil
	}
	for {
		select {
		case r := <-m.wire.outgoing:
			m.sent(r)
			continue
		default:
		}
		break
	}
}

func TestTenThousandCutsLoseNothing(t *testing.T) {
	const cuts = 10000
	books := &book{took: map[uint64]*poolChannel{}, accepted: map[uint64]*poolChannel{}}
	server := start(t, Options{ResumeWindow: time.Hour, VerdictRing: modelInFlight}, func(p *pool) {
		p.onTake = func(c *poolChannel, id uint64) {
			books.mu.Lock()
			defer books.mu.Unlock()
			if books.took[id] != nil {
				t.Errorf("submit %d reached the host twice", id)
			}
			books.took[id] = c
		}
		p.onVerdict = func(c *poolChannel, v sv2.Verdict) {
			if v.Accepted() {
				books.mu.Lock()
				books.accepted[v.SubmitID] = c
				books.mu.Unlock()
			}
		}
	})
	m := &modelSidecar{t: t, server: server, random: rand.New(rand.NewPCG(11, 12)), books: books,
		channels: map[uint64]*modelChannel{}, unanswered: map[uint64]*sv2pb.Submit{},
		answered: map[uint64]bool{}, cancelled: map[uint64]bool{}, lost: map[uint64]bool{},
		verdicts: map[uint64]*sv2pb.Verdict{}, lastChannel: 1}
	m.connect(true)
	for range cuts {
		m.hangUp()
		m.connect(false)
	}
	// The last stream holds.
	m.hangUp()
	server.pool.pause(false)
	for tries := 0; tries == 0 || len(m.unanswered) > 0 && tries < 100; tries++ {
		m.connect(false)
		if m.ended != nil {
			m.listen(true)
			m.listen(true)
		}
		m.hangUp()
	}
	if len(m.unanswered) > 0 {
		t.Errorf("%d submits have no answer in the end", len(m.unanswered))
	}
	m.check(cuts)
}

// check holds the sidecar's books against the host's.
func (m *modelSidecar) check(cuts int) {
	t, books := m.t, m.books
	withdrawn := func(id uint64, c *poolChannel) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return slices.Contains(c.withdrawn, id)
	}
	told, taken := 0, 0
	for id := range m.answered {
		books.mu.Lock()
		c := books.accepted[id]
		books.mu.Unlock()
		if m.verdicts[id].GetAccepted() {
			told++
			if c == nil || withdrawn(id, c) {
				t.Errorf("submit %d was told accepted, and the host has it not", id)
			}
		}
	}
	for id := range m.cancelled {
		books.mu.Lock()
		c := books.accepted[id]
		books.mu.Unlock()
		if c == nil || m.answered[id] || m.lost[id] {
			continue
		}
		c.pool.mu.Lock()
		_, open := c.pool.channels[c]
		c.pool.mu.Unlock()
		if withdrawn(id, c) {
			taken++
		} else if open {
			eventually(t, "an accepted share that was cancelled is withdrawn",
				func() bool { return withdrawn(id, c) })
		}
	}
	if told < cuts/20 || taken < cuts/200 {
		t.Errorf("%d told accepted and %d withdrawn in %d cuts: the test tests little", told, taken, cuts)
	}
	for _, c := range m.server.pool.all {
		if err := c.faults(); err != nil {
			t.Error(err)
		}
	}
}
