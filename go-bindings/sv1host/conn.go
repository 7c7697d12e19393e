// The connection in memory that the pool serves.

package sv1host

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

const (
	// spareLines is how many lines of the pool may wait besides a reply for each submit: jobs,
	// difficulties, messages. As many submits may go to the pool beyond the cap when they are blocks.
	spareLines = 64
	// maxLine is the longest line taken from the pool, in bytes: a job has at most some 300 KiB.
	maxLine = 1 << 20
	// maxWaiting is how many bytes of the pool may wait: spareLines of the longest jobs there are
	// in practice.
	maxWaiting = 8 << 20
	// maxUnread is how many bytes may wait for the pool: a line of a submit has less than 2 KiB.
	maxUnread = 8 << 20
)

// errOverflow is what the pool's Write gets that was one too many; the channel is closed.
var errOverflow = errors.New("too much waits for the Stratum V2 channel: it is closed")

// RequestOf is the request that a connection given to [Options].Serve was made for: who connects, from
// where, and which extranonce prefix the channel had before. The slices in it are read only. False when
// conn comes from somewhere else.
func RequestOf(conn net.Conn) (sv2.OpenRequest, bool) {
	c, ok := conn.(*memoryConn)
	if !ok {
		return sv2.OpenRequest{}, false
	}
	return c.request, true
}

// memoryConn is the pool's end of a connection in memory; the channel at the other end uses send, take
// and hangUp. Write waits for nothing but the channel's lock, and calls nothing of the pool's: it queues,
// and wakes the channel. Replies to shares that are accepted, by far the most there is, the channel takes
// at once, if nothing waits before them: two goroutines less have to be woken for each share.
//
// After Close, and after the channel has hung up, Read gives io.EOF: for a pool that is a miner who left.
type memoryConn struct {
	request    sv2.OpenRequest
	remote     net.Addr
	limitLines int
	wake       func() // the channel: there may be something to take
	// direct takes what it can of what is written at once, and gives the rest. Called with no lock held.
	direct func(written []byte) (rest []byte)

	mu       sync.Mutex
	readable sync.Cond    // unread, hungUp, closed or the read deadline changed
	unread   bytes.Buffer // for the pool
	waiting  []byte       // from the pool
	lines    int          // in waiting
	taken    bool         // something that the channel has not done with
	hungUp   bool         // by the channel
	closed   bool         // by the pool
	overflow bool

	readDeadline, writeDeadline time.Time
	alarm                       *time.Timer // wakes readers at alarmAt, once a Read waits
	alarmAt                     time.Time   // zero when none is set
}

var _ net.Conn = (*memoryConn)(nil)

// newConn lets limitLines lines of the pool wait.
func newConn(request sv2.OpenRequest, limitLines int, wake func()) *memoryConn {
	c := &memoryConn{
		request: request, remote: addressOf(request.Connection.RemoteAddress),
		limitLines: limitLines, wake: wake,
	}
	c.readable.L = &c.mu
	return c
}

// Read gives what the channel sent. It ends with io.EOF, or os.ErrDeadlineExceeded.
func (c *memoryConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, io.EOF
		case passed(c.readDeadline):
			return 0, os.ErrDeadlineExceeded
		case c.unread.Len() > 0 || len(p) == 0:
			return c.unread.Read(p)
		case c.hungUp:
			return 0, io.EOF
		}
		c.setAlarm()
		c.readable.Wait()
	}
}

// setAlarm sees to it that a Read that waits looks up at its deadline, or before and then again; the caller
// holds mu. Deadlines mostly move on with every line, which leaves the alarm where it is.
func (c *memoryConn) setAlarm() {
	if c.readDeadline.IsZero() || !c.alarmAt.IsZero() && !c.readDeadline.Before(c.alarmAt) {
		return
	}
	c.alarmAt = c.readDeadline
	if c.alarm == nil {
		c.alarm = time.AfterFunc(time.Until(c.alarmAt), func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.alarmAt = time.Time{}
			c.readable.Broadcast()
		})
		return
	}
	c.alarm.Reset(time.Until(c.alarmAt))
}

