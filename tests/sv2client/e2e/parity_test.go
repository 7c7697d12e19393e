// One pool, three doors on the wire: the same shares are judged and booked alike, whichever way they come.

package e2e

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/tests/sv2client"
)

const (
	// accepted is the verdict on a share that counts.
	accepted = "accepted"
	// unsayable is said instead of a verdict where the door's messages have no field for a fault.
	unsayable = "no field for it"
	// parityBits make a block of every 2^16 hashes.
	parityBits = "1f00ffff"
	// unit is the first difficulty, 16 hashes a share; creditUnit is the fraction of 2^32 that it is.
	unit, creditUnit = 1.0 / (1 << 28), 1 << 4
)

// paritySteady are flags of a pool whose difficulty moves when a miner asks for it, up to four times, and
// whose work changes with the tip or the difficulty only.
var paritySteady = []string{"-share-seconds", "3600", "-template-seconds", "86400",
	"-min-difficulty", "0.0000000037252902984619140625", "-max-difficulty", "0.0000000149011611938476562"}

// bench is a job with what it takes to mine it.
type bench struct {
	sv2client.Work
	root func(extranonce []byte) sv2client.Hash
}

// hash is that of a share's header.
func (b bench) hash(share sv2client.Share) sv2client.Hash {
	header := b.Header(share, b.root(share.Extranonce))
	return sv2client.HashHeader(&header)
}

// find searches a share whose hash is as wanted. Each roll begins another search.
func (b bench) find(roll uint32, good func(sv2client.Hash) bool) sv2client.Share {
	share := first(b.Work)
	share.Version ^= roll << 5 & sv2client.VersionRollingMask
	if len(share.Extranonce) >= 4 {
		binary.BigEndian.PutUint32(share.Extranonce, roll)
	}
	header := b.Header(share, b.root(share.Extranonce))
	for !good(sv2client.HashHeader(&header)) {
		share.Nonce++
		binary.LittleEndian.PutUint32(header[76:], share.Nonce)
	}
	return share
}

// door is a miner behind one of the doors.
type door interface {
	// until waits for a job that holds, be it the present one.
	until(holds func(bench) bool) bench
	// judge hands a share in and gives the verdict: accepted, or the reason why not.
	judge(share sv2client.Share) string
	// require says that no easier share will come.
	require(difficulty float64)
}

// sv2Door is a channel.
type sv2Door struct {
	l *line
	*rig
}

func (d sv2Door) until(holds func(bench) bool) bench {
	d.l.t.Helper()
	for revision := uint64(0); ; {
		work, err := d.channel.WaitWork(d.l.context(), revision)
		if err != nil {
			d.l.t.Fatalf("%s: %v", d.worker, err)
		}
		b := bench{work, func(extranonce []byte) sv2client.Hash {
			root, err := work.MerkleRoot(extranonce)
			if err != nil {
				d.l.t.Errorf("%s: %v", d.worker, err)
			}
			return root
		}}
		if holds(b) {
			return b
		}
		revision = work.Revision
	}
}

func (d sv2Door) judge(share sv2client.Share) string {
	d.l.t.Helper()
	if d.kind == sv2client.Standard && len(share.Extranonce) > 0 {
		return unsayable
	}
	if code := d.l.submit(d.rig, share); code != "" {
		return code
	}
	return accepted
}

func (d sv2Door) require(difficulty float64) {
	d.l.t.Helper()
	if err := d.channel.Update(d.l.context(), 0, targetOf(difficulty)); err != nil {
		d.l.t.Fatalf("%s: %v", d.worker, err)
	}
}

// miner is who comes through a door, and what became of its shares.
type miner struct {
	door
	worker string // in the books
	said   []said
	roll   uint32
}

// said is a share's verdict on the wire.
type said struct {
	step, verdict string
	hash          sv2client.Hash
}

// note hands a share in and writes down what is said.
func (m *miner) note(step string, hash sv2client.Hash, share sv2client.Share) {
	m.said = append(m.said, said{step, m.judge(share), hash})
}

// share finds one of a job that meets one target, but neither another one nor that of a block.
func (m *miner) share(t *testing.T, b bench, easier, harder sv2client.Target) sv2client.Share {
	t.Helper()
	network, err := sv2client.TargetFromNBits(b.NBits)
	if err != nil {
		t.Fatal(err)
	}
	m.roll++
	return b.find(m.roll, func(hash sv2client.Hash) bool {
		return easier.MetBy(hash) && !harder.MetBy(hash) && !network.MetBy(hash)
	})
}

// block finds a block.
func (m *miner) block(t *testing.T, b bench) sv2client.Share {
	t.Helper()
	network, err := sv2client.TargetFromNBits(b.NBits)
	if err != nil {
		t.Fatal(err)
	}
	m.roll++
	return b.find(m.roll, network.MetBy)
}

