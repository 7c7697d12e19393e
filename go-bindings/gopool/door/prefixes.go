// Extranonce prefixes of Stratum V2 channels: apart from those of Stratum V1, and for one miner each,
// over restarts of the pool too.

package door

import (
	"fmt"
	"path/filepath"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

const (
	// prefixSize is that of goPool's extranonce1, in bytes.
	prefixSize = 4
	// counterBits is room for a million channels, and as many that rest in quarantine; it leaves 2048
	// starts of the pool before prefixes come again.
	counterBits = 20
	eraBits     = 8*prefixSize - 1 - counterBits
	// ours is the highest bit of a prefix. goPool counts extranonce1 up from 1, and never gets there.
	ours = 0x80
	// eraName is the file with the number of this start, in the pool's state folder.
	eraName = "sv2_era"
)

// prefixes hands out extranonce prefixes with the highest bit set.
type prefixes struct{ free *sv2.ExtranonceAllocator }

func newPrefixes(state string) (*prefixes, error) {
	era, err := sv2.NextEra(filepath.Join(state, eraName))
	if err != nil {
		return nil, err
	}
	free, err := sv2.NewExtranonceAllocator(nil, prefixSize)
	if err != nil {
		return nil, fmt.Errorf("extranonce prefixes: %w", err)
	}
	free.StartEra(1<<eraBits|era&(1<<eraBits-1), counterBits)
	return &prefixes{free}, nil
}

// take is a prefix for a channel; give it back with release. A channel that comes back after a restart
// gets the one that it had, which its wanted prefix begins with.
func (p *prefixes) take(wanted []byte) ([]byte, error) {
	if len(wanted) >= prefixSize && wanted[0]&ours != 0 {
		before := append([]byte(nil), wanted[:prefixSize]...)
		if p.free.AllocateWanted(before) == nil {
			return before, nil
		}
	}
	return p.free.Allocate()
}

func (p *prefixes) release(prefix []byte) { p.free.Release(prefix) }
