// Package sv1 is a small Stratum V1 miner: one connection, one thread of real double SHA-256. It stands
// for the devices behind a translating proxy.
//
// It speaks mining.configure (version rolling, BIP310), subscribe, extranonce.subscribe, authorize and
// submit, and takes notify, set_difficulty and set_extranonce.
package sv1

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// maxLine is the longest line taken, in bytes.
const maxLine = 1 << 20

// Miner is a connection to a Stratum V1 server. Its methods may be called from any goroutine.
type Miner struct {
	worker string
	conn   net.Conn

	// changed counts what ends the present search: jobs and the pause.
	changed atomic.Uint64

	mu      sync.Mutex
	err     error // why the connection ended
	nextID  int
	calls   map[int]chan<- message
	submits map[int]share // waiting for their answers
	paused  bool
	// What the next job is mined with.
	difficulty float64
	extranonce []byte
	size       int // of extranonce2, in bytes
	job        *work
	stats      Stats
	accepted   map[[32]byte]bool // prev-hashes with an accepted share

	done sync.WaitGroup
}

// Stats is what a miner has seen so far.
type Stats struct {
	// Submitted, Accepted and Rejected count shares; Rejected by the server's error.
	Submitted, Accepted int
	Rejected            map[string]int
	// Jobs counts mining.notify.
	Jobs int
	// Tips counts the prev-hashes on which a share was accepted.
	Tips int
	// Difficulties are those set, in order.
	Difficulties []float64
	// ExtranonceSize is what the miner rolls, in bytes.
	ExtranonceSize int
	// VersionMask has a bit for each one of the version that the miner may roll.
	VersionMask uint32
	// VersionsRolled counts accepted shares with another version than their job's.
	VersionsRolled int
	// BitsRolled has a bit for each one that was another than the job's in an accepted share.
	BitsRolled uint32
}

