// What the share check promises, one rule at a time.
package sv2

import (
	"strings"
	"testing"
	"time"
)

const (
	hardBits = 0x1d00ffff // no test finds a block at this
	easyBits = 0x207fffff // every second hash is a block
)

// testJob is a job on a tip named by a byte.
func testJob(id uint64, tip byte, nbits uint32) *Job {
	return &Job{
		ID: id, PrevHash: repeated(tip), NBits: nbits, Version: 0x20000000,
		VersionMask: 0x1fffe000, MinNTime: 1000, MaxNTime: 2000,
		MerklePath:     []Hash{repeated(0x33)},
		CoinbasePrefix: []byte{1, byte(id), byte(id >> 8)}, CoinbaseSuffix: []byte{2},
		StaleRule: StaleHost, Height: uint32(id),
	}
}

// testSubmit is a submit that nothing is wrong with on such a job.
func testSubmit(job uint64, nonce uint32) Submit {
	return Submit{
		ID: uint64(nonce) + 1, JobID: job, Nonce: nonce, NTime: 1500, Version: 0x20000000,
		Extranonce: []byte{0, 0},
	}
}

// newTestCheck has a prefix of two bytes and two bytes to roll.
func newTestCheck(t testing.TB, target Target, jobs ...*Job) *Check {
	t.Helper()
	check := NewCheck([]byte{9, 9}, 2, target, NewSeen(0, 0))
	addJobs(t, check, jobs...)
	return check
}

func addJobs(t testing.TB, check *Check, jobs ...*Job) {
	t.Helper()
	for _, job := range jobs {
		if err := check.AddJob(job); err != nil {
			t.Fatal(err)
		}
	}
}

func judgeAt(check *Check, submit Submit, unix int64) Verdict {
	return check.Judge(submit, time.Unix(unix, 0))
}

// between finds a nonce whose hash meets easier but not harder.
func between(t testing.TB, check *Check, job uint64, harder, easier Target) Submit {
	t.Helper()
	for nonce := range uint32(100000) {
		submit := testSubmit(job, nonce)
		header, known := check.Header(submit)
		if known == nil {
			t.Fatalf("no job %d", job)
		}
		if hash := HashHeader(header); hash.Meets(easier) && !hash.Meets(harder) {
			return submit
		}
	}
	t.Fatal("no such nonce")
	return Submit{}
}

// bitsTarget has all bits below 2^n set.
func bitsTarget(n int) (target Target) {
	for i := range n {
		target[i/8] |= 1 << (i % 8)
	}
	return target
}

func TestRejectsSharesForPolicyWithTheRightReason(t *testing.T) {
	for _, test := range []struct {
		name   string
		submit func(*Submit)
		job    func(*Job)
		now    int64
		want   RejectReason
	}{
		{name: "nothing wrong", want: RejectNone},
		{name: "unknown job", submit: func(s *Submit) { s.JobID = 5 }, want: RejectInvalidJobID},
		{name: "short extranonce", submit: func(s *Submit) { s.Extranonce = []byte{1} },
			want: RejectExtranonceSize},
		{name: "long extranonce", submit: func(s *Submit) { s.Extranonce = []byte{1, 2, 3} },
			want: RejectExtranonceSize},
		{name: "version inside the mask", submit: func(s *Submit) { s.Version |= 0x2000 }},
		{name: "version outside the mask", submit: func(s *Submit) { s.Version |= 0x20 },
			want: RejectVersionBit},
		{name: "version delta", submit: func(s *Submit) { s.Version = 0x2000 },
			want: RejectVersionBit},
		{name: "rolling forbidden", submit: func(s *Submit) { s.Version |= 0x2000 },
			job: func(j *Job) { j.VersionMask = 0 }, want: RejectVersionRolling},
		{name: "mask wider than BIP323", submit: func(s *Submit) { s.Version |= 1 },
			job: func(j *Job) { j.VersionMask = 0xffffffff }, want: RejectVersionBit},
		{name: "oldest ntime", submit: func(s *Submit) { s.NTime = 1000 }},
		{name: "ntime too old", submit: func(s *Submit) { s.NTime = 999 }, want: RejectNTimeTooOld},
		{name: "newest ntime", submit: func(s *Submit) { s.NTime = 2000 }},
		{name: "ntime too new", submit: func(s *Submit) { s.NTime = 2001 }, want: RejectNTimeTooNew},
		{name: "two hours ahead of the clock", submit: func(s *Submit) { s.NTime = 11140 },
			job: func(j *Job) { j.MaxNTime = 0 }, now: 4000},
		{name: "more than that", submit: func(s *Submit) { s.NTime = 11141 },
			job: func(j *Job) { j.MaxNTime = 0 }, now: 4000, want: RejectNTimeTooNew},
		{name: "what the sidecar would refuse is judged anew",
			submit: func(s *Submit) { s.WouldRefuse = RejectRateLimited }},
	} {
		t.Run(test.name, func(t *testing.T) {
			job, submit := testJob(1, 'a', hardBits), testSubmit(1, 0)
			if test.job != nil {
				test.job(job)
			}
			if test.submit != nil {
				test.submit(&submit)
			}
			check := newTestCheck(t, MaxTarget, job)
			if got := judgeAt(check, submit, test.now); got.Reason != test.want {
				t.Errorf("%s, want %s", got.Reason, test.want)
			}
		})
	}
}

