// Frames, and how they are encrypted (chapters 3.2 and 4.6).

package sv2client

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

const (
	frameHeaderSize = 6
	// chunkSize is the longest piece of payload that is sealed in one go.
	chunkSize = 65535 - macSize
	// maxPayload bounds what we take. The longest message of a pool is RequestExtensions.Error with
	// two full lists, 256 KiB; the length field could say 16 MiB.
	maxPayload = 512 << 10

	extensionCore = 0x0000
	channelBit    = 0x8000 // in the extension type: the payload begins with a channel id
)

// frame is one message before its payload is understood.
type frame struct {
	extension uint16 // with the channel bit
	kind      uint8
	payload   []byte
}

func (f frame) header() [frameHeaderSize]byte {
	var header [frameHeaderSize]byte
	binary.LittleEndian.PutUint32(header[2:], uint32(len(f.payload))<<8)
	header[2] = f.kind
	binary.LittleEndian.PutUint16(header[:], f.extension)
	return header
}

// sealFrame appends f as it goes over the wire: header and each chunk of payload sealed by itself. An
// empty payload is no chunk.
func sealFrame(dst []byte, key *cipherState, f frame) ([]byte, error) {
	if len(f.payload) > maxPayload {
		return nil, fmt.Errorf("frame of %d bytes: at most %d are sent", len(f.payload), maxPayload)
	}
	header := f.header()
	dst, err := key.seal(dst, header[:], nil)
	if err != nil {
		return nil, err
	}
	for chunk := range slices.Chunk(f.payload, chunkSize) {
		if dst, err = key.seal(dst, chunk, nil); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

// readFrame reads one frame. Memory grows with what arrives, not with what the header announces.
func readFrame(stream io.Reader, key *cipherState) (frame, error) {
	sealed := make([]byte, frameHeaderSize+macSize)
	if _, err := io.ReadFull(stream, sealed); err != nil {
		return frame{}, err // io.EOF: the peer closed between two frames
	}
	header, err := key.open(nil, sealed, nil)
	if err != nil {
		return frame{}, fmt.Errorf("frame header: %w", err)
	}
	f := frame{extension: binary.LittleEndian.Uint16(header), kind: header[2]}
	length := int(binary.LittleEndian.Uint32(header[2:]) >> 8)
	if length > maxPayload {
		return frame{}, &ProtocolError{
			fmt.Sprintf("a frame of %d bytes; at most %d are taken", length, maxPayload)}
	}
	for left := length; left > 0; left -= chunkSize {
		sealed = slices.Grow(sealed[:0], min(left, chunkSize)+macSize)[:min(left, chunkSize)+macSize]
		if _, err := io.ReadFull(stream, sealed); err != nil {
			return frame{}, fmt.Errorf("inside a frame: %w", noEOF(err))
		}
		if f.payload, err = key.open(f.payload, sealed, nil); err != nil {
			return frame{}, fmt.Errorf("frame payload: %w", err)
		}
	}
	return f, nil
}

// noEOF makes an end where none may be an error of its own.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
