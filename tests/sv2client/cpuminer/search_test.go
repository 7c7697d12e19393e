// Which headers are tried.

package cpuminer

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/gopool-sv2/gopool-sv2/tests/sv2client"
)

// searchOf is a search whose clock a test moves and whose merkle root is the extranonce.
func searchOf(work sv2client.Work, clock *time.Time) *search {
	s := newSearch(work)
	s.now = func() time.Time { return *clock }
	s.root = func(extranonce []byte) (sv2client.Hash, error) {
		var root sv2client.Hash
		copy(root[:], extranonce)
		return root, nil
	}
	return s
}

// lastNonces tries the last count nonces of the present header, or of the next one.
func lastNonces(t *testing.T, s *search, count int) error {
	t.Helper()
	if !s.started || s.nonce > math.MaxUint32 {
		if err := s.next(); err != nil {
			return err
		}
	}
	s.nonce = math.MaxUint32 - uint64(count) + 1
	_, _, found, err := s.try(count, sv2client.Target{})
	if err != nil || found {
		t.Fatalf("found %v, %v", found, err)
	}
	return nil
}

func TestTriesTheJobsOwnHeaderFirst(t *testing.T) {
	clock := time.Unix(1000, 0)
	work := sv2client.Work{JobID: 3, Version: 0x3fffffe4, VersionRolling: true, NBits: 5, MinNTime: 77,
		PrevHash: sv2client.Hash{8}, Since: clock}
	s := searchOf(work, &clock)
	share, hash, found, err := s.try(1, sv2client.MaxTarget())
	if err != nil || !found || share.Version != work.Version || share.NTime != 77 || share.Nonce != 0 ||
		share.JobID != 3 || len(share.Extranonce) != 0 {
		t.Fatalf("%+v, %v, %v", share, found, err)
	}
	header := work.Header(share, sv2client.Hash{})
	if want := sv2client.HashHeader(&header); hash != want {
		t.Errorf("hash %v, want %v", hash, want)
	}
}

func TestTriesNoHeaderTwice(t *testing.T) {
	clock := time.Unix(1000, 0)
	s := searchOf(sv2client.Work{Version: 0x20000000, VersionRolling: true, Since: clock}, &clock)
	seen := make(map[[sv2client.HeaderSize]byte]bool)
	for range 300 {
		for range 3 {
			if _, _, found, err := s.try(1, sv2client.MaxTarget()); err != nil || !found {
				t.Fatal(err)
			}
			if seen[s.header] {
				t.Fatalf("header %x twice", s.header)
			}
			seen[s.header] = true
			version := binary.LittleEndian.Uint32(s.header[:])
			if (version^0x20000000)&^sv2client.VersionRollingMask != 0 {
				t.Fatalf("version %08x", version)
			}
		}
		s.nonce = math.MaxUint32 + 1
	}
}

func TestRollsTheExtranonceOnExtendedChannels(t *testing.T) {
	clock := time.Unix(1000, 0)
	work := sv2client.Work{Kind: sv2client.Extended, Version: 0x20000000, VersionRolling: true,
		ExtranonceSize: 1, Since: clock, MinNTime: 50}
	s := searchOf(work, &clock)
	for want := range 256 {
		if err := lastNonces(t, s, 2); err != nil {
			t.Fatalf("after %d extranonces: %v", want, err)
		}
		if s.share.Extranonce[0] != byte(want) || s.header[36] != byte(want) ||
			s.share.Version != work.Version || s.share.NTime != 50 {
			t.Fatalf("%d: %+v", want, s.share)
		}
	}
	if err := lastNonces(t, s, 2); !errors.Is(err, errExhausted) {
		t.Errorf("%v", err)
	}
}

// TestRollsTheTimeByTheClock: one second a second, not more.
func TestRollsTheTimeByTheClock(t *testing.T) {
	clock := time.Unix(1000, 0)
	s := searchOf(sv2client.Work{MinNTime: 50, Since: clock, Version: 1}, &clock)
	for second := range uint32(3) {
		if err := lastNonces(t, s, 1); err != nil {
			t.Fatal(err)
		}
		if got := binary.LittleEndian.Uint32(s.header[68:]); got != 50+second {
			t.Errorf("ntime %d after %d s", got, second)
		}
		if err := lastNonces(t, s, 1); !errors.Is(err, errExhausted) {
			t.Errorf("%v", err)
		}
		clock = clock.Add(time.Second)
	}
}
