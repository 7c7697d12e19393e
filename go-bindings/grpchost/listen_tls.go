// TCP with mutual TLS 1.3 (RFC 8446): who may connect is decided by certificates.

package grpchost

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultHandshakeTimeout is long for any network and still ends a peer that only connects.
	DefaultHandshakeTimeout = 10 * time.Second
	// maxHandshakes under way at a time; what comes beyond them is closed. A peer without a certificate
	// gets a descriptor and some KiB, no more of them than this.
	maxHandshakes = 4096
	// http2 is the name of HTTP/2 in the handshake (RFC 9113, 3.2).
	http2 = "h2"
	// refusalPause is the least time between two log lines on refused connections.
	refusalPause = time.Second
)

// TLSOptions of [ListenTLS]. The three files are required, PEM, and read again when they change: the
// next connection is served with the new ones. A new file that can't be used is logged, and the old
// ones stay in use until it is mended.
type TLSOptions struct {
	// CAFile has the certificates of the authorities that sign sidecars.
	CAFile string
	// CertificateFile has the pool's certificate, and after it those between it and the authority
	// that sidecars trust. The names and addresses that sidecars dial must be among its subject
	// alternative names.
	CertificateFile string
	// KeyFile has the private key of that certificate; mode 0600 or less.
	KeyFile string
	// AllowNames, when there are any: who else has a certificate of the authority is refused. A
	// certificate's names are its subject alternative names (DNS names, URIs, IP addresses) and its
	// common name; upper and lower case are the same.
	AllowNames []string
	// HandshakeTimeout ends a connection whose handshake takes longer. 0: DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration
	// Logger is told of refused connections, at most once a second, and of files that changed. nil:
	// slog.Default().
	Logger *slog.Logger
}

// ListenTLS listens on a TCP address ("10.0.0.5:3337", ":3337") for sidecars that show a certificate
// signed by one of the authorities in options.CAFile. TLS 1.3 and HTTP/2 only. The error names every
// file that can't be used and says what is wrong with it.
//
// Give the listener to [Server.Serve] as it is, and leave [Options].Credentials nil. Handshakes run when
// the server first reads or writes, on its goroutine; closing the listener ends those under way.
func ListenTLS(address string, options TLSOptions) (net.Listener, error) {
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	if options.HandshakeTimeout == 0 {
		options.HandshakeTimeout = DefaultHandshakeTimeout
	}
	if options.HandshakeTimeout < 0 {
		return nil, fmt.Errorf("TLS: HandshakeTimeout is %v: give more than 0", options.HandshakeTimeout)
	}
	options.AllowNames = slices.Clone(options.AllowNames)
	files := &tlsFiles{options: options, states: statesOf(options)}
	if err := files.load(); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	l := &tlsListener{Listener: listener, options: options}
	l.config = &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return files.current(), nil
		},
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l, nil
}

// tlsListener hands out connections that make their handshake when they are first used.
type tlsListener struct {
	net.Listener
	options TLSOptions
	config  *tls.Config
	pending atomic.Int64
	// ctx ends the handshakes under way.
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	quiet  time.Time // until then refusals are only counted
	untold int
}

// Accept waits for the next connection. Who it is turns out at its first Read or Write.
func (l *tlsListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.pending.Add(1) <= maxHandshakes {
			return &tlsConn{Conn: tls.Server(conn, l.config), listener: l,
				settled: sync.OnceFunc(func() { l.pending.Add(-1) })}, nil
		}
		l.pending.Add(-1)
		l.refused(conn, errors.New("too many handshakes are under way: is this port open to strangers?"))
		_ = conn.Close()
	}
}

// Close stops listening and ends handshakes under way; connections whose handshake is done go on.
func (l *tlsListener) Close() error {
	l.cancel()
	return l.Listener.Close()
}

// refused logs why a connection came to nothing, within limits: anybody can knock.
func (l *tlsListener) refused(conn net.Conn, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Before(l.quiet) {
		l.untold++
		return
	}
	l.options.Logger.Warn("refused a TLS connection", "peer", conn.RemoteAddr().String(),
		"error", err, "not_logged_before", l.untold)
	l.quiet, l.untold = now.Add(refusalPause), 0
}

// tlsConn is a connection whose handshake is bounded, and logged when it fails.
type tlsConn struct {
	*tls.Conn
	listener *tlsListener
	settled  func()
	once     sync.Once
	fault    error
}

// Read is net.Conn.Read after the handshake.
func (c *tlsConn) Read(p []byte) (int, error) {
	if err := c.handshake(); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write is net.Conn.Write after the handshake.
func (c *tlsConn) Write(p []byte) (int, error) {
	if err := c.handshake(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Close is net.Conn.Close.
func (c *tlsConn) Close() error {
	defer c.settled()
	return c.Conn.Close()
}

func (c *tlsConn) handshake() error {
	c.once.Do(func() {
		defer c.settled()
		patience := c.listener.options.HandshakeTimeout
		ctx, cancel := context.WithTimeout(c.listener.ctx, patience)
		defer cancel()
		err := c.HandshakeContext(ctx)
		switch {
		case err == nil:
			return
		case c.listener.ctx.Err() != nil:
			c.fault = net.ErrClosed
			return
		case ctx.Err() != nil:
			err = fmt.Errorf("no TLS handshake within %v: %w", patience, err)
		}
		c.fault = err
		c.listener.refused(c, err)
	})
	return c.fault
}

// checkPeer is tls.Config.VerifyConnection: the certificate was verified, and is it one we want?
func (o TLSOptions) checkPeer(state tls.ConnectionState) error {
	if state.NegotiatedProtocol != http2 {
		return errors.New("the client doesn't offer HTTP/2 (ALPN \"h2\"): it is no sidecar")
	}
	if len(state.PeerCertificates) == 0 { // not reached: RequireAndVerifyClientCert
		return errors.New("the client showed no certificate")
	}
	names := namesOf(state.PeerCertificates[0])
	if len(o.AllowNames) == 0 || slices.ContainsFunc(names, o.allowsName) {
		return nil
	}
	return fmt.Errorf("none of the certificate's names %q is allowed: allow one, or make a certificate "+
		"for one of %q", names, o.AllowNames)
}

func (o TLSOptions) allowsName(name string) bool {
	return slices.ContainsFunc(o.AllowNames, func(allowed string) bool {
		return strings.EqualFold(allowed, name)
	})
}

// namesOf are the names that a certificate can be allowed by.
func namesOf(certificate *x509.Certificate) []string {
	names := slices.Clone(certificate.DNSNames)
	for _, uri := range certificate.URIs {
		names = append(names, uri.String())
	}
	for _, ip := range certificate.IPAddresses {
		names = append(names, ip.String())
	}
	if name := certificate.Subject.CommonName; name != "" {
		names = append(names, name)
	}
	return names
}
