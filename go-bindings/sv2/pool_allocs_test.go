// What a share takes from the heap in the pool.

package sv2

import "testing"

// counter is a Sink that counts verdicts, and keeps none.
type counter struct {
	Sink
	verdicts chan int
}

func (c *counter) Verdicts(verdicts []Verdict) { c.verdicts <- len(verdicts) }

// All of the pool's memory for shares is used again, but that for their hashes, of which many come at once.
func TestTakesNoObjectForAShare(t *testing.T) {
	r := newRig(t, func(config *PoolConfig, _ *rig) { config.OnVerdict = nil })
	sink := &counter{Sink: newTape(), verdicts: make(chan int, 256)}
	channel, opened, err := r.OpenChannel(t.Context(), extendedRequest(), sink)
	if err != nil {
		t.Fatal(err)
	}
	m := &miner{Channel: channel, Opened: opened}
	for _, size := range []int{1, 16, 100} {
		const runs = 200
		shares := m.shares(opened.Job, (runs+1)*size)
		objects := testing.AllocsPerRun(runs, func() {
			channel.Submit(shares[:size])
			shares = shares[size:]
			for left := size; left > 0; {
				left -= <-sink.verdicts
			}
		}) / float64(size)
		t.Logf("batches of %d: %.3f objects a share", size, objects)
		if objects >= 0.5 {
			t.Errorf("batches of %d: %.2f objects a share", size, objects)
		}
	}
	channel.Close("test")
}
