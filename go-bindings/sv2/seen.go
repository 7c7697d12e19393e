// The memory of accepted headers, shared by the channels of a pool.

package sv2

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// SeenPerTip is how many accepted headers a pool remembers per tip at least: an hour at a thousand
// shares a second. A header takes 14 to 20 bytes, so that as many on two tips take about 150 MB, and up
// to twice that until the garbage collector has caught up with their growth. See [SeenFor] for more.
const SeenPerTip = 1 << 22

// SeenPerChannel is how many of them one channel may have at least: 18 shares a second for an hour.
const SeenPerChannel = SeenPerTip / 64

const (
	// seenMinutes is for how long a tip's memory has room for what all channels send: a block takes
	// three hours once in 10^8.
	seenMinutes = 180
	// seenMinutesAlone is the same for a single channel: six hours, which no block takes but once in
	// 10^15.
	seenMinutesAlone = 360
)

// forgottenTips is how many forgotten tips are known as such: a week of them.
const forgottenTips = 1024

// Seen remembers which headers were accepted, for the two newest tips, so that no work is credited
// twice, whatever job or channel it comes back under. One per pool; safe for concurrent use.
//
// Room is limited per tip, and per channel within that: a channel that used up its own is refused
// ([RejectRateLimited]) until the next tip. Once half the room of a tip is taken, a channel may have no
// more than its equal part of the whole, so that those who send much leave room for those who don't. A
// channel that is opened anew starts at nothing: how often that may happen is the carrier's to limit.
type Seen struct {
	limit      int
	perChannel int
	fair       int // what each channel may have when there is little room left
	seed       maphash.Seed
	refused    atomic.Bool // for want of room; see Filled

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
	full     bool // somebody was refused for want of room
}

func (m *tipMemory) is(prevHash Hash) bool { return m.headers != nil && m.prevHash == prevHash }

// headerKey stands for a header hash. It is 64 bits of a hash with a key that nobody knows: so short,
// headers that match could else be made. By accident a share of a full memory of 2^26 does once in 2^38,
// and is then taken for a duplicate. Bytes, since a number would be padded to twice its size.
type headerKey [8]byte

func (s *Seen) key(header *Hash) (key headerKey) {
	binary.LittleEndian.PutUint64(key[:], maphash.Bytes(s.seed, header[:]))
	return key
}

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
	return &Seen{limit: limit, perChannel: perChannel, fair: perChannel, seed: maphash.MakeSeed()}
}

// SeenFor is an empty memory for a pool of so many channels that send so many shares a minute each: with
// room for three hours of all of them ([SeenPerTip] headers at least), and for six hours of any single
// one ([SeenPerChannel] at least). Memory is taken only as shares come: the 65,536 channels and 6 shares
// a minute that are the defaults take 5 to 8 MB for each minute that a block takes.
func SeenFor(channels int, sharesPerMinute float64) *Seen {
	channels = max(channels, 1)
	size := func(least int, headers float64) int {
		return int(min(max(float64(least), headers), math.MaxInt/2)) // not beyond what an int holds
	}
	s := NewSeen(size(SeenPerTip, float64(channels)*sharesPerMinute*seenMinutes),
		size(SeenPerChannel, sharesPerMinute*seenMinutesAlone))
	s.fair = max(s.limit/channels, 1)
	return s
}

// Filled reports, once for each tip, that channels were refused since there is little or no room left
// for headers on it. It doesn't count those that used up their own. For the operator's log.
func (s *Seen) Filled() bool { return s.refused.Load() && s.refused.Swap(false) }

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
	key := s.key(&header)
	s.mu.Lock()
	defer s.mu.Unlock()
	tip := s.tip(prevHash)
	if tip == nil {
		return RejectStale, candidate
	}
	mark, known := tip.headers[key]
	offer = candidate && mark&markOffered == 0
	if !known && (held >= s.perChannel || s.wants(tip, held)) {
		return RejectRateLimited, offer
	}
	if mark&markAccepted != 0 {
		reason = RejectDuplicate
	}
	mark |= markAccepted
	if candidate {
		mark |= markOffered
	}
	tip.headers[key] = mark
	return reason, offer
}

// wants reports whether a tip has no room for a new header of a channel that holds so many; the caller
// holds mu.
func (s *Seen) wants(tip *tipMemory, held int) bool {
	if len(tip.headers) < s.limit && (len(tip.headers) < s.limit/2 || held < s.fair) {
		return false
	}
	if !tip.full {
		tip.full = true
		s.refused.Store(true)
	}
	return true
}

// Offer takes the header of a share rejected for policy that meets nbits. It reports whether it was not
// taken as a candidate before; true when that can't be known.
func (s *Seen) Offer(prevHash, header Hash) bool {
	key := s.key(&header)
	s.mu.Lock()
	defer s.mu.Unlock()
	tip := s.tip(prevHash)
	if tip == nil {
		return true
	}
	mark, known := tip.headers[key]
	if mark&markOffered != 0 {
		return false
	}
	if known || len(tip.headers) < s.limit {
		tip.headers[key] = mark | markOffered
	}
	return true
}

// tip is the memory of a tip, nil when the tip is not known; the caller holds mu.
func (s *Seen) tip(prevHash Hash) *tipMemory {
	for i := range s.tips {
		if s.tips[i].is(prevHash) {
			return &s.tips[i]
		}
	}
	return nil
}
