// Encrypted frames.

package sv2client

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
)

func keyPair(t testing.TB) (sealing, opening cipherState) {
	t.Helper()
	key := unhex(t, vectorUp)
	sealing, err := newCipherState(key)
	if err != nil {
		t.Fatal(err)
	}
	if opening, err = newCipherState(key); err != nil {
		t.Fatal(err)
	}
	return sealing, opening
}

func TestFramesOfEachLengthArriveWhole(t *testing.T) {
	sealing, opening := keyPair(t)
	random := rand.NewChaCha8([32]byte{1})
	for _, c := range []struct{ length, chunks int }{
		{0, 0}, {1, 1}, {65518, 1}, {65519, 1}, {65520, 2}, {2 * 65519, 2}, {2*65519 + 1, 3},
		{maxPayload, 9},
	} {
		sent := frame{0x8001, 0x42, make([]byte, c.length)}
		_, _ = random.Read(sent.payload) // never fails
		wire, err := sealFrame(nil, &sealing, sent)
		if err != nil {
			t.Fatal(err)
		}
		if want := 22 + c.length + 16*c.chunks; len(wire) != want {
			t.Errorf("%d bytes: %d on the wire, want %d", c.length, len(wire), want)
		}
		got, err := readFrame(bytes.NewReader(wire), &opening)
		if err != nil || got.extension != sent.extension || got.kind != sent.kind ||
			!bytes.Equal(got.payload, sent.payload) {
			t.Fatalf("%d bytes: %v", c.length, err)
		}
	}
}

func TestRejectsFramesOutOfOrder(t *testing.T) {
	sealing, opening := keyPair(t)
	first, err := sealFrame(nil, &sealing, frame{payload: []byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	second, err := sealFrame(nil, &sealing, frame{payload: []byte{2}})
	if err != nil {
		t.Fatal(err)
	}
	again := opening
	if _, err := readFrame(bytes.NewReader(second), &opening); !errors.Is(err, ErrNotAuthentic) {
		t.Errorf("the second frame first: %v", err)
	}
	replayed := append(bytes.Clone(first), first...)
	stream := bytes.NewReader(replayed)
	if _, err := readFrame(stream, &again); err != nil {
		t.Fatal(err)
	}
	if _, err := readFrame(stream, &again); !errors.Is(err, ErrNotAuthentic) {
		t.Errorf("the first frame twice: %v", err)
	}
}

func TestTellsAnEndBetweenFramesFromOneInside(t *testing.T) {
	sealing, _ := keyPair(t)
	wire, err := sealFrame(nil, &sealing, frame{payload: []byte{1, 2, 3}})
	if err != nil {
		t.Fatal(err)
	}
	for cut := range wire {
		_, opening := keyPair(t)
		_, err := readFrame(bytes.NewReader(wire[:cut]), &opening)
		if cut == 0 && err != io.EOF || cut > 0 && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut to %d bytes: %v", cut, err)
		}
	}
}

func TestRejectsFramesThatAreTooLong(t *testing.T) {
	sealing, opening := keyPair(t)
	if _, err := sealFrame(nil, &sealing, frame{payload: make([]byte, maxPayload+1)}); err == nil {
		t.Error("a frame that is too long was sealed")
	}
	for _, length := range []byte{0x08, 0xff} {
		header, err := sealing.seal(nil, []byte{0, 0, 1, 1, 0, length}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var broken *ProtocolError
		if _, err := readFrame(bytes.NewReader(header), &opening); !errors.As(err, &broken) {
			t.Errorf("length %02x0001: %v", length, err)
		}
	}
}

// TestAnAnnouncedLengthCostsNothing: memory comes with the bytes.
func TestAnAnnouncedLengthCostsNothing(t *testing.T) {
	sealing, opening := keyPair(t)
	header, err := sealing.seal(nil, []byte{0, 0, 1, 0, 0, 8}, nil) // 512 KiB
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := readFrame(bytes.NewReader(header), &opening); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
	runtime.ReadMemStats(&after)
	if spent := after.TotalAlloc - before.TotalAlloc; spent > 256<<10 {
		t.Errorf("%d bytes were allocated for a frame that never came", spent)
	}
}
