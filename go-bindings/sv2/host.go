package sv2

import (
	"context"
	"time"
)

// Host is a pool as a carrier sees it. All methods may be called from any goroutine.
type Host interface {
	// Limits says what the host can do. Asked once per session, before the first channel.
	Limits() Limits

	// OpenChannel opens a channel or says why not; a [*Refusal] reaches the miner as
	// OpenMiningChannel.Error (SV2 spec 5.3.6), any other error as "internal-error". ctx ends when the
	// miner or the session is gone; a stream that breaks is not the end of a session.
	//
	// The host may use sink as soon as it was called; the carrier delivers what came through sink
	// after what Opened says. The host closes sink's use after Channel.Close returned.
	OpenChannel(ctx context.Context, request OpenRequest, sink Sink) (Channel, Opened, error)

	// Drain tells the host that the carrier is about to stop. It returns when the host has nothing
	// more to deliver, or when ctx ends.
	Drain(ctx context.Context) error
}

// Channel is one open channel, made by Host.OpenChannel. The carrier calls its methods one at a time, but
// for Submit, which may come while Update runs: a block doesn't wait for a new job. Two Submits don't
// overlap, and Close comes after all others have returned.
type Channel interface {
	// Submit takes shares for judgement and returns at once, whatever Update waits for. Each gets exactly one [Verdict] through
	// the channel's Sink, later, in any order. The host owns batch from now on. A host that is full
	// answers with [RejectRateLimited]; it never blocks and never forgets a submit.
	Submit(batch []Submit)

	// Update applies UpdateChannel (SV2 spec 5.3.7). A [*Refusal] reaches the miner and leaves the
	// channel as it was. A new target, if one is needed, follows through Sink.Target.
	Update(ctx context.Context, request UpdateRequest) error

	// Close ends the channel: the miner closed it, left, or the session ended. reason is for logs.
	// Verdicts still owed may be dropped. Nothing is sent to the Sink after Close returned.
	Close(reason string)
}

// Withdrawer may be implemented by a [Channel] whose host can take back shares that it accepted.
//
// A carrier that loses the sidecar, and the sidecar that can't wait for the pool any longer, have to answer
// the miner all the same: "backend-unavailable". When they find each other again, those shares that the
// host accepted meanwhile are withdrawn, so that what the host credits and what miners were told is
// accepted are the same. A host that can't do this credits more than miners were told, never less.
type Withdrawer interface {
	// Withdraw takes back accepted shares of this channel: these are the verdicts that the host gave,
	// none of which the miner was told, or will be. Each comes once. What a share was besides stays: a
	// block is offered, and its header was seen. Called like Update, but possibly after Close, or after
	// a kick.
	Withdraw(verdicts []Verdict)
}

// Sink takes what the host has for one channel. Its methods may be called from any goroutine, return at
// once (they append to a bounded queue; when that is full the session is ended, not the host blocked)
// and never call back into the host.
type Sink interface {
	// Job gives the channel new work. A prev-hash that differs from that of the job before is a new
	// tip. The same *Job may be given to several channels (pools with one coinbase for all); it must
	// not change afterwards.
	Job(job *Job)

	// Target sets the share target the host wants for jobs given later. See [Check] for jobs given
	// before.
	Target(target Target)

	// Verdicts answers submits. The sink may change the slice, and keeps nothing of it: when Verdicts has
	// returned it is the host's again.
	Verdicts(verdicts []Verdict)

	// BlockResult says what became of a block candidate, any time after its verdict.
	BlockResult(result BlockResult)

	// Kick sends the miner away. The host has closed the channel already; Channel.Close is not
	// called any more.
	Kick(kick Kick)
}

// Limits says what a host can do.
type Limits struct {
	// Easiest is the easiest target the host accepts: its minimum difficulty.
	Easiest Target
	// Hardest is the hardest target the host can assign: its maximum difficulty. Zero: no limit.
	Hardest Target
	// Software names the pool in the sidecar's logs, at most 64 bytes.
	Software string
}

// Kind says what a channel can roll.
type Kind uint8

