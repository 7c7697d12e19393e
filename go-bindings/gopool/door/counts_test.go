package door

import (
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// deafSink takes the results of blocks.
type deafSink struct{ sv2.Sink }

func (deafSink) BlockResult(sv2.BlockResult) {}

func TestABlockThatNobodyDecidedOnIsNotCountedAsRefused(t *testing.T) {
	d := &Door{counts: &counts{connections: map[connection]int{}}}
	sink := &countedSink{deafSink{}, &life{counts: d.counts}}
	for _, result := range []sv2.BlockResult{{Accepted: true}, {Unknown: true}, {Unknown: true}, {}} {
		sink.BlockResult(result)
	}
	c := d.counts
	if c.taken.Load() != 1 || c.undecided.Load() != 2 || c.refusedBlocks.Load() != 1 {
		t.Errorf("taken %d, undecided %d, refused %d; want 1, 2, 1", c.taken.Load(), c.undecided.Load(),
			c.refusedBlocks.Load())
	}
}