// Write gives p to the channel. An error says that what is left of it was not taken.
func (c *memoryConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	err, first := c.unwritable(), len(c.waiting) == 0 && !c.taken
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	rest := p
	if first && c.direct != nil {
		if rest = c.direct(p); len(rest) == 0 {
			return len(p), nil
		}
	}
	if err := c.enqueue(rest); err != nil {
		return len(p) - len(rest), err
	}
	c.wake()
	return len(p), nil
}

// unwritable is why the pool can't write now; the caller holds mu.
func (c *memoryConn) unwritable() error {
	switch {
	case c.closed:
		return net.ErrClosed
	case c.hungUp:
		return io.ErrClosedPipe
	case passed(c.writeDeadline):
		return os.ErrDeadlineExceeded
	}
	return nil
}

// enqueue has p wait for the channel. When there is no room the connection ends, and the channel is woken.
func (c *memoryConn) enqueue(p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.unwritable(); err != nil {
		return err
	}
	lines := bytes.Count(p, []byte{'\n'})
	if c.lines+lines > c.limitLines || len(c.waiting)+len(p) > maxWaiting {
		c.overflow = true
		c.closeLocked()
		c.wake()
		return errOverflow
	}
	c.waiting = append(c.waiting, p...)
	c.lines += lines
	return nil
}

// Close ends the connection from the pool's side. What it wrote before still counts.
func (c *memoryConn) Close() error {
	c.mu.Lock()
	c.closeLocked()
	c.mu.Unlock()
	c.wake()
	return nil
}

func (c *memoryConn) closeLocked() {
	c.closed, c.unread = true, bytes.Buffer{}
	if c.alarm != nil {
		c.alarm.Stop()
	}
	c.readable.Broadcast()
}

// LocalAddr names this package: there is no port.
func (c *memoryConn) LocalAddr() net.Addr { return address("sv2") }

// RemoteAddr is the miner's, a *net.TCPAddr if it can be.
func (c *memoryConn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *memoryConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline is for Reads that wait, too; the zero time is none.
func (c *memoryConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("set a deadline: %w", net.ErrClosed)
	}
	c.readDeadline = t
	c.readable.Broadcast()
	return nil
}

// SetWriteDeadline makes later Writes fail after t; they never wait. The zero time is none.
func (c *memoryConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("set a deadline: %w", net.ErrClosed)
	}
	c.writeDeadline = t
	return nil
}

// send queues whole lines for the pool. False when the connection has ended, or the pool reads nothing
// any more.
func (c *memoryConn) send(lines []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.hungUp || c.unread.Len()+len(lines) > maxUnread {
		return false
	}
	c.unread.Write(lines)
	c.readable.Broadcast()
	return true
}

// take gives what waits from the pool, and whether the pool's side has ended; nothing comes after that.
// The bytes are the caller's, until they are given back as spare. Who calls has done with what it was given
// before, but for the beginning of a line if it has that: what is written meanwhile does not overtake it.
func (c *memoryConn) take(spare []byte, begun bool) (data []byte, ended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, c.waiting, c.lines = c.waiting, spare[:0], 0
	c.taken = begun || len(data) > 0
	return data, c.closed
}

// trim gives back what the lines of an open took: shares need less.
func (c *memoryConn) trim() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unread.Len() == 0 {
		c.unread = bytes.Buffer{}
	}
	if len(c.waiting) == 0 {
		c.waiting = nil
	}
}

// overflowed reports whether the pool wrote more than may wait.
func (c *memoryConn) overflowed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.overflow
}

// hangUp ends the connection from the channel's side, behind what was sent.
func (c *memoryConn) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hungUp = true
	c.readable.Broadcast()
}

func passed(deadline time.Time) bool {
	return !deadline.IsZero() && !time.Now().Before(deadline)
}

// address is a network address that is only a text.
type address string

// Network is "sv2".
func (a address) Network() string { return "sv2" }

// String is the text.
func (a address) String() string { return string(a) }

func addressOf(text string) net.Addr {
	parsed, err := netip.ParseAddrPort(text)
	if err != nil {
		return address(text)
	}
	return net.TCPAddrFromAddrPort(parsed)
}