const (
	// Standard: header-only mining; the merkle root is fixed per job.
	Standard Kind = 1
	// Extended: the miner rolls part of the coinbase.
	Extended Kind = 2
)

// String is "standard" or "extended".
func (k Kind) String() string {
	switch k {
	case Standard:
		return "standard"
	case Extended:
		return "extended"
	default:
		return "unknown"
	}
}

// Connection is the miner's TCP connection behind a channel.
type Connection struct {
	// ID is unique in the life of the sidecar process. Channels of one connection share it.
	ID uint64
	// RemoteAddress is "address:port", IPv6 in brackets.
	RemoteAddress string
	// Vendor, HardwareVersion, Firmware and DeviceID are opaque bytes of SetupConnection, 0 to 255
	// each.
	Vendor, HardwareVersion, Firmware, DeviceID []byte
	// SetupFlags is SetupConnection.flags.
	SetupFlags uint32
	// Extensions lists the SV2 extensions in force, ascending.
	Extensions []uint32
	// ConnectedAt is when the connection was accepted.
	ConnectedAt time.Time
}

// OpenRequest is what a miner asked for.
type OpenRequest struct {
	// Connection the channel belongs to.
	Connection Connection
	// Kind of channel.
	Kind Kind
	// UserIdentity is opaque, 0 to 255 bytes.
	UserIdentity []byte
	// NominalHashRate in H/s, finite, not negative; 0 means unknown.
	NominalHashRate float64
	// MaxTarget is the easiest target the miner takes; never zero.
	MaxTarget Target
	// MinExtranonceSize is how many bytes an extended channel must be able to roll at least.
	MinExtranonceSize int
	// WantedPrefix is the extranonce prefix the channel had before the pool restarted; grant it if
	// nobody else has it. Empty on a first open.
	WantedPrefix []byte
	// LastTarget is the target in effect before the pool restarted. Zero on a first open.
	LastTarget Target
	// PayoutKey is the Cashu payout key (33 bytes), empty when none was given.
	PayoutKey []byte
	// Reopen is true for a channel that was open before: don't count it against connection limits.
	Reopen bool
}

// Opened is what the miner gets. It carries the first job, so that no tip can slip in between.
type Opened struct {
	// Prefix is the extranonce prefix, unique among all open channels of the pool, 1 to 32 bytes.
	// On a standard channel it is the whole extranonce.
	Prefix []byte
	// ExtranonceSize is how many bytes the miner rolls after the prefix: 0 on a standard channel,
	// at least MinExtranonceSize on an extended one. Prefix and ExtranonceSize are at most 32 together.
	ExtranonceSize int
	// Target is the share target.
	Target Target
	// Job is the first job.
	Job *Job
}

// UpdateRequest is UpdateChannel of a miner.
type UpdateRequest struct {
	// NominalHashRate in H/s, finite, not negative; 0 means unknown.
	NominalHashRate float64
	// MaxTarget is the easiest target the miner takes from now on; never zero.
	MaxTarget Target
}

// KickAction says how a miner is sent away.
type KickAction uint8

const (
	// KickChannel closes the channel.
	KickChannel KickAction = 1
	// KickConnection closes the connection with all its channels.
	KickConnection KickAction = 2
	// KickReconnect sends the miner to another endpoint and closes the connection.
	KickReconnect KickAction = 3
)

// Kick sends a miner away.
type Kick struct {
	// Action says how.
	Action KickAction
	// Reason is told to the miner: 1 to 255 bytes, printable ASCII.
	Reason string
	// Host and Port are for KickReconnect; "" and 0 mean the same as now.
	Host string
	Port uint16
}

// BlockResult says what became of a block candidate.
type BlockResult struct {
	// SubmitID is the candidate's Submit.ID.
	SubmitID uint64
	// Hash of the block.
	Hash Hash
	// Height of the block, 0 when unknown.
	Height uint32
	// Accepted is true when the node took it.
	Accepted bool
	// Unknown is true when nobody knows: the node did not answer, or was never asked. Accepted is
	// false then.
	Unknown bool
	// Detail is the node's words when it did not take the block, or why nobody knows.
	Detail string
}
