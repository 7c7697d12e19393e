// The messages of a mining connection, by their numbers (chapter 8).

package sv2client

import "fmt"

// Message is one message of the protocol; always a pointer to one of the structs of this package.
type Message interface {
	// kind says how its frame is marked.
	kind() kind
	// fields hands each field to the codec, in the order of the wire.
	fields(*codec)
}

// kind is how a frame says what is in it.
type kind struct {
	extension uint16 // without the channel bit
	number    uint8
	onChannel bool // sent with the channel bit
	name      string
}

// extensionNegotiation is the extension that negotiates extensions.
const extensionNegotiation = 0x0001

// Numbers and names; the channel bits are those of the specification since May 2026.
var (
	kindSetupConnection        = kind{0, 0x00, false, "SetupConnection"}
	kindSetupConnectionSuccess = kind{0, 0x01, false, "SetupConnection.Success"}
	kindSetupConnectionError   = kind{0, 0x02, false, "SetupConnection.Error"}
	kindReconnect              = kind{0, 0x04, false, "Reconnect"}
	kindOpenStandard           = kind{0, 0x10, false, "OpenStandardMiningChannel"}
	kindOpenStandardSuccess    = kind{0, 0x11, false, "OpenStandardMiningChannel.Success"}
	kindOpenError              = kind{0, 0x12, false, "OpenMiningChannel.Error"}
	kindOpenExtended           = kind{0, 0x13, false, "OpenExtendedMiningChannel"}
	kindOpenExtendedSuccess    = kind{0, 0x14, false, "OpenExtendedMiningChannel.Success"}
	kindNewMiningJob           = kind{0, 0x15, true, "NewMiningJob"}
	kindUpdateChannel          = kind{0, 0x16, true, "UpdateChannel"}
	kindUpdateChannelError     = kind{0, 0x17, true, "UpdateChannel.Error"}
	kindCloseChannel           = kind{0, 0x18, true, "CloseChannel"}
	kindSetExtranoncePrefix    = kind{0, 0x19, true, "SetExtranoncePrefix"}
	kindSubmitStandard         = kind{0, 0x1a, true, "SubmitSharesStandard"}
	kindSubmitExtended         = kind{0, 0x1b, true, "SubmitSharesExtended"}
	kindSubmitSuccess          = kind{0, 0x1c, true, "SubmitShares.Success"}
	kindSubmitError            = kind{0, 0x1d, true, "SubmitShares.Error"}
	kindNewExtendedMiningJob   = kind{0, 0x1f, true, "NewExtendedMiningJob"}
	kindSetNewPrevHash         = kind{0, 0x20, true, "SetNewPrevHash"}
	kindSetTarget              = kind{0, 0x21, true, "SetTarget"}
	kindSetGroupChannel        = kind{0, 0x25, false, "SetGroupChannel"}

	kindRequestExtensions        = kind{extensionNegotiation, 0, false, "RequestExtensions"}
	kindRequestExtensionsSuccess = kind{extensionNegotiation, 1, false, "RequestExtensions.Success"}
	kindRequestExtensionsError   = kind{extensionNegotiation, 2, false, "RequestExtensions.Error"}
)

// known makes an empty message for what a frame is marked with.
var known = func() map[[2]uint16]func() Message {
	table := make(map[[2]uint16]func() Message)
	for _, empty := range []func() Message{
		func() Message { return new(SetupConnection) },
		func() Message { return new(SetupConnectionSuccess) },
		func() Message { return new(SetupConnectionError) },
		func() Message { return new(Reconnect) },
		func() Message { return new(OpenStandardMiningChannel) },
		func() Message { return new(OpenStandardMiningChannelSuccess) },
		func() Message { return new(OpenMiningChannelError) },
		func() Message { return new(OpenExtendedMiningChannel) },
		func() Message { return new(OpenExtendedMiningChannelSuccess) },
		func() Message { return new(NewMiningJob) },
		func() Message { return new(UpdateChannel) },
		func() Message { return new(UpdateChannelError) },
		func() Message { return new(CloseChannel) },
		func() Message { return new(SetExtranoncePrefix) },
		func() Message { return new(SubmitSharesStandard) },
		func() Message { return new(SubmitSharesExtended) },
		func() Message { return new(SubmitSharesSuccess) },
		func() Message { return new(SubmitSharesError) },
		func() Message { return new(NewExtendedMiningJob) },
		func() Message { return new(SetNewPrevHash) },
		func() Message { return new(SetTarget) },
		func() Message { return new(SetGroupChannel) },
		func() Message { return new(RequestExtensions) },
		func() Message { return new(RequestExtensionsSuccess) },
		func() Message { return new(RequestExtensionsError) },
	} {
		k := empty().kind()
		table[[2]uint16{k.extension, uint16(k.number)}] = empty
	}
	return table
}()

// Unknown is a message that this package doesn't know; a client ignores it (chapter 3.4.1).
type Unknown struct {
	// ExtensionType is as sent, with the channel bit.
	ExtensionType uint16
	// MessageType is as sent.
	MessageType uint8
	// Payload is everything after the header.
	Payload []byte
}

func (m *Unknown) kind() kind {
	return kind{m.ExtensionType &^ channelBit, m.MessageType, m.ExtensionType&channelBit != 0,
		fmt.Sprintf("message %#02x of extension %#04x", m.MessageType, m.ExtensionType)}
}

func (m *Unknown) fields(c *codec) {
	if c.writing {
		c.buf = append(c.buf, m.Payload...)
		return
	}
	m.Payload = append([]byte(nil), c.take(len(c.buf))...)
}

// Name is what the specification calls a message.
func Name(m Message) string { return m.kind().name }

// Encode is the unencrypted frame of a message: extension type, message type, length, payload. It fails
// when a field is longer than its type allows.
func Encode(m Message) ([]byte, error) {
	f, err := toFrame(m)
	if err != nil {
		return nil, err
	}
	header := f.header()
	return append(header[:], f.payload...), nil
}

// Decode reads one unencrypted frame, and returns what follows it. The channel bit makes no difference,
// nor do bytes behind the last field. What it doesn't know becomes [*Unknown].
func Decode(bytes []byte) (m Message, rest []byte, err error) {
	c := codec{buf: bytes}
	var f frame
	c.u16(&f.extension)
	c.u8(&f.kind)
	length := int(c.unsigned(0, 3))
	f.payload = c.take(length)
	if c.err != nil {
		return nil, nil, fmt.Errorf("frame: %w", c.err)
	}
	m, err = fromFrame(f)
	return m, c.buf, err
}

func toFrame(m Message) (frame, error) {
	c := codec{writing: true}
	m.fields(&c)
	k := m.kind()
	if c.err != nil {
		return frame{}, fmt.Errorf("%s: %w", k.name, c.err)
	}
	f := frame{extension: k.extension, kind: k.number, payload: c.buf}
	if k.onChannel {
		f.extension |= channelBit
	}
	return f, nil
}

func fromFrame(f frame) (Message, error) {
	empty, ok := known[[2]uint16{f.extension &^ channelBit, uint16(f.kind)}]
	var m Message = &Unknown{ExtensionType: f.extension, MessageType: f.kind}
	if ok {
		m = empty()
	}
	c := codec{buf: f.payload}
	m.fields(&c)
	if c.err != nil {
		return nil, &ProtocolError{fmt.Sprintf("a malformed %s: %v", m.kind().name, c.err)}
	}
	return m, nil
}
