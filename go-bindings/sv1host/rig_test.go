// What the tests share: a pool that says what it is told to, a sink that remembers, and a miner.
package sv1host

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

const (
	patience = 30 * time.Second // only turns a hang into a failure

	easyDifficulty = 1.0 / (1 << 30) // every fourth hash is a share
	hardBits       = "1d00ffff"      // no test finds a block at this
	easyBits       = "207fffff"      // every second hash is a block
)

// asked is a request as the pool sees it.
type asked struct {
	ID     json.RawMessage   `json:"id"`
	Method string            `json:"method"`
	Params []json.RawMessage `json:"params"`
	line   string
}

func (a asked) param(i int) string {
	if i >= len(a.Params) {
		return ""
	}
	return string(a.Params[i])
}

// script says what a pool answers to each method: the rest of a reply, such as "result":true. Methods
// that are not in it get no answer, nor do submits. then are lines that follow the answer.
type script struct {
	answers, then map[string]string
}

// usual is a pool that agrees to everything and gives a job when it is asked for version rolling.
func usual() script {
	return script{
		answers: map[string]string{
			methodSubscribe: `"result":[[["mining.notify","1"]],"a1b2c3d4",4],"error":null`,
			methodAuthorize: `"result":true,"error":null`,
			methodConfigure: `"result":{"version-rolling":true,"version-rolling.mask":"1fffffe0"},"error":null`,
			methodSuggest:   `"result":true,"error":null`,
			methodPing:      `"result":"pong","error":null`,
		},
		then: map[string]string{
			methodConfigure: difficultyLine(easyDifficulty) + notifyLine("1", 'a', hardBits, true),
		},
	}
}

// peer is the pool's end of one channel's connection.
type peer struct {
	t        testing.TB
	conn     net.Conn
	requests chan asked // all of them
	submits  chan asked
	raw      *strings.Builder // all that came, to be read after the end
	gone     chan struct{}
}

// rig is a host before a scripted pool.
type rig struct {
	*Host
	t     testing.TB
	peers chan *peer
}

func newRig(t testing.TB, s script, change func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, peers: make(chan *peer, 64)}
	options := Options{
		MinDifficulty: easyDifficulty, MaxDifficulty: 1 << 20, Software: "rig",
		Serve:  func(_ context.Context, conn net.Conn) { r.serve(s, conn) },
		Logger: slog.New(slog.DiscardHandler),
		Clock:  func() time.Time { return time.Unix(0x65000000, 0) },
	}
	if change != nil {
		change(&options)
	}
	var err error
	if r.Host, err = New(options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	return r
}

func (r *rig) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		r.t.Errorf("close: %v", err)
	}
}

// serve is the pool's side of a connection.
func (r *rig) serve(s script, conn net.Conn) {
	p := &peer{t: r.t, conn: conn, requests: make(chan asked, 4096), submits: make(chan asked, 4096),
		raw: &strings.Builder{}, gone: make(chan struct{})}
	defer close(p.gone)
	r.peers <- p
	lines := bufio.NewScanner(io.TeeReader(conn, p.raw))
	for lines.Scan() {
		var a asked
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			r.t.Errorf("the pool got %q: %v", lines.Text(), err)
			return
		}
		a.line = lines.Text()
		p.requests <- a
		if a.Method == "mining.submit" {
			p.submits <- a
			continue
		}
		if answer := s.answers[a.Method]; answer != "" {
			p.write(fmt.Sprintf(`{"id":%s,%s}`, a.ID, answer) + "\n")
		}
		p.write(s.then[a.Method])
	}
}

func (p *peer) write(lines string) {
	if lines == "" {
		return
	}
	_, _ = io.WriteString(p.conn, lines) // a channel that has hung up is of no interest
}

// answer answers a submit.
func (p *peer) answer(a asked, answer string) {
	p.write(fmt.Sprintf(`{"id":%s,%s}`, a.ID, answer) + "\n")
}

// submit waits for the next one.
func (p *peer) submit() asked {
	p.t.Helper()
	select {
	case a := <-p.submits:
		return a
	case <-time.After(patience):
		p.t.Fatal("no submit reached the pool")
		return asked{}
	}
}

func difficultyLine(difficulty float64) string {
	text, _ := json.Marshal(difficulty)
	return `{"id":null,"method":"mining.set_difficulty","params":[` + string(text) + "]}\n"
}

// notifyLine is a job on a tip named by a byte; its id is in the coinbase.
func notifyLine(id string, tip byte, nbits string, clean bool) string {
	return notifyWork(id, id, tip, nbits, clean)
}

