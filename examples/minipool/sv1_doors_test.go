// The three ways into the pool, as a miner sees them: Stratum V1 over TCP, a host for Stratum V2, and the
// same with Stratum V1 behind it.

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// door is a miner behind one of the doors.
type door interface {
	// until waits for what the pool says next.
	until(what string, holds func(w workbench) bool) workbench
	// judge submits a share and waits for the verdict: "accepted" or the reason. Credit is zero where
	// the door doesn't tell it.
	judge(submit sv2.Submit) (verdict string, credit sv2.Difficulty)
	// require says that no easier share will come.
	require(difficulty float64)
}

// workbench is all that a miner needs.
type workbench struct {
	job    *sv2.Job
	prefix []byte
	size   int // bytes to roll
	target sv2.Target
}

// find finds a header of a job that is as wanted. Each roll is another one.
func (w workbench) find(job *sv2.Job, roll uint64, good func(sv2.Hash) bool) sv2.Submit {
	extranonce := make([]byte, w.size)
	if w.size >= 8 {
		binary.BigEndian.PutUint64(extranonce, roll)
	}
	submit := sv2.Submit{JobID: job.ID, NTime: job.MinNTime, Extranonce: extranonce,
		Version: job.Version ^ uint32(roll)<<5&job.VersionMask}
	root := sv2.MerkleRoot(job, w.prefix, extranonce)
	for ; ; submit.Nonce++ {
		if good(sv2.HashHeader(sv2.Header(job, root, submit))) {
			return submit
		}
	}
}

// hostDoor is a channel of a host.
type hostDoor struct {
	t       testing.TB
	channel sv2.Channel
	lastID  uint64

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced when something came
	bench    workbench
	next     sv2.Target // of the next job
	verdicts map[uint64]sv2.Verdict
	results  map[uint64]sv2.BlockResult
}

func openHostDoor(t testing.TB, host sv2.Host, kind sv2.Kind, user string) *hostDoor {
	t.Helper()
	d := &hostDoor{t: t, changed: make(chan struct{}), verdicts: map[uint64]sv2.Verdict{},
		results: map[uint64]sv2.BlockResult{}}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	channel, opened, err := host.OpenChannel(ctx, sv2.OpenRequest{Kind: kind,
		UserIdentity: []byte(user), MaxTarget: sv2.MaxTarget, MinExtranonceSize: 2,
		Connection: sv2.Connection{ID: 1, RemoteAddress: "127.0.0.1:1"}}, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { channel.Close("the test is over") })
	d.change(func() {
		d.channel = channel
		d.next = opened.Target
		if d.bench.job == nil {
			d.bench = workbench{job: opened.Job, target: opened.Target}
		}
		d.bench.prefix, d.bench.size = opened.Prefix, opened.ExtranonceSize
	})
	return d
}

func (d *hostDoor) change(what func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	what()
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *hostDoor) Job(job *sv2.Job) {
	d.change(func() { d.bench.job, d.bench.target = job, d.next })
}
func (d *hostDoor) Target(target sv2.Target) { d.change(func() { d.next = target }) }
func (d *hostDoor) Kick(kick sv2.Kick)       { d.t.Errorf("sent away: %+v", kick) }
func (d *hostDoor) BlockResult(result sv2.BlockResult) {
	d.change(func() { d.results[result.SubmitID] = result })
}
func (d *hostDoor) Verdicts(verdicts []sv2.Verdict) {
	d.change(func() {
		for _, verdict := range verdicts {
			if _, twice := d.verdicts[verdict.SubmitID]; twice {
				d.t.Errorf("a second verdict: %+v", verdict)
			}
			d.verdicts[verdict.SubmitID] = verdict
		}
	})
}

// wait waits until something holds; it is called with mu held.
func (d *hostDoor) wait(what string, holds func() bool) {
	d.t.Helper()
	deadline := time.After(patience)
	for {
		d.mu.Lock()
		done, changed := holds(), d.changed
		d.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			d.t.Fatalf("never happened: %s", what)
		}
	}
}

func (d *hostDoor) until(what string, holds func(workbench) bool) (bench workbench) {
	d.t.Helper()
	d.wait(what, func() bool {
		bench = d.bench
		return holds(bench)
	})
	return bench
}

func (d *hostDoor) judge(submit sv2.Submit) (string, sv2.Difficulty) {
	d.t.Helper()
	d.lastID++
	submit.ID = d.lastID
	d.channel.Submit([]sv2.Submit{submit})
	var got sv2.Verdict
	d.wait("a verdict", func() (known bool) {
		got, known = d.verdicts[submit.ID]
		return known
	})
	if got.BlockCandidate {
		d.wait("a result", func() bool { return d.results[submit.ID].SubmitID != 0 })
		if result := d.results[submit.ID]; !result.Accepted || result.Hash != got.Hash {
			d.t.Errorf("result of a block: %+v", result)
		}
	}
	return got.Reason.String(), got.Credit
}

func (d *hostDoor) require(difficulty float64) {
	d.t.Helper()
	if err := d.channel.Update(context.Background(),
		sv2.UpdateRequest{MaxTarget: sv2.TargetFromDifficulty(difficulty)}); err != nil {
		d.t.Error(err)
	}
}

// sv1Message is a line of the pool.
type sv1Message struct {
	ID     *uint64           `json:"id"`
	Method string            `json:"method"`
	Params []json.RawMessage `json:"params"`
	Result json.RawMessage   `json:"result"`
	Error  json.RawMessage   `json:"error"`
}

