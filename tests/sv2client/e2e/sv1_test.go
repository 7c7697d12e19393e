// A Stratum V1 miner that reads the line by itself, with nothing of the pool's.

package e2e

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopool-sv2/gopool-sv2/tests/sv2client"
)

// sv1Codes are those of the errors that have one of their own; all others have sv1Other.
var sv1Codes = map[string]int{"invalid-job-id": 21, "stale-share": 21, "duplicate-share": 22,
	"difficulty-too-low": 23}

const sv1Other = 20

// sv1Miner is a miner on a connection. Not for several goroutines.
type sv1Miner struct {
	l       *line
	conn    net.Conn
	lines   *bufio.Reader
	user    string
	lastID  uint64
	answers map[uint64]sv1Line
	prefix  []byte // extranonce1
	size    int    // of extranonce2
	mask    uint32 // of the version
	next    sv2client.Target
	jobs    []string // as the pool calls them; a share's JobID is the place, from 1
	bench   bench    // the newest job
}

// sv1Line is an answer, or a message that is none and has a method.
type sv1Line struct {
	ID     *uint64           `json:"id"`
	Method string            `json:"method"`
	Params []json.RawMessage `json:"params"`
	Result json.RawMessage   `json:"result"`
	Error  []json.RawMessage `json:"error"`
}

// dialSV1 has a miner let in, and waits for its first job.
func (l *line) dialSV1(worker string) *sv1Miner {
	l.t.Helper()
	address := l.pool.await(`msg="Stratum V1 port is open" sv1=`)
	conn, err := new(net.Dialer).DialContext(l.context(), "tcp", address)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		l.t.Fatal(err)
	}
	m := &sv1Miner{l: l, conn: conn, lines: bufio.NewReader(conn), user: l.address + "." + worker,
		answers: map[uint64]sv1Line{}}
	var granted struct {
		Rolling bool   `json:"version-rolling"`
		Mask    string `json:"version-rolling.mask"`
	}
	m.call(&granted, "mining.configure", []string{"version-rolling"},
		map[string]string{"version-rolling.mask": "ffffffff"})
	m.mask = binary.BigEndian.Uint32(m.bytes(granted.Mask))
	if !granted.Rolling || m.mask != sv2client.VersionRollingMask {
		l.t.Errorf("mining.configure gave %+v", granted)
	}
	var subscribed [3]json.RawMessage
	m.call(&subscribed, "mining.subscribe", "e2e/1")
	m.prefix = m.bytes(m.text(subscribed[1]))
	m.read(subscribed[2], &m.size)
	var let bool
	if m.call(&let, "mining.authorize", m.user, "x"); !let {
		l.t.Errorf("%s is not let in", m.user)
	}
	m.until(func(bench) bool { return true })
	return m
}

func (m *sv1Miner) read(text json.RawMessage, value any) {
	m.l.t.Helper()
	if err := json.Unmarshal(text, value); err != nil {
		m.l.t.Fatalf("Stratum V1: %s: %v", text, err)
	}
}

func (m *sv1Miner) text(raw json.RawMessage) (text string) {
	m.l.t.Helper()
	m.read(raw, &text)
	return text
}

func (m *sv1Miner) bytes(text string) []byte {
	m.l.t.Helper()
	decoded, err := hex.DecodeString(text)
	if err != nil {
		m.l.t.Fatalf("Stratum V1: %q: %v", text, err)
	}
	return decoded
}

// take takes one line of the pool.
func (m *sv1Miner) take() {
	m.l.t.Helper()
	text, err := m.lines.ReadBytes('\n')
	if err != nil {
		m.l.t.Fatalf("Stratum V1: the pool hung up: %v", err)
	}
	var line sv1Line
	m.read(text, &line)
	switch {
	case line.Method == "" && line.ID != nil:
		m.answers[*line.ID] = line
	case line.Method == "mining.set_difficulty" && len(line.Params) == 1:
		var difficulty float64
		m.read(line.Params[0], &difficulty)
		m.next = targetOf(difficulty) // of jobs to come
	case line.Method == "mining.notify" && len(line.Params) == 9:
		m.notified(line.Params)
	default:
		m.l.t.Errorf("Stratum V1: unexpected %s", text)
	}
}