// notifyWork is a job with what it is told apart from others by.
func notifyWork(id, work string, tip byte, nbits string, clean bool) string {
	head := make([]byte, 42) // up to the script of a coinbase, which begins with the height 773
	head = append(head, 2, 5, 3)
	return fmt.Sprintf(`{"id":null,"method":"mining.notify","params":[%q,%q,%q,"ffffffff",[%q],`+
		`"20000000",%q,"65000000",%t]}`+"\n", id, strings.Repeat(hex.EncodeToString([]byte{tip}), 32),
		hex.EncodeToString(append(head, work...)), strings.Repeat("07", 32), nbits, clean)
}

// tape is a Sink that remembers what came, in order.
type tape struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every event
	events  []any         // *sv2.Job, sv2.Target, sv2.Verdict, sv2.BlockResult, sv2.Kick
	closed  bool          // Channel.Close has returned, or the host has kicked
	tooLate int
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

func (s *tape) Job(job *sv2.Job)                   { s.add(job) }
func (s *tape) Target(target sv2.Target)           { s.add(target) }
func (s *tape) BlockResult(result sv2.BlockResult) { s.add(result) }
func (s *tape) Kick(kick sv2.Kick) {
	s.add(kick)
	s.close()
}
func (s *tape) Verdicts(verdicts []sv2.Verdict) {
	for _, verdict := range verdicts {
		s.add(verdict)
	}
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
	timeout := time.After(patience)
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
			t.Fatalf("waited for %d events of %T, got %d: %v", n, *new(T), len(of[T](s)), s.events)
		}
	}
}

// miner is an open channel.
type miner struct {
	sv2.Channel
	t      testing.TB
	tape   *tape
	peer   *peer
	opened sv2.Opened
	nonce  uint32
	id     uint64
}

func extendedRequest() sv2.OpenRequest {
	return sv2.OpenRequest{Kind: sv2.Extended, UserIdentity: []byte("alice.rig"),
		MaxTarget: sv2.MaxTarget, MinExtranonceSize: 2,
		Connection: sv2.Connection{ID: 7, RemoteAddress: "192.0.2.1:4000",
			Vendor: []byte("maker"), Firmware: []byte("1.0")}}
}

// open opens a channel, which must not be refused.
func (r *rig) open(request sv2.OpenRequest) *miner {
	r.t.Helper()
	m := &miner{t: r.t, tape: newTape()}
	var err error
	if m.Channel, m.opened, err = r.OpenChannel(context.Background(), request, m.tape); err != nil {
		r.t.Fatal(err)
	}
	m.peer = <-r.peers
	return m
}

// find finds a share of a job whose hash is as wanted; each is another one.
func (m *miner) find(job *sv2.Job, good func(sv2.Hash) bool) sv2.Submit {
	m.id++
	submit := sv2.Submit{ID: m.id, JobID: job.ID, NTime: job.MinNTime, Version: job.Version,
		Extranonce: make([]byte, m.opened.ExtranonceSize)}
	root := sv2.MerkleRoot(job, m.opened.Prefix, submit.Extranonce)
	for {
		m.nonce++
		submit.Nonce = m.nonce
		if good(sv2.HashHeader(sv2.Header(job, root, submit))) {
			return submit
		}
	}
}

// share is a share that meets the target of the open.
func (m *miner) share(job *sv2.Job) sv2.Submit {
	return m.find(job, func(hash sv2.Hash) bool { return hash.Meets(m.opened.Target) })
}

// judge submits a share and waits for its verdict.
func (m *miner) judge(submit sv2.Submit) sv2.Verdict {
	m.t.Helper()
	before := len(of[sv2.Verdict](m.tape))
	m.Submit([]sv2.Submit{submit})
	verdict := await[sv2.Verdict](m.t, m.tape, before+1)[before]
	if verdict.SubmitID != submit.ID {
		m.t.Fatalf("verdict of submit %d is %+v", submit.ID, verdict)
	}
	return verdict
}

// end closes the channel; nothing may come after that.
func (m *miner) end() {
	m.Close("the test is over")
	m.tape.close()
}

// reasonOfError is the reason that an open was refused for.
func reasonOfError(t testing.TB, err error) sv2.RefuseReason {
	t.Helper()
	refusal, ok := err.(*sv2.Refusal)
	if !ok {
		t.Fatalf("not refused, but %v", err)
	}
	return refusal.Reason
}
