// The memory of accepted headers, shared by the channels of a pool.

package sv2

import (
	"slices"
	"sync"
)

// SeenPerTip is how many accepted headers a pool remembers per tip: an hour at a thousand shares a
// second. A header takes 24 to 36 bytes, so that a full memory of two tips takes about 300 MB, and up
// to twice that until the garbage collector has caught up with its growth.
const SeenPerTip = 1 << 22

// SeenPerChannel is how many of them one channel may have at least: 18 shares a second for an hour.
const SeenPerChannel = SeenPerTip / 64

// forgottenTips is how many forgotten tips are known as such: a week of them.
const forgottenTips = 1024

// Seen remembers which headers were accepted, for the two newest tips, so that no work is credited
// twice, whatever job or channel it comes back under. One per pool; safe for concurrent use.
//
// Room is limited per tip, and per channel within that: only the channel that used up its own is refused
// ([RejectRateLimited]) until the next tip. A channel that is opened anew starts at nothing: how often
// that may happen is the carrier's to limit.
type Seen struct {
	limit      int
	perChannel int

	mu   sync.Mutex
	tips [2]tipMemory // newest first
	// forgotten tips are not taken up again: what was accepted on them is forgotten, too. A ring, with
	// the place of the oldest once it is full.
	forgotten []Hash
	oldest    int
}

// tipMemory holds what was seen on one tip. A nil map is an unused slot.
type tipMemory struct {
	prevHash Hash
	headers  map[headerKey]headerMark
}

func (m *tipMemory) is(prevHash Hash) bool { return m.headers != nil && m.prevHash == prevHash }

// headerKey is the half of a header hash that no target reaches, so half the memory does: 128 bits make
// an accidental match a matter of 2^64 shares.
type headerKey [16]byte

type headerMark uint8

const (
	markAccepted headerMark = 1 << iota // credited
	markOffered                         // taken as a block candidate
)

// NewSeen is an empty memory of at most limit headers per tip, of which one channel may have perChannel.
// Below 1 they mean [SeenPerTip] and 1/64 of the limit.
func NewSeen(limit, perChannel int) *Seen {
	if limit < 1 {
		limit = SeenPerTip
	}
	if perChannel < 1 {
		perChannel = max(limit/64, 1)
	}
	return &Seen{limit: limit, perChannel: perChannel}
}

// Tip says that a tip is the newest. When it was not known, the older of the two known before is
// forgotten, and shares on that are stale from then on.
//
// A forgotten tip stays forgotten: a job for it that comes late changes nothing, and shares on it are
// stale. So they are, until the next block, where a node is made to go back by two blocks or more.
func (s *Seen) Tip(prevHash Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.tips[0].is(prevHash):
		return
	case s.tips[1].is(prevHash):
		s.tips[0], s.tips[1] = s.tips[1], s.tips[0]
		return
	case slices.Contains(s.forgotten, prevHash):
		return
	}
	if s.tips[1].headers != nil {
		s.forget(s.tips[1].prevHash)
	}
	s.tips[1] = s.tips[0]
	s.tips[0] = tipMemory{prevHash: prevHash, headers: make(map[headerKey]headerMark)}
}

// forget enters a tip in the ring; the caller holds mu.
func (s *Seen) forget(prevHash Hash) {
	if len(s.forgotten) < forgottenTips {
		s.forgotten = append(s.forgotten, prevHash)
		return
	}
	s.forgotten[s.oldest] = prevHash
	s.oldest = (s.oldest + 1) % forgottenTips
}

// Accept remembers an accepted header. The reason is RejectNone when it is new, RejectDuplicate when it
// was accepted before, RejectStale when the tip is forgotten and RejectRateLimited when there is no
// room. held is how many headers of the tip the channel has in the memory, one for each RejectNone.
// candidate says that the header meets nbits; offer is true when it is one and was not taken as a
// candidate before, or when that can't be known.
func (s *Seen) Accept(
	prevHash, header Hash, held int, candidate bool,
) (reason RejectReason, offer bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	headers := s.headers(prevHash)
	if headers == nil {
		return RejectStale, candidate
	}
	key := headerKey(header[:16])
	mark, known := headers[key]
	offer = candidate && mark&markOffered == 0
	if !known && (len(headers) >= s.limit || held >= s.perChannel) {
		return RejectRateLimited, offer
	}
	if mark&markAccepted != 0 {
		reason = RejectDuplicate
	}
	mark |= markAccepted
	if candidate {
		mark |= markOffered
	}
	headers[key] = mark
	return reason, offer
}

// Offer takes the header of a share rejected for policy that meets nbits. It reports whether it was not
// taken as a candidate before; true when that can't be known.
func (s *Seen) Offer(prevHash, header Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	headers := s.headers(prevHash)
	key := headerKey(header[:16])
	mark, known := headers[key]
	if mark&markOffered != 0 {
		return false
	}
	if headers != nil && (known || len(headers) < s.limit) {
		headers[key] = mark | markOffered
	}
	return true
}

// headers is the memory of a tip, nil when the tip is not known; the caller holds mu.
func (s *Seen) headers(prevHash Hash) map[headerKey]headerMark {
	for i := range s.tips {
		if s.tips[i].is(prevHash) {
			return s.tips[i].headers
		}
	}
	return nil
}
