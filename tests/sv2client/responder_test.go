// The server's side for tests: handshake with chosen keys, and a pool that says what a test tells it.

package sv2client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/ellswift"
	"github.com/btcsuite/btcd/btcec/v2/schnorr"
)

// responder is the server's side of one handshake.
type responder struct {
	symmetric
	ephemeral, static ephemeral
	authority         *btcec.PrivateKey
	version           uint16
	from, until       uint32
}

// secretOf makes a test key of one repeated byte.
func secretOf(b byte) *btcec.PrivateKey {
	secret, _ := btcec.PrivKeyFromBytes(bytes.Repeat([]byte{b}, 32))
	return secret
}

func authorityKey(secret *btcec.PrivateKey) AuthorityKey {
	return AuthorityKey(schnorr.SerializePubKey(secret.PubKey()))
}

// newResponder has fresh keys, and a certificate by authority 0x44 that holds now.
func newResponder(t testing.TB) *responder {
	t.Helper()
	r := &responder{symmetric: newSymmetric(), authority: secretOf(0x44)}
	for _, key := range []*ephemeral{&r.ephemeral, &r.static} {
		var err error
		if *key, err = newEphemeral(); err != nil {
			t.Fatal(err)
		}
	}
	now := uint32(time.Now().Unix())
	r.from, r.until = now-3600, now+3600
	return r
}

// certificate is the SIGNATURE_NOISE_MESSAGE.
func (r *responder) certificate(t testing.TB) []byte {
	t.Helper()
	message := binary.LittleEndian.AppendUint16(nil, r.version)
	message = binary.LittleEndian.AppendUint32(message, r.from)
	message = binary.LittleEndian.AppendUint32(message, r.until)
	static := schnorr.SerializePubKey(r.static.secret.PubKey())
	digest := sha256.Sum256(append(bytes.Clone(message), static...))
	signature, err := schnorr.Sign(r.authority, digest[:], schnorr.CustomNonce([32]byte{}))
	if err != nil {
		t.Fatal(err)
	}
	return append(message, signature.Serialize()...)
}

// answer is act 2.
func (r *responder) answer(t testing.TB, actOne []byte) []byte {
	t.Helper()
	theirs := [encodedKeySize]byte(actOne)
	r.mixHash(actOne)
	r.mixHash(nil)
	r.mixHash(r.ephemeral.encoded[:])
	answer := bytes.Clone(r.ephemeral.encoded[:])
	for _, step := range []struct {
		key  ephemeral
		text []byte
	}{{r.ephemeral, r.static.encoded[:]}, {r.static, r.certificate(t)}} {
		shared, err := ellswift.V2Ecdh(step.key.secret, theirs, step.key.encoded, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.mixKey(shared[:]); err != nil {
			t.Fatal(err)
		}
		sealed, err := r.seal(nil, step.text, r.hash[:])
		if err != nil {
			t.Fatal(err)
		}
		r.mixHash(sealed)
		answer = append(answer, sealed...)
	}
	return answer
}

// accept runs the server's side of a handshake on stream.
func (r *responder) accept(t testing.TB, stream net.Conn) *Conn {
	t.Helper()
	conn := &Conn{stream: stream, reader: bufio.NewReader(stream), turn: make(chan struct{}, 1)}
	conn.turn <- struct{}{}
	actOne := make([]byte, actOneSize)
	if _, err := io.ReadFull(conn.reader, actOne); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Write(r.answer(t, actOne)); err != nil {
		t.Fatal(err)
	}
	up, down, err := r.split()
	if err != nil {
		t.Fatal(err)
	}
	if conn.down, err = newCipherState(up); err != nil {
		t.Fatal(err)
	}
	if conn.up, err = newCipherState(down); err != nil {
		t.Fatal(err)
	}
	return conn
}

// patience ends a test that hangs.
const patience = 30 * time.Second

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// listen opens a port of this machine and returns its URL for authority 0x44.
func listen(t testing.TB) (net.Listener, URL) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	address := listener.Addr().(*net.TCPAddr)
	return listener, URL{Host: address.IP.String(), Port: uint16(address.Port),
		Authority: authorityKey(secretOf(0x44))}
}

// pool is a server that a test speaks through.
type pool struct {
	*Conn
	t testing.TB
}

// say sends messages.
func (p pool) say(messages ...Message) {
	p.t.Helper()
	for _, m := range messages {
		if err := p.WriteMessage(patient(p.t), m); err != nil {
			p.t.Fatal(err)
		}
	}
}

// hear is the next message, which must be an M.
func hear[M Message](p pool) M {
	p.t.Helper()
	m, err := p.ReadMessage(patient(p.t))
	if err != nil {
		p.t.Fatal(err)
	}
	wanted, ok := m.(M)
	if !ok {
		p.t.Fatalf("the client sent %s", Name(m))
	}
	return wanted
}

// connected is a client and its pool, past SetupConnection.
func connected(t testing.TB, config Config) (*Client, pool) {
	t.Helper()
	listener, url := listen(t)
	type result struct {
		client *Client
		err    error
	}
	dialed := make(chan result, 1)
	go func() {
		client, err := Dial(patient(t), url, config)
		dialed <- result{client, err}
	}()
	stream, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p := pool{newResponder(t).accept(t, stream), t}
	hear[*SetupConnection](p)
	p.say(&SetupConnectionSuccess{UsedVersion: ProtocolVersion})
	got := <-dialed
	if got.err != nil {
		t.Fatal(got.err)
	}
	t.Cleanup(func() {
		if err := got.client.Close(); err != nil {
			t.Error(err)
		}
		_ = p.Close()
	})
	return got.client, p
}
