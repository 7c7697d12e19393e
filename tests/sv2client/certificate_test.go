// Who is trusted, and when.

package sv2client

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// dialAgainst dials a server that shakes hands as server does.
func dialAgainst(t testing.TB, server *responder, authority AuthorityKey, config Config) error {
	t.Helper()
	listener, url := listen(t)
	url.Authority = authority
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		stream, err := listener.Accept()
		if err != nil {
			return
		}
		conn := server.accept(t, stream)
		_, _ = conn.ReadMessage(patient(t)) // ends when the client closes
		_ = conn.Close()
	}()
	_, err := Dial(patient(t), url, config)
	<-accepted
	return err
}

// wantRefusal checks kind and clarity of a refusal.
func wantRefusal(t testing.TB, err error, reason error, words ...string) {
	t.Helper()
	var refused *CertificateError
	if !errors.As(err, &refused) || !errors.Is(err, reason) {
		t.Fatalf("got %v, want %v", err, reason)
	}
	for _, other := range []error{ErrWrongAuthority, ErrCertificateExpired,
		ErrCertificateNotYetValid, ErrCertificateVersion} {
		if other != reason && errors.Is(err, other) {
			t.Errorf("%v is %v, too", err, other)
		}
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q doesn't say %q", err, word)
		}
	}
}

func TestRefusesAnotherAuthority(t *testing.T) {
	err := dialAgainst(t, newResponder(t), authorityKey(secretOf(0x45)), Config{})
	wantRefusal(t, err, ErrWrongAuthority, "handshake", "not signed by the authority")
}

func TestRefusesAnExpiredCertificate(t *testing.T) {
	server := newResponder(t)
	server.from, server.until = vectorFrom, vectorFrom+3600
	err := dialAgainst(t, server, authorityKey(secretOf(0x44)), Config{})
	wantRefusal(t, err, ErrCertificateExpired, "expired", "2026-01-01T01:00:00Z", "clock")
}

func TestRefusesACertificateThatIsNotYetValid(t *testing.T) {
	server := newResponder(t)
	server.from += 7200
	server.until += 7200
	err := dialAgainst(t, server, authorityKey(secretOf(0x44)), Config{})
	wantRefusal(t, err, ErrCertificateNotYetValid, "not valid yet", "clock")
}

func TestRefusesAnUnknownCertificateVersion(t *testing.T) {
	server := newResponder(t)
	server.version = 1
	err := dialAgainst(t, server, authorityKey(secretOf(0x44)), Config{})
	wantRefusal(t, err, ErrCertificateVersion, "(1)")
}

// TestAWrongSignatureIsToldBeforeTheTime: times that nobody vouches for mean nothing.
func TestAWrongSignatureIsToldBeforeTheTime(t *testing.T) {
	server := newResponder(t)
	server.until = server.from + 1
	err := dialAgainst(t, server, authorityKey(secretOf(0x45)), Config{})
	wantRefusal(t, err, ErrWrongAuthority)
}

func TestTheValidityIsCheckedToTheSecond(t *testing.T) {
	static := [32]byte(unhex(t, vectorStaticX))
	message := unhex(t, vectorCertificate)
	for _, c := range []struct {
		now  int64
		skew time.Duration
		want error
	}{
		{vectorFrom - 1, 0, ErrCertificateNotYetValid},
		{vectorFrom, 0, nil},
		{vectorUntil, 0, nil},
		{vectorUntil + 1, 0, ErrCertificateExpired},
		{vectorFrom - 10, DefaultClockSkew, nil},
		{vectorFrom - 11, DefaultClockSkew, ErrCertificateNotYetValid},
		{vectorUntil + 10, DefaultClockSkew, nil},
		{vectorUntil + 11, DefaultClockSkew, ErrCertificateExpired},
	} {
		err := checkCertificate(message, static, vectorAuthorityKey(t), time.Unix(c.now, 0), c.skew)
		if !errors.Is(err, c.want) {
			t.Errorf("at %d with skew %v: got %v, want %v", c.now, c.skew, err, c.want)
		}
	}
}

func TestRejectsACertificateWithAnyByteFlipped(t *testing.T) {
	static := [32]byte(unhex(t, vectorStaticX))
	good := unhex(t, vectorCertificate)
	check := func(message []byte, static [32]byte, authority AuthorityKey) error {
		return checkCertificate(message, static, authority, vectorNow, 0)
	}
	for i := range good {
		message := bytes.Clone(good)
		message[i] ^= 1
		err := check(message, static, vectorAuthorityKey(t))
		if version := binary.LittleEndian.Uint16(message); version != 0 {
			wantRefusal(t, err, ErrCertificateVersion)
			continue
		}
		wantRefusal(t, err, ErrWrongAuthority)
	}
	for i := range static {
		other := static
		other[i] ^= 1
		wantRefusal(t, check(good, other, vectorAuthorityKey(t)), ErrWrongAuthority)
		authority := vectorAuthorityKey(t)
		authority[i] ^= 1
		wantRefusal(t, check(good, static, authority), ErrWrongAuthority)
	}
	for _, size := range []int{0, certificateSize - 1} {
		if err := check(good[:size], static, vectorAuthorityKey(t)); err == nil {
			t.Errorf("%d bytes were taken", size)
		}
	}
}

func TestAClockSkewOfTheConfigCounts(t *testing.T) {
	server := newResponder(t)
	server.from = uint32(time.Now().Add(time.Minute).Unix())
	config := Config{HandshakeConfig: HandshakeConfig{ClockSkew: time.Hour}}
	near, far := net.Pipe()
	go func() { server.accept(t, far) }()
	conn, err := Handshake(patient(t), near, authorityKey(server.authority), config.HandshakeConfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}
