// Is the server the pool's? Its static key must be signed by the authority (chapter 4.5.3).

package sv2client

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/btcsuite/btcd/btcec/v2/schnorr"
)

const (
	certificateSize    = 2 + 4 + 4 + schnorr.SignatureSize
	certificateVersion = 0 // the specification names none; all known peers use 0
	certificateSigned  = 2 + 4 + 4
)

// DefaultClockSkew is how far the clocks of client and server may differ by default.
const DefaultClockSkew = 10 * time.Second

// Why a certificate is refused; a [*CertificateError] wraps one of them.
var (
	// ErrCertificateVersion: a format that nobody knows.
	ErrCertificateVersion = errors.New("unknown certificate version")
	// ErrWrongAuthority: not signed by the authority of the pool's address.
	ErrWrongAuthority = errors.New("not signed by the authority of the pool's address; " +
		"compare the key in the address with the one that the pool publishes")
	// ErrCertificateExpired: its time is over.
	ErrCertificateExpired = errors.New("expired; check this machine's clock, " +
		"otherwise the pool has to renew it")
	// ErrCertificateNotYetValid: its time has not come.
	ErrCertificateNotYetValid = errors.New("not valid yet; check this machine's clock")
)

// CertificateError says that the server is not, or not now, trusted by the pool's authority.
type CertificateError struct {
	// Reason is one of the four errors above.
	Reason error
	// Version is the format that the server sent.
	Version uint16
	// ValidFrom and NotValidAfter are as the server sent them. They mean something only when Reason
	// is about the time: the signature is checked first.
	ValidFrom, NotValidAfter time.Time
	// Now is this machine's clock at the check.
	Now time.Time
}

// Error names the reason and the times.
func (e *CertificateError) Error() string {
	text := "the server's certificate is refused: " + e.Reason.Error()
	switch e.Reason {
	case ErrCertificateVersion:
		text += fmt.Sprintf(" (%d)", e.Version)
	case ErrCertificateExpired, ErrCertificateNotYetValid:
		text += fmt.Sprintf(" (valid from %s to %s, now %s)", stamp(e.ValidFrom),
			stamp(e.NotValidAfter), stamp(e.Now))
	}
	return text
}

// Unwrap is the reason.
func (e *CertificateError) Unwrap() error { return e.Reason }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// checkCertificate checks the message of act 2 for the server's static key.
func checkCertificate(
	message []byte, static [32]byte, authority AuthorityKey, now time.Time, skew time.Duration,
) error {
	if len(message) != certificateSize {
		return fmt.Errorf("certificate of %d bytes instead of %d", len(message), certificateSize)
	}
	refused := &CertificateError{
		Version:       binary.LittleEndian.Uint16(message),
		ValidFrom:     time.Unix(int64(binary.LittleEndian.Uint32(message[2:])), 0),
		NotValidAfter: time.Unix(int64(binary.LittleEndian.Uint32(message[6:])), 0),
		Now:           now,
	}
	switch {
	case refused.Version != certificateVersion:
		refused.Reason = ErrCertificateVersion
	case !signedBy(authority, message, static):
		refused.Reason = ErrWrongAuthority
	case now.Add(skew).Before(refused.ValidFrom):
		refused.Reason = ErrCertificateNotYetValid
	// The last second counts whole.
	case !now.Add(-skew).Before(refused.NotValidAfter.Add(time.Second)):
		refused.Reason = ErrCertificateExpired
	default:
		return nil
	}
	return refused
}

// signedBy checks the BIP340 signature over version, times and static key.
func signedBy(authority AuthorityKey, message []byte, static [32]byte) bool {
	key, err := schnorr.ParsePubKey(authority[:])
	if err != nil {
		return false
	}
	signature, err := schnorr.ParseSignature(message[certificateSigned:])
	if err != nil {
		return false
	}
	signed := append(append([]byte(nil), message[:certificateSigned]...), static[:]...)
	digest := sha256.Sum256(signed)
	return signature.Verify(digest[:], key)
}
