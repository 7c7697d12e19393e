// The memory of accepted headers, shared by the channels of a pool.

package sv2

import "sync"

// SeenPerTip is how many accepted headers a pool remembers per tip: an hour at a thousand shares a
// second. A full memory takes about 150 MB.
const SeenPerTip = 1 << 22

// Seen remembers which headers were accepted, for the newest tip and the one before, so that no work
// is credited twice, whatever job or channel it comes back under. One per pool; safe for concurrent use.
type Seen struct {
	mu    sync.Mutex
	limit int
	tips  [2]tipMemory // newest first
}

// tipMemory holds what was seen on one tip. A nil map is an unused slot.
type tipMemory struct {
	prevHash Hash
	headers  map[headerKey]headerMark
}

// headerKey is the half of a header hash that no target reaches, so half the memory does: 128 bits make
// an accidental match a matter of 2^64 shares.
type headerKey [16]byte

type headerMark uint8

const (
	markAccepted headerMark = 1 << iota // credited
	markOffered                         // taken as a block candidate
)

// NewSeen is an empty memory of at most limit headers per tip; below 1 means [SeenPerTip].
func NewSeen(limit int) *Seen {
	if limit < 1 {
		limit = SeenPerTip
	}
	return &Seen{limit: limit}
}

// Tip makes a tip known. When it is new, the older of the two known before is forgotten, and shares on
// that are stale from then on.
func (s *Seen) Tip(prevHash Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.headers(prevHash) != nil {
		return
	}
	s.tips[1] = s.tips[0]
	s.tips[0] = tipMemory{prevHash: prevHash, headers: make(map[headerKey]headerMark)}
}

// Accept remembers an accepted header. The reason is RejectNone when it is new, RejectDuplicate when it
// was accepted before, RejectStale when the tip is forgotten and RejectRateLimited when there is no
// room. candidate says that the header meets nbits; offer is true when it is one and was not taken as
// a candidate before, or when that can't be known.
func (s *Seen) Accept(prevHash, header Hash, candidate bool) (reason RejectReason, offer bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	headers := s.headers(prevHash)
	if headers == nil {
		return RejectStale, candidate
	}
	key := headerKey(header[:16])
	mark, known := headers[key]
	offer = candidate && mark&markOffered == 0
	if !known && len(headers) >= s.limit {
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
		if s.tips[i].prevHash == prevHash {
			return s.tips[i].headers
		}
	}
	return nil
}
