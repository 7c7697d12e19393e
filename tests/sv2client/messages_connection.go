// Messages about the connection (chapters 3.6 and 5.3.1, extension 0x0001).

package sv2client

import "math"

// ProtocolMining in SetupConnection asks for mining.
const ProtocolMining = 0

// ProtocolVersion is the only version of Stratum V2 there is.
const ProtocolVersion = 2

// SetupFlags are what a client requires (SetupConnection) or a server doesn't support
// (SetupConnection.Error) (chapter 5.3.1).
type SetupFlags uint32

const (
	// RequiresStandardJobs: the client can't process extended jobs.
	RequiresStandardJobs SetupFlags = 1 << 0
	// RequiresWorkSelection: the client will send jobs of its own.
	RequiresWorkSelection SetupFlags = 1 << 1
	// RequiresVersionRolling: the client must be allowed to roll version bits.
	RequiresVersionRolling SetupFlags = 1 << 2
)

// ServerFlags are what a server requires (SetupConnection.Success).
type ServerFlags uint32

const (
	// RequiresFixedVersion: version bits must not be rolled.
	RequiresFixedVersion ServerFlags = 1 << 0
	// RequiresExtendedChannels: standard channels are refused.
	RequiresExtendedChannels ServerFlags = 1 << 1
)

// SetupConnection is the client's first message. All texts are at most 255 bytes.
type SetupConnection struct {
	// Protocol is ProtocolMining.
	Protocol uint8
	// MinVersion and MaxVersion are the versions that the client speaks, inclusive.
	MinVersion, MaxVersion uint16
	// Flags are the client's requirements.
	Flags SetupFlags
	// EndpointHost and EndpointPort are the server as the client knows it.
	EndpointHost string
	EndpointPort uint16
	// Vendor, HardwareVersion, Firmware and DeviceID describe the device.
	Vendor, HardwareVersion, Firmware, DeviceID string
}

func (m *SetupConnection) kind() kind { return kindSetupConnection }

func (m *SetupConnection) fields(c *codec) {
	c.u8(&m.Protocol)
	c.u16(&m.MinVersion)
	c.u16(&m.MaxVersion)
	c.u32((*uint32)(&m.Flags))
	c.text(&m.EndpointHost)
	c.u16(&m.EndpointPort)
	c.text(&m.Vendor)
	c.text(&m.HardwareVersion)
	c.text(&m.Firmware)
	c.text(&m.DeviceID)
}

// SetupConnectionSuccess lets the client in.
type SetupConnectionSuccess struct {
	// UsedVersion is what both speak from now on.
	UsedVersion uint16
	// Flags are the server's requirements.
	Flags ServerFlags
}

func (m *SetupConnectionSuccess) kind() kind { return kindSetupConnectionSuccess }

func (m *SetupConnectionSuccess) fields(c *codec) {
	c.u16(&m.UsedVersion)
	c.u32((*uint32)(&m.Flags))
}

// SetupConnectionError keeps the client out; the server closes the connection after it.
type SetupConnectionError struct {
	// Flags are all flags that the server doesn't support; 0 when the cause is another.
	Flags SetupFlags
	// ErrorCode is the server's text.
	ErrorCode string
}

func (m *SetupConnectionError) kind() kind { return kindSetupConnectionError }

func (m *SetupConnectionError) fields(c *codec) {
	c.u32((*uint32)(&m.Flags))
	c.text(&m.ErrorCode)
}

// Reconnect sends the client to another place; see [URL.Follow].
type Reconnect struct {
	// NewHost is empty for the same host.
	NewHost string
	// NewPort is 0 for the same port.
	NewPort uint16
}

func (m *Reconnect) kind() kind { return kindReconnect }

func (m *Reconnect) fields(c *codec) {
	c.text(&m.NewHost)
	c.u16(&m.NewPort)
}

// RequestExtensions asks for extensions, after SetupConnection.Success and before anything else.
type RequestExtensions struct {
	// RequestID comes back in the answer.
	RequestID uint16
	// Requested are the extensions' numbers.
	Requested []uint16
}

func (m *RequestExtensions) kind() kind { return kindRequestExtensions }

func (m *RequestExtensions) fields(c *codec) {
	c.u16(&m.RequestID)
	c.extensions(&m.Requested)
}

// RequestExtensionsSuccess names the extensions that are in force.
type RequestExtensionsSuccess struct {
	// RequestID is the client's.
	RequestID uint16
	// Supported are those of the requested that the server supports.
	Supported []uint16
}

func (m *RequestExtensionsSuccess) kind() kind { return kindRequestExtensionsSuccess }

func (m *RequestExtensionsSuccess) fields(c *codec) {
	c.u16(&m.RequestID)
	c.extensions(&m.Supported)
}

// RequestExtensionsError: none is in force.
type RequestExtensionsError struct {
	// RequestID is the client's.
	RequestID uint16
	// Unsupported are those of the requested that the server doesn't support.
	Unsupported []uint16
	// Required are those that the server insists on and that were not requested.
	Required []uint16
}

func (m *RequestExtensionsError) kind() kind { return kindRequestExtensionsError }

func (m *RequestExtensionsError) fields(c *codec) {
	c.u16(&m.RequestID)
	c.extensions(&m.Unsupported)
	c.extensions(&m.Required)
}

// extensions is SEQ0_64K[u16].
func (c *codec) extensions(v *[]uint16) {
	sequence(c, v, 2, math.MaxUint16, 2, c.u16)
}
