// What an operator may set, the defaults, and why they are what they are.

package session

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"time"
)

// Protocol is the version of the contract this package speaks.
const Protocol = 1

// MaxMessageSize bounds one encoded message in bytes, both ways; a carrier refuses larger ones. The
// largest message of the contract that is still reasonable is a Hello that names some 400,000 open
// channels; a Job is below 256 KiB.
const MaxMessageSize = 4 << 20

// Defaults of [Options].
const (
	// DefaultResumeWindow outlasts the restart of a sidecar or a network fault that heals, and is
	// short enough that a pool doesn't keep dead miners on its books.
	DefaultResumeWindow = 60 * time.Second
	// DefaultVerdictRing holds one second of verdicts of a sidecar with 40,000 miners at 12 shares
	// a minute each, at below 1 MiB.
	DefaultVerdictRing = 8192
	// DefaultOutboxLimit takes three new tips with own jobs for 20,000 channels while a sidecar does
	// not read; entries are about 100 bytes (jobs are shared with the host), so about 6 MiB.
	DefaultOutboxLimit = 65536
	// DefaultMaxChannels is beyond what one sidecar can hold sockets for by default.
	DefaultMaxChannels = 65536
	// DefaultHelloTimeout is long for a local socket and still ends a peer that only connects.
	DefaultHelloTimeout = 10 * time.Second
)

// Options of a [Server]. The zero value is usable.
type Options struct {
	// Software names the pool in the sidecar's logs, at most 64 bytes. Empty: what Host.Limits says.
	Software string
	// Logger for what operators should know. nil: slog.Default().
	Logger *slog.Logger
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
}

// withDefaults fills what is zero and names everything that is wrong.
func (o Options) withDefaults() (Options, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Epoch == nil {
		o.Epoch = rand.Reader
	}
	if o.ResumeWindow == 0 {
		o.ResumeWindow = DefaultResumeWindow
	}
	if o.VerdictRing == 0 {
		o.VerdictRing = DefaultVerdictRing
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = o.VerdictRing
	}
	if o.OutboxLimit == 0 {
		o.OutboxLimit = DefaultOutboxLimit
	}
	if o.MaxChannels == 0 {
		o.MaxChannels = DefaultMaxChannels
	}
	if o.HelloTimeout == 0 {
		o.HelloTimeout = DefaultHelloTimeout
	}
	var faults []error
	fault := func(format string, values ...any) {
		faults = append(faults, fmt.Errorf(format, values...))
	}
	if len(o.Software) > maxSoftware {
		fault("Software has %d bytes: at most %d", len(o.Software), maxSoftware)
	}
	if o.ResumeWindow < 0 || o.ResumeWindow.Milliseconds() > math.MaxUint32 {
		fault("ResumeWindow is %v: give 0 to %d ms", o.ResumeWindow, uint32(math.MaxUint32))
	}
	if o.VerdictRing < 0 || o.VerdictRing > math.MaxInt32 {
		fault("VerdictRing is %d: give 1 to %d", o.VerdictRing, math.MaxInt32)
	}
	if o.MaxInFlight < 0 || o.MaxInFlight > o.VerdictRing {
		fault("MaxInFlight is %d: give 1 to VerdictRing (%d)", o.MaxInFlight, o.VerdictRing)
	}
	if o.OutboxLimit < 0 {
		fault("OutboxLimit is %d: give 1 or more", o.OutboxLimit)
	}
	if o.MaxChannels < 0 {
		fault("MaxChannels is %d: give 1 or more", o.MaxChannels)
	}
	if o.HelloTimeout < 0 {
		fault("HelloTimeout is %v: give more than 0", o.HelloTimeout)
	}
	return o, errors.Join(faults...)
}
