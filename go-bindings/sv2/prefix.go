// Extranonce prefixes, each for one holder at a time, over restarts of the pool too.

package sv2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"sync"
)

// ErrNoPrefix says that every extranonce prefix is in use.
var ErrNoPrefix = errors.New("every extranonce prefix is in use")

// ErrPrefixTaken says that a wanted extranonce prefix can't be granted: somebody has it, or it is none
// of this allocator's.
var ErrPrefixTaken = errors.New("the wanted extranonce prefix is not free")

// quarantineSize is how many released prefixes are held back at most.
const quarantineSize = 65536

// ExtranonceAllocator hands out extranonce prefixes of one length, each to one holder at a time. A prefix
// given back is held in quarantine and comes again as late as the space allows, because shares mined
// with it may still be under way, and because its holder may come back and want it: who wants a certain
// prefix gets it out of quarantine, too.
//
// [ExtranonceAllocator.StartEra] keeps what one start of the pool hands out apart from what others did.
// Safe for concurrent use.
type ExtranonceAllocator struct {
	leading []byte
	size    int
	last    uint64 // the largest index

	mu sync.Mutex
	// An index is an era above a counter: base is the era's first index, mask the counter's bits.
	base, mask uint64
	cursor     uint64 // where the search for a counter goes on
	held       map[uint64]struct{}
	taken      uint64 // how many of the era's are held or rest
	// quarantine is a queue of released indices of the era, oldest first; resting has the ticket of those
	// that are still in it. Whoever wanted one has left its place behind.
	quarantine []rest
	resting    map[uint64]uint64
	tickets    uint64
}

// rest is a place in quarantine.
type rest struct{ index, ticket uint64 }

// NewExtranonceAllocator hands out prefixes of size bytes, 1 to 32, that all start with leading, which
// must be shorter than size.
func NewExtranonceAllocator(leading []byte, size int) (*ExtranonceAllocator, error) {
	if size < 1 || size > maxFullExtranonce {
		return nil, fmt.Errorf("extranonce prefix of %d bytes: 1 to %d", size, maxFullExtranonce)
	}
	if len(leading) >= size {
		return nil, fmt.Errorf("extranonce prefix of %d bytes starts with %d fixed ones: at least one "+
			"must be left to tell channels apart", size, len(leading))
	}
	a := &ExtranonceAllocator{
		leading: bytes.Clone(leading),
		size:    size,
		last:    math.MaxUint64,
		held:    make(map[uint64]struct{}),
		resting: make(map[uint64]uint64),
	}
	if free := size - len(leading); free < 8 {
		a.last = 1<<(8*free) - 1
	}
	a.mask = a.last
	return a, nil
}

// StartEra makes [ExtranonceAllocator.Allocate] hand out prefixes of one era only: those whose index,
// the number behind the leading bytes, is era above a counter of counterBits bits. Eras that differ in
// their EraBits lowest bits have no prefix in common. It returns how many bits that is; at 0 there is
// one era, with room for all. Once, before the first prefix is handed out.
//
// A pool that gives each start the next era never hands out, to somebody new, a prefix that a channel of
// one of the 2^EraBits - 1 starts before may come back for, be they still open or not, whatever the
// clock says and however short those lives were. Wanted prefixes are granted from any era.
func (a *ExtranonceAllocator) StartEra(era uint64, counterBits int) (eraBits int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	total := bits.Len64(a.last)
	counterBits = min(max(counterBits, 1), total)
	a.mask = a.last >> (total - counterBits)
	a.base = 0
	if counterBits < total {
		a.base = era << counterBits & a.last
	}
	a.cursor &= a.mask
	return total - counterBits
}

// StartAt moves the place from which the prefixes of the era are counted up, modulo their number.
func (a *ExtranonceAllocator) StartAt(index uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cursor = index & a.mask
}

