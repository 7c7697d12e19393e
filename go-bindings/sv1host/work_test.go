// How jobs and targets reach the miner.
package sv1host

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

func tipOf(tip byte) (hash sv2.Hash) {
	for i := range hash {
		hash[i] = tip
	}
	return hash
}

func TestReadsAJobAsMinersDo(t *testing.T) {
	// The prev-hash has its words turned around, everything else is as it stands.
	n, err := parseNotify([]byte(`["4f","` +
		"4d16b6f85af6e2198f44ae2a6de67f78487ae5611b77c6c0440b921e00000000" + `",` +
		`"01000000010000","072f736c7573682f",["1fa7cd5d","00"],"20000000","1c2ac4af","504e86b9",false]`))
	if err == nil {
		t.Errorf("branches of 4 and 1 bytes were taken: %+v", n)
	}
	n, err = parseNotify([]byte(`["4f","` +
		"4d16b6f85af6e2198f44ae2a6de67f78487ae5611b77c6c0440b921e00000000" + `","0100","0200",[],` +
		`"20000000","1c2ac4af","504e86b9"]`))
	if err != nil {
		t.Fatal(err)
	}
	if n.id != "4f" || n.version != 0x20000000 || n.nbits != 0x1c2ac4af || n.ntime != 0x504e86b9 ||
		n.prevHash.String() != "00000000440b921e1b77c6c0487ae5616de67f788f44ae2a5af6e2194d16b6f8" {
		t.Errorf("%+v", n)
	}
}

func TestRejectsJobsThatCannotBeMined(t *testing.T) {
	const hash = `"0000000000000000000000000000000000000000000000000000000000000000"`
	for _, params := range []string{
		``, `{}`, `[]`, `[1]`, `["1",` + hash + `,"01","02",[],"1","1"]`,
		`[1,` + hash + `,"01","02",[],"1","1","1"]`, `["1","00","01","02",[],"1","1","1"]`,
		`["1",` + hash + `,"","02",[],"1","1","1"]`, `["1",` + hash + `,"01","",[],"1","1","1"]`,
		`["1",` + hash + `,"zz","02",[],"1","1","1"]`, `["1",` + hash + `,"01","02",["00"],"1","1","1"]`,
		`["1",` + hash + `,"01","02","",1,"1","1"]`, `["1",` + hash + `,"01","02",[],"123456789","1","1"]`,
		`["1",` + hash + `,"01","02",[],"1","-1","1"]`, `["1",` + hash + `,"01","02",[],"1","1",""]`,
	} {
		if n, err := parseNotify([]byte(params)); err == nil {
			t.Errorf("%s: %+v", params, n)
		}
	}
}

func TestGivesTheTargetWithTheJobItIsFor(t *testing.T) {
	r := newRig(t, usual(), nil)
	m := r.open(extendedRequest())
	defer m.end()
	old := m.opened.Job
	m.peer.write(difficultyLine(8 * easyDifficulty))
	m.peer.write(notifyLine("2", 'a', hardBits, true)) // clean_jobs, but no new tip
	second := await[*sv2.Job](t, m.tape, 1)[0]
	events := m.tape.events
	hard := sv2.TargetFromDifficulty(8 * easyDifficulty)
	if len(events) != 2 || events[0] != any(hard) || second.ID != 2 || second.PrevHash != old.PrevHash {
		t.Fatalf("%v", events)
	}
	// Each job keeps the target and the credit that it came with.
	easyOnly := func(job *sv2.Job) sv2.Submit {
		return m.find(job, func(h sv2.Hash) bool { return h.Meets(m.opened.Target) && !h.Meets(hard) })
	}
	m.Submit([]sv2.Submit{easyOnly(old)})
	m.peer.answer(m.peer.submit(), yes)
	if got := await[sv2.Verdict](t, m.tape, 1)[0]; got.Credit != m.opened.Target.Difficulty() {
		t.Errorf("on the old job: %+v", got)
	}
	if got := m.judge(easyOnly(second)); got.Reason != sv2.RejectLowDifficulty {
		t.Errorf("too easy for the new job: %+v", got)
	}
	share := m.find(second, func(h sv2.Hash) bool { return h.Meets(hard) })
	m.Submit([]sv2.Submit{share})
	if submit := m.peer.submit(); submit.param(1) != `"2"` {
		t.Errorf("submitted for job %s", submit.param(1))
	} else {
		m.peer.answer(submit, yes)
	}
	if got := await[sv2.Verdict](t, m.tape, 3)[2]; got.Credit != hard.Difficulty() {
		t.Errorf("on the new job: %+v", got)
	}
	// Without a difficulty of its own a job has that of the one before, and no target is told.
	m.peer.write(notifyLine("3", 'a', hardBits, false))
	await[*sv2.Job](t, m.tape, 2)
	if n := len(of[sv2.Target](m.tape)); n != 1 {
		t.Errorf("%d targets", n)
	}
}

