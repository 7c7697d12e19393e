// Messages about jobs and shares (chapters 5.3.11 to 5.3.17).

package sv2client

import "math"

// NewMiningJob is a job for a standard channel.
type NewMiningJob struct {
	// ChannelID is a standard channel.
	ChannelID uint32
	// JobID names the job on the channel.
	JobID uint32
	// MinNTime is nil for a future job, which waits for its SetNewPrevHash; otherwise the job is to be
	// mined at once, on the latest prev-hash, with this as the first ntime.
	MinNTime *uint32
	// Version of the header; the bits of [VersionRollingMask] may be rolled.
	Version uint32
	// MerkleRoot in internal order.
	MerkleRoot Hash
}

func (m *NewMiningJob) kind() kind { return kindNewMiningJob }

func (m *NewMiningJob) fields(c *codec) {
	c.u32(&m.ChannelID)
	c.u32(&m.JobID)
	c.option(&m.MinNTime)
	c.u32(&m.Version)
	c.u256((*[32]byte)(&m.MerkleRoot))
}

// NewExtendedMiningJob is a job for an extended channel, or for all channels of a group.
type NewExtendedMiningJob struct {
	// ChannelID is an extended channel or a group.
	ChannelID uint32
	// JobID names the job on the channel, or on each channel of the group.
	JobID uint32
	// MinNTime is as in NewMiningJob.
	MinNTime *uint32
	// Version of the header.
	Version uint32
	// VersionRollingAllowed: the bits of [VersionRollingMask] may be rolled.
	VersionRollingAllowed bool
	// MerklePath is what the coinbase's txid is folded with, deepest first, internal order.
	MerklePath []Hash
	// CoinbasePrefix and CoinbaseSuffix stand around the extranonce; no witness in them.
	CoinbasePrefix, CoinbaseSuffix []byte
}

func (m *NewExtendedMiningJob) kind() kind { return kindNewExtendedMiningJob }

func (m *NewExtendedMiningJob) fields(c *codec) {
	c.u32(&m.ChannelID)
	c.u32(&m.JobID)
	c.option(&m.MinNTime)
	c.u32(&m.Version)
	c.boolean(&m.VersionRollingAllowed)
	node := func(hash *Hash) { c.u256((*[32]byte)(hash)) }
	sequence(c, &m.MerklePath, 1, math.MaxUint8, 32, node)
	c.b064k(&m.CoinbasePrefix)
	c.b064k(&m.CoinbaseSuffix)
}

// SetNewPrevHash is a new tip: the named future job becomes active, all others are void.
type SetNewPrevHash struct {
	// ChannelID is a channel or a group.
	ChannelID uint32
	// JobID is a future job.
	JobID uint32
	// PrevHash in internal order.
	PrevHash Hash
	// MinNTime is the first ntime.
	MinNTime uint32
	// NBits is the compact target of a block.
	NBits uint32
}

func (m *SetNewPrevHash) kind() kind { return kindSetNewPrevHash }

func (m *SetNewPrevHash) fields(c *codec) {
	c.u32(&m.ChannelID)
	c.u32(&m.JobID)
	c.u256((*[32]byte)(&m.PrevHash))
	c.u32(&m.MinNTime)
	c.u32(&m.NBits)
}

// SubmitSharesStandard is a share on a standard channel.
type SubmitSharesStandard struct {
	// ChannelID is the channel.
	ChannelID uint32
	// SequenceNumber names the submit on the channel.
	SequenceNumber uint32
	// JobID is the job it was found on.
	JobID uint32
	// Nonce, NTime and Version are those of the header; Version is whole.
	Nonce, NTime, Version uint32
}

func (m *SubmitSharesStandard) kind() kind { return kindSubmitStandard }

func (m *SubmitSharesStandard) fields(c *codec) {
	c.u32(&m.ChannelID)
	c.u32(&m.SequenceNumber)
	c.u32(&m.JobID)
	c.u32(&m.Nonce)
	c.u32(&m.NTime)
	c.u32(&m.Version)
}

// SubmitSharesExtended is a share on an extended channel.
type SubmitSharesExtended struct {
	// SubmitSharesStandard has the fields that both kinds share.
	SubmitSharesStandard
	// Extranonce is what the client rolled, of the size that was granted.
	Extranonce []byte
	// TLVs are for extensions that were negotiated.
	TLVs []TLV
}

func (m *SubmitSharesExtended) kind() kind { return kindSubmitExtended }

func (m *SubmitSharesExtended) fields(c *codec) {
	m.SubmitSharesStandard.fields(c)
	c.b032(&m.Extranonce)
	c.tlvs(&m.TLVs)
}

// SubmitSharesSuccess accepts one or more shares.
type SubmitSharesSuccess struct {
	// ChannelID is the channel.
	ChannelID uint32
	// LastSequenceNumber is the latest accepted one.
	LastSequenceNumber uint32
	// NewSubmitsAcceptedCount is how many are accepted by this message.
	NewSubmitsAcceptedCount uint32
	// NewSharesSum is the sum of their difficulties.
	NewSharesSum uint64
}

func (m *SubmitSharesSuccess) kind() kind { return kindSubmitSuccess }

func (m *SubmitSharesSuccess) fields(c *codec) {
	c.u32(&m.ChannelID)
	c.u32(&m.LastSequenceNumber)
	c.u32(&m.NewSubmitsAcceptedCount)
	c.u64(&m.NewSharesSum)
}

// SubmitSharesError rejects one share.
type SubmitSharesError struct {
	// ChannelID is the channel.
	ChannelID uint32
	// SequenceNumber is the share's.
	SequenceNumber uint32
	// ErrorCode is the server's text.
	ErrorCode string
}

func (m *SubmitSharesError) kind() kind { return kindSubmitError }

func (m *SubmitSharesError) fields(c *codec) {
	c.u32(&m.ChannelID)
	c.u32(&m.SequenceNumber)
	c.text(&m.ErrorCode)
}