// Allocate hands out a prefix that nobody holds; it is the caller's. The error is [ErrNoPrefix].
func (a *ExtranonceAllocator) Allocate() ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	// As long as not all indices are held or resting, the search comes to one that is neither.
	if a.taken <= a.mask {
		for a.isTaken(a.base | a.cursor) {
			a.cursor = (a.cursor + 1) & a.mask
		}
		index := a.base | a.cursor
		a.cursor = (a.cursor + 1) & a.mask
		a.hold(index)
		return a.prefix(index), nil
	}
	index, ok := a.wake()
	if !ok {
		return nil, ErrNoPrefix
	}
	a.hold(index)
	return a.prefix(index), nil
}

// AllocateWanted hands out exactly this prefix, of whatever era, if nobody holds it. The error is
// [ErrPrefixTaken].
func (a *ExtranonceAllocator) AllocateWanted(prefix []byte) error {
	index, ok := a.index(prefix)
	if !ok {
		return ErrPrefixTaken
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, held := a.held[index]; held {
		return ErrPrefixTaken
	}
	if _, rests := a.resting[index]; rests {
		delete(a.resting, index)
		a.taken--
	}
	a.hold(index)
	return nil
}

// Release gives a prefix back. It reports whether it was held.
func (a *ExtranonceAllocator) Release(prefix []byte) bool {
	index, ok := a.index(prefix)
	if !ok {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok = a.held[index]; !ok {
		return false
	}
	delete(a.held, index)
	if !a.ofEra(index) {
		return true // nobody new gets it
	}
	a.tickets++
	a.quarantine = append(a.quarantine, rest{index, a.tickets})
	a.resting[index] = a.tickets
	if len(a.quarantine) > quarantineSize {
		a.leave()
	}
	return true
}

// Held is how many prefixes are in use.
func (a *ExtranonceAllocator) Held() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.held)
}

func (a *ExtranonceAllocator) isTaken(index uint64) bool {
	if _, held := a.held[index]; held {
		return true
	}
	_, resting := a.resting[index]
	return resting
}

func (a *ExtranonceAllocator) ofEra(index uint64) bool { return index&^a.mask == a.base }

// hold gives an index that is neither held nor resting a holder.
func (a *ExtranonceAllocator) hold(index uint64) {
	a.held[index] = struct{}{}
	if a.ofEra(index) {
		a.taken++
	}
}

// leave takes the oldest place out of quarantine. It reports whether its index still rested there.
func (a *ExtranonceAllocator) leave() (index uint64, rested bool) {
	oldest := a.quarantine[0]
	a.quarantine = a.quarantine[1:]
	if a.resting[oldest.index] != oldest.ticket {
		return 0, false
	}
	delete(a.resting, oldest.index)
	a.taken--
	return oldest.index, true
}

// wake takes the oldest index out of quarantine, if there is one.
func (a *ExtranonceAllocator) wake() (uint64, bool) {
	for len(a.quarantine) > 0 {
		if index, rested := a.leave(); rested {
			return index, true
		}
	}
	return 0, false
}

// prefix writes an index behind the leading bytes, big-endian and right-aligned.
func (a *ExtranonceAllocator) prefix(index uint64) []byte {
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], index)
	prefix := make([]byte, a.size)
	copy(prefix, a.leading)
	copy(prefix[a.counterAt():], counter[8-(a.size-a.counterAt()):])
	return prefix
}

// index is the reverse of prefix; false when prefix is none of this allocator's.
func (a *ExtranonceAllocator) index(prefix []byte) (uint64, bool) {
	if len(prefix) != a.size || !bytes.HasPrefix(prefix, a.leading) {
		return 0, false
	}
	for _, b := range prefix[len(a.leading):a.counterAt()] {
		if b != 0 {
			return 0, false
		}
	}
	var counter [8]byte
	copy(counter[8-(a.size-a.counterAt()):], prefix[a.counterAt():])
	return binary.BigEndian.Uint64(counter[:]), true
}

// counterAt is where the counter starts: behind the leading bytes, at most 8 from the end.
func (a *ExtranonceAllocator) counterAt() int { return max(len(a.leading), a.size-8) }