func TestRejectsTheSecondShareOfAHeaderWhateverItsJobOrChannel(t *testing.T) {
	seen := NewSeen(0, 0)
	one := NewCheck([]byte{9}, 1, MaxTarget, seen)
	other := NewCheck([]byte{9}, 1, MaxTarget, seen)
	again := testJob(1, 'a', hardBits)
	again.ID = 2 // the same work under another id
	addJobs(t, one, testJob(1, 'a', hardBits))
	addJobs(t, other, again)
	for i, step := range []struct {
		check *Check
		job   uint64
		want  RejectReason
	}{
		{one, 1, RejectNone}, {one, 1, RejectDuplicate}, {other, 2, RejectDuplicate},
	} {
		submit := testSubmit(step.job, 0)
		submit.Extranonce = []byte{1}
		if got := judgeAt(step.check, submit, 0); got.Reason != step.want {
			t.Errorf("step %d: %s", i, got.Reason)
		}
	}
}

func TestKnowsStaleFromNeverHeardOf(t *testing.T) {
	check := newTestCheck(t, MaxTarget, testJob(1, 'a', hardBits), testJob(2, 'b', hardBits))
	if got := judgeAt(check, testSubmit(1, 0), 0).Reason; got != RejectStale {
		t.Errorf("job of the previous tip: %s", got)
	}
	if got := judgeAt(check, testSubmit(2, 0), 0).Reason; got != RejectNone {
		t.Errorf("job of the tip: %s", got)
	}
	check.SetTip(repeated('c'))
	if got := judgeAt(check, testSubmit(2, 1), 0).Reason; got != RejectStale {
		t.Errorf("job of the tip before SetTip: %s", got)
	}
	if got := judgeAt(check, testSubmit(1, 0), 0); got.Reason != RejectStale || got.Hash != (Hash{}) {
		t.Errorf("job two tips old: %+v", got)
	}
	if got := judgeAt(check, testSubmit(3, 0), 0).Reason; got != RejectInvalidJobID {
		t.Errorf("a job that never was: %s", got)
	}
}

func TestAShareOfAJobThatDiedIsStaleHoweverLongAgo(t *testing.T) {
	const jobs = 3 * rememberedJobs
	check := newTestCheck(t, MaxTarget)
	for n := uint64(1); n <= jobs; n++ { // ids of one channel of several; each its own tip
		job := testJob(10*n, 0, hardBits)
		job.PrevHash = Hash{byte(n), byte(n >> 8), 1}
		addJobs(t, check, job)
	}
	for n := uint64(1); n < jobs; n++ {
		if got := judgeAt(check, testSubmit(10*n, 0), 0).Reason; got != RejectStale {
			t.Fatalf("job %d of %d: %s", n, jobs, got)
		}
	}
	if len(check.dead.ids) != rememberedJobs {
		t.Errorf("%d ids are kept", len(check.dead.ids))
	}
	for _, never := range []uint64{1, 9, 10*jobs + 1, 10*jobs - 5, 10*(jobs-rememberedJobs+1) + 5} {
		if got := judgeAt(check, testSubmit(never, 0), 0).Reason; got != RejectInvalidJobID {
			t.Errorf("job %d, which never was: %s", never, got)
		}
	}
}

