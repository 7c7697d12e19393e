// What the pool promises miners on Stratum V1, and sidecars whose miners it sees like that.

package main

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// steadyArgs are of a pool whose difficulty moves when a miner asks for it, up to four times.
var steadyArgs = []string{"-share-seconds", "3600", "-template-seconds", "86400",
	"-max-difficulty", "0.0000000149011611938476562"} // 2^-26

// transcript hands the same shares through a door and says what became of each.
func transcript(t *testing.T, r *rig, d door) (said []string) {
	t.Helper()
	roll := uint64(0)
	w := d.until("work", func(w workbench) bool { return w.job != nil })
	network, err := sv2.TargetFromNBits(w.job.NBits)
	if err != nil {
		t.Fatal(err)
	}
	note := func(name string, submit sv2.Submit) {
		t.Helper()
		verdict, credit := d.judge(submit)
		lines := slices.DeleteFunc(r.book("verdict"), func(line bookLine) bool { return !line.Accepted })
		var booked sv2.Difficulty
		if verdict == sv2.RejectNone.String() {
			if booked = lines[len(lines)-1].Credit; credit != booked && !credit.IsZero() {
				t.Errorf("%s: credited %v, and booked %v", name, credit, booked)
			}
		} else if !credit.IsZero() {
			t.Errorf("%s: %s, and credited %v", name, verdict, credit)
		}
		said = append(said, name+": "+verdict+" "+strings.Repeat("+", int(booked.Fraction/credit28)))
	}
	share := func(job *sv2.Job, easier, harder sv2.Target) sv2.Submit {
		roll++
		return w.find(job, roll, func(h sv2.Hash) bool {
			return h.Meets(easier) && !h.Meets(harder) && !h.Meets(network)
		})
	}
	good := func() sv2.Submit { return share(w.job, w.target, sv2.Target{}) }
	spoiled := func(spoil func(*sv2.Submit)) sv2.Submit {
		submit := good()
		spoil(&submit)
		return submit
	}
	first, easy := good(), w.target
	note("valid", first)
	note("duplicate", first)
	note("low", share(w.job, sv2.MaxTarget, easy))
	note("unknown job", spoiled(func(s *sv2.Submit) { s.JobID += 999 }))
	note("early ntime", spoiled(func(s *sv2.Submit) { s.NTime-- }))
	note("late ntime", spoiled(func(s *sv2.Submit) { s.NTime += 8000 }))
	note("version", spoiled(func(s *sv2.Submit) { s.Version ^= 1 }))
	note("extranonce", spoiled(func(s *sv2.Submit) { s.Extranonce = append(s.Extranonce, 0) }))

	old := w.job
	d.require(4 * shareDifficulty)
	w = d.until("a harder job", func(w workbench) bool { return w.target.Cmp(easy) < 0 && w.job != old })
	note("of the old job", share(old, easy, w.target))
	note("of the new job", share(w.job, easy, w.target))
	note("hard", good())

	roll++
	note("block", w.find(w.job, roll, func(h sv2.Hash) bool { return h.Meets(network) }))
	late := good()
	w = d.until("a new tip", func(w workbench) bool { return w.job.PrevHash != old.PrevHash })
	note("stale", late)
	note("on the block", good())
	return said
}

// credit28 is the fraction of a credit of 2^-28.
const credit28 = 1 << 4

func TestJudgesSharesOfAllDoorsAlike(t *testing.T) {
	want := []string{
		"valid: accepted +", "duplicate: duplicate-share ", "low: difficulty-too-low ",
		"unknown job: invalid-job-id ", "early ntime: ntime-too-old ", "late ntime: ntime-too-new ",
		"version: invalid-non-rollable-version-bit ", "extranonce: bad-extranonce-size ",
		"of the old job: accepted +", "of the new job: difficulty-too-low ", "hard: accepted ++++",
		"block: accepted ++++", "stale: stale-share ", "on the block: accepted ++++",
	}
	native := func(kind sv2.Kind) func(*testing.T, *rig) door {
		return func(t *testing.T, r *rig) door {
			return openHostDoor(t, r.pool, kind, payoutAddress(t)+".rig")
		}
	}
	over := func(kind sv2.Kind) func(*testing.T, *rig) door {
		return func(t *testing.T, r *rig) door {
			return openHostDoor(t, r.sv1.host, kind, payoutAddress(t)+".rig")
		}
	}
	for name, open := range map[string]func(*testing.T, *rig) door{
		"Stratum V1": func(t *testing.T, r *rig) door {
			return openSV1Door(t, r.sv1.listener.Addr().String(), payoutAddress(t)+".rig")
		},
		"Stratum V2, extended":               native(sv2.Extended),
		"Stratum V2, standard":               native(sv2.Standard),
		"Stratum V2 on Stratum V1, extended": over(sv2.Extended),
		"Stratum V2 on Stratum V1, standard": over(sv2.Standard),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, t.TempDir(), append(steadyArgs, "-sv1", "127.0.0.1:0", "-via-sv1")...)
			got := transcript(t, r, open(t, r))
			if !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			if n := len(r.book("block")); n != 1 {
				t.Errorf("%d blocks in the journal", n)
			}
		})
	}
}

