// The data types of chapter 3.1 as bytes, in both directions.

package sv2client

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// errShort: a field reaches behind the end of the payload.
var errShort = errors.New("the payload ends in the middle of a field")

// codec writes or reads the fields of one message. Each message lists its fields once, in fields, and is
// written and read by it. The first error stays, and everything after it does nothing.
type codec struct {
	writing bool
	buf     []byte // written so far, or left to read
	err     error
}

func (c *codec) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// take returns the next n bytes to read, or nil.
func (c *codec) take(n int) []byte {
	if c.err != nil {
		return nil
	}
	if n > len(c.buf) {
		c.fail(errShort)
		return nil
	}
	taken := c.buf[:n]
	c.buf = c.buf[n:]
	return taken
}

// unsigned is a little-endian number of size bytes, at most 8.
func (c *codec) unsigned(value uint64, size int) uint64 {
	var bytes [8]byte
	if c.writing {
		binary.LittleEndian.PutUint64(bytes[:], value)
		c.buf = append(c.buf, bytes[:size]...)
		return value
	}
	copy(bytes[:], c.take(size))
	return binary.LittleEndian.Uint64(bytes[:])
}

// number is unsigned for a field; writing leaves the field untouched.
func number[T uint8 | uint16 | uint32 | uint64](c *codec, v *T, size int) {
	if read := c.unsigned(uint64(*v), size); !c.writing {
		*v = T(read)
	}
}

func (c *codec) u8(v *uint8)   { number(c, v, 1) }
func (c *codec) u16(v *uint16) { number(c, v, 2) }
func (c *codec) u32(v *uint32) { number(c, v, 4) }
func (c *codec) u64(v *uint64) { number(c, v, 8) }

// f32 is any float; NaN and infinities pass.
func (c *codec) f32(v *float32) {
	bits := math.Float32bits(*v)
	if number(c, &bits, 4); !c.writing {
		*v = math.Float32frombits(bits)
	}
}

// boolean is bit 0 of a byte; the others are ignored.
func (c *codec) boolean(v *bool) {
	var bit uint8
	if *v {
		bit = 1
	}
	if c.u8(&bit); !c.writing {
		*v = bit&1 == 1
	}
}

// u256 is 32 bytes, least significant first.
func (c *codec) u256(v *[32]byte) {
	if c.writing {
		c.buf = append(c.buf, v[:]...)
		return
	}
	copy(v[:], c.take(len(v)))
}

// count is the length prefix, of size bytes, of something that has n parts, at most limit.
func (c *codec) count(n, size, limit int) int {
	if c.writing && n > limit {
		c.fail(fmt.Errorf("%d bytes or elements in a field for at most %d", n, limit))
		return 0
	}
	n = int(c.unsigned(uint64(n), size))
	if n > limit {
		c.fail(fmt.Errorf("%d bytes or elements in a field for at most %d", n, limit))
		return 0
	}
	return n
}

// bytes is a length prefix of size bytes and at most limit bytes of data.
func (c *codec) bytes(v *[]byte, size, limit int) {
	n := c.count(len(*v), size, limit)
	if c.err != nil {
		return
	}
	if c.writing {
		c.buf = append(c.buf, *v...)
		return
	}
	*v = append([]byte(nil), c.take(n)...)
}

// text is STR0_255.
func (c *codec) text(v *string) {
	bytes := []byte(*v)
	if c.bytes(&bytes, 1, math.MaxUint8); !c.writing {
		*v = string(bytes)
	}
}

func (c *codec) b032(v *[]byte)  { c.bytes(v, 1, 32) }
func (c *codec) b064k(v *[]byte) { c.bytes(v, 2, math.MaxUint16) }

// sequence is a length prefix of size bytes and at most limit elements of elementSize bytes each. It
// makes no room before it has seen that they are there.
func sequence[T any](c *codec, v *[]T, size, limit, elementSize int, element func(*T)) {
	n := c.count(len(*v), size, limit)
	if !c.writing {
		if n*elementSize > len(c.buf) {
			c.fail(errShort)
		}
		if c.err != nil {
			return
		}
		*v = make([]T, n)
	}
	for i := range *v {
		element(&(*v)[i])
	}
}

// option is OPTION[u32]; nil is nothing.
func (c *codec) option(v **uint32) {
	var present []uint32
	if *v != nil {
		present = []uint32{**v}
	}
	sequence(c, &present, 1, 1, 4, c.u32)
	if !c.writing && len(present) == 1 {
		*v = &present[0]
	}
}

// TLV is a field that an extension appends to a message (chapter 3.4.3).
type TLV struct {
	// Extension is the type of the extension, without the channel bit.
	Extension uint16
	// Field is its number of the field.
	Field uint8
	// Value is at most 65535 bytes.
	Value []byte
}

// tlvs is the rest of the payload. Bytes that are none end them: the message stays good.
func (c *codec) tlvs(v *[]TLV) {
	if c.writing {
		for _, tlv := range *v {
			c.u16(&tlv.Extension)
			c.u8(&tlv.Field)
			c.b064k(&tlv.Value)
		}
		return
	}
	if c.err != nil {
		return
	}
	rest := codec{buf: c.buf}
	for len(rest.buf) > 0 {
		var tlv TLV
		rest.u16(&tlv.Extension)
		rest.u8(&tlv.Field)
		rest.b064k(&tlv.Value)
		if rest.err != nil {
			return
		}
		*v = append(*v, tlv)
	}
}
