// What an operator may set.

package grpchost

import (
	"io"
	"log/slog"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/events"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/session"
)

// Protocol is the version of the contract this package speaks.
const Protocol = session.Protocol

// MaxMessageSize bounds one gRPC message in bytes, both ways; see [session.MaxMessageSize].
const MaxMessageSize = session.MaxMessageSize

// Defaults of [Options]. Why they are what they are is with those of package session.
const (
	DefaultResumeWindow = session.DefaultResumeWindow
	DefaultVerdictRing  = session.DefaultVerdictRing
	DefaultOutboxLimit  = session.DefaultOutboxLimit
	DefaultMaxChannels  = session.DefaultMaxChannels
	DefaultHelloTimeout = session.DefaultHelloTimeout
)

// Options of a [Server]. The zero value is usable.
type Options struct {
	// Software names the pool in the sidecar's logs, at most 64 bytes. Empty: what Host.Limits says.
	Software string
	// Logger for what operators should know. nil: slog.Default().
	Logger *slog.Logger
	// Credentials of your own for TCP. nil: none, which [Server.Serve] allows on listeners of
	// [ListenUnix] and [ListenTLS] only, or with PlainLoopback.
	Credentials credentials.TransportCredentials
	// PlainLoopback allows TCP without credentials on a loopback address. Any local user can then
	// connect; use a Unix socket where there is one.
	PlainLoopback bool
	// ResumeWindow is how long a session, with its channels and their extranonce prefixes, outlives a
	// stream that broke; the sidecar is told. Whole milliseconds up to 2^32-1. 0: DefaultResumeWindow.
	ResumeWindow time.Duration
	// VerdictRing is how many verdicts a session keeps for submits that come again, at some 110 bytes
	// each; memory is taken as they come. 0: DefaultVerdictRing.
	VerdictRing int
	// MaxInFlight is the largest Hello.max_in_flight taken, at most VerdictRing: more could not be
	// answered again after a break. 0: VerdictRing.
	MaxInFlight int
	// OutboxLimit is how many entries (a job for one channel, a verdict, any other message) may
	// wait per stream. One more ends the stream. 0: DefaultOutboxLimit.
	OutboxLimit int
	// MaxChannels per session; one more is refused with "channel-capacity-exhausted". 0:
	// DefaultMaxChannels.
	MaxChannels int
	// HelloTimeout is how long a new stream may take to say Hello. 0: DefaultHelloTimeout.
	HelloTimeout time.Duration
	// Epoch gives the 16 bytes of the first session's Welcome.epoch, read once by [New]; those of
	// other sessions differ in the last eight. nil: crypto/rand. Two runs of a pool must never share
	// an epoch.
	Epoch io.Reader
	// Events keeps what sidecars tell of what happened. nil: they are told that nobody wants to hear
	// (UNIMPLEMENTED).
	Events events.Sink
}

// ofSessions are those that are not about gRPC.
func (o Options) ofSessions() session.Options {
	return session.Options{
		Software: o.Software, Logger: o.Logger, ResumeWindow: o.ResumeWindow,
		VerdictRing: o.VerdictRing, MaxInFlight: o.MaxInFlight, OutboxLimit: o.OutboxLimit,
		MaxChannels: o.MaxChannels, HelloTimeout: o.HelloTimeout, Epoch: o.Epoch,
	}
}
