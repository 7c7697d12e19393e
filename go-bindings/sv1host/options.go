// What a pool may set, the defaults, and why they are what they are.

package sv1host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// Defaults of [Options].
const (
	// DefaultMaxChannels is how many channels may be open at once.
	DefaultMaxChannels = 65536
	// DefaultMaxInFlight is how many shares of one channel may wait for the pool: as many as a sidecar
	// lets one connection have unanswered by default.
	DefaultMaxInFlight = 1024
	// DefaultOpenTimeout is how long a pool may take from mining.subscribe to its first job.
	DefaultOpenTimeout = 10 * time.Second
	// DefaultSubmitTimeout is how long a pool may take to answer a share.
	DefaultSubmitTimeout = 30 * time.Second
	// DefaultPingEvery keeps an idle miner from being taken for dead: pools wait some minutes.
	DefaultPingEvery = 60 * time.Second
	// DefaultSuspendFor is longer than a pool takes to end after it has said so.
	DefaultSuspendFor = 30 * time.Second
)

// VersionStyle says what the sixth parameter of mining.submit means to the pool. The two are the same
// while a job's version has no bit set that may be rolled.
type VersionStyle uint8

const (
	// VersionBits sends the bits that may be rolled, as they are in the header (BIP310).
	VersionBits VersionStyle = iota
	// VersionDelta sends which bits differ from the job's version, and nothing when none does. goPool
	// has it like that, up to version 0.3 at least.
	VersionDelta
)

