// What can go wrong; pools refuse with texts of their own, in ErrorCode and Code.

package sv2client

import (
	"errors"
	"fmt"
)

var (
	// ErrNotAuthentic: bytes of the peer don't carry the right MAC. The peer is not who we exchanged
	// keys with, or the stream was changed on its way. The connection can't be used any more.
	ErrNotAuthentic = errors.New("message authentication failed")
	// ErrClosed: the client was closed with Close, or the channel with its Close.
	ErrClosed = errors.New("closed")
	// ErrBroken: an earlier call on the connection failed half-way.
	ErrBroken = errors.New("the connection broke in an earlier call")
)

// HandshakeError says that no encrypted connection came about. It wraps a [*CertificateError] when the
// server could not prove who it is.
type HandshakeError struct {
	// Step is what failed.
	Step string
	// Err says why.
	Err error
}

// Error names step and reason.
func (e *HandshakeError) Error() string { return "handshake: " + e.Step + ": " + e.Err.Error() }

// Unwrap is the reason.
func (e *HandshakeError) Unwrap() error { return e.Err }

// ProtocolError says what the pool did against the specification. The connection is ended.
type ProtocolError struct {
	// Detail is for people.
	Detail string
}

// Error is the detail.
func (e *ProtocolError) Error() string { return "the pool broke the protocol: " + e.Detail }

func violation(format string, args ...any) error {
	return &ProtocolError{fmt.Sprintf(format, args...)}
}

// SetupError: the pool doesn't let this client in.
type SetupError struct {
	// Code is the pool's text.
	Code string
	// Flags are those that the pool doesn't support; 0 when that is not the cause.
	Flags SetupFlags
}

// Error names both.
func (e *SetupError) Error() string {
	return fmt.Sprintf("the pool refuses the connection: %q, unsupported flags %#x", e.Code, e.Flags)
}

// OpenError: the pool doesn't open the channel.
type OpenError struct {
	// Code is the pool's text.
	Code string
}

// Error names the code.
func (e *OpenError) Error() string { return fmt.Sprintf("the pool refuses the channel: %q", e.Code) }

// UpdateError: the pool refused an UpdateChannel; nothing changed.
type UpdateError struct {
	// Code is the pool's text.
	Code string
}

// Error names the code.
func (e *UpdateError) Error() string { return fmt.Sprintf("the pool refuses the update: %q", e.Code) }

// ChannelClosedError: the pool closed the channel.
type ChannelClosedError struct {
	// Reason is the pool's text.
	Reason string
}

// Error names the reason.
func (e *ChannelClosedError) Error() string {
	return fmt.Sprintf("the pool closed the channel: %q", e.Reason)
}

// ExtensionsError: none of the requested extensions is in force, and the pool may insist on others.
type ExtensionsError struct {
	// Unsupported are those of the requested that the pool doesn't support.
	Unsupported []uint16
	// Required are those that the pool insists on and that were not requested.
	Required []uint16
}

// Error names both lists.
func (e *ExtensionsError) Error() string {
	return fmt.Sprintf("the pool refuses the extensions: unsupported %#04x, required %#04x",
		e.Unsupported, e.Required)
}

// ReconnectError: the pool sends its miners to another place. Take the URL there with [URL.Follow].
type ReconnectError struct {
	// To is what the pool sent.
	To Reconnect
}

// Error names the place.
func (e *ReconnectError) Error() string {
	return fmt.Sprintf("the pool says: reconnect to host %q, port %d (empty and 0: as before)",
		e.To.NewHost, e.To.NewPort)
}