func TestForgetsTheOldestJobOfATipOnly(t *testing.T) {
	check := newTestCheck(t, MaxTarget)
	for id := uint64(1); id <= KnownJobs+1; id++ {
		addJobs(t, check, testJob(id, 'a', hardBits))
	}
	for id, want := range map[uint64]RejectReason{
		1: RejectStale, 2: RejectNone, KnownJobs + 1: RejectNone, KnownJobs + 2: RejectInvalidJobID,
	} {
		if got := judgeAt(check, testSubmit(id, 0), 0).Reason; got != want {
			t.Errorf("job %d: %s", id, got)
		}
	}
	for id := uint64(1001); id <= 1000+KnownJobs+1; id++ {
		addJobs(t, check, testJob(id, 'b', hardBits))
	}
	for id, want := range map[uint64]RejectReason{
		2: RejectStale, KnownJobs + 1: RejectStale,
		1001: RejectStale, 1002: RejectNone,
	} {
		if got := judgeAt(check, testSubmit(id, 1), 0).Reason; got != want {
			t.Errorf("job %d after the new tip: %s", id, got)
		}
	}
}

func TestTG1AJobKeepsItsTargetButAFutureOneTakesSharesOfAnEasierOne(t *testing.T) {
	easiest, easy, hard := bitsTarget(255), bitsTarget(253), bitsTarget(251)
	check := newTestCheck(t, hard, testJob(1, 'a', hardBits), testJob(2, 'a', hardBits))
	judge := func(when string, submit Submit, reason RejectReason, credit Difficulty) {
		t.Helper()
		if got := judgeAt(check, submit, 0); got.Reason != reason || got.Credit != credit {
			t.Errorf("job %d %s: %s, credit %v", submit.JobID, when, got.Reason, got.Credit.Float())
		}
	}
	// Only job 1 came with the tip.
	first, second := between(t, check, 1, hard, easy), between(t, check, 2, hard, easy)
	judge("at its own target", first, RejectLowDifficulty, Difficulty{})
	check.SetTarget(easy)
	judge("after an easier target", first, RejectNone, Difficulty{})
	judge("once more", first, RejectDuplicate, Difficulty{})
	judge("above both", between(t, check, 1, easy, easiest), RejectLowDifficulty, Difficulty{})
	judge("after an easier target", second, RejectLowDifficulty, Difficulty{})
	addJobs(t, check, testJob(3, 'a', hardBits))
	judge("at its own target, later", between(t, check, 1, bitsTarget(0), hard), RejectNone,
		hard.Difficulty())
	third := between(t, check, 3, hard, easy)
	check.SetTarget(hard)
	judge("after a harder target", third, RejectNone, easy.Difficulty())
	judge("after an easy time", first, RejectLowDifficulty, Difficulty{})
}

func TestRejectsTheWorkOfAKnownJobUnderAnotherID(t *testing.T) {
	check := newTestCheck(t, bitsTarget(251), testJob(1, 'a', hardBits))
	again := testJob(1, 'a', hardBits)
	again.ID, again.Version, again.MinNTime = 2, 0x20002000, 1001 // miners roll these anyway
	check.SetTarget(MaxTarget)
	if err := check.AddJob(again); err == nil || !strings.Contains(err.Error(), "put its id into") {
		t.Errorf("the same headers at a second target: %v", err)
	}
	again.PrevHash = repeated('b')
	addJobs(t, check, again)
}

func TestCreditsTheTargetNeverTheLuck(t *testing.T) {
	target := bitsTarget(254)
	check := newTestCheck(t, target, testJob(1, 'a', hardBits))
	lucky := between(t, check, 1, bitsTarget(0), bitsTarget(245))
	if got := judgeAt(check, lucky, 0); got.Credit != target.Difficulty() || !got.Accepted() {
		t.Errorf("verdict %+v", got)
	}
}

func TestABlockIsFoundWhateverThePolicySays(t *testing.T) {
	network, _ := TargetFromNBits(easyBits)
	for name, spoil := range map[string]func(*Check, *Submit){
		"stale":        func(c *Check, _ *Submit) { c.SetTip(repeated('z')) },
		"too old":      func(_ *Check, s *Submit) { s.NTime = 1 },
		"too new":      func(_ *Check, s *Submit) { s.NTime = 9999 },
		"version bits": func(_ *Check, s *Submit) { s.Version |= 1 },
		"hard target":  func(*Check, *Submit) {},
	} {
		t.Run(name, func(t *testing.T) {
			check := newTestCheck(t, Target{}, testJob(1, 'a', easyBits))
			submit := testSubmit(1, 0)
			spoil(check, &submit)
			for {
				header, _ := check.Header(submit)
				if HashHeader(header).Meets(network) {
					break
				}
				submit.Nonce++
			}
			got := judgeAt(check, submit, 0)
			if got.Accepted() || !got.BlockCandidate || !got.Credit.IsZero() {
				t.Errorf("first: %+v", got)
			}
			if got = judgeAt(check, submit, 0); got.BlockCandidate {
				t.Errorf("the same header is a candidate twice: %+v", got)
			}
		})
	}
}