// message is a line of the server: an answer, or a notification.
type message struct {
	ID     *int            `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// fault is the error in an answer; nil when there is none.
func (m message) fault() error {
	if len(m.Error) == 0 || string(m.Error) == "null" {
		return nil
	}
	return errors.New(string(m.Error))
}

// Dial connects, sets the session up and begins to mine. ctx ends the setup only.
func Dial(ctx context.Context, address, worker string) (*Miner, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	m := &Miner{
		worker: worker, conn: conn, difficulty: 1,
		calls: map[int]chan<- message{}, submits: map[int]share{},
		accepted: map[[32]byte]bool{}, stats: Stats{Rejected: map[string]int{}},
	}
	m.done.Go(m.read)
	if err := m.setUp(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", worker, err), m.Close())
	}
	m.done.Go(m.mine)
	return m, nil
}

// Pause ends the search for shares; the connection stays, and answers still come.
func (m *Miner) Pause() {
	m.mu.Lock()
	m.paused = true
	m.mu.Unlock()
	m.changed.Add(1)
}

// Waiting is the number of submits that have no answer yet.
func (m *Miner) Waiting() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.submits)
}

// Stats is a copy of the present counts, and why the connection ended, if it did.
func (m *Miner) Stats() (Stats, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	stats := m.stats
	stats.Tips = len(m.accepted)
	stats.Difficulties = append([]float64(nil), stats.Difficulties...)
	stats.Rejected = map[string]int{}
	for reason, count := range m.stats.Rejected {
		stats.Rejected[reason] = count
	}
	return stats, m.err
}

// Close hangs up and waits for the miner's goroutines.
func (m *Miner) Close() error {
	err := m.conn.Close()
	m.done.Wait()
	return err
}

func (m *Miner) setUp(ctx context.Context) error {
	type object map[string]any
	var configured struct {
		Rolling bool   `json:"version-rolling"`
		Mask    string `json:"version-rolling.mask"`
	}
	extension := object{"version-rolling.mask": "ffffffff", "version-rolling.min-bit-count": 2}
	if err := m.call(ctx, &configured, "mining.configure", []string{"version-rolling"}, extension); err != nil {
		return err
	}
	if configured.Rolling {
		mask, err := decodeUint32(configured.Mask)
		if err != nil {
			return fmt.Errorf("version rolling mask: %w", err)
		}
		m.mu.Lock()
		m.stats.VersionMask = mask
		m.mu.Unlock()
	}
	if err := m.call(ctx, &subscription{miner: m}, "mining.subscribe", "interop/1"); err != nil {
		return err
	}
	for method, params := range map[string][]any{
		"mining.extranonce.subscribe": {}, "mining.authorize": {m.worker, "x"},
	} {
		var done bool
		if err := m.call(ctx, &done, method, params...); err != nil {
			return err
		}
		if !done {
			return fmt.Errorf("%s: refused", method)
		}
	}
	return nil
}

// subscription is the result of mining.subscribe: [[subscriptions], extranonce1, size].
type subscription struct{ miner *Miner }

// UnmarshalJSON puts it in force.
func (s *subscription) UnmarshalJSON(result []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(result, &parts); err != nil {
		return err
	}
	if len(parts) != 3 {
		return fmt.Errorf("%d parts, not 3", len(parts))
	}
	return s.miner.setExtranonce(parts[1:])
}

// setExtranonce takes extranonce1 and the size of extranonce2, for the jobs to come.
func (m *Miner) setExtranonce(parts []json.RawMessage) error {
	var prefix string
	var size int
	if len(parts) != 2 {
		return fmt.Errorf("%d parameters, not 2", len(parts))
	}
	if err := errors.Join(json.Unmarshal(parts[0], &prefix), json.Unmarshal(parts[1], &size)); err != nil {
		return err
	}
	extranonce, err := hex.DecodeString(prefix)
	if err != nil || size < 1 || size > 32 {
		return fmt.Errorf("extranonce1 %q, size %d", prefix, size)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.extranonce, m.size, m.stats.ExtranonceSize = extranonce, size, size
	return nil
}

// call sends a request and reads its result.
func (m *Miner) call(ctx context.Context, result any, method string, params ...any) error {
	answers := make(chan message, 1)
	if err := m.send(method, params, func(id int) { m.calls[id] = answers }); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, ctx.Err())
	case answer, alive := <-answers:
		if !alive {
			return fmt.Errorf("%s: the server hung up", method)
		}
		if err := answer.fault(); err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		if err := json.Unmarshal(answer.Result, result); err != nil {
			return fmt.Errorf("%s: result %s: %w", method, answer.Result, err)
		}
		return nil
	}
}

// send writes a request; expect notes its id before any answer can come.
func (m *Miner) send(method string, params []any, expect func(id int)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.nextID++
	line, err := json.Marshal(map[string]any{"id": m.nextID, "method": method, "params": params})
	if err != nil {
		return err
	}
	expect(m.nextID)
	_, err = m.conn.Write(append(line, '\n'))
	return err
}

// read takes what the server sends until the connection ends.
func (m *Miner) read() {
	lines := bufio.NewScanner(m.conn)
	lines.Buffer(nil, maxLine)
	var err error
	for err == nil && lines.Scan() {
		if err = m.take(lines.Bytes()); err != nil {
			err = fmt.Errorf("%w in %s", err, lines.Bytes())
		}
	}
	if err == nil {
		err = lines.Err()
	}
	if err == nil {
		err = errors.New("the server hung up")
	}
	m.mu.Lock()
	m.err = err
	for _, answers := range m.calls {
		close(answers)
	}
	m.calls = map[int]chan<- message{}
	m.mu.Unlock()
	m.changed.Add(1)
}

// take is one line of the server.
func (m *Miner) take(line []byte) error {
	var message message
	if err := json.Unmarshal(line, &message); err != nil {
		return err
	}
	switch message.Method {
	case "":
		return m.answered(message)
	case "mining.notify":
		return m.notified(message.Params)
	case "mining.set_difficulty":
		var params []float64
		if err := json.Unmarshal(message.Params, &params); err != nil || len(params) != 1 {
			return errors.New("not one difficulty")
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.difficulty = params[0]
		m.stats.Difficulties = append(m.stats.Difficulties, params[0])
	case "mining.set_extranonce":
		var params []json.RawMessage
		if err := json.Unmarshal(message.Params, &params); err != nil {
			return err
		}
		return m.setExtranonce(params)
	}
	return nil
}