// transcript hands in what can be said of shares, beginning on a tip, through one of the doors. The block
// in it makes the shares of all doors stale. It gives the new tip.
func transcript(t *testing.T, m *miner, all []*miner, tip sv2client.Hash) sv2client.Hash {
	t.Helper()
	none := sv2client.Target{}
	on := func(tip sv2client.Hash) func(bench) bool {
		return func(b bench) bool { return b.PrevHash == tip }
	}
	b := m.until(on(tip))
	note := func(step string, b bench, share sv2client.Share) {
		t.Helper()
		m.note(step, b.hash(share), share)
	}
	// spoiled is found after the change, so that the hash is good and nothing else is wrong with it.
	spoiled := func(step string, spoil func(*bench)) {
		t.Helper()
		changed := b
		spoil(&changed)
		note(step, changed, m.share(t, changed, b.Target, none))
	}
	valid := m.share(t, b, b.Target, none)
	note("valid", b, valid)
	note("duplicate", b, valid)
	note("low", b, m.share(t, b, sv2client.MaxTarget(), b.Target))
	spoiled("unknown job", func(b *bench) { b.JobID += 999 })
	spoiled("early ntime", func(b *bench) { b.MinNTime-- })
	spoiled("late ntime", func(b *bench) { b.MinNTime += 8000 })
	spoiled("version", func(b *bench) { b.Version ^= 1 })
	long := m.share(t, b, b.Target, none)
	hash := b.hash(long)
	long.Extranonce = append(long.Extranonce, 0)
	m.note("extranonce", hash, long)

	old := b
	m.require(4 * unit)
	b = m.until(func(b bench) bool {
		return b.JobID != old.JobID && b.Target != old.Target && b.Target.Harder(old.Target) == b.Target
	})
	note("of the old job", old, m.share(t, old, old.Target, b.Target))
	note("of the new job", b, m.share(t, b, old.Target, b.Target))
	note("hard", b, m.share(t, b, b.Target, none))

	type late struct {
		*miner
		bench
		sv2client.Share
	}
	var lates []late
	for _, each := range all {
		b := each.until(on(tip))
		lates = append(lates, late{each, b, each.share(t, b, b.Target, none)})
	}
	note("block", b, m.block(t, b))
	b = m.until(func(b bench) bool { return b.PrevHash != tip })
	for _, kept := range lates {
		kept.until(on(b.PrevHash))
		if kept.miner == m {
			note("stale", kept.bench, kept.Share)
		} else if verdict := kept.judge(kept.Share); verdict != "stale-share" {
			t.Errorf("%s after a block of %s: %s", kept.worker, m.worker, verdict)
		}
	}
	note("on the block", b, m.share(t, b, b.Target, none))
	return b.PrevHash
}

// judged is what is to be said, with a + for each unit that is booked.
var judged = []string{
	"valid: accepted +", "duplicate: duplicate-share ", "low: difficulty-too-low ",
	"unknown job: invalid-job-id ", "early ntime: ntime-too-old ", "late ntime: ntime-too-new ",
	"version: invalid-non-rollable-version-bit ", "extranonce: bad-extranonce-size ",
	"of the old job: accepted +", "of the new job: difficulty-too-low ", "hard: accepted ++++",
	"block: accepted ++++", "stale: stale-share ", "on the block: accepted ++++",
}

// booked compares what a miner was told with the pool's journal, and gives both as judged has it.
func (l *line) booked(m *miner) (lines []string) {
	l.t.Helper()
	credit := map[string]int{} // by hash
	for _, v := range l.verdicts(m.worker) {
		if !v.Accepted {
			continue
		}
		if _, twice := credit[v.Hash]; twice || v.Credit.Whole != 0 || v.Credit.Fraction%creditUnit != 0 {
			l.t.Errorf("%s: the book has %+v", m.worker, v)
		}
		credit[v.Hash] = int(v.Credit.Fraction / creditUnit)
	}
	for _, s := range m.said {
		units := 0
		if s.verdict == accepted {
			var found bool
			if units, found = credit[s.hash.String()]; !found {
				l.t.Errorf("%s: %s: told accepted, not in the book", m.worker, s.step)
			}
			delete(credit, s.hash.String())
		}
		lines = append(lines, s.step+": "+s.verdict+" "+strings.Repeat("+", units))
	}
	if len(credit) > 0 {
		l.t.Errorf("%s: the book has %v, which we were not told of", m.worker, credit)
	}
	return lines
}

// refused are the reasons that the pool has in its journal.
func (l *line) refused(m *miner) map[string]int {
	l.t.Helper()
	reasons := map[string]int{}
	for _, v := range l.verdicts(m.worker) {
		if !v.Accepted {
			reasons[v.Reason]++
		}
	}
	for _, sum := range l.book("rejects", m.worker) {
		for reason, count := range sum.Reasons {
			reasons[reason] += count
		}
	}
	return reasons
}

// doors opens all three.
func (l *line) doors() (sv1, extended, standard *miner) {
	l.t.Helper()
	sv1 = &miner{door: l.dialSV1("sv1"), worker: "sv1"}
	l.hashRate = 0 // nothing told: they begin at the easiest, as Stratum V1 does
	open := func(name string, flags sv2client.SetupFlags, kind sv2client.ChannelKind) *miner {
		r := l.connect(name, flags, kind)[0]
		return &miner{door: sv2Door{l, r}, worker: r.worker}
	}
	return sv1, open("proxy", sv2client.RequiresVersionRolling, sv2client.Extended),
		open("device", sv2client.RequiresStandardJobs, sv2client.Standard)
}

