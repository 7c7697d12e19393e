// The pool with everything happening at once; run it with -race.
package sv2

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSurvivesMinersTipsAndTargetsAtOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		miners := rapid.IntRange(1, 8).Draw(rt, "miners")
		tips := rapid.IntRange(0, 20).Draw(rt, "tips")
		seed := rapid.Uint64().Draw(rt, "seed")
		r := newRig(t, nil)

		var held sync.Map // prefixes of open channels
		var all sync.WaitGroup
		for i := range miners {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			all.Go(func() {
				for range 3 {
					oneMiner(t, r, random, &held)
				}
			})
		}
		all.Go(func() {
			for range tips {
				r.template.Add(1)
				if err := r.Refresh(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for range tips {
				r.seconds.Add(30)
				if err := r.retarget(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
		all.Wait()

		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			rt.Fatal(err)
		}
		if held := r.prefixes.Held(); held != 0 || len(r.Channels()) != 0 {
			rt.Fatalf("%d prefixes, %d channels are left", held, len(r.Channels()))
		}
		if t.Failed() {
			rt.Fatal("see above")
		}
	})
}

// oneMiner opens a channel, mines through whatever happens, and leaves.
func oneMiner(t *testing.T, r *rig, random *rand.Rand, held *sync.Map) {
	started := r.template.Load()
	request := extendedRequest()
	if random.IntN(2) == 0 {
		request.Kind = Standard
	}
	m := r.join(t, request)
	if m.Opened.Job.Height < started {
		t.Errorf("opened at template %d with work of %d", started, m.Opened.Job.Height)
	}
	prefix := string(m.Prefix[:4])
	if _, taken := held.LoadOrStore(prefix, true); taken {
		t.Errorf("prefix %x has two holders", prefix)
	}
	for range 10 {
		m.Submit(m.shares(m.job(), random.IntN(20)))
		if random.IntN(4) == 0 {
			update := UpdateRequest{NominalHashRate: random.Float64() * 100, MaxTarget: MaxTarget}
			if err := m.Update(t.Context(), update); err != nil {
				t.Errorf("update: %v", err)
			}
		}
	}
	if random.IntN(3) > 0 {
		verdicts := await[Verdict](t, m.tape, int(m.next))
		for i, verdict := range verdicts {
			if verdict.SubmitID != uint64(i+1) {
				t.Errorf("verdict %d is for submit %d", i, verdict.SubmitID)
				break
			}
		}
		if len(verdicts) != int(m.next) {
			t.Errorf("%d verdicts on %d submits", len(verdicts), m.next)
		}
	} // else it leaves with verdicts owed
	held.Delete(prefix) // before the pool may give it to another
	m.leave()
	height := m.Opened.Job.Height
	for _, job := range of[*Job](m.tape) {
		if job.Height < height {
			t.Errorf("work went back from template %d to %d", height, job.Height)
		}
		height = job.Height
	}
	m.tape.mu.Lock()
	defer m.tape.mu.Unlock()
	if m.tooLate > 0 {
		t.Errorf("%d events after Close had returned", m.tooLate)
	}
}

func TestAChannelOpenedDuringARefreshEndsWithTheNewestJob(t *testing.T) {
	for range 200 {
		r := newRig(t, nil)
		r.join(t, extendedRequest())
		var m *miner
		var both sync.WaitGroup
		both.Go(func() { m = r.join(t, extendedRequest()) })
		both.Go(func() { r.newTip(t) })
		both.Wait()
		if got := m.job().Height; got != 2 {
			t.Fatalf("ended with work of template %d", got)
		}
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
