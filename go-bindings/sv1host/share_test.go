// What happens to a share.
package sv1host

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

const yes = `"result":true,"error":null`

func TestCreditsWhatThePoolAccepts(t *testing.T) {
	for _, kind := range []sv2.Kind{sv2.Standard, sv2.Extended} {
		r := newRig(t, usual(), nil)
		request := extendedRequest()
		request.Kind = kind
		m := r.open(request)
		share := m.share(m.opened.Job)
		share.ID = 4711
		m.Submit([]sv2.Submit{share})
		submit := m.peer.submit()
		if len(of[sv2.Verdict](m.tape)) != 0 {
			t.Error("a verdict before the pool's")
		}
		want := fmt.Sprintf(`["alice.rig","1","00000000","65000000","%08x","00000000"]`, share.Nonce)
		if string(submit.ID) != "4711" || !strings.Contains(submit.line, want) {
			t.Errorf("submitted %s, want %s", submit.line, want)
		}
		m.peer.answer(submit, yes)
		got := await[sv2.Verdict](t, m.tape, 1)[0]
		root := sv2.MerkleRoot(m.opened.Job, m.opened.Prefix, share.Extranonce)
		if got.SubmitID != 4711 || !got.Accepted() || got.BlockCandidate ||
			got.Credit != m.opened.Target.Difficulty() ||
			got.Hash != sv2.HashHeader(sv2.Header(m.opened.Job, root, share)) {
			t.Errorf("%+v", got)
		}
		m.end()
	}
}