func TestMinersOfAllDoorsHaveExtranoncesOfTheirOwn(t *testing.T) {
	r := newRig(t, t.TempDir(), "-sv1", "127.0.0.1:0", "-via-sv1")
	seen := map[string]bool{}
	for range 20 {
		for _, d := range []door{
			openSV1Door(t, r.sv1.listener.Addr().String(), payoutAddress(t)),
			openHostDoor(t, r.pool, sv2.Extended, payoutAddress(t)),
			openHostDoor(t, r.sv1.host, sv2.Extended, payoutAddress(t)),
		} {
			prefix := d.until("", func(w workbench) bool { return w.job != nil }).prefix
			if seen[string(prefix)] || len(prefix) != sv2.DefaultPrefixSize {
				t.Errorf("prefix %x", prefix)
			}
			seen[string(prefix)] = true
		}
	}
}

func TestMinersComeBackToTheirExtranonceOverStratumV1(t *testing.T) {
	r := newRig(t, t.TempDir(), "-via-sv1")
	for _, kind := range []sv2.Kind{sv2.Standard, sv2.Extended} {
		open := func(wanted []byte) (sv2.Channel, []byte) {
			channel, opened, err := r.sv1.host.OpenChannel(t.Context(), sv2.OpenRequest{Kind: kind,
				UserIdentity: []byte(payoutAddress(t)), MaxTarget: sv2.MaxTarget, WantedPrefix: wanted,
				Reopen: wanted != nil}, &hostDoor{t: t, changed: make(chan struct{})})
			if err != nil {
				t.Fatal(err)
			}
			return channel, opened.Prefix
		}
		first, prefix := open(nil)
		if _, other := open(prefix); slices.Equal(other, prefix) {
			t.Errorf("%s: the prefix %x is given to two", kind, prefix)
		}
		first.Close("the pool restarts")
		eventually(t, "the pool's channel is closed", func() bool {
			return len(r.pool.Channels()) == r.sv1.host.Channels()
		})
		again, back := open(prefix)
		if !slices.Equal(back, prefix) {
			t.Errorf("%s: wanted %x, got %x", kind, prefix, back)
		}
		again.Close("the test is over")
	}
}

func TestRefusesWhomItCannotPayOnAllDoors(t *testing.T) {
	r := newRig(t, t.TempDir(), "-sv1", "127.0.0.1:0", "-via-sv1")
	for _, host := range []sv2.Host{r.pool, r.sv1.host} {
		for identity, want := range map[string]sv2.RefuseReason{
			"nobody": sv2.RefuseUnknownUser, "": sv2.RefuseInvalidUserIdentity,
		} {
			_, _, err := host.OpenChannel(t.Context(), sv2.OpenRequest{Kind: sv2.Extended,
				UserIdentity: []byte(identity), MaxTarget: sv2.MaxTarget}, &hostDoor{t: t})
			refusal, ok := err.(*sv2.Refusal)
			if !ok || refusal.Reason != want {
				t.Errorf("%T: %q: %v", host, identity, err)
			}
		}
	}
}

func TestSidecarsReachThePoolOverStratumV1(t *testing.T) {
	r := newRig(t, t.TempDir(), "-via-sv1")
	s := dial(t, r.settings.socket)
	user := payoutAddress(t) + ".rig"
	one, two := s.open(standard, user), s.open(extended, user)
	find(r, one, one, two)
	for _, c := range []*miner{one, two} {
		submit, hash := c.share()
		if got := s.judge(submit)[0]; !got.GetAccepted() || sv2.Hash(got.GetShareHash()) != hash ||
			got.GetCreditFraction() != credit.Fraction {
			t.Errorf("%v", got)
		}
		lines := r.book("verdict")
		// The pool's books name the share as the sidecar does.
		if line := lines[len(lines)-1]; line.SubmitID != submit.GetId() || line.User != user ||
			line.Conn != 1000+c.id || line.Hash != hash.String() || !line.Accepted {
			t.Errorf("booked as %+v", line)
		}
	}
}

func TestSendsStratumV1MinersAwayInOrder(t *testing.T) {
	r := newRig(t, t.TempDir(), "-sv1", "127.0.0.1:0")
	d := openSV1Door(t, r.sv1.listener.Addr().String(), payoutAddress(t))
	r.end()
	rest, err := io.ReadAll(d.lines)
	if err != nil || !strings.Contains(string(rest), `"client.show_message","params":["Pool restarting;`) {
		t.Errorf("%s, %v", rest, err)
	}
}

func TestRejectsStratumV1AddressesWithTheRemedy(t *testing.T) {
	for _, address := range []string{"3333", "127.0.0.1", "127.0.0.1:"} {
		if _, err := parseFlags([]string{"-sv1", address}, io.Discard); err == nil ||
			!strings.Contains(err.Error(), "127.0.0.1:3333") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestStopsThoughAMinerReadsNothing(t *testing.T) {
	r := newRig(t, t.TempDir(), "-sv1", "127.0.0.1:0")
	ours, theirs := net.Pipe() // a Write waits for a Read
	defer ours.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		r.sv1.port.ServeConn(t.Context(), theirs)
	}()
	if _, err := io.WriteString(ours, `{"id":1,"method":"mining.ping"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	r.end()
	<-served
}