func TestKnowsANewTipByItsPrevHash(t *testing.T) {
	r := newRig(t, usual(), nil)
	m := r.open(extendedRequest())
	defer m.end()
	m.peer.write(notifyLine("2", 'b', hardBits, false)) // says clean_jobs=false, and is a new tip
	if got := await[*sv2.Job](t, m.tape, 1)[0]; got.PrevHash != tipOf('b') {
		t.Fatalf("%+v", got)
	}
	// What the pool makes of a share for the tip before is its own affair.
	m.Submit([]sv2.Submit{m.share(m.opened.Job)})
	m.peer.answer(m.peer.submit(), yes)
	if got := await[sv2.Verdict](t, m.tape, 1)[0]; !got.Accepted() {
		t.Errorf("%+v", got)
	}
	m.Submit([]sv2.Submit{m.share(m.opened.Job)})
	m.peer.answer(m.peer.submit(), `"result":null,"error":[21,"job not found",null]`)
	if got := await[sv2.Verdict](t, m.tape, 2)[1]; got.Reason != sv2.RejectStale {
		t.Errorf("%+v", got)
	}
	// Two tips later nobody remembers the job.
	m.peer.write(notifyLine("3", 'c', hardBits, true))
	await[*sv2.Job](t, m.tape, 2)
	if got := m.judge(m.share(m.opened.Job)); got.Reason != sv2.RejectStale {
		t.Errorf("%+v", got)
	}
}

func TestAsksThePoolWhatItKnowsBetter(t *testing.T) {
	r := newRig(t, usual(), func(o *Options) {
		o.AssignedDifficulty = func(conn net.Conn, job string) (float64, bool) {
			request, ok := RequestOf(conn)
			if !ok || string(request.UserIdentity) != "alice.rig" {
				t.Errorf("asked about %+v", request)
			}
			return 4 * easyDifficulty, job == "2"
		}
		o.IsTip = func(prevHash sv2.Hash) bool { return prevHash != tipOf('z') }
		o.StaleRule = sv2.StaleStrict
	})
	m := r.open(extendedRequest())
	defer m.end()
	if m.opened.Target != sv2.TargetFromDifficulty(easyDifficulty) ||
		m.opened.Job.StaleRule != sv2.StaleStrict {
		t.Errorf("%+v", m.opened)
	}
	m.peer.write(notifyLine("late", 'z', hardBits, true))
	m.peer.write(notifyLine("2", 'a', hardBits, false))
	if got := await[*sv2.Job](t, m.tape, 1); got[0].PrevHash != tipOf('a') {
		t.Errorf("a job of another tip was given: %+v", got[0])
	}
	if got := of[sv2.Target](m.tape); len(got) != 1 ||
		got[0] != sv2.TargetFromDifficulty(4*easyDifficulty) {
		t.Errorf("targets %v", got)
	}
}

func TestTheSameWorkAgainPaysNobodyTwice(t *testing.T) {
	s := usual()
	s.then[methodConfigure] = difficultyLine(4*easyDifficulty) +
		notifyWork("1", "w", 'a', hardBits, true)
	r := newRig(t, s, nil)
	m := r.open(extendedRequest())
	defer m.end()
	hard := m.opened.Target
	m.peer.write(difficultyLine(easyDifficulty) + notifyWork("2", "w", 'a', hardBits, true))
	again := await[*sv2.Job](t, m.tape, 1)[0]
	if len(of[sv2.Target](m.tape)) != 0 {
		t.Error("the easier target was told")
	}
	kept := m.find(again, func(h sv2.Hash) bool { return !h.Meets(hard) })
	if got := m.judge(kept); got.Reason != sv2.RejectLowDifficulty {
		t.Errorf("a share kept back: %+v", got)
	}
	m.Submit([]sv2.Submit{m.share(again)})
	submit := m.peer.submit()
	m.peer.answer(submit, yes)
	if got := await[sv2.Verdict](t, m.tape, 2)[1]; got.Credit !=
		sv2.TargetFromDifficulty(easyDifficulty).Difficulty() || submit.param(1) != `"2"` {
		t.Errorf("%+v for job %s", got, submit.param(1))
	}
	m.peer.write(notifyWork("3", "x", 'a', hardBits, true))
	await[*sv2.Job](t, m.tape, 2)
	if got := of[sv2.Target](m.tape); len(got) != 1 ||
		got[0] != sv2.TargetFromDifficulty(easyDifficulty) {
		t.Errorf("with new work: %v", got)
	}
}