func TestAnAcceptedBlockIsACandidateOnceAndARefusedOneToo(t *testing.T) {
	network, _ := TargetFromNBits(easyBits)
	check := newTestCheck(t, MaxTarget, testJob(1, 'a', easyBits))
	submit := between(t, check, 1, Target{}, network)
	if got := check.Refuse(submit, RejectRateLimited); got.Reason != RejectRateLimited ||
		!got.BlockCandidate {
		t.Errorf("refused: %+v", got)
	}
	got := judgeAt(check, submit, 0)
	if !got.Accepted() || got.BlockCandidate {
		t.Errorf("accepted after it was offered: %+v", got)
	}
	if got = judgeAt(check, submit, 0); got.Reason != RejectDuplicate || got.BlockCandidate {
		t.Errorf("third: %+v", got)
	}
}

func TestAFullMemoryRefusesSharesButNotBlocks(t *testing.T) {
	network, _ := TargetFromNBits(easyBits)
	check := NewCheck([]byte{9, 9}, 2, MaxTarget, NewSeen(1, 1))
	addJobs(t, check, testJob(1, 'a', easyBits))
	submit := between(t, check, 1, Target{}, network)
	other := testSubmit(1, submit.Nonce+1)
	if got := judgeAt(check, other, 0); !got.Accepted() {
		t.Fatalf("first: %+v", got)
	}
	if got := judgeAt(check, other, 0).Reason; got != RejectDuplicate {
		t.Errorf("known header: %s", got)
	}
	if got := judgeAt(check, submit, 0); got.Reason != RejectRateLimited || !got.BlockCandidate {
		t.Errorf("new header: %+v", got)
	}
	addJobs(t, check, testJob(2, 'b', easyBits))
	if got := judgeAt(check, testSubmit(2, 0), 0); !got.Accepted() {
		t.Errorf("on the next tip: %+v", got)
	}
}

func TestStandardChannelsHaveNothingToRoll(t *testing.T) {
	check := NewCheck([]byte{1, 2, 3, 4}, 0, MaxTarget, NewSeen(0, 0))
	job := testJob(1, 'a', hardBits)
	addJobs(t, check, job)
	submit := testSubmit(1, 0)
	if got := judgeAt(check, submit, 0).Reason; got != RejectExtranonceSize {
		t.Errorf("with an extranonce: %s", got)
	}
	submit.Extranonce = nil
	want := HashHeader(Header(job, MerkleRoot(job, []byte{1, 2, 3, 4}, nil), submit))
	if got := judgeAt(check, submit, 0); !got.Accepted() || got.Hash != want {
		t.Errorf("without: %+v", got)
	}
}

func TestRejectsJobsThatCannotBeMined(t *testing.T) {
	check := newTestCheck(t, MaxTarget, testJob(1, 'a', hardBits))
	spoilt := map[string]func(*Job){
		"known id":       func(j *Job) { j.ID = 1 },
		"id 0":           func(j *Job) { j.ID = 0 },
		"no prefix":      func(j *Job) { j.CoinbasePrefix = nil },
		"long prefix":    func(j *Job) { j.CoinbasePrefix = make([]byte, 65536) },
		"no suffix":      func(j *Job) { j.CoinbaseSuffix = nil },
		"long suffix":    func(j *Job) { j.CoinbaseSuffix = make([]byte, 65536) },
		"long path":      func(j *Job) { j.MerklePath = make([]Hash, 256) },
		"negative nbits": func(j *Job) { j.NBits = 0x1d80ffff },
		"zero nbits":     func(j *Job) { j.NBits = 0 },
		"no time left":   func(j *Job) { j.MaxNTime = j.MinNTime - 1 },
	}
	for name, spoil := range spoilt {
		job := testJob(2, 'b', hardBits)
		spoil(job)
		if err := check.AddJob(job); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := check.AddJob(nil); err == nil {
		t.Error("nil: no error")
	}
	if got := judgeAt(check, testSubmit(1, 0), 0); !got.Accepted() {
		t.Errorf("a refused job changed the check: %+v", got)
	}
}
