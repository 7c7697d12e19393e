// The share check of one channel: jobs and targets in, verdicts out.

package sv2

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// KnownJobs is how many jobs of one tip a [Check] knows; the oldest is forgotten first.
	KnownJobs = 64
	// MaxFutureNTime is how far ahead of the clock an ntime may be, in seconds, when the job sets no
	// bound: the network's two hours less a minute for clocks that differ.
	MaxFutureNTime = 7200 - 60
	// RollableVersionBits are those a miner may roll at most (BIP323).
	RollableVersionBits = 0x1fffffe0
)

// maxCoinbasePart is the longest coinbase prefix or suffix that SV2 can carry (B0_64K).
const maxCoinbasePart = 65535

// Check judges the shares of one channel: it knows the jobs and targets the channel was given.
//
// One job has one target, for as long as it is known: every header is paid at that, or not at all.
// Were a job's target to change, a miner could hand in its hard shares before and the easy ones it kept
// back after the change, and be paid twice for the same work.
//
// A job that came with its tip is a future job to the miner, and for those SV2 (spec 5.3.21) lets a
// later target count, too. So a share that meets only that, the channel's present one, is accepted, with
// no credit: nothing can be gained by it, and nothing is lost, for the work on the job is paid in full
// by the shares that meet the job's own target.
//
// Not safe for concurrent use, except that several may share one [Seen].
type Check struct {
	prefix         []byte
	extranonceSize int
	seen           *Seen
	hasher         *rootHasher
	relay          bool

	target Target     // of jobs given from now on
	credit Difficulty // of target

	tip      Hash // stale is what is not of this
	previous Hash // jobs of this are known: their headers may be blocks still
	hasTip   bool
	held     [2]int      // headers the channel has in seen, of tip and of previous
	jobs     []*knownJob // oldest first
	dead     deadJobs    // to tell stale from never heard of
}

// knownJob is a job with what can be worked out once.
type knownJob struct {
	*Job
	network   Target // of nbits
	target    Target // the channel's when the job was given
	credit    Difficulty
	future    bool // told before its tip
	fixedRoot bool // nothing to roll in the coinbase: root is the merkle root
	root      Hash
}

// NewCheck is the check of a new channel. prefix is its extranonce prefix, extranonceSize how many bytes
// the miner rolls after it, target its first target, and seen the memory that all channels of the pool
// share.
func NewCheck(prefix []byte, extranonceSize int, target Target, seen *Seen) *Check {
	return &Check{
		prefix:         append([]byte(nil), prefix...),
		extranonceSize: extranonceSize,
		seen:           seen,
		hasher:         newRootHasher(),
		target:         target,
		credit:         target.Difficulty(),
	}
}

// Relay makes this the check of a host that has another judge behind it, who sees what is accepted here
// and has the last word. Shares on the tip before the present one are then judged like others: whether
// they are stale is the other's to say. And a job may be the work of a known one under another id, as
// pools do that change a difficulty and have nothing new to mine: shares of it must meet the harder of
// the two targets and are credited with the easier, so that keeping shares back pays nobody.
//
// To be called before the first AddJob.
func (c *Check) Relay() { c.relay = true }

// Target is the target of jobs given from now on.
func (c *Check) Target() Target { return c.target }

// SetTarget sets the target of jobs given later; it takes effect with the next AddJob. Tell the miner of
// an easier target only together with that job: on a job before it what meets only the new target is
// accepted without credit or, if the job came without a new tip, rejected.
func (c *Check) SetTarget(target Target) {
	c.target = target
	c.credit = target.Difficulty()
}

// SetTip says that there is a new tip before there is a job for it: shares on any other are stale.
// AddJob does the same with the job's prev-hash.
func (c *Check) SetTip(prevHash Hash) {
	if c.hasTip && c.tip == prevHash {
		return
	}
	c.held[0], c.held[1] = c.held[1], c.held[0]
	if !c.hasTip || c.previous != prevHash {
		c.held[0] = 0
	}
	c.previous, c.tip, c.hasTip = c.tip, prevHash, true
	kept := c.jobs[:0]
	for _, job := range c.jobs {
		if job.PrevHash == c.tip || job.PrevHash == c.previous {
			kept = append(kept, job)
		} else {
			c.dead.add(job.ID)
		}
	}
	clear(c.jobs[len(kept):])
	c.jobs = kept
	c.seen.Tip(prevHash)
}

