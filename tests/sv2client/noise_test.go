// The handshake, byte for byte. The transcript was made by an implementation in another language that
// shook hands with the Stratum Reference Implementation in both roles.

package sv2client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/btcsuite/btcd/btcec/v2/schnorr"
)

// The transcript. The secret keys are the bytes 11 (client), 22 (server, ephemeral), 33 (server, static)
// and 44 (authority), 32 times each.
const (
	vectorClient = "1d8a4eace693ae2d9a1e40b458151a9959e2d15364c7a5005d32fe61985fb4e8" +
		"f844fbbbfb8c3b6c12e9d5e76141a5ab56201b874bd3871772c45ffca0acd4f8"
	vectorServer = "c0290103855dbf5559ec8712e8e3574f00a154d85ed8abcc35c719c2add9ca89" +
		"e63cab5ed7be08c0b39489ee7d8cb691358db3fddb97cd6bca8977914061c588"
	vectorStatic = "e5600642060d5a21a64b88b0402db60395655d03be61dea43f28bbfa4dee94fa" +
		"f5cb47c5c7705485fcfd735bf8deb73e3a0a6a665dcf0a62892d8b694c136f2b"
	vectorStaticX     = "3c72addb4fdf09af94f0c94d7fe92a386a7e70cf8a1d85916386bb2535c7b1b1"
	vectorAuthority   = "2c0b7cf95324a07d05398b240174dc0c2be444d96b159aa6c7f7b1e668680991"
	vectorURLKey      = "9axyEG5bASfivgHzqZTvGPnforoki8Z1qXvSAe6CbAK3wFAVETn"
	vectorName        = "2eb47881208e9eee1f669f67c66ee70ea9ea88090d503fe830dc4bc83e29bf10"
	vectorStart       = "922fa32e4f487c0d59caa3bed7899ce3d98db7e13dbd3b7cf2d23dd433dc6104"
	vectorAfterOne    = "e7f36937eb3eb197ae2dd4775e5497bed88b3288429e2c745619c94f28905231"
	vectorCertificate = "000000b9556980ec366b6d279438caef6f1200e515ce60ef136b216ee917aee18a0a73" +
		"8c4101b398b2aa96413201c562bdadbeaa51d79c171742c65e74e90146b0b22be3397a2dc268ec"
	vectorDigest    = "dc7c1de12ceb4e490bd76231146536b1a6f1546c71abb95f7e06d3562f933e42"
	vectorSealedKey = "9416ce9bfc78205cde65ec511f212f8391bb491a83f5f8947a40da667a2fe041" +
		"d83af0f60b44ae16eb0abdf85ce4f36add6ddb0e0ea11d7d72b9a58a315f77bd" +
		"d839c978d44cf822931aa8ea590d1b12"
	vectorSealedCertificate = "89ead34427c32a9200c152df43c618fe11dd247a043a40f4e17ab970ab1fdb56" +
		"9488ae634922ab2dbf53ba63e952b3532adec29e701d323a11a247e6e7df45cc" +
		"ab743a4e344db4cf68721360bcfaa9460fc1cde664fe85fcb773"
	vectorHash     = "ad885abf80a8e3ec27a2adc7db1cf6bf131f4ced6821533cbeca4c7782c888c2"
	vectorChaining = "ca810b2a92dee5b715888c3cd4b283442927e7206a2d8c073e59b8659510287c"
	vectorUp       = "818d9ee86a441bdd3bf4a91ed0cc62bc3e081b3a1c770c42f038209703cc3f74"
	vectorDown     = "549a89457b6b1932263d05b540e07831be03b0cbf805310070ba3e93a04ae79e"
	vectorSetup    = "02a9aa46f37eb2d353d9820c96679d8cde9a4c08005622423bd3a6e5493225f4" +
		"260963786be4175f6877ebde5c6bffe9300b43dc13c45dcc"
	vectorSuccess = "e2d87490bf66ecc440631ad586da0c749cbf91f4839159c0abb8f8f04002a4b8" +
		"2db31191cd482d63e1521107"

	vectorFrom, vectorUntil = 1767225600, 1798761600
)

