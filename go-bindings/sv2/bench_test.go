// The cost of judging one share: go test -run - -bench Judge ./sv2
package sv2

import (
	"testing"
	"time"
)

func BenchmarkJudge(b *testing.B) {
	job := testJob(1, 'a', hardBits)
	job.CoinbasePrefix = make([]byte, 110)
	job.CoinbaseSuffix = make([]byte, 150)
	job.MerklePath = make([]Hash, 12)
	for _, bench := range []struct {
		name   string
		size   int
		target Target
	}{
		{"extended/rejected", 8, Target{}},
		{"extended/accepted", 8, MaxTarget},
		{"standard/accepted", 0, MaxTarget},
	} {
		b.Run(bench.name, func(b *testing.B) {
			check := NewCheck([]byte{1, 2, 3, 4}, bench.size, bench.target, NewSeen(0, SeenPerTip))
			if err := check.AddJob(job); err != nil {
				b.Fatal(err)
			}
			submit := testSubmit(1, 0)
			submit.Extranonce = make([]byte, bench.size)
			now := time.Unix(1500, 0)
			b.ReportAllocs()
			for b.Loop() {
				submit.Nonce++
				check.Judge(submit, now)
			}
		})
	}
}