// AddJob makes a job known that the channel is given, at the present target. The job must not change
// afterwards. An error says why it can't be worked on, and leaves the check as it was; the work of a
// known job under another id is one, since it would give the same headers a second target.
func (c *Check) AddJob(job *Job) error {
	network, err := checkJob(job)
	if err != nil {
		return err
	}
	for _, known := range c.jobs {
		switch {
		case known.ID == job.ID:
			return fmt.Errorf("job %d: the channel has a job of that id", job.ID)
		case !c.relay && sameWork(known.Job, job):
			return fmt.Errorf("job %d has the coinbase and the transactions of job %d: every job of a "+
				"channel must be new work, put its id into the coinbase", job.ID, known.ID)
		}
	}
	known := &knownJob{
		Job:       job,
		network:   network,
		target:    c.target,
		credit:    c.credit,
		future:    len(c.jobs) == 0 || c.jobs[len(c.jobs)-1].PrevHash != job.PrevHash,
		fixedRoot: c.extranonceSize == 0,
	}
	c.mindSameWork(known)
	if known.fixedRoot {
		known.root = c.hasher.root(job, c.prefix, nil)
	}
	c.SetTip(job.PrevHash)
	c.jobs = append(c.jobs, known)
	c.forget()
	return nil
}

// mindSameWork gives a job the harder target and the smaller credit of all that are the same work. Only
// a relay has such.
func (c *Check) mindSameWork(job *knownJob) {
	if !c.relay {
		return
	}
	for _, known := range c.jobs {
		if !sameWork(known.Job, job.Job) {
			continue
		}
		job.target = Harder(job.target, known.target)
		if known.credit.Cmp(job.credit) < 0 {
			job.credit = known.credit
		}
	}
}

// sameWork reports whether miners of two jobs can find the same headers.
func sameWork(a, b *Job) bool {
	return a.PrevHash == b.PrevHash && bytes.Equal(a.CoinbasePrefix, b.CoinbasePrefix) &&
		bytes.Equal(a.CoinbaseSuffix, b.CoinbaseSuffix) && slices.Equal(a.MerklePath, b.MerklePath)
}

// forget drops the oldest job of the tip when there are too many.
func (c *Check) forget() {
	oldest, count := -1, 0
	for i, job := range c.jobs {
		if job.PrevHash == c.tip {
			if oldest < 0 {
				oldest = i
			}
			count++
		}
	}
	if count > KnownJobs {
		c.dead.add(c.jobs[oldest].ID)
		copy(c.jobs[oldest:], c.jobs[oldest+1:])
		c.jobs[len(c.jobs)-1] = nil
		c.jobs = c.jobs[:len(c.jobs)-1]
	}
}

// Job is the known job of that id, nil when there is none.
func (c *Check) Job(id uint64) *Job {
	if job := c.find(id); job != nil {
		return job.Job
	}
	return nil
}

// JobTarget is the target that shares of a known job must meet; false when there is no such job.
func (c *Check) JobTarget(id uint64) (Target, bool) {
	job := c.find(id)
	if job == nil {
		return Target{}, false
	}
	return job.target, true
}

func (c *Check) find(id uint64) *knownJob {
	for i := len(c.jobs) - 1; i >= 0; i-- {
		if c.jobs[i].ID == id {
			return c.jobs[i]
		}
	}
	return nil
}

// Judge judges one share and remembers it if it is accepted. The hash comes before the policy, so that a
// header that meets nbits is a block candidate whatever else is wrong with the share; not twice,
// though. Submit.WouldRefuse changes nothing: what the sidecar refuses, the check judges anew.
func (c *Check) Judge(submit Submit, now time.Time) Verdict {
	verdict, _ := c.judge(submit, now)
	return verdict
}

// judge is Judge. Of a new share that meets its job's target the work is the job's credit, though the
// share be refused for want of room; else nil.
func (c *Check) judge(submit Submit, now time.Time) (verdict Verdict, work *Difficulty) {
	verdict, job := c.weigh(&submit)
	if job == nil {
		return verdict, nil
	}
	candidate := verdict.Hash.Meets(job.network)
	verdict.Reason = c.policy(job, &submit, now)
	earned := verdict.Hash.Meets(job.target)
	if verdict.Reason == RejectNone && !earned && !(job.future && verdict.Hash.Meets(c.target)) {
		verdict.Reason = RejectLowDifficulty
	}
	if verdict.Reason != RejectNone {
		verdict.BlockCandidate = candidate && c.seen.Offer(job.PrevHash, verdict.Hash)
		return verdict, nil
	}
	held := &c.held[0]
	if job.PrevHash != c.tip {
		held = &c.held[1]
	}
	verdict.Reason, verdict.BlockCandidate =
		c.seen.Accept(job.PrevHash, verdict.Hash, *held, candidate)
	if verdict.Reason == RejectNone {
		*held++
		if earned {
			verdict.Credit = job.credit
		}
	}
	if earned && (verdict.Reason == RejectNone || verdict.Reason == RejectRateLimited) {
		work = &job.credit
	}
	return verdict, work
}

