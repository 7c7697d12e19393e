// A connection to a pool with its channels.

package sv2client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// Extension numbers.
const (
	// ExtensionWorkers lets shares name their worker (extension 0x0002).
	ExtensionWorkers uint16 = 0x0002
)

// courtesyTimeout bounds what is told to a pool without anybody waiting for it.
const courtesyTimeout = 10 * time.Second

// Config says who connects and how. The zero value is a client without requirements.
type Config struct {
	HandshakeConfig
	// Flags are what the client requires of the pool.
	Flags SetupFlags
	// Vendor, HardwareVersion, Firmware and DeviceID describe the device; at most 255 bytes each.
	Vendor, HardwareVersion, Firmware, DeviceID string
	// Extensions are asked for when there are any; the ones granted are [Client.Extensions]. A pool
	// that knows nothing of extensions doesn't answer, and Dial waits until ctx ends.
	Extensions []uint16
	// Observe, unless nil, is called with each message that the pool sends after the connection is set
	// up, when its effect is there. It must return soon and must not call Close.
	Observe func(Message)
}

// Client is a connection to a pool that was let in. All methods may be called by several goroutines.
type Client struct {
	conn        *Conn
	config      Config
	serverFlags ServerFlags
	extensions  []uint16
	background  sync.WaitGroup
	done        chan struct{}

	mu          sync.Mutex
	channels    map[uint32]*Channel
	retired     map[uint32]struct{} // ids of channels that are closed
	groups      map[uint32]struct{} // ids of groups
	opening     map[uint32]*opening
	lastRequest uint32
	moved       *ReconnectError
	err         error // why the connection ended; nil while it holds
}

// Dial connects to the pool, makes sure that it is the one of the URL, and sets the connection up. Ways to
// fail: [*HandshakeError] (with a [*CertificateError] inside), [*SetupError], [*ExtensionsError],
// [*ProtocolError], and those of package net. ctx bounds Dial only, not the client.
func Dial(ctx context.Context, url URL, config Config) (*Client, error) {
	var dialer net.Dialer
	stream, err := dialer.DialContext(ctx, "tcp", url.Address())
	if err != nil {
		return nil, fmt.Errorf("connect to the pool: %w", err)
	}
	return Connect(ctx, stream, url, config)
}

// Connect is Dial over a stream that is open already. It owns the stream from now on.
func Connect(ctx context.Context, stream net.Conn, url URL, config Config) (*Client, error) {
	conn, err := Handshake(ctx, stream, url.Authority, config.HandshakeConfig)
	if err != nil {
		return nil, err
	}
	client := &Client{
		conn: conn, config: config, done: make(chan struct{}),
		channels: make(map[uint32]*Channel), retired: make(map[uint32]struct{}),
		groups: make(map[uint32]struct{}), opening: make(map[uint32]*opening),
	}
	if err := client.setUp(ctx, url); err != nil {
		_ = conn.Close() // err says more
		return nil, err
	}
	client.background.Go(client.read)
	return client, nil
}

// setUp sends SetupConnection and RequestExtensions, and takes their answers.
func (c *Client) setUp(ctx context.Context, url URL) error {
	config := c.config
	host := url.Host
	if len(host) > 255 {
		host = "" // it is only for the server's information
	}
	answer, err := c.ask(ctx, &SetupConnection{
		Protocol: ProtocolMining, MinVersion: ProtocolVersion, MaxVersion: ProtocolVersion,
		Flags: config.Flags, EndpointHost: host, EndpointPort: url.Port, Vendor: config.Vendor,
		HardwareVersion: config.HardwareVersion, Firmware: config.Firmware, DeviceID: config.DeviceID,
	})
	if err != nil {
		return err
	}
	switch answer := answer.(type) {
	case *SetupConnectionError:
		return &SetupError{Code: answer.ErrorCode, Flags: answer.Flags}
	case *SetupConnectionSuccess:
		if answer.UsedVersion != ProtocolVersion {
			return violation("version %d is in use, which was not offered", answer.UsedVersion)
		}
		if c.config.Flags&RequiresVersionRolling != 0 && answer.Flags&RequiresFixedVersion != 0 {
			return violation("it lets us in and forbids version rolling, which we require")
		}
		c.serverFlags = answer.Flags
	default:
		return violation("%s in answer to SetupConnection", Name(answer))
	}
	if len(config.Extensions) == 0 {
		return nil
	}
	request := &RequestExtensions{RequestID: 1, Requested: config.Extensions}
	if answer, err = c.ask(ctx, request); err != nil {
		return err
	}
	switch answer := answer.(type) {
	case *RequestExtensionsError:
		return &ExtensionsError{Unsupported: answer.Unsupported, Required: answer.Required}
	case *RequestExtensionsSuccess:
		for _, granted := range answer.Supported {
			if !slices.Contains(config.Extensions, granted) {
				return violation("extension %#04x is granted, which was not requested", granted)
			}
		}
		c.extensions = answer.Supported
		return nil
	default:
		return violation("%s in answer to RequestExtensions", Name(answer))
	}
}

// ask sends m and returns the next known message.
func (c *Client) ask(ctx context.Context, m Message) (Message, error) {
	if err := c.conn.WriteMessage(ctx, m); err != nil {
		return nil, err
	}
	for {
		answer, err := c.conn.ReadMessage(ctx)
		if err == io.EOF {
			return nil, violation("it closed the connection instead of answering %s", Name(m))
		}
		if err != nil {
			return nil, err
		}
		if _, unknown := answer.(*Unknown); !unknown {
			return answer, nil
		}
	}
}

// Extensions are those of Config.Extensions that are in force.
func (c *Client) Extensions() []uint16 { return slices.Clone(c.extensions) }

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is nil while the connection holds, then why it ended: [ErrClosed] after Close, [*ReconnectError]
// when the pool closed it after a Reconnect, [*ProtocolError], io.EOF, or an error of the network.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Moved is what the pool sent when it wants its miners elsewhere; nil before. From then on channels give
// no work any more, but answers to shares may still come until the pool closes the connection.
func (c *Client) Moved() *ReconnectError {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.moved
}

// Close ends the connection, and returns when nothing of the client runs any more. Shares without an
// answer stay without one; see [Channel.WaitAnswers].
func (c *Client) Close() error {
	c.end(ErrClosed)
	err := c.conn.Close()
	c.background.Wait()
	if err != nil {
		return fmt.Errorf("close the connection: %w", err)
	}
	return nil
}

// read takes messages until the connection ends.
func (c *Client) read() {
	for {
		m, err := c.conn.ReadMessage(context.Background())
		if err == nil {
			err = c.receive(m)
		}
		if err != nil {
			c.end(err)
			_ = c.conn.Close() // the reason is told already
			return
		}
		if c.config.Observe != nil {
			c.config.Observe(m)
		}
	}
}

// end notes why the connection ended, once, and wakes everybody who waits.
func (c *Client) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	if c.moved != nil && errors.Is(err, io.EOF) {
		err = c.moved
	}
	c.err = err
	close(c.done)
	for _, channel := range c.channels {
		channel.notify()
	}
}

// write sends a message; the client ends when the connection breaks over it.
func (c *Client) write(ctx context.Context, m Message) error {
	err := c.conn.WriteMessage(ctx, m)
	if err != nil && c.conn.broken.Load() {
		c.end(err)
		_ = c.conn.Close() // err says more
	}
	return err
}

// tell sends a message in the background.
func (c *Client) tell(m Message) {
	c.background.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), courtesyTimeout)
		defer cancel()
		_ = c.write(ctx, m) // nobody waits for it; a broken connection is told by Err
	})
}
