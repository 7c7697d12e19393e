// Messages as bytes.

package sv2client

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

// every has each message with each field set to something that can be told from its neighbours.
func every() []Message {
	ntime := uint32(0x0d0c0b0a)
	open := OpenStandardMiningChannel{RequestID: 1, UserIdentity: "u\xff\x00", NominalHashRate: 1.5,
		MaxTarget: Target{1, 31: 2}}
	share := SubmitSharesStandard{1, 2, 3, 4, 5, 6}
	return []Message{
		&SetupConnection{1, 2, 3, 4, "host", 5, "vendor", "hardware", "firmware", "device"},
		&SetupConnectionSuccess{2, RequiresExtendedChannels},
		&SetupConnectionError{RequiresWorkSelection, "unsupported-feature-flags"},
		&Reconnect{"host", 3336},
		&open,
		&OpenStandardMiningChannelSuccess{1, 2, Target{3}, []byte{4, 5}, 6},
		&OpenMiningChannelError{1, "unknown-user"},
		&OpenExtendedMiningChannel{open, 8},
		&OpenExtendedMiningChannelSuccess{1, 2, Target{3}, 4, []byte{5}, 6},
		&NewMiningJob{1, 2, nil, 3, Hash{4}},
		&NewMiningJob{1, 2, &ntime, 3, Hash{4}},
		&UpdateChannel{1, float32(math.Inf(1)), Target{2}},
		&UpdateChannelError{1, "invalid-nominal-hashrate"},
		&CloseChannel{1, "reason"},
		&SetExtranoncePrefix{1, bytes.Repeat([]byte{2}, 32)},
		&share,
		&SubmitSharesExtended{share, []byte{7, 8}, nil},
		&SubmitSharesExtended{share, []byte{7, 8}, []TLV{{2, 1, []byte("w")}, {3, 4, nil}}},
		&SubmitSharesSuccess{1, 2, 3, 1 << 40},
		&SubmitSharesError{1, 2, "stale-share"},
		&NewExtendedMiningJob{1, 2, &ntime, 3, true, []Hash{{4}, {5}}, []byte{6}, []byte{7, 8}},
		&SetNewPrevHash{1, 2, Hash{3}, 4, 5},
		&SetTarget{1, Target{2}},
		&SetGroupChannel{1, []uint32{2, 3}},
		&RequestExtensions{1, []uint16{2}},
		&RequestExtensionsSuccess{1, []uint16{2}},
		&RequestExtensionsError{1, []uint16{2}, []uint16{3, 4}},
		&Unknown{0x8fff, 0x55, []byte{1}},
	}
}

func TestEveryMessageIsReadAsItWasWritten(t *testing.T) {
	seen := make(map[string]bool)
	for _, m := range every() {
		seen[Name(m)] = true
		wire, err := Encode(m)
		if err != nil {
			t.Fatalf("%s: %v", Name(m), err)
		}
		got, rest, err := Decode(append(bytes.Clone(wire), "rest"...))
		if err != nil || string(rest) != "rest" || !equal(got, m) {
			t.Errorf("%s: read %#v, rest %q, error %v", Name(m), got, rest, err)
		}
		// Peers disagree about the channel bit; it changes nothing.
		wire[1] ^= 0x80
		if _, unknown := m.(*Unknown); unknown {
			continue
		}
		if got, _, err = Decode(wire); err != nil || !equal(got, m) {
			t.Errorf("%s with the other channel bit: %#v, %v", Name(m), got, err)
		}
	}
	for _, empty := range known {
		if name := Name(empty()); !seen[name] {
			t.Errorf("%s is not tested", name)
		}
	}
}

// equal compares messages; no bytes and nil are the same.
func equal(a, b Message) bool {
	normal := func(m Message) string {
		wire, err := Encode(m)
		if err != nil {
			return err.Error()
		}
		return hex.EncodeToString(wire)
	}
	return reflect.TypeOf(a) == reflect.TypeOf(b) && normal(a) == normal(b)
}

