// Messages that open, change and close channels (chapters 5.3.2 to 5.3.10, 5.3.21, 5.3.22).

package sv2client

import "math"

// OpenStandardMiningChannel asks for a standard channel.
type OpenStandardMiningChannel struct {
	// RequestID comes back in the answer.
	RequestID uint32
	// UserIdentity says whom to credit; opaque bytes, at most 255.
	UserIdentity string
	// NominalHashRate is in hashes per second.
	NominalHashRate float32
	// MaxTarget is the easiest target that the client takes.
	MaxTarget Target
}

func (m *OpenStandardMiningChannel) kind() kind { return kindOpenStandard }

func (m *OpenStandardMiningChannel) fields(c *codec) {
	c.u32(&m.RequestID)
	c.text(&m.UserIdentity)
	c.f32(&m.NominalHashRate)
	c.u256((*[32]byte)(&m.MaxTarget))
}

// OpenStandardMiningChannelSuccess is the new channel.
type OpenStandardMiningChannelSuccess struct {
	// RequestID is the client's.
	RequestID uint32
	// ChannelID names the channel on this connection.
	ChannelID uint32
	// Target holds until SetTarget.
	Target Target
	// ExtranoncePrefix is the whole extranonce of the channel, at most 32 bytes.
	ExtranoncePrefix []byte
	// GroupChannelID is the group that the channel belongs to.
	GroupChannelID uint32
}

func (m *OpenStandardMiningChannelSuccess) kind() kind { return kindOpenStandardSuccess }

func (m *OpenStandardMiningChannelSuccess) fields(c *codec) {
	c.u32(&m.RequestID)
	c.u32(&m.ChannelID)
	c.u256((*[32]byte)(&m.Target))
	c.b032(&m.ExtranoncePrefix)
	c.u32(&m.GroupChannelID)
}

// OpenExtendedMiningChannel asks for an extended channel.
type OpenExtendedMiningChannel struct {
	// OpenStandardMiningChannel has the fields that both kinds share.
	OpenStandardMiningChannel
	// MinExtranonceSize is how many bytes the client must be able to roll.
	MinExtranonceSize uint16
}

func (m *OpenExtendedMiningChannel) kind() kind { return kindOpenExtended }

func (m *OpenExtendedMiningChannel) fields(c *codec) {
	m.OpenStandardMiningChannel.fields(c)
	c.u16(&m.MinExtranonceSize)
}

// OpenExtendedMiningChannelSuccess is the new channel.
type OpenExtendedMiningChannelSuccess struct {
	// RequestID is the client's.
	RequestID uint32
	// ChannelID names the channel on this connection.
	ChannelID uint32
	// Target holds until SetTarget.
	Target Target
	// ExtranonceSize is how many bytes the client rolls.
	ExtranonceSize uint16
	// ExtranoncePrefix stands before them, at most 32 bytes.
	ExtranoncePrefix []byte
	// GroupChannelID is the group that the channel belongs to.
	GroupChannelID uint32
}

func (m *OpenExtendedMiningChannelSuccess) kind() kind { return kindOpenExtendedSuccess }

func (m *OpenExtendedMiningChannelSuccess) fields(c *codec) {
	c.u32(&m.RequestID)
	c.u32(&m.ChannelID)
	c.u256((*[32]byte)(&m.Target))
	c.u16(&m.ExtranonceSize)
	c.b032(&m.ExtranoncePrefix)
	c.u32(&m.GroupChannelID)
}

// OpenMiningChannelError refuses a channel of either kind.
type OpenMiningChannelError struct {
	// RequestID is the client's.
	RequestID uint32
	// ErrorCode is the server's text.
	ErrorCode string
}

func (m *OpenMiningChannelError) kind() kind { return kindOpenError }

func (m *OpenMiningChannelError) fields(c *codec) {
	c.u32(&m.RequestID)
	c.text(&m.ErrorCode)
}

// UpdateChannel tells the server of a new hash rate or maximum target. A good one has no answer but a
// SetTarget where one is needed.
type UpdateChannel struct {
	// ChannelID is the channel.
	ChannelID uint32
	// NominalHashRate is in hashes per second.
	NominalHashRate float32
	// MaximumTarget is the easiest target that the client takes.
	MaximumTarget Target
}

func (m *UpdateChannel) kind() kind { return kindUpdateChannel }

func (m *UpdateChannel) fields(c *codec) {
	c.u32(&m.ChannelID)
	c.f32(&m.NominalHashRate)
	c.u256((*[32]byte)(&m.MaximumTarget))
}

// UpdateChannelError: the update changed nothing.
type UpdateChannelError struct {
	// ChannelID is the channel.
	ChannelID uint32
	// ErrorCode is the server's text.
	ErrorCode string
}

func (m *UpdateChannelError) kind() kind { return kindUpdateChannelError }

func (m *UpdateChannelError) fields(c *codec) {
	c.u32(&m.ChannelID)
	c.text(&m.ErrorCode)
}

// CloseChannel ends a channel, or all channels of a group. Both sides may send it.
type CloseChannel struct {
	// ChannelID is the channel or the group.
	ChannelID uint32
	// ReasonCode is a text of the sender.
	ReasonCode string
}

func (m *CloseChannel) kind() kind { return kindCloseChannel }

func (m *CloseChannel) fields(c *codec) {
	c.u32(&m.ChannelID)
	c.text(&m.ReasonCode)
}

// SetExtranoncePrefix holds for jobs sent after it.
type SetExtranoncePrefix struct {
	// ChannelID is a standard or extended channel, never a group.
	ChannelID uint32
	// ExtranoncePrefix is at most 32 bytes.
	ExtranoncePrefix []byte
}

func (m *SetExtranoncePrefix) kind() kind { return kindSetExtranoncePrefix }

func (m *SetExtranoncePrefix) fields(c *codec) {
	c.u32(&m.ChannelID)
	c.b032(&m.ExtranoncePrefix)
}

// SetTarget holds for jobs sent after it, and for those sent before it with an empty min_ntime.
type SetTarget struct {
	// ChannelID is a channel or a group.
	ChannelID uint32
	// MaximumTarget is the largest hash that is a share.
	MaximumTarget Target
}

func (m *SetTarget) kind() kind { return kindSetTarget }

func (m *SetTarget) fields(c *codec) {
	c.u32(&m.ChannelID)
	c.u256((*[32]byte)(&m.MaximumTarget))
}

// SetGroupChannel moves channels into a group.
type SetGroupChannel struct {
	// GroupChannelID is the group, new or old.
	GroupChannelID uint32
	// ChannelIDs are the channels that belong to it from now on.
	ChannelIDs []uint32
}

func (m *SetGroupChannel) kind() kind { return kindSetGroupChannel }

func (m *SetGroupChannel) fields(c *codec) {
	c.u32(&m.GroupChannelID)
	sequence(c, &m.ChannelIDs, 2, math.MaxUint16, 4, c.u32)
}