// vectorNow is inside the certificate's validity.
var vectorNow = time.Unix(1780000000, 0)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	bytes, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

func same(t testing.TB, what string, got []byte, want string) {
	t.Helper()
	if hex.EncodeToString(got) != want {
		t.Errorf("%s: got %x, want %s", what, got, want)
	}
}

func vectorKey(t testing.TB, secret byte, encoded string) ephemeral {
	return ephemeral{secretOf(secret), [encodedKeySize]byte(unhex(t, encoded))}
}

func vectorActTwo(t testing.TB) []byte {
	return unhex(t, vectorServer+vectorSealedKey+vectorSealedCertificate)
}

func vectorAuthorityKey(t testing.TB) AuthorityKey {
	return AuthorityKey(unhex(t, vectorAuthority))
}

func vectorResponder(t testing.TB) *responder {
	return &responder{symmetric: newSymmetric(), authority: secretOf(0x44),
		ephemeral: vectorKey(t, 0x22, vectorServer), static: vectorKey(t, 0x33, vectorStatic),
		from: vectorFrom, until: vectorUntil}
}

func TestEncodedKeysOfTheTranscriptStandForTheirSecrets(t *testing.T) {
	for secret, encoded := range map[byte]string{0x11: vectorClient, 0x22: vectorServer,
		0x33: vectorStatic} {
		x, err := decodeKey([encodedKeySize]byte(unhex(t, encoded)))
		if err != nil {
			t.Fatal(err)
		}
		want := schnorr.SerializePubKey(secretOf(secret).PubKey())
		if !bytes.Equal(x[:], want) {
			t.Errorf("key %02x: got %x, want %x", secret, x, want)
		}
	}
}

func TestSpeaksTheTranscriptByteForByte(t *testing.T) {
	noise := newInitiator(vectorKey(t, 0x11, vectorClient))
	same(t, "protocol name", noise.chainingKey, vectorName)
	same(t, "first hash", noise.hash[:], vectorStart)
	same(t, "act 1", noise.actOne(), vectorClient)
	same(t, "hash after act 1", noise.hash[:], vectorAfterOne)

	static, certificate, err := noise.actTwo(vectorActTwo(t))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "static key", static[:], vectorStaticX)
	// The validity is part of the message: version 0, then two times.
	same(t, "certificate", certificate, vectorCertificate)
	digest := sha256.Sum256(slices.Concat(certificate[:certificateSigned], static[:]))
	same(t, "signed digest", digest[:], vectorDigest)
	same(t, "hash", noise.hash[:], vectorHash)
	same(t, "chaining key", noise.chainingKey, vectorChaining)
	if err := checkCertificate(certificate, static, vectorAuthorityKey(t), vectorNow, 0); err != nil {
		t.Error(err)
	}
	up, down, err := noise.split()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "client to server", up, vectorUp)
	same(t, "server to client", down, vectorDown)
}

func TestTheTestsResponderSpeaksTheTranscriptToo(t *testing.T) {
	server := vectorResponder(t)
	same(t, "certificate", server.certificate(t), vectorCertificate)
	answer := server.answer(t, unhex(t, vectorClient))
	same(t, "act 2", answer, vectorServer+vectorSealedKey+vectorSealedCertificate)
	same(t, "hash", server.hash[:], vectorHash)
}

// vectorConfig makes a connection the one of the transcript.
func vectorConfig(t testing.TB) HandshakeConfig {
	return HandshakeConfig{
		now:       func() time.Time { return vectorNow },
		ephemeral: func() (ephemeral, error) { return vectorKey(t, 0x11, vectorClient), nil },
	}
}

