// Who gets through mutual TLS, and what is said to whom does not.

package grpchost

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// secured is a server behind mutual TLS, and whom both ends trust.
type secured struct {
	*running
	authority *authority
	options   TLSOptions
	address   string
}

func startTLS(t testing.TB, change func(*TLSOptions)) *secured {
	t.Helper()
	s := &secured{authority: newAuthority(t)}
	s.options = filesOf(t, s.authority, s.authority.sign("pool", numbered(1)))
	if change != nil {
		change(&s.options)
	}
	s.running = startWith(t, Options{}, func(r *running) (net.Listener, error) {
		s.options.Logger = r.log
		listener, err := ListenTLS("127.0.0.1:0", s.options)
		if err != nil {
			return nil, err
		}
		s.address = listener.Addr().String()
		r.target, r.credentials = s.address, credentials.NewTLS(s.client(t, s.authority.sign("sidecar", nil)))
		return listener, nil
	})
	return s
}

// client is the TLS side of a sidecar with papers.
func (s *secured) client(t testing.TB, p papers) *tls.Config {
	t.Helper()
	return &tls.Config{RootCAs: s.authority.pool(), Certificates: []tls.Certificate{p.tls(t)},
		NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}
}

// knock makes a handshake and waits for the first byte of HTTP/2, or for what the server says instead.
func (s *secured) knock(t testing.TB, config *tls.Config) (*x509.Certificate, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return nil, err
	}
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// noted waits for a word in the log: the client is told first.
func (s *secured) noted(t testing.TB, want string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !strings.Contains(s.logs.String(), want); {
		if time.Now().After(deadline) {
			t.Fatalf("no %q in the log:\n%s", want, s.logs)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestCarriesSessionsOverMutualTLS(t *testing.T) {
	server := startTLS(t, nil)
	c, _ := server.welcomed(t, goodHello(1))
	c.open(1)
	c.ping(7)
	if n := len(server.Sessions()); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

func TestRejectsClientsThatProveNothing(t *testing.T) {
	for name, test := range map[string]struct {
		spoil       func(*secured, *tls.Config)
		told, noted string // to the client, in the log
	}{
		"another authority": {func(s *secured, c *tls.Config) {
			c.Certificates[0] = newAuthority(s.authority.t).sign("sidecar", nil).tls(s.authority.t)
		}, "unknown certificate authority", "unknown authority"},
		"expired": {func(s *secured, c *tls.Config) {
			c.Certificates[0] = s.authority.sign("sidecar", func(c *x509.Certificate) {
				c.NotAfter = time.Now().Add(-time.Minute)
			}).tls(s.authority.t)
		}, "expired certificate", "expired"},
		"not yet valid": {func(s *secured, c *tls.Config) {
			c.Certificates[0] = s.authority.sign("sidecar", func(c *x509.Certificate) {
				c.NotBefore = time.Now().Add(time.Minute)
			}).tls(s.authority.t)
		}, "expired certificate", "not yet valid"},
		"made for servers": {func(s *secured, c *tls.Config) {
			c.Certificates[0] = s.authority.sign("sidecar", func(c *x509.Certificate) {
				c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
			}).tls(s.authority.t)
		}, "bad certificate", "incompatible key usage"},
		"none": {func(_ *secured, c *tls.Config) { c.Certificates = nil },
			"certificate required", "didn't provide a certificate"},
		"TLS 1.2": {func(_ *secured, c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
			"protocol version not supported", "unsupported versions"},
		"no HTTP/2": {func(_ *secured, c *tls.Config) { c.NextProtos = nil },
			"bad certificate", "doesn't offer HTTP/2"},
		"HTTP/1 only": {func(_ *secured, c *tls.Config) { c.NextProtos = []string{"http/1.1"} },
			"bad certificate", "doesn't offer HTTP/2"},
	} {
		t.Run(name, func(t *testing.T) {
			server := startTLS(t, nil)
			config := server.client(t, server.authority.sign("sidecar", nil))
			test.spoil(server, config)
			if _, err := server.knock(t, config); err == nil || !strings.Contains(err.Error(), test.told) {
				t.Errorf("the client was told %v, want %q", err, test.told)
			}
			server.noted(t, test.noted)
			server.welcomed(t, goodHello(1)) // and one that proves it gets in
		})
	}
}

func TestRejectsClientsInTheClear(t *testing.T) {
	server := startTLS(t, nil)
	conn, err := grpc.NewClient(server.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err = grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("a call in the clear got %v", err)
	}
	server.noted(t, "does not look like a TLS handshake")
}

func TestAllowsOnlyTheNamesOfTheList(t *testing.T) {
	server := startTLS(t, func(o *TLSOptions) {
		o.AllowNames = []string{"Edge-1.example", "spiffe://pool/edge", "10.1.2.3", "sidecar"}
	})
	spiffe, err := url.Parse("spiffe://pool/edge")
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]papers{
		"common name": server.authority.sign("SIDECAR", nil),
		"DNS name":    server.authority.sign("edge-1", nil),
		"URI": server.authority.sign("x", func(c *x509.Certificate) {
			c.URIs = []*url.URL{spiffe}
		}),
		"address": server.authority.sign("x", func(c *x509.Certificate) {
			c.IPAddresses = []net.IP{net.IPv4(10, 1, 2, 3)}
		}),
	} {
		if _, err := server.knock(t, server.client(t, p)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = server.knock(t, server.client(t, server.authority.sign("edge-2", nil)))
	if err == nil || !strings.Contains(err.Error(), "bad certificate") {
		t.Errorf("another name was told %v", err)
	}
	server.noted(t, "edge-2.example")
}

func TestServesChangedFilesWithoutRestart(t *testing.T) {
	server := startTLS(t, nil)
	sidecar := server.client(t, server.authority.sign("sidecar", nil))
	c, _ := server.welcomed(t, goodHello(1))
	if shown, err := server.knock(t, sidecar); err != nil || shown.SerialNumber.Int64() != 1 {
		t.Fatalf("%v, %v", shown, err)
	}
	renewed := server.authority.sign("pool", numbered(2))
	write(t, server.options.CertificateFile, renewed.certificate, 0o644)
	write(t, server.options.KeyFile, renewed.key, 0o600)
	if shown, err := server.knock(t, sidecar); err != nil || shown.SerialNumber.Int64() != 2 {
		t.Errorf("after the renewal: %v, %v", shown, err)
	}
	// Another authority for sidecars: the old ones are strangers from now on.
	others := newAuthority(t)
	write(t, server.options.CAFile, others.pem(), 0o644)
	if _, err := server.knock(t, sidecar); err == nil {
		t.Error("the old authority is still trusted")
	}
	if _, err := server.knock(t, server.client(t, others.sign("sidecar", nil))); err != nil {
		t.Errorf("the new authority is not trusted: %v", err)
	}
	if err := os.Remove(server.options.KeyFile); err != nil {
		t.Fatal(err)
	}
	if _, err := server.knock(t, server.client(t, others.sign("sidecar", nil))); err != nil {
		t.Errorf("without a key file the key in use is gone: %v", err)
	}
	c.ping(1) // and the session that was open goes on
}

// accepted is a listener's side of a connection that says nothing.
func accepted(t *testing.T, o TLSOptions) (net.Listener, net.Conn) {
	t.Helper()
	listener, err := ListenTLS("127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	silent, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return listener, conn
}

func TestEndsHandshakesThatTakeTooLong(t *testing.T) {
	a, log := newAuthority(t), &logs{}
	o := filesOf(t, a, a.sign("pool", nil))
	o.HandshakeTimeout, o.Logger = time.Millisecond, slog.New(slog.NewTextHandler(log, nil))
	_, conn := accepted(t, o)
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("read: %v", err)
	}
	if _, err := conn.Write([]byte{1}); err == nil {
		t.Error("and then it takes bytes")
	}
	if !strings.Contains(log.String(), "no TLS handshake within 1ms") {
		t.Errorf("log: %s", log)
	}
}

func TestEndsHandshakesWhenTheListenerCloses(t *testing.T) {
	a := newAuthority(t)
	o := filesOf(t, a, a.sign("pool", nil))
	o.HandshakeTimeout, o.Logger = 24*time.Hour, slog.New(slog.DiscardHandler)
	listener, conn := accepted(t, o)
	read := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		read <- err
	}()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-read:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("read: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the handshake goes on")
	}
}

func TestRejectsAFloodOfHandshakes(t *testing.T) {
	a, log := newAuthority(t), &logs{}
	o := filesOf(t, a, a.sign("pool", nil))
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	listener, first := accepted(t, o)
	held := &listener.(*tlsListener).pending
	if held.Load() != 1 {
		t.Fatalf("%d handshakes", held.Load())
	}
	held.Add(maxHandshakes - 1)
	next := make(chan net.Conn, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			next <- conn
		}
		close(next)
	}()
	knocking, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = knocking.Close() }()
	if n, err := knocking.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read %d bytes, %v; want the connection closed", n, err)
	}
	if !strings.Contains(log.String(), "too many handshakes") {
		t.Errorf("log: %s", log)
	}
	_ = first.Close() // which makes room, once
	_ = first.Close()
	if held.Load() != maxHandshakes-1 {
		t.Errorf("%d handshakes", held.Load())
	}
	again, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	conn, ok := <-next
	if !ok {
		t.Fatal("no connection is taken any more")
	}
	_ = conn.Close()
}

func TestLogsRefusalsWithinLimits(t *testing.T) {
	a, log := newAuthority(t), &logs{}
	o := filesOf(t, a, a.sign("pool", nil))
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	listener, conn := accepted(t, o)
	l := listener.(*tlsListener)
	for range 1000 {
		l.refused(conn, io.EOF)
	}
	l.mu.Lock()
	untold := l.untold
	l.quiet = time.Time{}
	l.mu.Unlock()
	before := strings.Count(log.String(), "refused a TLS connection")
	if before+untold != 1000 || before == 1000 {
		t.Errorf("%d of 1000 logged, %d counted", before, untold)
	}
	l.refused(conn, io.EOF)
	if !strings.Contains(log.String(), "not_logged_before=") || l.untold != 0 {
		t.Errorf("log: %s", log)
	}
}

func TestRejectsTwoLayersOfTLS(t *testing.T) {
	a := newAuthority(t)
	host := newPool(t)
	defer host.stop(t)
	server, err := New(host, Options{Credentials: insecure.NewCredentials(),
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	o := filesOf(t, a, a.sign("pool", nil))
	listener, err := ListenTLS("127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	err = server.Serve(context.Background(), listener)
	if err == nil || !strings.Contains(err.Error(), "leave Credentials nil") {
		t.Errorf("got %v", err)
	}
	if err := server.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}