// Refuse is the verdict on a share that is not judged, for reason. It still finds a block candidate.
func (c *Check) Refuse(submit Submit, reason RejectReason) Verdict {
	verdict, job := c.weigh(&submit)
	verdict.Reason = reason
	if job != nil && verdict.Hash.Meets(job.network) {
		verdict.BlockCandidate = c.seen.Offer(job.PrevHash, verdict.Hash)
	}
	return verdict
}

// Header is the header of a submit on a known job, with the job; nil when there is no such job or the
// extranonce has another length than agreed.
func (c *Check) Header(submit Submit) (header [HeaderSize]byte, job *Job) {
	known := c.find(submit.JobID)
	if known == nil || len(submit.Extranonce) != c.extranonceSize {
		return header, nil
	}
	return c.header(known, &submit), known.Job
}

func (c *Check) header(job *knownJob, submit *Submit) [HeaderSize]byte {
	root := job.root
	if !job.fixedRoot {
		root = c.hasher.root(job.Job, c.prefix, submit.Extranonce)
	}
	return Header(job.Job, root, *submit)
}

// weigh hashes the header. The job is nil, and the verdict final, when there is nothing to hash.
func (c *Check) weigh(submit *Submit) (Verdict, *knownJob) {
	verdict := Verdict{SubmitID: submit.ID}
	job := c.find(submit.JobID)
	switch {
	case job == nil:
		verdict.Reason = RejectInvalidJobID
		if c.dead.has(submit.JobID) {
			verdict.Reason = RejectStale
		}
		return verdict, nil
	case len(submit.Extranonce) != c.extranonceSize:
		verdict.Reason = RejectExtranonceSize
		return verdict, nil
	}
	verdict.Hash = HashHeader(c.header(job, submit))
	return verdict, job
}

// policy is all that can be wrong with a share but its hash.
func (c *Check) policy(job *knownJob, submit *Submit, now time.Time) RejectReason {
	if job.PrevHash != c.tip && !c.relay {
		return RejectStale
	}
	mask := job.VersionMask & RollableVersionBits
	switch changed := submit.Version ^ job.Version; {
	case changed == 0:
	case mask == 0:
		return RejectVersionRolling
	case changed&^mask != 0:
		return RejectVersionBit
	}
	newest := int64(job.MaxNTime)
	if newest == 0 {
		newest = now.Unix() + MaxFutureNTime
	}
	switch {
	case submit.NTime < job.MinNTime:
		return RejectNTimeTooOld
	case int64(submit.NTime) > newest:
		return RejectNTimeTooNew
	}
	return RejectNone
}

// checkJob says what makes a job unusable, and expands its nbits.
func checkJob(job *Job) (network Target, err error) {
	switch {
	case job == nil:
		return network, errors.New("job is nil")
	case job.ID == 0:
		return network, errors.New("job id is 0: ids start at 1")
	case len(job.CoinbasePrefix) == 0 || len(job.CoinbasePrefix) > maxCoinbasePart:
		return network, fmt.Errorf("job %d: coinbase prefix of %d bytes: 1 to %d",
			job.ID, len(job.CoinbasePrefix), maxCoinbasePart)
	case len(job.CoinbaseSuffix) == 0 || len(job.CoinbaseSuffix) > maxCoinbasePart:
		return network, fmt.Errorf("job %d: coinbase suffix of %d bytes: 1 to %d",
			job.ID, len(job.CoinbaseSuffix), maxCoinbasePart)
	case len(job.MerklePath) > 255:
		return network, fmt.Errorf("job %d: merkle path of %d hashes: at most 255",
			job.ID, len(job.MerklePath))
	case job.MaxNTime != 0 && job.MaxNTime < job.MinNTime:
		return network, fmt.Errorf("job %d: MaxNTime %d is before MinNTime %d",
			job.ID, job.MaxNTime, job.MinNTime)
	}
	if network, err = TargetFromNBits(job.NBits); err != nil {
		return network, fmt.Errorf("job %d: %w", job.ID, err)
	}
	if network.IsZero() {
		return network, fmt.Errorf("job %d: nbits %08x is the target 0", job.ID, job.NBits)
	}
	return network, nil
}
