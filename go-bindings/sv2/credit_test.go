// Nobody is paid twice for the same work, whatever he holds back and however his target moves.
package sv2

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// fair is how much more than its work a miner may be credited with: what luck does to some hundred
// shares. Work paid twice is 2.
const fair = 1.25

// hashesTarget is the target that takes n hashes a share.
func hashesTarget(n int64) Target {
	return TargetFromBig(new(big.Int).Sub(new(big.Int).Quo(two256, big.NewInt(n)), big.NewInt(1)))
}

// worth is the credit that n hashes deserve.
func worth(n int) float64 { return float64(n) * hashesTarget(1<<20).Difficulty().Float() / (1 << 20) }

// withholder is a miner that keeps what it found until it pays.
type withholder struct {
	kept   []Submit
	nextID uint64
	hashes int
	credit float64
}

// dig tries n nonces of a job and keeps what meets the easiest target ever given.
func (w *withholder) dig(job *Job, prefix, extranonce []byte, n int, easiest Target) {
	root := MerkleRoot(job, prefix, extranonce)
	for range n {
		submit := Submit{ID: w.nextID, JobID: job.ID, Nonce: uint32(w.nextID), NTime: job.MinNTime,
			Version: job.Version, Extranonce: extranonce}
		w.nextID++
		if HashHeader(Header(job, root, submit)).Meets(easiest) {
			w.kept = append(w.kept, submit)
		}
	}
	w.hashes += n
}

// book adds up what verdicts pay, and forgets the shares that were.
func (w *withholder) book(verdicts []Verdict) {
	paid := map[uint64]bool{}
	for _, verdict := range verdicts {
		w.credit += verdict.Credit.Float()
		paid[verdict.SubmitID] = verdict.Accepted()
	}
	w.kept = slices.DeleteFunc(w.kept, func(s Submit) bool { return paid[s.ID] })
}

func TestNoOrderOfTargetsAndJobsPaysTheSameWorkTwice(t *testing.T) {
	levels := []int64{1 << 4, 1 << 5, 1 << 6, 1 << 8, 1 << 9}
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(seed, 7))
		check := NewCheck([]byte{9, 9}, 2, hashesTarget(1<<9), NewSeen(0, 0))
		extranonce := []byte{byte(seed), 0}
		nextJob, tip := uint64(0), byte('a')
		addJob := func() {
			nextJob++
			addJobs(t, check, testJob(nextJob, tip, hardBits))
		}
		w := &withholder{}
		prompt := seed%3 > 0 // hands in after each step what it has, again and again
		handIn := func() {
			var verdicts []Verdict
			for _, submit := range w.kept {
				verdicts = append(verdicts, judgeAt(check, submit, 1500))
			}
			w.book(verdicts)
		}
		addJob()
		for range 16 {
			job := check.Job(nextJob - uint64(random.IntN(int(min(nextJob, 3))))) // of the newest
			if job == nil || job.PrevHash != check.tip {
				job = check.Job(nextJob)
			}
			w.dig(job, check.prefix, extranonce, 1<<12, hashesTarget(levels[0]))
			if prompt {
				handIn()
			}
			switch random.IntN(5) {
			case 0:
				addJob()
			case 1:
				tip++
				addJob()
			case 2:
				check.SetTarget(hashesTarget(levels[random.IntN(len(levels))]))
				addJob()
			default: // and no job follows
				check.SetTarget(hashesTarget(levels[random.IntN(len(levels))]))
			}
			if prompt {
				handIn()
			}
		}
		handIn()
		if got := w.credit / worth(w.hashes); got > fair || (prompt && got < 1/fair) {
			t.Errorf("seed %d: %.2f times its work", seed, got)
		}
	}
}