// TestFieldsLieWhereTheSpecificationPutsThem has what was written by hand from the tables of the
// specification, so that a field at the wrong place is not hidden by reading it there again.
func TestFieldsLieWhereTheSpecificationPutsThem(t *testing.T) {
	for _, c := range []struct {
		m    Message
		wire string
	}{
		{&SetupConnection{0, 2, 2, 0, "h", 1, "v", "", "", ""},
			"0000 00 120000 00 0200 0200 00000000 0168 0100 0176 00 00 00"},
		{&SetupConnectionSuccess{2, 1}, "0000 01 060000 0200 01000000"},
		{&SetupConnectionError{6, "e"}, "0000 02 060000 06000000 0165"},
		{&Reconnect{"h", 258}, "0000 04 040000 0168 0201"},
		{&OpenStandardMiningChannel{1, "u", 1, Target{7}}, "0000 10 2a0000 01000000 0175 0000803f 07" +
			zeros(31)},
		{&OpenExtendedMiningChannel{OpenStandardMiningChannel{1, "u", 1, Target{7}}, 258},
			"0000 13 2c0000 01000000 0175 0000803f 07" + zeros(31) + "0201"},
		{&OpenStandardMiningChannelSuccess{1, 2, Target{7}, []byte{9}, 3},
			"0000 11 2e0000 01000000 02000000 07" + zeros(31) + "0109 03000000"},
		{&OpenExtendedMiningChannelSuccess{1, 2, Target{7}, 8, []byte{9}, 3},
			"0000 14 300000 01000000 02000000 07" + zeros(31) + "0800 0109 03000000"},
		{&OpenMiningChannelError{1, "e"}, "0000 12 060000 01000000 0165"},
		{&NewMiningJob{1, 2, nil, 3, Hash{4}},
			"0080 15 2d0000 01000000 02000000 00 03000000 04" + zeros(31)},
		{&NewMiningJob{1, 2, new(uint32), 3, Hash{4}},
			"0080 15 310000 01000000 02000000 01 00000000 03000000 04" + zeros(31)},
		{&UpdateChannel{1, 1, Target{7}}, "0080 16 280000 01000000 0000803f 07" + zeros(31)},
		{&UpdateChannelError{1, "e"}, "0080 17 060000 01000000 0165"},
		{&CloseChannel{1, "r"}, "0080 18 060000 01000000 0172"},
		{&SetExtranoncePrefix{1, []byte{9}}, "0080 19 060000 01000000 0109"},
		{&SubmitSharesStandard{1, 2, 3, 4, 5, 6},
			"0080 1a 180000 01000000 02000000 03000000 04000000 05000000 06000000"},
		{&SubmitSharesSuccess{1, 2, 3, 4}, "0080 1c 140000 01000000 02000000 03000000 0400000000000000"},
		{&SubmitSharesError{1, 2, "e"}, "0080 1d 0a0000 01000000 02000000 0165"},
		{&NewExtendedMiningJob{1, 2, nil, 3, true, []Hash{{4}}, []byte{5}, []byte{6, 7}},
			"0080 1f 360000 01000000 02000000 00 03000000 01 01 04" + zeros(31) + "0100 05 0200 0607"},
		{&SetNewPrevHash{1, 2, Hash{3}, 4, 5},
			"0080 20 300000 01000000 02000000 03" + zeros(31) + "04000000 05000000"},
		{&SetTarget{1, Target{2}}, "0080 21 240000 01000000 02" + zeros(31)},
		{&SetGroupChannel{1, []uint32{2, 3}}, "0000 25 0e0000 01000000 0200 02000000 03000000"},
		{&RequestExtensions{1, []uint16{2}}, "0100 00 060000 0100 0100 0200"},
		{&RequestExtensionsSuccess{1, []uint16{2}}, "0100 01 060000 0100 0100 0200"},
		{&RequestExtensionsError{1, nil, []uint16{3}}, "0100 02 080000 0100 0000 0100 0300"},
	} {
		wire, err := Encode(c.m)
		if want := strings.ReplaceAll(c.wire, " ", ""); err != nil || hex.EncodeToString(wire) != want {
			t.Errorf("%s: got %x, %v, want %s", Name(c.m), wire, err, want)
		}
	}
}

func zeros(count int) string { return strings.Repeat("00", count) }