func TestKeepsTheMinersMaximumTarget(t *testing.T) {
	s := usual() // but gives a job once only
	s.then = map[string]string{methodAuthorize: s.then[methodConfigure]}
	r := newRig(t, s, nil)
	m := r.open(extendedRequest())
	defer m.end()
	update := func(rate float64, target sv2.Target) error {
		return m.Update(context.Background(),
			sv2.UpdateRequest{NominalHashRate: rate, MaxTarget: target})
	}
	hard := sv2.TargetFromDifficulty(16 * easyDifficulty)
	if err := update(1e6, hard); err != nil {
		t.Fatal(err)
	}
	if got := of[sv2.Target](m.tape); len(got) != 1 || got[0] != hard {
		t.Errorf("told %v", got)
	}
	for _, want := range []string{methodSubscribe, methodAuthorize, methodConfigure,
		methodConfigure, methodSuggest} {
		if got := <-m.peer.requests; got.Method != want {
			t.Errorf("the pool got %s, want %s", got.line, want)
		}
	}
	// The pool goes on with what it likes; the miner gets what he can take.
	m.peer.write(notifyLine("2", 'a', hardBits, false))
	job := await[*sv2.Job](t, m.tape, 1)[0]
	got := m.judge(m.find(job, func(h sv2.Hash) bool { return !h.Meets(hard) }))
	if got.Reason != sv2.RejectLowDifficulty {
		t.Errorf("%+v", got)
	}
	m.Submit([]sv2.Submit{m.find(job, func(h sv2.Hash) bool { return h.Meets(hard) })})
	m.peer.answer(m.peer.submit(), yes)
	if got := await[sv2.Verdict](t, m.tape, 2)[1]; got.Credit != hard.Difficulty() {
		t.Errorf("%+v", got)
	}
	// An easier maximum is in force with the next job.
	if err := update(1e6, sv2.MaxTarget); err != nil || len(of[sv2.Target](m.tape)) != 1 {
		t.Errorf("%v, told %v", err, of[sv2.Target](m.tape))
	}
	m.peer.write(notifyLine("4", 'b', hardBits, false))
	await[*sv2.Job](t, m.tape, 2)
	if got := of[sv2.Target](m.tape); len(got) != 2 || got[1] != m.opened.Target {
		t.Errorf("told %v", got)
	}
	for _, wrong := range []error{update(-1, hard), update(1, sv2.Target{}), update(1, sv2.Target{1})} {
		if wrong == nil {
			t.Error("a wrong update was taken")
		}
	}
}

func TestAJobThatCannotBeUsedChangesNothing(t *testing.T) {
	r := newRig(t, usual(), nil)
	m := r.open(extendedRequest())
	defer m.end()
	m.peer.write(difficultyLine(64*easyDifficulty) +
		notifyLine("2", 'b', "00000000", true) + // the target 0
		difficultyLine(easyDifficulty) + notifyLine("3", 'b', hardBits, true))
	got := await[*sv2.Job](t, m.tape, 1)
	if got[0].ID != 2 || len(of[sv2.Target](m.tape)) != 0 {
		t.Errorf("%+v, targets %v", got[0], of[sv2.Target](m.tape))
	}
}

func TestFollowsTheMaskThatThePoolSets(t *testing.T) {
	r := newRig(t, usual(), nil)
	m := r.open(extendedRequest())
	defer m.end()
	for i, mask := range []string{"00000000", "ffffffff", "0fffe000"} {
		m.peer.write(`{"id":null,"method":"mining.set_version_mask","params":["` + mask + `"]}` + "\n" +
			notifyLine(mask, 'a', hardBits, false))
		want := []uint32{0, sv2.RollableVersionBits, 0x0fffe000}[i]
		if got := await[*sv2.Job](t, m.tape, i+1)[i]; got.VersionMask != want {
			t.Errorf("with %s: %08x", mask, got.VersionMask)
		}
	}
}

func TestForgetsJobsThatNobodyMayUse(t *testing.T) {
	r := newRig(t, usual(), nil)
	m := r.open(extendedRequest())
	defer m.end()
	for i := range 300 {
		m.peer.write(notifyLine(fmt.Sprint(i+2), 'a'+byte(i/100), hardBits, false))
		await[*sv2.Job](t, m.tape, i+1)
	}
	c := m.Channel.(*channel)
	c.mu.Lock()
	defer c.mu.Unlock()
	// Those of the tip and of the one before, that is when it was the tip.
	if n := len(c.names); n != 2*sv2.KnownJobs {
		t.Errorf("%d jobs are known", n)
	}
}
