// The initiator's side of the handshake: Noise_NX over secp256k1 with ElligatorSwift (chapter 4.5).

package sv2client

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/ellswift"
	"golang.org/x/crypto/chacha20poly1305"
)

const (
	noiseProtocol = "Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256"

	encodedKeySize = 64 // a public key in ElligatorSwift
	macSize        = chacha20poly1305.Overhead

	actOneSize = encodedKeySize
	// The specification adds the fields of act 2 up to 170; they are 234.
	actTwoSize = encodedKeySize + encodedKeySize + macSize + certificateSize + macSize
)

var errNonceSpent = errors.New("2^64-1 messages under one key")

// cipherState seals or opens messages under one key, each with the next nonce (chapter 4.4.1). The zero
// value has no key.
type cipherState struct {
	aead  cipher.AEAD
	nonce uint64
}

func newCipherState(key []byte) (cipherState, error) {
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		return cipherState{}, fmt.Errorf("cipher: %w", err)
	}
	return cipherState{aead: aead}, nil
}

func (c *cipherState) nextNonce() ([]byte, error) {
	if c.nonce == math.MaxUint64 {
		return nil, errNonceSpent
	}
	nonce := make([]byte, 4, chacha20poly1305.NonceSize)
	nonce = binary.LittleEndian.AppendUint64(nonce, c.nonce)
	c.nonce++
	return nonce, nil
}

// seal appends the ciphertext of text and its MAC to dst.
func (c *cipherState) seal(dst, text, associated []byte) ([]byte, error) {
	nonce, err := c.nextNonce()
	if err != nil {
		return nil, err
	}
	return c.aead.Seal(dst, nonce, text, associated), nil
}

// open appends the text of sealed to dst. After an error the connection is to be ended.
func (c *cipherState) open(dst, sealed, associated []byte) ([]byte, error) {
	nonce, err := c.nextNonce()
	if err != nil {
		return nil, err
	}
	text, err := c.aead.Open(dst, nonce, sealed, associated)
	if err != nil {
		return nil, ErrNotAuthentic
	}
	return text, nil
}

// symmetric is the handshake state that both sides share: chaining key, transcript hash and cipher.
type symmetric struct {
	cipherState
	chainingKey []byte
	hash        [sha256.Size]byte
}

func newSymmetric() symmetric {
	name := sha256.Sum256([]byte(noiseProtocol))
	return symmetric{chainingKey: name[:], hash: sha256.Sum256(name[:])}
}

func (s *symmetric) mixHash(data []byte) {
	digest := sha256.New()
	digest.Write(s.hash[:]) // a hash never returns an error
	digest.Write(data)
	digest.Sum(s.hash[:0])
}

// derive is Noise's HKDF with two outputs: RFC 5869 with the chaining key as salt and no info.
func (s *symmetric) derive(input []byte) (first, second []byte, err error) {
	keys, err := hkdf.Key(sha256.New, input, s.chainingKey, "", 2*sha256.Size)
	if err != nil {
		return nil, nil, fmt.Errorf("key derivation: %w", err)
	}
	return keys[:sha256.Size], keys[sha256.Size:], nil
}

func (s *symmetric) mixKey(input []byte) error {
	chainingKey, key, err := s.derive(input)
	if err != nil {
		return err
	}
	s.chainingKey = chainingKey
	s.cipherState, err = newCipherState(key)
	return err
}

func (s *symmetric) openAndHash(sealed []byte) ([]byte, error) {
	text, err := s.open(nil, sealed, s.hash[:])
	if err != nil {
		return nil, err
	}
	s.mixHash(sealed)
	return text, nil
}

// split returns the keys of both directions: client to server, server to client.
func (s *symmetric) split() (up, down []byte, err error) { return s.derive(nil) }

// ephemeral is a key for one handshake with the encoding it is sent in; there are about 2^256
// encodings of each key.
type ephemeral struct {
	secret  *btcec.PrivateKey
	encoded [encodedKeySize]byte
}

func newEphemeral() (ephemeral, error) {
	secret, encoded, err := ellswift.EllswiftCreate()
	if err != nil {
		return ephemeral{}, fmt.Errorf("ephemeral key: %w", err)
	}
	return ephemeral{secret, encoded}, nil
}

// initiator is the client's side. actOne, then actTwo, then split.
type initiator struct {
	symmetric
	key ephemeral
}

func newInitiator(key ephemeral) *initiator {
	return &initiator{symmetric: newSymmetric(), key: key}
}

// actOne is what the client sends first.
func (i *initiator) actOne() []byte {
	i.mixHash(i.key.encoded[:])
	i.mixHash(nil) // the payload of this act is empty
	return append([]byte(nil), i.key.encoded[:]...)
}

// actTwo reads the server's answer: its static key (x-only) and the certificate message, both
// authenticated by the key exchange but not yet by the authority.
func (i *initiator) actTwo(message []byte) (static [32]byte, certificate []byte, err error) {
	if len(message) != actTwoSize {
		return static, nil, fmt.Errorf("act 2 has %d bytes instead of %d", len(message), actTwoSize)
	}
	theirs := [encodedKeySize]byte(message)
	sealedKey := message[encodedKeySize : 2*encodedKeySize+macSize]
	sealedCertificate := message[2*encodedKeySize+macSize:]

	i.mixHash(theirs[:])
	if err := i.exchange(theirs); err != nil {
		return static, nil, err
	}
	encoded, err := i.openAndHash(sealedKey)
	if err != nil {
		return static, nil, fmt.Errorf("the server's static key: %w", err)
	}
	if err := i.exchange([encodedKeySize]byte(encoded)); err != nil {
		return static, nil, err
	}
	certificate, err = i.openAndHash(sealedCertificate)
	if err != nil {
		return static, nil, fmt.Errorf("the server's certificate: %w", err)
	}
	static, err = decodeKey([encodedKeySize]byte(encoded))
	return static, certificate, err
}

// exchange mixes the ECDH of our ephemeral key and one of theirs into the key.
func (i *initiator) exchange(theirs [encodedKeySize]byte) error {
	shared, err := ellswift.V2Ecdh(i.key.secret, theirs, i.key.encoded, true)
	if err != nil {
		return fmt.Errorf("key exchange: %w", err)
	}
	return i.mixKey(shared[:])
}

// decodeKey is the x-coordinate that an ElligatorSwift encoding stands for; every encoding stands for
// one.
func decodeKey(encoded [encodedKeySize]byte) (x [32]byte, err error) {
	var u, t btcec.FieldVal
	u.SetByteSlice(encoded[:32])
	t.SetByteSlice(encoded[32:])
	point, err := ellswift.XSwiftEC(u.Normalize(), t.Normalize())
	if err != nil {
		return x, fmt.Errorf("static key: %w", err)
	}
	return *point.Bytes(), nil
}
