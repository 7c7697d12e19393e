package sv2

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
)

// grouped is a rig whose accounts are their user identities, grouped by the first byte; those that begin with
// "-" are on their own. made counts the jobs.
func grouped(t *testing.T, made *atomic.Int64, fails *atomic.Bool) *rig {
	t.Helper()
	return newRig(t, func(config *PoolConfig, r *rig) {
		config.Authorize = func(_ context.Context, request OpenRequest) (any, error) {
			return string(request.UserIdentity), nil
		}
		config.JobGroup = func(account any) any {
			if name := account.(string); name[0] != '-' {
				return name[0]
			}
			return nil
		}
		config.BuildJob = func(ctx context.Context, request JobRequest) (*Job, error) {
			if fails.Load() {
				return nil, errors.New("no template")
			}
			made.Add(1)
			return r.buildJob(ctx, request)
		}
	})
}

func named(kind Kind, identity string) OpenRequest {
	request := extendedRequest()
	request.Kind, request.UserIdentity = kind, []byte(identity)
	if kind == Standard {
		request.MinExtranonceSize = 0
	}
	return request
}

func TestOneJobServesAGroupAndEveryTipBringsAnother(t *testing.T) {
	var made atomic.Int64
	r := grouped(t, &made, &atomic.Bool{})
	var a, b, alone []*miner
	for range 5 {
		a = append(a, r.join(t, named(Extended, "a")), r.join(t, named(Standard, "a")))
		b = append(b, r.join(t, named(Extended, "b")))
		alone = append(alone, r.join(t, named(Extended, "-")))
	}
	everyone := slices.Concat(a, b, alone)
	var last []*Job
	for range 3 {
		before := made.Load()
		r.newTip(t)
		if n := made.Load() - before; n != 2+5 {
			t.Errorf("%d jobs were made for two groups and five on their own", n)
		}
		jobs := map[*Job]int{}
		for _, m := range everyone {
			jobs[m.job()]++
		}
		if jobs[a[0].job()] != 10 || jobs[b[0].job()] != 5 || jobs[alone[0].job()] != 1 || len(jobs) != 7 {
			t.Errorf("jobs and who got them: %v", jobs)
		}
		for _, job := range last {
			if jobs[job] != 0 {
				t.Error("an old job was given again")
			}
		}
		last = nil
		for job := range jobs {
			last = append(last, job)
		}
	}
	// With the same job and the same rolled bytes no two find the same header.
	hashes := map[Hash]bool{}
	for _, m := range everyone {
		m.Submit(m.shares(m.job(), 4))
		for _, verdict := range await[Verdict](t, m.tape, 4) {
			if !verdict.Accepted() {
				t.Errorf("%v", verdict)
			}
			hashes[verdict.Hash] = true
		}
	}
	if len(hashes) != 4*len(everyone) {
		t.Errorf("%d headers of %d shares", len(hashes), 4*len(everyone))
	}
}

func TestAGroupWithoutAJobKeepsItsOldOneAndSaysSo(t *testing.T) {
	var made atomic.Int64
	var fails atomic.Bool
	r := grouped(t, &made, &fails)
	miners := []*miner{r.join(t, named(Extended, "a")), r.join(t, named(Extended, "a"))}
	fails.Store(true)
	if err := r.Refresh(t.Context()); err == nil {
		t.Fatal("nobody was told")
	}
	for _, m := range miners {
		if len(of[*Job](m.tape)) != 0 {
			t.Error("a job came from nowhere")
		}
	}
	fails.Store(false)
	r.newTip(t)
	if miners[0].job() != miners[1].job() || miners[0].job() == miners[0].Opened.Job {
		t.Error("the group has no new job")
	}
}
