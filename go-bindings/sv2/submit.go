package sv2

// Submit is one share. Channel, job and lengths were checked by the sidecar.
type Submit struct {
	// ID names the submit in its session; repeated in the Verdict.
	ID uint64
	// JobID is Job.ID.
	JobID uint64
	// Nonce, NTime and Version are header fields; Version is the full value, not a delta.
	Nonce, NTime, Version uint32
	// Extranonce is exactly Opened.ExtranonceSize bytes; empty on a standard channel.
	Extranonce []byte
	// Worker is the name given by SV2 extension 0x0002, 1 to 32 opaque bytes, or empty.
	Worker []byte
	// WouldRefuse is set when the sidecar would have refused the submit for that reason but its hash
	// meets nbits: offer it to the node first, then judge the share.
	WouldRefuse RejectReason
}

// Verdict is the host's judgement of one submit.
type Verdict struct {
	// SubmitID is Submit.ID.
	SubmitID uint64
	// Reason is RejectNone when the share is accepted.
	Reason RejectReason
	// Hash is the header hash; always set when accepted.
	Hash Hash
	// Credit is the difficulty of the easiest target under which the host would have accepted a share
	// at that moment; never the luck of the hash. Zero when rejected, and for an accepted share that
	// earns nothing (see [Check]).
	Credit Difficulty
	// BlockCandidate is true when the hash meets nbits. The verdict doesn't wait for the node:
	// Sink.BlockResult follows.
	BlockCandidate bool
	// Detail is text for logs, printable ASCII, at most 255 bytes.
	Detail string
}

// Accepted reports whether the share is taken: it is credited with Credit.
func (v Verdict) Accepted() bool { return v.Reason == RejectNone }

// RejectReason says why a share is not credited. The numbers equal the contract's.
type RejectReason uint8

// Reasons, with the SV2 error string each is told as.
const (
	// RejectNone: not rejected.
	RejectNone RejectReason = 0
	// RejectInvalidChannelID is "invalid-channel-id".
	RejectInvalidChannelID RejectReason = 1
	// RejectInvalidJobID is "invalid-job-id": the channel never had it.
	RejectInvalidJobID RejectReason = 2
	// RejectStale is "stale-share": a job of an older tip, however old.
	RejectStale RejectReason = 3
	// RejectLowDifficulty is "difficulty-too-low".
	RejectLowDifficulty RejectReason = 4
	// RejectDuplicate is "duplicate-share".
	RejectDuplicate RejectReason = 5
	// RejectExtranonceSize is "bad-extranonce-size".
	RejectExtranonceSize RejectReason = 6
	// RejectVersionRolling is "version-rolling-not-allowed".
	RejectVersionRolling RejectReason = 7
	// RejectVersionBit is "invalid-non-rollable-version-bit".
	RejectVersionBit RejectReason = 8
	// RejectNTimeTooOld is "ntime-too-old".
	RejectNTimeTooOld RejectReason = 9
	// RejectNTimeTooNew is "ntime-too-new".
	RejectNTimeTooNew RejectReason = 10
	// RejectInvalidShare is "invalid-share": worthless for another reason.
	RejectInvalidShare RejectReason = 11
	// RejectRateLimited is "rate-limited".
	RejectRateLimited RejectReason = 12
	// RejectUnavailable is "backend-unavailable": nobody could judge it.
	RejectUnavailable RejectReason = 13
	// RejectUnauthorized is "unauthorized".
	RejectUnauthorized RejectReason = 14
)

var rejectNames = [...]string{
	"accepted", "invalid-channel-id", "invalid-job-id", "stale-share", "difficulty-too-low",
	"duplicate-share", "bad-extranonce-size", "version-rolling-not-allowed",
	"invalid-non-rollable-version-bit", "ntime-too-old", "ntime-too-new", "invalid-share",
	"rate-limited", "backend-unavailable", "unauthorized",
}

// String is the SV2 error string, or "accepted".
func (r RejectReason) String() string {
	if int(r) < len(rejectNames) {
		return rejectNames[r]
	}
	return "invalid-share"
}

// RefuseReason says why a channel was not opened or updated. The numbers equal the contract's.
type RefuseReason uint8

// Reasons, with the SV2 error string each is told as.
const (
	// RefuseUnknownUser is "unknown-user": the identity names nobody the pool can pay.
	RefuseUnknownUser RefuseReason = 1
	// RefuseInvalidUserIdentity is "invalid-user-identity": malformed.
	RefuseInvalidUserIdentity RefuseReason = 2
	// RefuseMaxTarget is "max-target-out-of-range".
	RefuseMaxTarget RefuseReason = 3
	// RefuseHashRate is "invalid-nominal-hashrate".
	RefuseHashRate RefuseReason = 4
	// RefuseExtranonceSize is "min-extranonce-size-too-large".
	RefuseExtranonceSize RefuseReason = 5
	// RefuseCapacity is "channel-capacity-exhausted".
	RefuseCapacity RefuseReason = 6
	// RefuseUnauthorized is "unauthorized".
	RefuseUnauthorized RefuseReason = 7
	// RefuseNoWork is "backend-unavailable": no work to give.
	RefuseNoWork RefuseReason = 8
	// RefuseRateLimited is "rate-limited".
	RefuseRateLimited RefuseReason = 9
	// RefuseInvalidChannelID is "invalid-channel-id".
	RefuseInvalidChannelID RefuseReason = 10
	// RefusePayoutKey is "payout-key-not-supported".
	RefusePayoutKey RefuseReason = 11
	// RefuseInternal is "internal-error".
	RefuseInternal RefuseReason = 12
)

var refuseNames = [...]string{
	"internal-error", "unknown-user", "invalid-user-identity", "max-target-out-of-range",
	"invalid-nominal-hashrate", "min-extranonce-size-too-large", "channel-capacity-exhausted",
	"unauthorized", "backend-unavailable", "rate-limited", "invalid-channel-id",
	"payout-key-not-supported", "internal-error",
}

// String is the SV2 error string.
func (r RefuseReason) String() string {
	if int(r) < len(refuseNames) {
		return refuseNames[r]
	}
	return "internal-error"
}

// Refusal is the error with which a host refuses to open or update a channel.
type Refusal struct {
	// Reason is told to the miner.
	Reason RefuseReason
	// Detail is for logs, at most 255 bytes.
	Detail string
}

// Error is the reason, with the detail if there is one.
func (r *Refusal) Error() string {
	if r.Detail == "" {
		return r.Reason.String()
	}
	return r.Reason.String() + ": " + r.Detail
}
