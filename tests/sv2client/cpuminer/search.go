// The search space of a job: nonce, then extranonce or version bits, then ntime.

package cpuminer

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"time"

	"github.com/gopool-sv2/gopool-sv2/tests/sv2client"
)

// errExhausted: every header that the job allows at this time was tried.
var errExhausted = errors.New("the job's search space is exhausted")

// search goes through the headers of one job, each once.
type search struct {
	work    sv2client.Work
	share   sv2client.Share
	header  [sv2client.HeaderSize]byte
	nonce   uint64 // the next one; 2^32: none is left in this header
	rolled  uint64 // how often extranonce or version was changed at this ntime
	started bool
	now     func() time.Time
	root    func(extranonce []byte) (sv2client.Hash, error)
}

func newSearch(work sv2client.Work) *search {
	return &search{work: work, now: time.Now, root: work.MerkleRoot, share: sv2client.Share{
		JobID: work.JobID, NTime: work.MinNTime, Version: work.Version,
		Extranonce: make([]byte, work.ExtranonceSize),
	}}
}

// try tests up to count headers, and stops at the first whose hash meets target.
func (s *search) try(count int, target sv2client.Target) (
	share sv2client.Share, hash sv2client.Hash, found bool, err error,
) {
	for range count {
		if !s.started || s.nonce > math.MaxUint32 {
			if err := s.next(); err != nil {
				return share, hash, false, err
			}
		}
		binary.LittleEndian.PutUint32(s.header[76:], uint32(s.nonce))
		s.nonce++
		hash = sv2client.HashHeader(&s.header)
		if target.MetBy(hash) {
			share = s.share
			share.Nonce = binary.LittleEndian.Uint32(s.header[76:])
			share.Extranonce = append([]byte(nil), s.share.Extranonce...)
			return share, hash, true, nil
		}
	}
	return share, sv2client.Hash{}, false, nil
}

// next goes to the next header with all nonces before it.
func (s *search) next() error {
	if s.started && !s.roll() {
		// ntime may be rolled by one second a second.
		limit := uint64(s.work.MinNTime) + uint64(max(0, s.now().Sub(s.work.Since)/time.Second))
		if uint64(s.share.NTime) >= min(limit, math.MaxUint32) {
			return errExhausted
		}
		s.share.NTime++
		s.rolled = 0
		s.apply()
	}
	root, err := s.root(s.share.Extranonce)
	if err != nil {
		return err
	}
	s.header = s.work.Header(s.share, root)
	s.nonce, s.started = 0, true
	return nil
}

// roll changes the extranonce, or version bits where there is none. false: all were used.
func (s *search) roll() bool {
	space := 8 * s.work.ExtranonceSize
	if space == 0 && s.work.VersionRolling {
		space = bits.OnesCount32(sv2client.VersionRollingMask)
	}
	if space < 64 && s.rolled+1 >= 1<<space {
		return false
	}
	s.rolled++
	s.apply()
	return true
}

// apply writes rolled into extranonce or version.
func (s *search) apply() {
	if s.work.ExtranonceSize > 0 {
		var counter [8]byte
		binary.LittleEndian.PutUint64(counter[:], s.rolled)
		copy(s.share.Extranonce, counter[:])
		return
	}
	if s.work.VersionRolling {
		shift := bits.TrailingZeros32(sv2client.VersionRollingMask)
		// From the job's own bits on, so that the first header is the job's.
		rolled := (s.work.Version + uint32(s.rolled)<<shift) & sv2client.VersionRollingMask
		s.share.Version = s.work.Version&^sv2client.VersionRollingMask | rolled
	}
}