func TestTellsTheVersionAsThePoolReadsIt(t *testing.T) {
	mask := uint32(sv2.RollableVersionBits)
	for _, test := range []struct {
		style               VersionStyle
		base, mask, version uint32
		want                string
	}{
		{VersionBits, 0x20000000, mask, 0x20000000, "00000000"},
		{VersionBits, 0x20000000, mask, 0x20002000, "00002000"},
		{VersionBits, 0x20006000, mask, 0x20002000, "00002000"},
		{VersionBits, 0x20006000, mask, 0x20006000, "00006000"},
		{VersionBits, 0x20000000, 0, 0x20000000, ""},
		{VersionDelta, 0x20000000, mask, 0x20000000, ""},
		{VersionDelta, 0x20000000, mask, 0x20002000, "00002000"},
		{VersionDelta, 0x20006000, mask, 0x20002000, "00004000"},
		// Beyond the mask the header is what counts, for it is a block's.
		{VersionDelta, 0x20000000, mask, 0x20000010, "20000010"},
		{VersionBits, 0x20000000, 0, 0x20002000, "20002000"},
	} {
		got := ""
		if parameter, given := versionParameter(test.style, &sv2.Job{Version: test.base,
			VersionMask: test.mask}, &sv2.Submit{Version: test.version}); given {
			got = fmt.Sprintf("%08x", parameter)
		}
		if got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}

func TestKeepsWorthlessSharesFromThePool(t *testing.T) {
	r := newRig(t, usual(), func(o *Options) { o.MaxNTimeAhead = 7000 * time.Second })
	m := r.open(extendedRequest())
	defer m.end()
	good := m.share(m.opened.Job)
	m.Submit([]sv2.Submit{good})
	m.peer.answer(m.peer.submit(), yes)
	await[sv2.Verdict](t, m.tape, 1)
	spoiled := func(spoil func(*sv2.Submit)) sv2.Submit {
		submit := m.share(m.opened.Job)
		spoil(&submit)
		return submit
	}
	for want, submit := range map[sv2.RejectReason]sv2.Submit{
		sv2.RejectDuplicate: good,
		sv2.RejectLowDifficulty: m.find(m.opened.Job,
			func(hash sv2.Hash) bool { return !hash.Meets(m.opened.Target) }),
		sv2.RejectInvalidJobID:   spoiled(func(s *sv2.Submit) { s.JobID = 2 }),
		sv2.RejectVersionBit:     spoiled(func(s *sv2.Submit) { s.Version ^= 1 }),
		sv2.RejectNTimeTooOld:    spoiled(func(s *sv2.Submit) { s.NTime-- }),
		sv2.RejectNTimeTooNew:    spoiled(func(s *sv2.Submit) { s.NTime += 7001 }),
		sv2.RejectExtranonceSize: spoiled(func(s *sv2.Submit) { s.Extranonce = []byte{1} }),
	} {
		m.id++
		submit.ID = m.id
		if got := m.judge(submit); got.Reason != want || !got.Credit.IsZero() {
			t.Errorf("want %s, got %+v", want, got)
		}
	}
	if n := len(m.peer.submits); n != 0 {
		t.Errorf("%d of them reached the pool", n)
	}
}

func TestTheSameHeaderIsPaidOnceOnAllChannels(t *testing.T) {
	// A pool that gives two miners one extranonce, and so one work.
	r := newRig(t, usual(), nil)
	first, second := r.open(extendedRequest()), r.open(extendedRequest())
	defer first.end()
	defer second.end()
	share := first.share(first.opened.Job)
	first.Submit([]sv2.Submit{share})
	first.peer.answer(first.peer.submit(), yes)
	if got := await[sv2.Verdict](t, first.tape, 1)[0]; !got.Accepted() {
		t.Errorf("the first: %+v", got)
	}
	if got := second.judge(share); got.Reason != sv2.RejectDuplicate {
		t.Errorf("the second: %+v", got)
	}
}

func TestReadsThePoolsReasons(t *testing.T) {
	for _, test := range []struct {
		answer string
		want   sv2.RejectReason
	}{
		{`"result":null,"error":[21,"job not found",null]`, sv2.RejectStale},
		{`"result":false,"error":[22,"duplicate share",null]`, sv2.RejectDuplicate},
		{`"result":false,"error":[23,"low difficulty share (0.5 expected 1)",null]`, sv2.RejectLowDifficulty},
		{`"result":false,"error":[20,"invalid ntime",null]`, sv2.RejectNTimeTooOld},
		{`"result":false,"error":[20,"invalid extranonce2",null]`, sv2.RejectExtranonceSize},
		{`"result":false,"error":[20,"invalid nonce",null]`, sv2.RejectInvalidShare},
		{`"result":false,"error":[20,"version rolling not enabled",null]`, sv2.RejectVersionRolling},
		{`"result":false,"error":[20,"invalid version mask",null]`, sv2.RejectVersionRolling},
		{`"result":false,"error":null`, sv2.RejectInvalidShare},
		{`"result":null,"error":{"code":21,"message":"gone"}`, sv2.RejectStale},
		{`"result":null,"error":"Stale share"`, sv2.RejectStale},
		{`"result":null,"error":[20,"backend-unavailable",null]`, sv2.RejectUnavailable},
		{`"result":null,"error":[20,"invalid-non-rollable-version-bit",null]`, sv2.RejectVersionBit},
		{`"result":null,"error":[99,"my own",null]`, sv2.RejectRateLimited},
	} {
		r := newRig(t, usual(), func(o *Options) {
			o.Reject = func(code int, text string) (sv2.RejectReason, bool) {
				return sv2.RejectRateLimited, code == 99 && text == "my own"
			}
		})
		m := r.open(extendedRequest())
		m.Submit([]sv2.Submit{m.share(m.opened.Job)})
		m.peer.answer(m.peer.submit(), test.answer)
		got := await[sv2.Verdict](t, m.tape, 1)[0]
		if got.Reason != test.want || !got.Credit.IsZero() || got.Hash == (sv2.Hash{}) {
			t.Errorf("%s: %+v", test.answer, got)
		}
		if len(of[sv2.Kick](m.tape)) != 0 {
			t.Errorf("%s: the miner is sent away", test.answer)
		}
		m.end()
	}
}

func TestMatchesAnswersByTheirIds(t *testing.T) {
	r := newRig(t, usual(), nil)
	m := r.open(extendedRequest())
	defer m.end()
	shares := []sv2.Submit{m.share(m.opened.Job), m.share(m.opened.Job), m.share(m.opened.Job)}
	m.Submit(shares)
	var submits []asked
	for range shares {
		submits = append(submits, m.peer.submit())
	}
	m.peer.answer(submits[2], yes)
	m.peer.answer(submits[0], `"result":null,"error":[21,"job not found",null]`)
	m.peer.answer(submits[0], yes)                                       // a second answer is none
	m.peer.write(`{"id":"` + string(submits[1].ID) + `",` + yes + "}\n") // ids as strings are ids
	got := await[sv2.Verdict](t, m.tape, 3)
	for i, want := range []struct {
		id     uint64
		reason sv2.RejectReason
	}{{shares[2].ID, 0}, {shares[0].ID, sv2.RejectStale}, {shares[1].ID, 0}} {
		if got[i].SubmitID != want.id || got[i].Reason != want.reason {
			t.Errorf("verdict %d: %+v", i, got[i])
		}
	}
}

// blockPool gives jobs on which every second hash is a block.
func blockPool() script {
	s := usual()
	s.then[methodConfigure] = difficultyLine(easyDifficulty) + notifyLine("1", 'a', easyBits, true)
	return s
}

// block is a share that is one; worthless says whether it must miss the share target.
func (m *miner) block(worthless bool) sv2.Submit {
	network, err := sv2.TargetFromNBits(m.opened.Job.NBits)
	if err != nil {
		m.t.Fatal(err)
	}
	return m.find(m.opened.Job, func(hash sv2.Hash) bool {
		return hash.Meets(network) && hash.Meets(m.opened.Target) == !worthless
	})
}

func TestAnswersABlockAtOnceAndTellsWhatBecameOfIt(t *testing.T) {
	for _, test := range []struct {
		name, answer      string
		accepted, unknown bool
		detail            string
	}{
		{"taken", yes, true, false, ""},
		{"refused", `"result":false,"error":[20,"submitblock rejected: high-hash",null]`, false, false,
			"submitblock rejected: high-hash"},
		{"undecided", `"result":null,"error":[20,"backend-unavailable: no answer",null]`, false, true,
			"backend-unavailable: no answer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, blockPool(), nil)
			m := r.open(extendedRequest())
			defer m.end()
			share := m.block(false)
			got := m.judge(share) // the pool has said nothing yet
			if !got.Accepted() || !got.BlockCandidate || got.Credit != m.opened.Target.Difficulty() {
				t.Fatalf("%+v", got)
			}
			m.peer.answer(m.peer.submit(), test.answer)
			result := await[sv2.BlockResult](t, m.tape, 1)[0]
			if result != (sv2.BlockResult{SubmitID: share.ID, Hash: got.Hash, Height: 773,
				Accepted: test.accepted, Unknown: test.unknown, Detail: test.detail}) {
				t.Errorf("%+v", result)
			}
			if again := m.judge(sv2.Submit{ID: 99, JobID: 1, Nonce: share.Nonce, NTime: share.NTime,
				Version: share.Version, Extranonce: share.Extranonce}); again.Reason !=
				sv2.RejectDuplicate || again.BlockCandidate {
				t.Errorf("the same again: %+v", again)
			}
		})
	}
}