// notified takes a job.
func (m *sv1Miner) notified(params []json.RawMessage) {
	m.l.t.Helper()
	bytes := func(i int) []byte { return m.bytes(m.text(params[i])) }
	word := func(i int) uint32 { return binary.BigEndian.Uint32(bytes(i)) }
	m.jobs = append(m.jobs, m.text(params[0]))
	before, behind := bytes(2), bytes(3)
	var path []string
	m.read(params[4], &path)
	work := sv2client.Work{JobID: uint32(len(m.jobs)), Version: word(5), VersionRolling: true,
		NBits: word(6), MinNTime: word(7), Target: m.next, ExtranonceSize: m.size}
	// Words of four bytes, each in the other order.
	for i, words := 0, bytes(1); i < len(work.PrevHash); i += 4 {
		binary.LittleEndian.PutUint32(work.PrevHash[i:], binary.BigEndian.Uint32(words[i:]))
	}
	double := func(data []byte) [32]byte {
		once := sha256.Sum256(data)
		return sha256.Sum256(once[:])
	}
	m.bench = bench{work, func(extranonce []byte) sv2client.Hash {
		root := double(slices.Concat(before, m.prefix, extranonce, behind))
		for _, node := range path {
			root = double(append(root[:], m.bytes(node)...))
		}
		return root
	}}
}

// call asks, and reads an answer that must be no error.
func (m *sv1Miner) call(result any, method string, params ...any) {
	m.l.t.Helper()
	answer := m.ask(method, params...)
	if answer.Error != nil {
		m.l.t.Fatalf("%s: %s", method, answer.Error)
	}
	m.read(answer.Result, result)
}

// ask sends a request and waits for the answer.
func (m *sv1Miner) ask(method string, params ...any) sv1Line {
	m.l.t.Helper()
	m.lastID++
	text, err := json.Marshal(map[string]any{"id": m.lastID, "method": method, "params": params})
	if err == nil {
		_, err = m.conn.Write(append(text, '\n'))
	}
	if err != nil {
		m.l.t.Fatal(err)
	}
	for {
		if answer, heard := m.answers[m.lastID]; heard {
			return answer
		}
		m.take()
	}
}

func (m *sv1Miner) until(holds func(bench) bool) bench {
	m.l.t.Helper()
	for len(m.jobs) == 0 || !holds(m.bench) {
		m.take()
	}
	return m.bench
}

func (m *sv1Miner) judge(share sv2client.Share) string {
	m.l.t.Helper()
	job := "ffffff" // none that was given
	if i := int(share.JobID) - 1; i < len(m.jobs) {
		job = m.jobs[i]
	}
	word := func(word uint32) string { return fmt.Sprintf("%08x", word) }
	// Of the version the bits that may be rolled (BIP310), and others only where they were changed.
	bits := share.Version&m.mask | (share.Version^m.bench.Version)&^m.mask
	answer := m.ask("mining.submit", m.user, job, hex.EncodeToString(share.Extranonce),
		word(share.NTime), word(share.Nonce), word(bits))
	if answer.Error == nil {
		if string(answer.Result) != "true" {
			m.l.t.Errorf("Stratum V1: %s without an error", answer.Result)
		}
		return accepted
	}
	var code int
	m.read(answer.Error[0], &code)
	reason := m.text(answer.Error[1])
	want, known := sv1Codes[reason]
	if !known {
		want = sv1Other
	}
	if code != want || string(answer.Result) != "false" {
		m.l.t.Errorf("Stratum V1: %s with code %d and result %s", reason, code, answer.Result)
	}
	return reason
}

// require is said with minimum-difficulty, which nothing but Stratum V1 has.
func (m *sv1Miner) require(difficulty float64) {
	m.l.t.Helper()
	var granted map[string]bool
	m.call(&granted, "mining.configure", []string{"minimum-difficulty"},
		map[string]float64{"minimum-difficulty.value": difficulty})
	if !granted["minimum-difficulty"] {
		m.l.t.Errorf("mining.configure gave %v", granted)
	}
}

// targetOf is the largest target of a difficulty.
func targetOf(difficulty float64) (target sv2client.Target) {
	one := new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(0xffff), 208))
	ratio := one.Quo(one, new(big.Rat).SetFloat64(difficulty))
	number := new(big.Int).Quo(ratio.Num(), ratio.Denom())
	if number.BitLen() > 8*len(target) {
		return sv2client.MaxTarget()
	}
	number.FillBytes(target[:])
	slices.Reverse(target[:])
	return target
}

func TestReadsDifficultyAsTheTargetItIs(t *testing.T) {
	for difficulty, want := range map[float64]string{
		1:               "00000000ffff" + strings.Repeat("0", 52),
		0.5:             "00000001fffe" + strings.Repeat("0", 52),
		65536:           "000000000000ffff" + strings.Repeat("0", 48),
		3:               "000000005555" + strings.Repeat("0", 52),
		1.0 / (1 << 33): strings.Repeat("f", 64),
	} {
		if got := targetOf(difficulty); got.String() != want {
			t.Errorf("%v: %v, want %s", difficulty, got, want)
		}
	}
}