// Options of a [Host]. Serve and MinDifficulty are required.
//
// The functions run on goroutines of this package or of the carrier, several at a time. None of them is
// called with a lock of this package held, so they may write to the connection.
type Options struct {
	// Serve runs the pool's side of a connection until that ends, as for a miner who has just connected.
	// It is called on a goroutine of its own for each channel; the connection is closed when it
	// returns. ctx ends when [Host.Close] waits no longer.
	Serve func(ctx context.Context, conn net.Conn)

	// Software names the pool in the sidecar's logs, at most 64 bytes.
	Software string
	// MinDifficulty and MaxDifficulty are the pool's limits: what a miner asks for by his hash rate or
	// his maximum target is moved into them before the pool sees it, since some pools ban for less. What
	// he writes into his user identity is not, see Identity. MinDifficulty is above 0. No channel gets
	// an easier target. A MaxDifficulty of 0 means no limit; a miner that can't take MaxDifficulty is
	// refused.
	MinDifficulty, MaxDifficulty float64
	// SharesPerMinute is what the pool aims at per miner: a miner's hash rate becomes the difficulty
	// that is suggested to the pool. 0 means [sv2.DefaultSharesPerMinute].
	SharesPerMinute float64

	// Admit has the first look at a miner; its error refuses the channel (a [*sv2.Refusal] with its
	// reason). ctx ends when the miner is gone. Nil lets everybody go on to the pool.
	Admit func(ctx context.Context, request sv2.OpenRequest) error
	// Identity is the user name of mining.authorize and mining.submit. It is for pools that read more
	// than a name from it, such as goPool the difficulty in "ADDRESS.worker+0.5": such a pool may ban a
	// miner, by his name and so for other doors too, for a difficulty out of its limits. Cut that off
	// here, or move it into the limits. The name must be UTF-8 without control characters, or the miner
	// is refused with [sv2.RefuseInvalidUserIdentity]. [RequestOf] has the identity as the miner gave
	// it. Nil means just that.
	Identity func(request sv2.OpenRequest) string
	// Password is that of mining.authorize: Stratum V2 has none. Nil means "".
	Password func(request sv2.OpenRequest) string
	// ClientID is the name given with mining.subscribe; at most 256 bytes are sent. Nil means
	// "sv2:VENDOR/FIRMWARE", without what isn't printable.
	ClientID func(connection sv2.Connection) string

	// VersionMask is asked of the pool in mining.configure; 0 means [sv2.RollableVersionBits]. SV2
	// miners may roll only when the pool grants all of these (see [sv2.Job].VersionMask).
	VersionMask uint32
	// Version says how shares tell their version.
	Version VersionStyle
	// ExtranonceSize is how many bytes of extranonce2 the miner of an extended channel rolls, or more
	// if it needs more: the rest are zeros, behind extranonce1 in the prefix. 0, or more than there
	// are, means all. On a standard channel all of extranonce2 is zeros.
	ExtranonceSize int
	// StaleRule for all jobs; 0 means [sv2.StaleHost]: the pool says what is stale.
	StaleRule sv2.StaleRule
	// MaxNTimeAhead is how far above the ntime of its job a share's may be. 0: up to two hours ahead
	// of the clock.
	MaxNTimeAhead time.Duration
	// AllowPayoutKeys admits channels that carry a Cashu payout key. Without it they are refused with
	// [sv2.RefusePayoutKey].
	AllowPayoutKeys bool

	// MaxChannels may be open at once; 0 means [DefaultMaxChannels]. Channels that come back after a
	// restart ([sv2.OpenRequest].Reopen) are let in up to twice as many: new ones may have been quicker.
	MaxChannels int
	// MaxInFlight is how many shares of one channel may wait for the pool; more are answered
	// [sv2.RejectRateLimited], blocks excepted. Lines of the pool may wait as many and 64 more: a pool
	// that writes beyond that loses the connection. At most 2^20; 0 means [DefaultMaxInFlight].
	MaxInFlight int
	// OpenTimeout is how long the pool may take until the first job; 0 means [DefaultOpenTimeout].
	OpenTimeout time.Duration
	// SubmitTimeout is how long the pool may take to answer a share, which is then rejected with
	// [sv2.RejectUnavailable]; 0 means [DefaultSubmitTimeout]. Blocks are answered at once, and their
	// results waited for without limit.
	SubmitTimeout time.Duration
	// PingEvery is after how long of silence mining.ping goes to the pool; 0 means
	// [DefaultPingEvery].
	PingEvery time.Duration
	// SuspendFor is how long channels are kept whose pool has said "Pool restarting" and closed the
	// connection. Shares are rejected with [sv2.RejectUnavailable] meanwhile. If the process ends within
	// that time, as a pool that restarts does, the carrier opens the channels again on the new one and
	// miners notice nothing; if not, they are told to reconnect. 0 means [DefaultSuspendFor].
	SuspendFor time.Duration

	// AssignedDifficulty is the difficulty of a job that the pool has just given on conn, by its Stratum
	// V1 id, as the pool itself has it. Nil, or false: that of the last mining.set_difficulty, or 1.
	AssignedDifficulty func(conn net.Conn, job string) (difficulty float64, known bool)
	// IsTip reports whether the pool works on a prev-hash now; a job for another is dropped. For pools
	// that may give jobs out of order. Nil: every job is taken.
	IsTip func(prevHash sv2.Hash) bool
	// Reject is asked first what an error of mining.submit means. False, or nil: see the codes and words
	// that are known here.
	Reject func(code int, text string) (sv2.RejectReason, bool)

	// Logger for what operators should know. Nil: slog.Default().
	Logger *slog.Logger
	// Clock is time.Now unless a test sets it. Deadlines and timers don't follow it.
	Clock func() time.Time
}