func TestABlockIsNeverLostToPolicy(t *testing.T) {
	hard := 1.0 / (1 << 28)
	s := blockPool()
	s.then[methodConfigure] = difficultyLine(hard) + notifyLine("1", 'a', easyBits, true)
	r := newRig(t, s, func(o *Options) { o.MaxInFlight = 1 })
	m := r.open(extendedRequest())
	defer m.end()
	got := m.judge(m.block(true))
	if got.Reason != sv2.RejectLowDifficulty || !got.BlockCandidate || !got.Credit.IsZero() {
		t.Errorf("too easy for a share: %+v", got)
	}
	// The pool has not answered: one share waits, and no more may.
	for _, submit := range []sv2.Submit{m.block(true), m.block(false)} {
		if got := m.judge(submit); got.Reason != sv2.RejectRateLimited || !got.BlockCandidate {
			t.Errorf("beyond the cap: %+v", got)
		}
	}
	for range 3 {
		m.peer.answer(m.peer.submit(), yes)
	}
	for _, result := range await[sv2.BlockResult](t, m.tape, 3) {
		if !result.Accepted {
			t.Errorf("%+v", result)
		}
	}
}

func TestBlocksThatWaitForASilentPoolAreBounded(t *testing.T) {
	r := newRig(t, blockPool(), func(o *Options) { o.MaxInFlight = 1 })
	m := r.open(extendedRequest())
	defer m.end()
	const most = 1 + spareLines/2
	for i := range most + 3 {
		if got := m.judge(m.block(false)); !got.BlockCandidate || got.Accepted() != (i == 0) {
			t.Errorf("block %d: %+v", i, got)
		}
	}
	for _, result := range await[sv2.BlockResult](t, m.tape, 3) {
		if result.Accepted || !strings.Contains(result.Detail, "too much waits") {
			t.Errorf("%+v", result)
		}
	}
	for range most {
		m.peer.submit()
	}
	if n := len(of[sv2.BlockResult](m.tape)); n != 3 || len(m.peer.submits) != 0 {
		t.Errorf("%d results, %d more submits", n, len(m.peer.submits))
	}
}

