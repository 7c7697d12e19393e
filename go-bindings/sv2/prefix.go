// Extranonce prefixes, each for one holder at a time.

package sv2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
)

// ErrNoPrefix says that every extranonce prefix is in use.
var ErrNoPrefix = errors.New("every extranonce prefix is in use")

// ErrPrefixTaken says that a wanted extranonce prefix can't be granted: somebody has it, gave it back
// too recently, or it is none of this allocator's.
var ErrPrefixTaken = errors.New("the wanted extranonce prefix is not free")

// quarantineSize is how many released prefixes are held back at most.
const quarantineSize = 65536

// ExtranonceAllocator hands out extranonce prefixes of one length, each to one holder at a time. A prefix
// given back is held in quarantine and comes again as late as the space allows, because shares mined
// with it may still be under way. Safe for concurrent use.
type ExtranonceAllocator struct {
	leading []byte
	size    int
	last    uint64 // the largest index

	mu     sync.Mutex
	cursor uint64 // where the search for an index goes on
	held   map[uint64]struct{}
	// quarantine is a queue of released indices, oldest first; resting says which are in it.
	quarantine []uint64
	resting    map[uint64]struct{}
}

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
		resting: make(map[uint64]struct{}),
	}
	if free := size - len(leading); free < 8 {
		a.last = 1<<(8*free) - 1
	}
	return a, nil
}

// StartAt moves the place from which prefixes are counted up, modulo their number. For the start of a
// pool, so that two runs don't hand out the same ones at once.
func (a *ExtranonceAllocator) StartAt(index uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cursor = index & a.last
}

// Allocate hands out a prefix that nobody holds; it is the caller's. The error is [ErrNoPrefix].
func (a *ExtranonceAllocator) Allocate() ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	// As long as not all indices are held or resting, the search comes to one that is neither.
	if taken := uint64(len(a.held) + len(a.resting)); taken <= a.last {
		for a.isTaken(a.cursor) {
			a.cursor = (a.cursor + 1) & a.last
		}
		index := a.cursor
		a.cursor = (a.cursor + 1) & a.last
		a.held[index] = struct{}{}
		return a.prefix(index), nil
	}
	if len(a.quarantine) == 0 {
		return nil, ErrNoPrefix
	}
	index := a.wake()
	a.held[index] = struct{}{}
	return a.prefix(index), nil
}

// AllocateWanted hands out exactly this prefix, if it is free and not in quarantine. The error is
// [ErrPrefixTaken].
func (a *ExtranonceAllocator) AllocateWanted(prefix []byte) error {
	index, ok := a.index(prefix)
	if !ok {
		return ErrPrefixTaken
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.isTaken(index) {
		return ErrPrefixTaken
	}
	a.held[index] = struct{}{}
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
	a.quarantine = append(a.quarantine, index)
	a.resting[index] = struct{}{}
	if len(a.quarantine) > quarantineSize {
		a.wake()
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

// wake takes the oldest index out of quarantine; there must be one.
func (a *ExtranonceAllocator) wake() uint64 {
	index := a.quarantine[0]
	a.quarantine = a.quarantine[1:]
	delete(a.resting, index)
	return index
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
