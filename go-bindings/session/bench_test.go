// What a share costs on the way to the host and back.

package session

import (
	"strconv"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// One batch of submits to the host and all its verdicts back, over a real socket; the host hashes each
// share. ns/share is the time per share.
func BenchmarkSubmitRoundTrip(b *testing.B) {
	for _, size := range []int{1, 16, 256} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			server := start(b, Options{}, nil)
			c, _ := server.welcomed(b, goodHello(1))
			c.open(goodOpen(1))
			id := uint64(0)
			for b.Loop() {
				batch := make([]*sv2pb.Submit, size)
				for i := range batch {
					id++
					batch[i] = share(id, 1, uint32(id))
				}
				c.submit(batch...)
				for left := size; left > 0; {
					left -= len(c.next().GetVerdictBatch().GetVerdicts())
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/share")
		})
	}
}

// Eight batches under way all the time, over 16 channels: throughput.
func BenchmarkSubmitPipelined(b *testing.B) {
	const channels, window = 16, 8
	server := start(b, Options{}, nil)
	c, _ := server.welcomed(b, goodHello(1))
	for id := range uint64(channels) {
		c.open(goodOpen(id + 1))
	}
	id, owed := uint64(0), 0
	for b.Loop() {
		batch := make([]*sv2pb.Submit, MaxBatch)
		for i := range batch {
			id++
			batch[i] = share(id, 1+id%channels, uint32(id))
		}
		c.submit(batch...)
		owed += MaxBatch
		for owed > window*MaxBatch {
			owed -= len(c.next().GetVerdictBatch().GetVerdicts())
		}
	}
	for owed > 0 {
		owed -= len(c.next().GetVerdictBatch().GetVerdicts())
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*MaxBatch), "ns/share")
}