// withDefaults fills what is zero and names everything that is wrong.
func (o Options) withDefaults() (Options, error) {
	setDefault(&o.SharesPerMinute, sv2.DefaultSharesPerMinute)
	setDefault(&o.VersionMask, sv2.RollableVersionBits)
	setDefault(&o.StaleRule, sv2.StaleHost)
	setDefault(&o.MaxChannels, DefaultMaxChannels)
	setDefault(&o.MaxInFlight, DefaultMaxInFlight)
	setDefault(&o.OpenTimeout, DefaultOpenTimeout)
	setDefault(&o.SubmitTimeout, DefaultSubmitTimeout)
	setDefault(&o.PingEvery, DefaultPingEvery)
	setDefault(&o.SuspendFor, DefaultSuspendFor)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	var faults []error
	fault := func(wrong bool, format string, values ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, values...))
		}
	}
	// The comparisons are turned so that NaN fails, too.
	fault(o.Serve == nil, "Serve is nil: give the function that serves a miner's connection")
	fault(len(o.Software) > 64, "Software has %d bytes: at most 64", len(o.Software))
	fault(!(o.MinDifficulty > 0 && !math.IsInf(o.MinDifficulty, 1)),
		"MinDifficulty is %v: give the pool's minimum, above 0", o.MinDifficulty)
	fault(!(o.MaxDifficulty == 0 || o.MaxDifficulty >= o.MinDifficulty) ||
		math.IsInf(o.MaxDifficulty, 1),
		"MaxDifficulty is %v: give 0 for none, or at least MinDifficulty (%v)",
		o.MaxDifficulty, o.MinDifficulty)
	fault(!(o.SharesPerMinute > 0 && o.SharesPerMinute <= 6000),
		"SharesPerMinute is %v: above 0, at most 6000", o.SharesPerMinute)
	fault(o.Version > VersionDelta, "Version is %d: VersionBits or VersionDelta", o.Version)
	fault(o.StaleRule > sv2.StaleStrict, "StaleRule is %d: sv2.StaleHost or sv2.StaleStrict",
		o.StaleRule)
	fault(o.ExtranonceSize < 0, "ExtranonceSize is %d: 0 or more", o.ExtranonceSize)
	fault(o.MaxNTimeAhead < 0 || o.MaxNTimeAhead > 24*time.Hour,
		"MaxNTimeAhead is %v: 0 to 24h", o.MaxNTimeAhead)
	fault(o.MaxChannels < 0, "MaxChannels is %d: 0 or more", o.MaxChannels)
	fault(o.MaxInFlight < 0 || o.MaxInFlight > 1<<20, "MaxInFlight is %d: 0 to %d",
		o.MaxInFlight, 1<<20)
	fault(o.OpenTimeout < 0, "OpenTimeout is %v: 0 or more", o.OpenTimeout)
	fault(o.SubmitTimeout < 0, "SubmitTimeout is %v: 0 or more", o.SubmitTimeout)
	fault(o.PingEvery < 0, "PingEvery is %v: 0 or more", o.PingEvery)
	fault(o.SuspendFor < 0, "SuspendFor is %v: 0 or more", o.SuspendFor)
	return o, errors.Join(faults...)
}

func setDefault[T comparable](value *T, standard T) {
	if *value == *new(T) {
		*value = standard
	}
}

// limits is what the options say in targets.
func (o Options) limits() sv2.Limits {
	limits := sv2.Limits{
		Easiest: sv2.TargetFromDifficulty(o.MinDifficulty), Software: o.Software}
	if o.MaxDifficulty > 0 {
		limits.Hardest = sv2.TargetFromDifficulty(o.MaxDifficulty)
	}
	return limits
}

// clamp moves a difficulty into the pool's limits.
func (o Options) clamp(difficulty float64) float64 {
	difficulty = max(difficulty, o.MinDifficulty)
	if o.MaxDifficulty > 0 {
		difficulty = min(difficulty, o.MaxDifficulty)
	}
	return difficulty
}

// suggestion is the difficulty to ask the pool for, by what the miner told of itself; false when that
// is nothing.
func (o Options) suggestion(hashRate float64, last sv2.Target) (float64, bool) {
	var wanted float64
	switch {
	case !last.IsZero():
		wanted = last.FloatDifficulty()
	case hashRate > 0:
		wanted = hashRate * 60 / (o.SharesPerMinute * (1 << 32))
	default:
		return 0, false
	}
	return o.clamp(wanted), true
}

// atLeast is the lowest difficulty that a miner with this maximum target takes, if the pool's minimum is
// lower.
func (o Options) atLeast(maxTarget sv2.Target) (float64, bool) {
	lowest := maxTarget.FloatDifficulty()
	return o.clamp(lowest), lowest > o.MinDifficulty
}
