// The share check against a model that keeps everything and computes in big integers.
package sv2

import (
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// checkModel is what the check should do, written for reading, not for speed.
type checkModel struct {
	prefix   []byte
	size     int
	target   Target
	tips     []Hash // of the channel, in order
	seenTips []Hash // remembered by the pool, the newest last, at most two
	goneTips map[Hash]bool
	given    []modelJob
	ever     map[uint64]bool        // jobs
	accepted map[Hash]map[Hash]bool // tip, header
	offered  map[Hash]map[Hash]bool
}

type modelJob struct {
	job    Job
	target Target // when it was given
	future bool   // the first on its tip, or the first again
}

func newCheckModel(prefix []byte, size int, target Target) *checkModel {
	return &checkModel{
		prefix: prefix, size: size, target: target,
		accepted: map[Hash]map[Hash]bool{}, offered: map[Hash]map[Hash]bool{},
		goneTips: map[Hash]bool{}, ever: map[uint64]bool{},
	}
}

func (m *checkModel) tip() Hash { return m.tips[len(m.tips)-1] }

func (m *checkModel) newTip(tip Hash) {
	if len(m.tips) > 0 && m.tip() == tip {
		return
	}
	m.tips = append(m.tips, tip)
	// A job is known while its tip is the newest or the one before.
	var kept []modelJob
	for _, given := range m.given {
		for _, recent := range m.tips[max(0, len(m.tips)-2):] {
			if given.job.PrevHash == recent {
				kept = append(kept, given)
				break
			}
		}
	}
	m.given = kept
	if m.goneTips[tip] {
		return
	}
	if known := slices.Index(m.seenTips, tip); known >= 0 {
		m.seenTips = append(slices.Delete(m.seenTips, known, known+1), tip)
		return
	}
	m.seenTips = append(m.seenTips, tip)
	m.accepted[tip], m.offered[tip] = map[Hash]bool{}, map[Hash]bool{}
	if len(m.seenTips) > 2 {
		m.goneTips[m.seenTips[0]] = true
		delete(m.accepted, m.seenTips[0])
		delete(m.offered, m.seenTips[0])
		m.seenTips = m.seenTips[1:]
	}
}

func (m *checkModel) addJob(job Job) {
	future := len(m.given) == 0 || m.given[len(m.given)-1].job.PrevHash != job.PrevHash
	m.newTip(job.PrevHash)
	m.given = append(m.given, modelJob{job, m.target, future})
	m.ever[job.ID] = true
}

func doubleSHA(data []byte) Hash {
	once := sha256.Sum256(data)
	return sha256.Sum256(once[:])
}

func modelHash(job Job, prefix []byte, s Submit) Hash {
	coinbase := append(append([]byte{}, job.CoinbasePrefix...), prefix...)
	coinbase = append(append(coinbase, s.Extranonce...), job.CoinbaseSuffix...)
	root := doubleSHA(coinbase)
	for _, sibling := range job.MerklePath {
		root = doubleSHA(append(append([]byte{}, root[:]...), sibling[:]...))
	}
	header := binary.LittleEndian.AppendUint32(nil, s.Version)
	header = append(append(header, job.PrevHash[:]...), root[:]...)
	for _, field := range []uint32{s.NTime, job.NBits, s.Nonce} {
		header = binary.LittleEndian.AppendUint32(header, field)
	}
	return doubleSHA(header)
}

// modelNetwork expands the two nbits that the test uses, by their definition.
func modelNetwork(nbits uint32) *big.Int {
	return new(big.Int).Lsh(big.NewInt(int64(nbits&0xffffff)), uint(8*(nbits>>24)-24))
}

func (m *checkModel) judge(s Submit, now int64) Verdict {
	var given *modelJob
	for i := range m.given {
		if m.given[i].job.ID == s.JobID {
			given = &m.given[i]
		}
	}
	switch {
	case given != nil:
	case m.ever[s.JobID]:
		return Verdict{SubmitID: s.ID, Reason: RejectStale}
	default:
		return Verdict{SubmitID: s.ID, Reason: RejectInvalidJobID}
	}
	if len(s.Extranonce) != m.size {
		return Verdict{SubmitID: s.ID, Reason: RejectExtranonceSize}
	}
	job := given.job
	hash := modelHash(job, m.prefix, s)
	meets := func(target Target) bool { return number(hash).Cmp(number(target)) <= 0 }
	block := number(hash).Cmp(modelNetwork(job.NBits)) <= 0
	newest := int64(job.MaxNTime)
	if newest == 0 {
		newest = now + 7200 - 60
	}
	reason := RejectNone
	switch {
	case job.PrevHash != m.tip():
		reason = RejectStale
	case job.VersionMask == 0 && s.Version != job.Version:
		reason = RejectVersionRolling
	case (s.Version^job.Version)&^job.VersionMask != 0:
		reason = RejectVersionBit
	case s.NTime < job.MinNTime:
		reason = RejectNTimeTooOld
	case int64(s.NTime) > newest:
		reason = RejectNTimeTooNew
	case !meets(given.target) && !(given.future && meets(m.target)):
		reason = RejectLowDifficulty
	case m.accepted[job.PrevHash] == nil:
		reason = RejectStale // the pool has moved on
	case m.accepted[job.PrevHash][hash]:
		reason = RejectDuplicate
	}
	verdict := Verdict{SubmitID: s.ID, Reason: reason, Hash: hash}
	verdict.BlockCandidate = block && !m.offered[job.PrevHash][hash]
	if block && m.offered[job.PrevHash] != nil {
		m.offered[job.PrevHash][hash] = true
	}
	if reason == RejectNone {
		m.accepted[job.PrevHash][hash] = true
		if meets(given.target) {
			verdict.Credit = given.target.Difficulty()
		}
	}
	return verdict
}

func TestJudgesLikeTheModel(t *testing.T) {
	reasons := map[RejectReason]int{}
	blocks, unpaid := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		targets := rapid.SampledFrom([]Target{MaxTarget, bitsTarget(255), bitsTarget(254), {}})
		tips := rapid.SampledFrom([]Hash{repeated('a'), repeated('b'), repeated('c')})
		size := rapid.SampledFrom([]int{0, 1, 3}).Draw(t, "extranonce size")
		prefix := rapid.SliceOfN(rapid.Byte(), 1, 8).Draw(t, "prefix")
		first := targets.Draw(t, "first target")
		check, model := NewCheck(prefix, size, first, NewSeen(0, 0)), newCheckModel(prefix, size, first)
		nextID := uint64(1)

		addJob := func(t *rapid.T) {
			job := testJob(nextID, 0, rapid.SampledFrom([]uint32{easyBits, hardBits}).Draw(t, "nbits"))
			job.PrevHash = tips.Draw(t, "tip")
			job.VersionMask = rapid.SampledFrom([]uint32{0, 0x1fffe000}).Draw(t, "mask")
			job.MaxNTime = rapid.SampledFrom([]uint32{0, 1010}).Draw(t, "newest ntime")
			job.MerklePath = job.MerklePath[:rapid.IntRange(0, 1).Draw(t, "path")]
			if err := check.AddJob(job); err != nil {
				t.Fatal(err)
			}
			model.addJob(*job)
			nextID++
		}
		addJob(t)
		t.Repeat(map[string]func(*rapid.T){
			"job": addJob,
			"target": func(t *rapid.T) {
				target := targets.Draw(t, "target")
				check.SetTarget(target)
				model.target = target
			},
			"tip": func(t *rapid.T) {
				tip := tips.Draw(t, "tip")
				check.SetTip(tip)
				model.newTip(tip)
			},
			"submit": func(t *rapid.T) {
				// Few values, so that the same header comes again.
				for range 8 {
					recent := min(nextID, 3)
					submit := Submit{
						ID:    rapid.Uint64().Draw(t, "id"),
						JobID: nextID - uint64(rapid.IntRange(0, int(recent)).Draw(t, "job")),
						Nonce: rapid.Uint32Range(0, 2).Draw(t, "nonce"),
						NTime: rapid.SampledFrom([]uint32{1000, 1000, 999, 1010, 1011, 8140, 8141}).
							Draw(t, "ntime"),
						Version: rapid.SampledFrom([]uint32{0x20000000, 0x20000000, 0x20002000, 0}).
							Draw(t, "version"),
						Extranonce: make([]byte, rapid.SampledFrom([]int{size, size, size, size + 1}).
							Draw(t, "extranonce")),
					}
					got, want := check.Judge(submit, time.Unix(1000, 0)), model.judge(submit, 1000)
					if got != want {
						t.Fatalf("%+v\ngot  %+v\nwant %+v", submit, got, want)
					}
					reasons[got.Reason]++
					if got.BlockCandidate {
						blocks++
					}
					if got.Accepted() && got.Credit.IsZero() {
						unpaid++
					}
				}
			},
		})
	})
	for _, reason := range []RejectReason{
		RejectNone, RejectInvalidJobID, RejectStale, RejectLowDifficulty, RejectDuplicate,
		RejectExtranonceSize, RejectVersionRolling, RejectVersionBit, RejectNTimeTooOld,
		RejectNTimeTooNew,
	} {
		if reasons[reason] == 0 {
			t.Errorf("no share was ever judged %s: the test doesn't reach it", reason)
		}
	}
	if blocks == 0 || unpaid == 0 {
		t.Errorf("%d blocks, %d shares taken without credit: the test doesn't reach both", blocks, unpaid)
	}
}