func TestWorkHeldBackUntilTheTargetIsEasyIsNotPaidTwice(t *testing.T) {
	const hashes = 1 << 16
	hard, easy := int64(1<<9), int64(1<<4)
	rate := func(perShare int64) float64 { return float64(perShare) * DefaultSharesPerMinute / 60 }
	type step func(t *testing.T, r *rig, m *miner, level int64)
	update := func(t *testing.T, r *rig, m *miner, level int64) {
		r.seconds.Add(100_000) // silent for so long that nobody doubts the new rate
		request := UpdateRequest{NominalHashRate: rate(level), MaxTarget: MaxTarget}
		if err := m.Update(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	silence := func(t *testing.T, r *rig, _ *miner, _ int64) {
		r.seconds.Add(100_000)
		_ = r.retarget(t.Context()) // fails where there are no jobs
	}
	for name, test := range map[string]struct {
		ease step
		jobs bool
	}{
		"updates":                  {update, true},
		"updates without a job":    {update, false},
		"a silent miner":           {silence, true},
		"a silent one without job": {silence, false},
	} {
		t.Run(name, func(t *testing.T) {
			var noJobs atomic.Bool
			var number uint64 // of the job: other than its id, the same in each run
			r := newRig(t, func(c *PoolConfig, r *rig) {
				c.Limits.Easiest = hashesTarget(easy)
				c.OnError = nil
				c.QueueSize = hashes
				c.BuildJob = func(ctx context.Context, request JobRequest) (*Job, error) {
					if noJobs.Load() {
						return nil, errors.New("node is down")
					}
					job, err := r.buildJob(ctx, request)
					number++
					job.CoinbasePrefix = binary.LittleEndian.AppendUint64(nil, number)
					job.MaxNTime = 1 << 31
					return job, err
				}
			})
			request := extendedRequest()
			request.NominalHashRate = rate(hard)
			request.WantedPrefix = []byte{1, 2, 3, 4}
			m := r.join(t, request)
			w := &withholder{}
			w.dig(m.job(), m.Prefix, make([]byte, m.ExtranonceSize), hashes, hashesTarget(easy))
			handIn := func() {
				before := len(of[Verdict](m.tape))
				m.Submit(slices.Clone(w.kept))
				w.book(await[Verdict](t, m.tape, before+len(w.kept))[before:])
			}
			// First what meets the hard target, then what meets each easier one.
			handIn()
			noJobs.Store(!test.jobs)
			for level := hard / 2; level >= easy; level /= 2 {
				test.ease(t, r, m, level)
				handIn()
			}
			if got := w.credit / worth(w.hashes); got > fair || got < 1/fair {
				t.Errorf("%.2f times its work", got)
			}
		})
	}
}

// What the tolerance for shares of an easier target is worth to who digs on a future job, keeps what is
// too easy, and hands it in each time the target gets easier: nothing, to the last share. Were it paid,
// even at the easier target only, he would get several times his work.
func TestTG1WorkHeldBackOnAFutureJobIsTakenButPaysNothing(t *testing.T) {
	const hashes = 1 << 16
	hard, easy := int64(1<<9), int64(1<<4)
	check := newTestCheck(t, hashesTarget(hard), testJob(1, 'a', hardBits))
	w := &withholder{}
	w.dig(check.Job(1), check.prefix, []byte{0, 0}, hashes, hashesTarget(easy))
	honest, found := Difficulty{}, len(w.kept)
	for _, submit := range w.kept {
		header, _ := check.Header(submit)
		if HashHeader(header).Meets(hashesTarget(hard)) {
			honest = honest.Add(hashesTarget(hard).Difficulty())
		}
	}
	literal := 0.0
	for level := hard; level >= easy; level /= 2 {
		if level < hard {
			check.SetTarget(hashesTarget(level))
			addJobs(t, check, testJob(uint64(hard/level), 'a', hardBits))
		}
		var verdicts []Verdict
		for _, submit := range w.kept {
			verdict := judgeAt(check, submit, 1500)
			if verdict.Accepted() {
				literal += hashesTarget(level).Difficulty().Float()
			}
			verdicts = append(verdicts, verdict)
		}
		w.book(verdicts)
	}
	work := worth(hashes)
	t.Logf("%d shares kept: credited %.2f times the work, %.2f if all were paid at the target they met",
		found, w.credit/work, literal/work)
	if len(w.kept) != 0 {
		t.Errorf("%d shares of the easiest target were refused", len(w.kept))
	}
	if got := w.credit; math.Abs(got-honest.Float()) > 1e-12 || got/work > fair || got/work < 1/fair {
		t.Errorf("%.2f times its work, an honest miner gets %.2f", got/work, honest.Float()/work)
	}
	if literal/work < 2 {
		t.Errorf("holding back would have paid %.2f times the work: the test shows nothing", literal/work)
	}
}

func TestAnEasierTargetWaitsForItsJob(t *testing.T) {
	var noJobs atomic.Bool
	var faults atomic.Int32
	r := newRig(t, func(c *PoolConfig, r *rig) {
		c.Limits = testLimits()
		c.OnError = func(error) { faults.Add(1) }
		c.BuildJob = func(ctx context.Context, request JobRequest) (*Job, error) {
			if noJobs.Load() {
				return nil, errors.New("node is down")
			}
			return r.buildJob(ctx, request)
		}
	})
	request := extendedRequest()
	request.NominalHashRate = 1e14
	m := r.join(t, request)
	update := func(maxTarget Target, hashRate float64) {
		t.Helper()
		if err := m.Update(t.Context(), UpdateRequest{hashRate, maxTarget}); err != nil {
			t.Fatal(err)
		}
	}
	easier, harder := TargetFromHashRate(1e12, 6), TargetFromDifficulty(1e8)
	noJobs.Store(true)
	update(MaxTarget, 1e12)
	if got := of[any](m.tape); len(got) != 0 || faults.Load() != 1 {
		t.Errorf("without a job: %+v, %d faults told", got, faults.Load())
	}
	if err := r.retarget(t.Context()); err == nil || len(of[any](m.tape)) != 0 {
		t.Errorf("the next second: %v, %+v", err, of[any](m.tape))
	}
	noJobs.Store(false)
	r.newTip(t)
	if got := of[any](m.tape); len(got) != 2 || got[0] != easier || got[1].(*Job).Height != 2 {
		t.Errorf("with a job: %+v", got)
	}
	// The miner's maximum is kept at once, and its job follows as soon as there is one.
	noJobs.Store(true)
	update(harder, 1e12)
	if got := of[any](m.tape); len(got) != 3 || got[2] != harder {
		t.Errorf("harder: %+v", got)
	}
	noJobs.Store(false)
	if err := r.retarget(t.Context()); err != nil || len(of[Target](m.tape)) != 2 ||
		len(of[*Job](m.tape)) != 2 {
		t.Errorf("the job of the harder target: %v, %+v", err, of[any](m.tape))
	}
}

// A miner that tells its rate again, as some do each minute, while there are no jobs is paid for the
// target it was told, or has asked for, as soon as there is a job.
func TestAnUpdateSaidAgainWhileThereAreNoJobsLosesNoTarget(t *testing.T) {
	for name, rates := range map[string][2]float64{"harder": {1e12, 1e14}, "easier": {1e14, 1e12}} {
		t.Run(name, func(t *testing.T) {
			var noJobs atomic.Bool
			r := newRig(t, func(c *PoolConfig, r *rig) {
				c.Limits = testLimits()
				c.OnError = nil
				c.BuildJob = func(ctx context.Context, request JobRequest) (*Job, error) {
					if noJobs.Load() {
						return nil, errors.New("node is down")
					}
					return r.buildJob(ctx, request)
				}
			})
			request := extendedRequest()
			request.NominalHashRate = rates[0]
			m := r.join(t, request)
			noJobs.Store(true)
			for range 3 {
				if err := m.Update(t.Context(), UpdateRequest{rates[1], MaxTarget}); err != nil {
					t.Fatal(err)
				}
			}
			if got, want := len(of[Target](m.tape)), map[string]int{"harder": 1}[name]; got != want {
				t.Errorf("told %d targets without a job, want %d", got, want)
			}
			noJobs.Store(false)
			if err := r.retarget(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := TargetFromHashRate(rates[1], 6)
			jobs, told := of[*Job](m.tape), of[Target](m.tape)
			if len(jobs) != 1 || len(told) != 1 || told[0] != want {
				t.Fatalf("%d jobs, targets %v, want %v", len(jobs), told, want)
			}
			c := m.Channel.(*poolChannel)
			c.mu.Lock()
			defer c.mu.Unlock()
			if got := c.check.find(jobs[0].ID); got.target != want || got.credit != want.Difficulty() {
				t.Errorf("shares of the job must meet %v for %v, want %v", got.target, got.credit, want)
			}
		})
	}
}

func TestAnErrorIsToldWhenOthersMayHaveTheTurn(t *testing.T) {
	var m *miner
	told := false
	r := newRig(t, func(c *PoolConfig, r *rig) {
		c.Limits = testLimits()
		c.OnError = func(error) {
			select {
			case <-m.Channel.(*poolChannel).building:
				m.Channel.(*poolChannel).endTurn()
				told = true
			case <-time.After(10 * time.Second):
			}
		}
		c.BuildJob = func(ctx context.Context, request JobRequest) (*Job, error) {
			if m != nil {
				return nil, errors.New("node is down")
			}
			return r.buildJob(ctx, request)
		}
	})
	m = r.join(t, extendedRequest())
	if err := m.Update(t.Context(), UpdateRequest{1e12, MaxTarget}); err != nil || !told {
		t.Errorf("update: %v, told with the turn free: %v", err, told)
	}
}