// TestWritesTheWorkersOfTheVectors reads the vectors that a miner would write: one whole name.
func TestWritesTheWorkersOfTheVectors(t *testing.T) {
	var v struct {
		Worker []struct {
			Name    string   `json:"name"`
			Bytes   string   `json:"bytes"`
			Worker  *hexText `json:"worker"`
			Swapped bool     `json:"swapped"`
		} `json:"worker"`
	}
	readVectors(t, "tlv.json", &v)
	written := 0
	for _, c := range v.Worker {
		if c.Worker == nil || c.Swapped || len(c.Bytes) != 2*(5+len(*c.Worker)) {
			continue
		}
		written++
		m := &SubmitSharesExtended{TLVs: []TLV{{ExtensionWorkers, 1, *c.Worker}}}
		wire, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		same(t, c.Name, wire[frameHeaderSize+25:], c.Bytes)
	}
	if written < 4 {
		t.Errorf("only %d vectors are names to be written", written)
	}
}

// TestRejectsEachMessageCutShort cuts the payload of each message at each place.
func TestRejectsEachMessageCutShort(t *testing.T) {
	for _, m := range every() {
		f, err := toFrame(m)
		if err != nil {
			t.Fatal(err)
		}
		length := len(f.payload)
		switch m := m.(type) {
		case *Unknown:
			continue
		case *SubmitSharesExtended:
			length -= 5*len(m.TLVs) + min(len(m.TLVs), 1) // a cut TLV doesn't make the share bad
		}
		for cut := range length {
			short := frame{f.extension, f.kind, f.payload[:cut]}
			var broken *ProtocolError
			if got, err := fromFrame(short); !errors.As(err, &broken) {
				t.Errorf("%s cut to %d of %d bytes: %#v, %v", Name(m), cut, length, got, err)
			}
		}
	}
}

func TestRejectsFieldsThatAreTooLong(t *testing.T) {
	for name, m := range map[string]Message{
		"text":       &CloseChannel{1, strings.Repeat("x", 256)},
		"prefix":     &SetExtranoncePrefix{1, make([]byte, 33)},
		"extranonce": &SubmitSharesExtended{Extranonce: make([]byte, 33)},
		"coinbase":   &NewExtendedMiningJob{CoinbaseSuffix: make([]byte, 65536)},
		"path":       &NewExtendedMiningJob{MerklePath: make([]Hash, 256)},
		"channels":   &SetGroupChannel{1, make([]uint32, 65536)},
	} {
		if _, err := Encode(m); err == nil {
			t.Errorf("%s was written", name)
		}
	}
	// On the wire a B0_32 may claim up to 255 bytes, and an option up to 255 elements.
	prefix := append([]byte{1, 0, 0, 0, 33}, make([]byte, 33)...)
	option := append([]byte{1, 0, 0, 0, 2, 0, 0, 0, 2}, make([]byte, 100)...)
	for _, f := range []frame{{0x8000, 0x19, prefix}, {0x8000, 0x15, option}, {0x8000, 0x1f, option}} {
		if m, err := fromFrame(f); err == nil {
			t.Errorf("read %#v", m)
		}
	}
}

func TestBooleansAreOneBit(t *testing.T) {
	f, err := toFrame(&NewExtendedMiningJob{})
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[byte]bool{0: false, 1: true, 0xfe: false, 0xff: true} {
		f.payload[13] = value
		m, err := fromFrame(f)
		if err != nil || m.(*NewExtendedMiningJob).VersionRollingAllowed != want {
			t.Errorf("%02x: %#v, %v", value, m, err)
		}
	}
}

func FuzzDecodeSurvivesAnyBytes(f *testing.F) {
	for _, m := range every() {
		wire, err := Encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		m, rest, err := Decode(wire)
		if err != nil {
			return
		}
		if len(rest) > len(wire)-frameHeaderSize {
			t.Fatalf("%d bytes left of %d", len(rest), len(wire))
		}
		again, err := Encode(m)
		if err != nil {
			t.Fatalf("%#v is read but not written: %v", m, err)
		}
		if got, _, err := Decode(again); err != nil || !equal(got, m) {
			t.Fatalf("%#v is read back as %#v, %v", m, got, err)
		}
	})
}
