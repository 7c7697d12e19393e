package sv2

// StaleRule says what the sidecar does with shares for a job of an older tip.
type StaleRule uint8

const (
	// StaleHost forwards them; the host judges (parity with Stratum V1).
	StaleHost StaleRule = 1
	// StaleStrict answers "stale-share" from the moment a new tip is announced; a hash that meets
	// nbits is forwarded all the same.
	StaleStrict StaleRule = 2
)

// Job is self-contained work. The coinbase is
//
//	CoinbasePrefix | extranonce prefix | extranonce | CoinbaseSuffix
//
// serialized without witness (SV2 spec 3.7.1, 5.3.16). A job must not change once it was given to a
// Sink.
type Job struct {
	// ID is the host's name of the job, unique per channel, not 0. Submits refer to it.
	ID uint64
	// PrevHash is the block to build on.
	PrevHash Hash
	// NBits is the compact network target.
	NBits uint32
	// Version is the block version before rolling.
	Version uint32
	// VersionMask holds the bits the miner may roll: all of [RollableVersionBits] (0x1fffffe0, BIP323),
	// or 0 to forbid rolling. SV2 knows only yes or no, so a mask that lacks some of these bits
	// forbids rolling, too, and the sidecar warns of it; bits beyond them are left out.
	VersionMask uint32
	// MinNTime is the lowest ntime accepted, and what miners start at: give the time at which the job
	// is built, or median time past + 1 if that is later, but not the time of an old template.
	MinNTime uint32
	// MaxNTime is the highest ntime accepted. 0: up to two hours ahead of the clock, whatever the age
	// of the job.
	MaxNTime uint32
	// MerklePath holds the siblings from the coinbase to the merkle root, deepest first.
	MerklePath []Hash
	// CoinbasePrefix is the coinbase up to the extranonce prefix, 1 to 65535 bytes.
	CoinbasePrefix []byte
	// CoinbaseSuffix is the coinbase after the extranonce, 1 to 65535 bytes.
	CoinbaseSuffix []byte
	// StaleRule for shares that come after a newer tip.
	StaleRule StaleRule
	// Height of the block to build, 0 when unknown.
	Height uint32
}
