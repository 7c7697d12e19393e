// An encrypted connection that carries messages.

package sv2client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// HandshakeConfig is how a handshake may differ from the usual one. The zero value is usual.
type HandshakeConfig struct {
	// ClockSkew is how far the clocks may differ; 0: DefaultClockSkew, negative: not at all.
	ClockSkew time.Duration

	now       func() time.Time          // for tests: this machine's clock
	ephemeral func() (ephemeral, error) // for tests: the key of this handshake
}

// Conn is an encrypted connection. One goroutine at a time may read and one may write.
type Conn struct {
	stream  net.Conn
	reader  *bufio.Reader
	up      cipherState // client to server
	down    cipherState
	scratch []byte
	turn    chan struct{} // holds a token while nobody writes
	broken  atomic.Bool
}

// Handshake makes stream an encrypted connection to a server of that authority. It owns the stream from
// now on, and closes it when it fails. Errors are [*HandshakeError].
func Handshake(
	ctx context.Context, stream net.Conn, authority AuthorityKey, config HandshakeConfig,
) (*Conn, error) {
	conn := &Conn{stream: stream, reader: bufio.NewReader(stream), turn: make(chan struct{}, 1)}
	conn.turn <- struct{}{}
	if err := conn.shakeHands(ctx, authority, config); err != nil {
		_ = stream.Close() // err says more
		return nil, err
	}
	return conn, nil
}

func (c *Conn) shakeHands(ctx context.Context, authority AuthorityKey, config HandshakeConfig) error {
	fresh, now, skew := newEphemeral, time.Now, config.ClockSkew
	if config.ephemeral != nil {
		fresh = config.ephemeral
	}
	if config.now != nil {
		now = config.now
	}
	if skew == 0 {
		skew = DefaultClockSkew
	}
	key, err := fresh()
	if err != nil {
		return &HandshakeError{"prepare", err}
	}
	noise := newInitiator(key)
	release := bind(ctx, c.stream.SetWriteDeadline)
	_, err = c.stream.Write(noise.actOne())
	if err = release(err); err != nil {
		return &HandshakeError{"send act 1", err}
	}
	answer := make([]byte, actTwoSize)
	release = bind(ctx, c.stream.SetReadDeadline)
	_, err = io.ReadFull(c.reader, answer)
	if err = release(err); err != nil {
		return &HandshakeError{"receive act 2", noEOF(err)}
	}
	static, certificate, err := noise.actTwo(answer)
	if err != nil {
		return &HandshakeError{"act 2", err}
	}
	if err := checkCertificate(certificate, static, authority, now(), max(skew, 0)); err != nil {
		return &HandshakeError{"certificate", err}
	}
	up, down, err := noise.split()
	if err != nil {
		return &HandshakeError{"keys", err}
	}
	if c.up, err = newCipherState(up); err != nil {
		return &HandshakeError{"keys", err}
	}
	if c.down, err = newCipherState(down); err != nil {
		return &HandshakeError{"keys", err}
	}
	return nil
}

// ReadMessage returns the next message. io.EOF: the peer closed the connection after a whole message.
// After any error, the end of ctx included, the connection can't be read any more; a [*ProtocolError]
// about a malformed message is the exception.
func (c *Conn) ReadMessage(ctx context.Context) (Message, error) {
	if c.broken.Load() {
		return nil, ErrBroken
	}
	release := bind(ctx, c.stream.SetReadDeadline)
	f, err := readFrame(c.reader, &c.down)
	if err = release(err); err != nil {
		c.broken.Store(true)
		if err == io.EOF {
			return nil, err
		}
		return nil, fmt.Errorf("read: %w", err)
	}
	return fromFrame(f)
}

// WriteMessage sends a message. It waits for its turn when another goroutine writes. When it fails
// half-way, for instance at the end of ctx, the connection can't be used any more.
func (c *Conn) WriteMessage(ctx context.Context, m Message) error {
	f, err := toFrame(m)
	if err != nil {
		return err
	}
	select {
	case <-c.turn:
		defer func() { c.turn <- struct{}{} }()
	case <-ctx.Done():
		return fmt.Errorf("write %s: %w", Name(m), context.Cause(ctx))
	}
	if c.broken.Load() {
		return fmt.Errorf("write %s: %w", Name(m), ErrBroken)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write %s: %w", Name(m), context.Cause(ctx))
	}
	if c.scratch, err = sealFrame(c.scratch[:0], &c.up, f); err == nil {
		release := bind(ctx, c.stream.SetWriteDeadline)
		_, err = c.stream.Write(c.scratch)
		err = release(err)
	}
	if err != nil {
		c.broken.Store(true)
		return fmt.Errorf("write %s: %w", Name(m), err)
	}
	return nil
}

// Close closes the stream; calls under way fail.
func (c *Conn) Close() error {
	c.broken.Store(true)
	return ignoreClosed(c.stream.Close())
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// bind makes ctx end what a stream is doing, by a deadline in the past. The returned function ends the
// bond and turns the error of an ended call into that of ctx.
func bind(ctx context.Context, setDeadline func(time.Time) error) func(error) error {
	if ctx.Done() == nil {
		return func(err error) error { return err }
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = setDeadline(time.Unix(1, 0)) // fails only on a closed stream, which ends the call as well
	})
	return func(err error) error {
		if stop() {
			return err
		}
		<-ended
		if err != nil {
			return context.Cause(ctx)
		}
		// The call was quicker than the end of ctx.
		return ignoreClosed(setDeadline(time.Time{}))
	}
}