func TestRefusesMoreThanMayWait(t *testing.T) {
	r := newRig(t, usual(), func(o *Options) { o.MaxInFlight = 4 })
	m := r.open(extendedRequest())
	defer m.end()
	var batch []sv2.Submit
	for range 10 {
		batch = append(batch, m.share(m.opened.Job))
	}
	m.Submit(batch)
	for _, got := range await[sv2.Verdict](t, m.tape, 6) {
		if got.Reason != sv2.RejectRateLimited {
			t.Errorf("%+v", got)
		}
	}
	for range 4 {
		m.peer.answer(m.peer.submit(), yes)
	}
	if got := await[sv2.Verdict](t, m.tape, 10); !got[9].Accepted() {
		t.Errorf("%+v", got[9])
	}
	share := m.share(m.opened.Job)
	m.Submit([]sv2.Submit{share})
	m.peer.answer(m.peer.submit(), yes)
	if got := await[sv2.Verdict](t, m.tape, 11)[10]; !got.Accepted() {
		t.Errorf("with room again: %+v", got)
	}
}

func TestAnswersForAPoolThatDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, usual(), nil)
		m := r.open(extendedRequest())
		m.Submit([]sv2.Submit{m.share(m.opened.Job)})
		submit := m.peer.submit()
		start := time.Now()
		for len(of[sv2.Verdict](m.tape)) == 0 {
			time.Sleep(time.Second)
		}
		got := of[sv2.Verdict](m.tape)[0]
		if waited := time.Since(start); got.Reason != sv2.RejectUnavailable ||
			waited < DefaultSubmitTimeout || waited > 2*DefaultSubmitTimeout {
			t.Errorf("%+v after %v", got, waited)
		}
		m.peer.answer(submit, yes) // too late
		synctest.Wait()
		if n := len(of[sv2.Verdict](m.tape)); n != 1 {
			t.Errorf("%d verdicts on one share", n)
		}
		m.end()
		r.close()
	})
}

func TestDrainWaitsForThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, blockPool(), nil)
		m := r.open(extendedRequest())
		m.judge(m.block(false)) // the result is still to come
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := r.Drain(ctx); err == nil {
			t.Error("drained with a block under way")
		}
		drained := make(chan error)
		go func() { drained <- r.Drain(context.Background()) }()
		m.peer.answer(m.peer.submit(), yes)
		if err := <-drained; err != nil || len(of[sv2.BlockResult](m.tape)) != 1 {
			t.Errorf("%v, results %v", err, of[sv2.BlockResult](m.tape))
		}
		m.end()
		r.close()
	})
}

func TestSharesTakenBeforeACloseReachThePool(t *testing.T) {
	r := newRig(t, usual(), nil)
	m := r.open(extendedRequest())
	var batch []sv2.Submit
	for range 100 {
		batch = append(batch, m.share(m.opened.Job))
	}
	m.Submit(batch)
	m.end()
	for range batch {
		m.peer.submit()
	}
	<-m.peer.gone
	if m.tape.tooLate != 0 {
		t.Errorf("%d events after Close", m.tape.tooLate)
	}
	m.Submit(batch) // does nothing
	if err := m.Update(context.Background(), sv2.UpdateRequest{MaxTarget: sv2.MaxTarget}); err == nil {
		t.Error("a closed channel was updated")
	}
}
