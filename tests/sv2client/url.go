// Pool addresses and the authority's key in them (chapter 4.7).

package sv2client

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/btcsuite/btcd/btcec/v2/schnorr"
)

// Scheme is how a pool address begins, without "://".
const Scheme = "stratum2+tcp"

// keyVersion opens an encoded authority key: 1 as a little-endian u16.
var keyVersion = []byte{1, 0}

// AuthorityKey is the x-only secp256k1 public key (BIP340: 32 bytes, big-endian) that signs the
// certificates of a pool's listeners.
type AuthorityKey [32]byte

// ParseAuthorityKey reads a key as operators publish it: base58check of 01 00 and the 32 bytes.
func ParseAuthorityKey(text string) (AuthorityKey, error) {
	var key AuthorityKey
	raw, err := decodeBase58Check(text)
	switch {
	case err != nil:
		return key, fmt.Errorf("authority key: %w; copy it again", err)
	case len(raw) != len(keyVersion)+len(key):
		return key, fmt.Errorf("authority key: %d bytes instead of %d; is it another kind of key?",
			len(raw), len(keyVersion)+len(key))
	case !bytes.HasPrefix(raw, keyVersion):
		return key, fmt.Errorf("authority key: version %x instead of %x; is it another kind of key?",
			raw[:len(keyVersion)], keyVersion)
	}
	copy(key[:], raw[len(keyVersion):])
	if _, err := schnorr.ParsePubKey(key[:]); err != nil {
		return key, fmt.Errorf("authority key: not a point of the curve: %w", err)
	}
	return key, nil
}

// String is what ParseAuthorityKey reads.
func (k AuthorityKey) String() string {
	return encodeBase58Check(append(bytes.Clone(keyVersion), k[:]...))
}

// URL says where a pool listens and whose certificate it must show.
type URL struct {
	// Host is a name or an IP address, without brackets.
	Host string
	// Port is the TCP port, never 0.
	Port uint16
	// Authority signs the listener's certificate.
	Authority AuthorityKey
}

// ParseURL reads stratum2+tcp://host:port/AUTHORITY_KEY.
func ParseURL(text string) (URL, error) {
	scheme, rest, found := strings.Cut(strings.TrimSpace(text), "://")
	if !found || !strings.EqualFold(scheme, Scheme) {
		return URL{}, fmt.Errorf("pool address %q: write %s://host:port/AUTHORITY_KEY", text, Scheme)
	}
	place, keyText, _ := strings.Cut(rest, "/")
	host, portText, err := net.SplitHostPort(place)
	if err != nil {
		return URL{}, fmt.Errorf("pool address %q: %w", text, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return URL{}, fmt.Errorf("pool address %q: port %q is not 1 to 65535", text, portText)
	}
	if host == "" {
		return URL{}, fmt.Errorf("pool address %q: the host is missing", text)
	}
	if keyText == "" {
		return URL{}, fmt.Errorf("pool address %q: the authority key is missing; "+
			"the pool's operator publishes it after the port and a slash", text)
	}
	key, err := ParseAuthorityKey(keyText)
	if err != nil {
		return URL{}, fmt.Errorf("pool address %q: %w", text, err)
	}
	return URL{Host: host, Port: uint16(port), Authority: key}, nil
}

// Address is host:port as package net takes it.
func (u URL) Address() string {
	return net.JoinHostPort(u.Host, strconv.Itoa(int(u.Port)))
}

// String is what ParseURL reads.
func (u URL) String() string {
	return Scheme + "://" + u.Address() + "/" + u.Authority.String()
}

// Follow is the place that a Reconnect names: an empty host and port 0 mean "as before". The authority
// stays, so that a pool can send its miners only to listeners of its own (chapter 3.6.5).
func (u URL) Follow(to Reconnect) URL {
	if to.NewHost != "" {
		u.Host = to.NewHost
	}
	if to.NewPort != 0 {
		u.Port = to.NewPort
	}
	return u
}

const base58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// base58MaxLen bounds the work of decoding, which grows with the square of the length.
const base58MaxLen = 128

var errBase58Checksum = errors.New("the checksum is wrong, so it is mistyped or cut off")

// encodeBase58Check appends four bytes of double SHA-256 to data and writes it in base58.
func encodeBase58Check(data []byte) string {
	sum := doubleSHA256(data)
	number := append(bytes.Clone(data), sum[:4]...)
	zeros := len(number) - len(bytes.TrimLeft(number, "\x00"))
	var digits []byte // least significant first
	for _, b := range number {
		carry := int(b)
		for i, digit := range digits {
			carry += int(digit) << 8
			digits[i] = byte(carry % 58)
			carry /= 58
		}
		for ; carry > 0; carry /= 58 {
			digits = append(digits, byte(carry%58))
		}
	}
	text := []byte(strings.Repeat(base58[:1], zeros))
	for i := len(digits) - 1; i >= 0; i-- {
		text = append(text, base58[digits[i]])
	}
	return string(text)
}

// decodeBase58Check undoes encodeBase58Check.
func decodeBase58Check(text string) ([]byte, error) {
	if len(text) > base58MaxLen {
		return nil, fmt.Errorf("%d characters are too many", len(text))
	}
	zeros := len(text) - len(strings.TrimLeft(text, base58[:1]))
	var number []byte // least significant first
	for i := range len(text) {
		carry := strings.IndexByte(base58, text[i])
		if carry < 0 {
			return nil, fmt.Errorf("base58 has no %q (character %d)", text[i], i+1)
		}
		for j, b := range number {
			carry += int(b) * 58
			number[j] = byte(carry)
			carry >>= 8
		}
		for ; carry > 0; carry >>= 8 {
			number = append(number, byte(carry))
		}
	}
	data := make([]byte, zeros, zeros+len(number))
	for i := len(number) - 1; i >= 0; i-- {
		data = append(data, number[i])
	}
	if len(data) < 4 {
		return nil, errBase58Checksum
	}
	payload, sum := data[:len(data)-4], data[len(data)-4:]
	want := doubleSHA256(payload)
	if !bytes.Equal(sum, want[:4]) {
		return nil, errBase58Checksum
	}
	return payload, nil
}

// doubleSHA256 is Bitcoin's hash.
func doubleSHA256(data []byte) [sha256.Size]byte {
	once := sha256.Sum256(data)
	return sha256.Sum256(once[:])
}