func openSV1Door(t testing.TB, address, user string) *sv1Client {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	d := &sv1Client{t: t, conn: conn, lines: bufio.NewReader(conn), user: user,
		answers: map[uint64]sv1Message{}}
	var subscribed []json.RawMessage
	var prefix string
	d.call(&subscribed, "mining.subscribe", "test/1")
	d.read(subscribed[1], &prefix)
	d.read(subscribed[2], &d.bench.size)
	if d.bench.prefix, err = hex.DecodeString(prefix); err != nil {
		t.Fatal(err)
	}
	var granted map[string]any
	d.call(&granted, "mining.configure", []string{"version-rolling"},
		map[string]string{"version-rolling.mask": "ffffffff"})
	if granted["version-rolling.mask"] != "1fffffe0" {
		t.Errorf("mining.configure gave %v", granted)
	}
	var authorized bool
	d.call(&authorized, "mining.authorize", user, "x")
	d.until("work", func(w workbench) bool { return w.job != nil })
	return d
}

// sv1Client is the miner of openSV1Door. Not for several goroutines.
type sv1Client struct {
	t       testing.TB
	conn    net.Conn
	lines   *bufio.Reader
	user    string
	lastID  uint64
	answers map[uint64]sv1Message
	bench   workbench
	next    sv2.Target
}

func (d *sv1Client) read(raw json.RawMessage, into any) {
	d.t.Helper()
	if err := json.Unmarshal(raw, into); err != nil {
		d.t.Fatalf("%s: %v", raw, err)
	}
}

// take takes one line of the pool.
func (d *sv1Client) take() {
	d.t.Helper()
	line, err := d.lines.ReadBytes('\n')
	if err != nil {
		d.t.Fatalf("the pool hung up: %v", err)
	}
	var m sv1Message
	d.read(line, &m)
	switch m.Method {
	case "":
		d.answers[*m.ID] = m
	case "mining.set_difficulty":
		var difficulty float64
		d.read(m.Params[0], &difficulty)
		d.next = sv2.TargetFromDifficulty(difficulty)
	case "mining.notify":
		d.bench.job, d.bench.target = d.job(m.Params), d.next
	default:
		d.t.Errorf("unexpected %s", line)
	}
}

// job reads mining.notify on its own, not with what is under test.
func (d *sv1Client) job(params []json.RawMessage) *sv2.Job {
	text := func(i int) (text string) {
		d.read(params[i], &text)
		return text
	}
	bytes := func(text string) []byte {
		decoded, err := hex.DecodeString(text)
		if err != nil {
			d.t.Fatal(err)
		}
		return decoded
	}
	word := func(i int) uint32 { return binary.BigEndian.Uint32(bytes(text(i))) }
	id, err := strconv.ParseUint(text(0), 16, 64)
	if err != nil {
		d.t.Fatal(err)
	}
	job := &sv2.Job{ID: id, CoinbasePrefix: bytes(text(2)), CoinbaseSuffix: bytes(text(3)),
		Version: word(5), NBits: word(6), MinNTime: word(7), VersionMask: sv2.RollableVersionBits}
	for i, words := 0, bytes(text(1)); i < len(words); i += 4 {
		binary.LittleEndian.PutUint32(job.PrevHash[i:], binary.BigEndian.Uint32(words[i:]))
	}
	var branches []string
	d.read(params[4], &branches)
	for _, branch := range branches {
		job.MerklePath = append(job.MerklePath, sv2.Hash(bytes(branch)))
	}
	return job
}

// send writes a request.
func (d *sv1Client) send(method string, params ...any) (id uint64) {
	d.t.Helper()
	d.lastID++
	line, err := json.Marshal(map[string]any{"id": d.lastID, "method": method, "params": params})
	if err == nil {
		_, err = d.conn.Write(append(line, '\n'))
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return d.lastID
}

// wait waits for the answer to a request.
func (d *sv1Client) wait(id uint64) sv1Message {
	d.t.Helper()
	for {
		if m, ok := d.answers[id]; ok {
			return m
		}
		d.take()
	}
}

// call sends a request that must be granted.
func (d *sv1Client) call(result any, method string, params ...any) {
	d.t.Helper()
	m := d.wait(d.send(method, params...))
	if string(m.Error) != "null" {
		d.t.Fatalf("%s: %s", method, m.Error)
	}
	d.read(m.Result, result)
}

func (d *sv1Client) until(_ string, holds func(workbench) bool) workbench {
	d.t.Helper()
	for !holds(d.bench) {
		d.take()
	}
	return d.bench
}

func (d *sv1Client) judge(s sv2.Submit) (string, sv2.Difficulty) {
	d.t.Helper()
	word := func(word uint32) string { return fmt.Sprintf("%08x", word) }
	// Version bits as in the header, with those that may not be rolled if they are not the job's.
	bits := s.Version & sv2.RollableVersionBits
	bits |= (s.Version ^ d.bench.job.Version) &^ sv2.RollableVersionBits
	m := d.wait(d.send("mining.submit", d.user, strconv.FormatUint(s.JobID, 16),
		hex.EncodeToString(s.Extranonce), word(s.NTime), word(s.Nonce), word(bits)))
	if string(m.Error) == "null" {
		if string(m.Result) != "true" {
			d.t.Errorf("an answer of %s without an error", m.Result)
		}
		return sv2.RejectNone.String(), sv2.Difficulty{}
	}
	var fault []any
	d.read(m.Error, &fault)
	return fault[1].(string), sv2.Difficulty{}
}

func (d *sv1Client) require(difficulty float64) {
	d.t.Helper()
	var granted map[string]any
	d.call(&granted, "mining.configure", []string{"minimum-difficulty"},
		map[string]float64{"minimum-difficulty.value": difficulty})
	if granted["minimum-difficulty"] != true {
		d.t.Errorf("mining.configure gave %v", granted)
	}
}
