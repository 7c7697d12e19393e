// What the check promises a host that has another judge behind it.
package sv2

import "testing"

// newRelay has a job on tip a, and then what else is given.
func newRelay(t testing.TB, target Target, jobs ...*Job) *Check {
	t.Helper()
	check := newTestCheck(t, target)
	check.Relay()
	addJobs(t, check, jobs...)
	return check
}

func TestLeavesStaleSharesToTheJudgeBehind(t *testing.T) {
	jobs := []*Job{testJob(1, 'a', hardBits), testJob(2, 'b', hardBits)}
	submit := testSubmit(1, 7)
	if got := judgeAt(newTestCheck(t, MaxTarget, jobs...), submit, 1500); got.Reason != RejectStale {
		t.Fatalf("without a judge behind: %s", got.Reason)
	}
	check := newRelay(t, MaxTarget, jobs...)
	if got := judgeAt(check, submit, 1500); !got.Accepted() || got.Hash == (Hash{}) {
		t.Errorf("on the tip before: %+v", got)
	}
	if got := judgeAt(check, submit, 1500); got.Reason != RejectDuplicate {
		t.Errorf("the same again: %s", got.Reason)
	}
	late := testSubmit(1, 8)
	late.NTime = 999
	if got := judgeAt(check, late, 1500); got.Reason != RejectNTimeTooOld {
		t.Errorf("of an ntime before the job: %s", got.Reason)
	}
	addJobs(t, check, testJob(3, 'c', hardBits))
	if got := judgeAt(check, testSubmit(1, 9), 1500); got.Reason != RejectStale {
		t.Errorf("two tips later: %s", got.Reason)
	}
}

func TestCountsHeadersOfEachTipApart(t *testing.T) {
	check := NewCheck([]byte{9, 9}, 2, MaxTarget, NewSeen(100, 2))
	check.Relay()
	addJobs(t, check, testJob(1, 'a', hardBits), testJob(2, 'b', hardBits))
	for job := range uint64(2) {
		for nonce := range uint32(2) {
			if got := judgeAt(check, testSubmit(job+1, nonce), 1500); !got.Accepted() {
				t.Fatalf("job %d, nonce %d: %s", job+1, nonce, got.Reason)
			}
		}
		if got := judgeAt(check, testSubmit(job+1, 2), 1500); got.Reason != RejectRateLimited {
			t.Errorf("one more of job %d: %s", job+1, got.Reason)
		}
	}
}

func TestPaysTheSameWorkNoSecondTime(t *testing.T) {
	easy, hard := bitsTarget(254), bitsTarget(251)
	again := func(id uint64) *Job {
		job := testJob(1, 'a', hardBits)
		job.ID, job.MinNTime = id, 1001 // that it is later makes it no other work
		return job
	}
	for _, test := range []struct {
		name          string
		first, second Target
	}{{"harder", easy, hard}, {"easier", hard, easy}} {
		t.Run(test.name, func(t *testing.T) {
			check := newRelay(t, test.first, again(1))
			check.SetTarget(test.second)
			addJobs(t, check, again(2))
			if got, _ := check.JobTarget(2); got != hard {
				t.Errorf("target of the job given again: %s", got)
			}
			if got, _ := check.JobTarget(1); got != test.first {
				t.Errorf("target of the first: %s", got)
			}
			if got := judgeAt(check, between(t, check, 2, hard, easy), 1500); got.Reason !=
				RejectLowDifficulty {
				t.Errorf("a share of the easier target only: %+v", got)
			}
			got := judgeAt(check, between(t, check, 2, Target{}, hard), 1500)
			if !got.Accepted() || got.Credit != easy.Difficulty() {
				t.Errorf("a share of the harder target: %+v", got)
			}
			// Other work is free of it.
			check.SetTarget(test.second)
			addJobs(t, check, testJob(3, 'a', hardBits))
			if got, _ := check.JobTarget(3); got != test.second {
				t.Errorf("target of other work: %s", got)
			}
		})
	}
	if _, known := newRelay(t, easy, again(1)).JobTarget(9); known {
		t.Error("a job that nobody gave has a target")
	}
}

func TestComparesDifficulties(t *testing.T) {
	rising := []Difficulty{{}, {Fraction: 1}, {Whole: 1}, {Whole: 1, Fraction: 2}, {Whole: 2}}
	for i, a := range rising {
		for j, b := range rising {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := a.Cmp(b); got != want {
				t.Errorf("%v to %v: %d", a, b, got)
			}
		}
	}
}