// TestJudgesSharesOfAllDoorsAlikeOnTheWire has a pool with a port for Stratum V1 beside the listener, and
// once more with Stratum V1 inside between listener and pool (-via-sv1). The verdicts, in their own words,
// and the credit of each share are the same. What is not, because it can't be:
//
//   - A standard channel's share has no extranonce: there is no wrong one.
//   - A miner asks for harder shares with minimum-difficulty on Stratum V1, with the maximum target of
//     UpdateChannel on Stratum V2.
//   - On Stratum V1 the pool judges all shares. The listener answers for itself what no pool need see:
//     unknown jobs, ntime, version bits, size of the extranonce, shares of a tip that is gone. sv1host
//     does so with duplicates and easy shares. So the pool's journal has fewer refusals; which, is said
//     here to the share.
//   - SubmitShares.Success tells whole difficulties, of which all these shares together are not one, and
//     Stratum V1 tells none: credit is compared in the journal.
func TestJudgesSharesOfAllDoorsAlikeOnTheWire(t *testing.T) {
	const doors = 3
	direct := map[string]int{"duplicate-share": 1, "difficulty-too-low": 2, "invalid-job-id": 1,
		"ntime-too-old": 1, "ntime-too-new": 1, "invalid-non-rollable-version-bit": 1,
		"bad-extranonce-size": 1, "stale-share": doors}
	for name, test := range map[string]struct {
		flags   []string
		refused map[string]int // by the pool, of what the listener brings
	}{
		"beside":  {nil, map[string]int{"duplicate-share": 1, "difficulty-too-low": 2}},
		"between": {[]string{"-via-sv1"}, map[string]int{}},
	} {
		t.Run(name, func(t *testing.T) {
			l := start(t, parityBits, slices.Concat(paritySteady, []string{"-sv1", "127.0.0.1:0"}, test.flags)...)
			sv1, extended, standard := l.doors()
			all := []*miner{sv1, extended, standard}
			tip := sv1.until(func(bench) bool { return true }).PrevHash
			for _, m := range all {
				tip = transcript(t, m, all, tip)
			}
			l.stop()
			for _, m := range all {
				want, refused := slices.Clone(judged), test.refused
				if m == standard {
					want[slices.Index(want, "extranonce: bad-extranonce-size ")] = "extranonce: " + unsayable + " "
				}
				if m == sv1 {
					refused = direct
				}
				if got := l.booked(m); !slices.Equal(got, want) {
					t.Errorf("%s:\ngot  %q\nwant %q", m.worker, got, want)
				}
				if got := l.refused(m); !maps.Equal(got, refused) {
					t.Errorf("%s: the pool refused %v, want %v", m.worker, got, refused)
				}
				if blocks := l.book("block", m.worker); len(blocks) != 1 || !blocks[0].Accepted {
					t.Errorf("%s: blocks %+v", m.worker, blocks)
				}
			}
		})
	}
}

// TestRejectsSharesOfOneDoorAtAnother hands each door the shares of each other one, field by field. One
// hash can't come through two doors: every channel has an extranonce prefix of its own, whatever its door,
// and every job of minipool its number in the coinbase, so that the same fields are another header. There
// is only the copy to be tried, and it is worth what its own hash is worth: nothing.
func TestRejectsSharesOfOneDoorAtAnother(t *testing.T) {
	l := start(t, parityBits, append(paritySteady, "-sv1", "127.0.0.1:0")...)
	sv1, extended, standard := l.doors()
	all := []*miner{sv1, extended, standard}
	present := func(bench) bool { return true }
	for _, from := range all {
		for _, to := range all {
			if from == to {
				continue
			}
			there, here := from.until(present), to.until(present)
			there.MinNTime = max(there.MinNTime, here.MinNTime) // not too old for either
			copied := func(share sv2client.Share) sv2client.Share {
				share.JobID = here.JobID
				share.Extranonce = append(slices.Clone(share.Extranonce),
					make([]byte, here.ExtranonceSize)...)[:here.ExtranonceSize]
				return share
			}
			step := from.worker + " to " + to.worker
			share := from.share(t, there, there.Target, sv2client.Target{})
			for here.Target.MetBy(here.hash(copied(share))) { // a share of its own, by luck
				if here.hash(copied(share)) == there.hash(share) {
					t.Fatalf("%s: the same header through both", step)
				}
				share = from.share(t, there, there.Target, sv2client.Target{})
			}
			from.note(step, there.hash(share), share)
			to.note(step, here.hash(copied(share)), copied(share))
			if from.said[len(from.said)-1].verdict != accepted ||
				to.said[len(to.said)-1].verdict != "difficulty-too-low" {
				t.Errorf("%s: %+v, %+v", step, from.said[len(from.said)-1], to.said[len(to.said)-1])
			}
		}
	}
	l.stop()
	for _, m := range all {
		l.booked(m)
	}
}
