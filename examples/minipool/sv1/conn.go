// One connection: read, written, ended.

package sv1

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"sync"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

const (
	// maxRequest is the longest line taken, in bytes.
	maxRequest = 16 << 10
	// maxUnsent is how much may wait to be written: some ten of the longest jobs.
	maxUnsent = 4 << 20
	// helloPatience is how long a miner may take to authorize, idlePatience between two lines later.
	helloPatience = 30 * time.Second
	idlePatience  = 10 * time.Minute
	// writePatience is how long a miner may take to read what is sent.
	writePatience = 30 * time.Second
	// knownVersions is how many jobs are known by their version: more than the share check knows.
	knownVersions = 4 * sv2.KnownJobs
)

// conn is one connection and its channel. It is the channel's sink.
type conn struct {
	port *Port
	net.Conn
	log *slog.Logger

	// What the reading goroutine alone knows.
	agent   string // mining.subscribe
	prefix  []byte
	user    string
	channel sv2.Channel
	mask    uint32  // version bits that may be rolled
	least   float64 // minimum-difficulty
	wanted  float64 // mining.suggest_difficulty

	mu      sync.Mutex
	wake    chan struct{} // holds a token while there is something to write, or no more ever
	unsent  []byte
	ended   bool // after what is unsent
	held    bool // the channel is being opened: what it says goes to later
	later   []byte
	tip     sv2.Hash
	lastID  uint64                     // of submits
	replies map[uint64]json.RawMessage // what mining.submit was sent with, by Submit.ID
	// versions of jobs, and the newest of them in the order they came.
	versions map[uint64]uint32
	jobs     []uint64
}

var _ sv2.Sink = (*conn)(nil)

func newConn(p *Port, accepted net.Conn) *conn {
	return &conn{
		port: p, Conn: accepted,
		log:      p.options.Logger.With("remote", accepted.RemoteAddr().String()),
		wake:     make(chan struct{}, 1),
		replies:  make(map[uint64]json.RawMessage),
		versions: make(map[uint64]uint32),
	}
}

// serve runs the connection to its end.
func (c *conn) serve(ctx context.Context) {
	var writing sync.WaitGroup
	writing.Go(c.write)
	err := c.read(ctx)
	if c.channel != nil {
		c.channel.Close("the miner left")
	}
	if c.prefix != nil {
		c.port.options.Prefixes.ReleasePrefix(c.prefix)
	}
	c.end()
	writing.Wait()
	_ = c.Conn.Close()
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		c.log.Info("Stratum V1 connection ended", "err", err)
	}
}

// read takes requests until there are none any more.
func (c *conn) read(ctx context.Context) error {
	lines := bufio.NewScanner(c.Conn)
	lines.Buffer(make([]byte, 0, 1024), maxRequest)
	patience := time.Now().Add(helloPatience)
	for {
		if err := c.SetReadDeadline(patience); err != nil {
			return err
		}
		if !lines.Scan() {
			return lines.Err()
		}
		if len(lines.Bytes()) > 0 {
			if err := c.take(ctx, lines.Bytes()); err != nil {
				return err
			}
		}
		if c.channel != nil {
			patience = time.Now().Add(idlePatience)
		}
	}
}

// write sends what waits, until the end. What queued while a write was under way goes with the next.
func (c *conn) write() {
	var spare []byte
	for range c.wake {
		c.mu.Lock()
		lines, ended := c.unsent, c.ended
		c.unsent = spare[:0]
		c.mu.Unlock()
		if len(lines) > 0 {
			_ = c.SetWriteDeadline(time.Now().Add(writePatience)) // a closed connection fails below
			if _, err := c.Conn.Write(lines); err != nil {
				c.hangUp()
				return
			}
		}
		spare = lines
		if ended {
			_ = c.Conn.Close()
			return
		}
	}
}

// put queues a line; the caller holds mu. A miner who doesn't read is hung up on.
func (c *conn) put(line []byte) {
	if c.ended {
		return
	}
	if c.held {
		c.later = append(c.later, line...)
	} else {
		c.unsent = append(c.unsent, line...)
	}
	if len(c.unsent)+len(c.later) > maxUnsent {
		c.unsent, c.later, c.ended = nil, nil, true
	}
	c.nudge()
}

func (c *conn) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// end closes the connection behind what is unsent.
func (c *conn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.nudge()
}

// hangUp ends the connection at once.
func (c *conn) hangUp() { _ = c.Conn.Close() }

// farewell tells the miner something and ends the connection.
func (c *conn) farewell(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
	c.put(notification("client.show_message", text))
	c.ended = true
	c.nudge()
}

// Job is mining.notify. clean_jobs is true for a new tip.
func (c *conn) Job(job *sv2.Job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notify(job)
}

// notify is Job for whoever holds mu.
func (c *conn) notify(job *sv2.Job) {
	c.put(notifyLine(job, job.PrevHash != c.tip))
	c.tip = job.PrevHash
	c.versions[job.ID] = job.Version
	c.jobs = append(c.jobs, job.ID)
	if len(c.jobs) > knownVersions {
		delete(c.versions, c.jobs[0])
		c.jobs = c.jobs[1:]
	}
}

// Target is mining.set_difficulty: of jobs to come.
func (c *conn) Target(target sv2.Target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(notification("mining.set_difficulty", target.FloatDifficulty()))
}

// Verdicts answers mining.submit, but for blocks.
func (c *conn) Verdicts(verdicts []sv2.Verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, verdict := range verdicts {
		if !verdict.BlockCandidate {
			c.answer(verdict.SubmitID, faultOf(verdict.Reason))
		}
	}
}

// BlockResult answers mining.submit of a block.
func (c *conn) BlockResult(result sv2.BlockResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if result.Accepted {
		c.answer(result.SubmitID, nil)
		return
	}
	what := "block rejected: "
	if result.Unknown {
		what = "backend-unavailable: what became of the block is unknown: "
	}
	c.answer(result.SubmitID, newFault(codeOther, what+result.Detail))
}

// answer replies to a submit; the caller holds mu.
func (c *conn) answer(submit uint64, fault *fault) {
	id, waits := c.replies[submit]
	if !waits {
		return
	}
	delete(c.replies, submit)
	c.put(reply(id, fault == nil, fault))
}

// Kick sends the miner away.
func (c *conn) Kick(kick sv2.Kick) {
	if kick.Action == sv2.KickConnection {
		c.farewell("Pool paused: " + kick.Reason)
		return
	}
	c.farewell(kick.Reason)
}

// maxTarget is the easiest target that the miner takes.
func (c *conn) maxTarget() sv2.Target {
	if c.least == 0 {
		return sv2.MaxTarget
	}
	return sv2.TargetFromDifficulty(c.least)
}

// hashRate is what a suggested difficulty says of the miner, in H/s.
func (c *conn) hashRate() float64 {
	return min(c.wanted*(1<<32)*c.port.options.SharesPerMinute/60, math.MaxFloat64)
}
