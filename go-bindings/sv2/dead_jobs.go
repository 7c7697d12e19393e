// Which jobs a channel had, after they are forgotten.

package sv2

import "slices"

// rememberedJobs is how many forgotten jobs of a channel are remembered by their ids: a quarter of an
// hour's, at one in 28 seconds, in 256 bytes.
const rememberedJobs = 32

// deadJobs tells a job that died, whose shares are stale, from one that the channel never had. It is exact
// for the last rememberedJobs of them. Of those before it knows the range of their ids: what is in that,
// that old, counts as one of them. The zero value is empty.
type deadJobs struct {
	ids  []uint64 // a ring when it is full
	next int      // the oldest then
	// low and high are the lowest and the highest id that left the ring; high 0: none did.
	low, high uint64
}

// add takes in a job that is forgotten.
func (d *deadJobs) add(id uint64) {
	if len(d.ids) < rememberedJobs {
		d.ids = append(d.ids, id)
		return
	}
	left := d.ids[d.next]
	if d.high == 0 {
		d.low = left
	}
	d.low, d.high = min(d.low, left), max(d.high, left)
	d.ids[d.next] = id
	d.next = (d.next + 1) % rememberedJobs
}

// has reports whether the channel had that job once.
func (d *deadJobs) has(id uint64) bool {
	return d.high != 0 && d.low <= id && id <= d.high || slices.Contains(d.ids, id)
}