func TestAWholeConnectionIsTheTranscript(t *testing.T) {
	near, far := net.Pipe()
	read := make(chan []byte, 1)
	go func() {
		defer close(read)
		actOne := make([]byte, actOneSize)
		if _, err := io.ReadFull(far, actOne); err != nil {
			return
		}
		if _, err := far.Write(vectorActTwo(t)); err != nil {
			return
		}
		setup := make([]byte, len(vectorSetup)/2)
		if _, err := io.ReadFull(far, setup); err != nil {
			return
		}
		if _, err := far.Write(unhex(t, vectorSuccess)); err != nil {
			return
		}
		read <- append(actOne, setup...)
	}()
	ctx := patient(t)
	conn, err := Handshake(ctx, near, vectorAuthorityKey(t), vectorConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	setup := &SetupConnection{MinVersion: 2, MaxVersion: 2, EndpointHost: "h", EndpointPort: 1, Vendor: "v"}
	if err := conn.WriteMessage(ctx, setup); err != nil {
		t.Fatal(err)
	}
	answer, err := conn.ReadMessage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	success, ok := answer.(*SetupConnectionSuccess)
	if !ok || *success != (SetupConnectionSuccess{UsedVersion: 2}) {
		t.Errorf("answer %#v", answer)
	}
	same(t, "everything sent", <-read, vectorClient+vectorSetup)
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

func TestRejectsActTwoWithAnyByteFlipped(t *testing.T) {
	good := vectorActTwo(t)
	for i := range good {
		message := bytes.Clone(good)
		message[i] ^= 1 << (i % 8)
		noise := newInitiator(vectorKey(t, 0x11, vectorClient))
		noise.actOne()
		if _, _, err := noise.actTwo(message); !errors.Is(err, ErrNotAuthentic) {
			t.Errorf("byte %d flipped: %v", i, err)
		}
	}
}

func TestRejectsTheTranscriptForAnotherActOne(t *testing.T) {
	for i := range encodedKeySize {
		key := vectorKey(t, 0x11, vectorClient)
		key.encoded[i] ^= 1
		noise := newInitiator(key)
		noise.actOne()
		if _, _, err := noise.actTwo(vectorActTwo(t)); !errors.Is(err, ErrNotAuthentic) {
			t.Errorf("byte %d flipped: %v", i, err)
		}
	}
}

func TestRejectsActTwoOfAnotherLength(t *testing.T) {
	for _, size := range []int{0, 1, 170, actTwoSize - 1, actTwoSize + 1} {
		noise := newInitiator(vectorKey(t, 0x11, vectorClient))
		noise.actOne()
		if _, _, err := noise.actTwo(slices.Repeat([]byte{7}, size)); err == nil {
			t.Errorf("%d bytes were taken", size)
		}
	}
}

func TestRejectsAFrameWithAnyByteFlipped(t *testing.T) {
	for name, wire := range map[string]string{vectorUp: vectorSetup, vectorDown: vectorSuccess} {
		good := unhex(t, wire)
		for i := range good {
			key, err := newCipherState(unhex(t, name))
			if err != nil {
				t.Fatal(err)
			}
			message := bytes.Clone(good)
			message[i] ^= 0x10
			if _, err := readFrame(bytes.NewReader(message), &key); !errors.Is(err, ErrNotAuthentic) {
				t.Errorf("byte %d flipped: %v", i, err)
			}
		}
	}
}

func TestHandshakeEndsWithItsContext(t *testing.T) {
	near, far := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, far) }() // and never answers
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("the user has gone")
	time.AfterFunc(10*time.Millisecond, func() { cancel(reason) })
	_, err := Handshake(ctx, near, vectorAuthorityKey(t), HandshakeConfig{})
	var failed *HandshakeError
	if !errors.As(err, &failed) || !errors.Is(err, reason) {
		t.Errorf("%v", err)
	}
	if _, err := near.Write([]byte{1}); err == nil {
		t.Error("the stream is still open")
	}
}
