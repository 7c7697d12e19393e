// What the pool promises about shares and its books.

package main

import (
	"encoding/hex"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// credit is what a share at the test's difficulty earns: 2^-28.
var credit = sv2.Difficulty{Fraction: 1 << 4}

func TestEveryVerdictIsInTheJournalWhenItIsTold(t *testing.T) {
	r := newRig(t, t.TempDir())
	s := dial(t, r.settings.socket)
	for _, kind := range kinds {
		user := payoutAddress(t) + ".rig"
		c := s.open(kind, user)
		for i := range 20 {
			submit, hash := c.share()
			submit.Worker = []byte("worker " + strconv.Itoa(i))
			got := s.judge(submit)[0]
			// Read after the verdict has come: the line must be there already.
			lines := r.book("verdict")
			line := lines[len(lines)-1]
			if !got.GetAccepted() || sv2.Hash(got.GetShareHash()) != hash ||
				got.GetCreditFraction() != credit.Fraction || got.GetCreditWhole() != 0 {
				t.Fatalf("verdict %v on %s", got, hash)
			}
			if line.SubmitID != submit.GetId() || !line.Accepted || line.Reason != "" ||
				line.Hash != hash.String() || line.Credit != credit || line.User != user ||
				line.Worker != "worker "+strconv.Itoa(i) || line.Conn != 1000+c.id ||
				line.Channel == 0 || line.Block {
				t.Fatalf("verdict %v is %+v in the journal", got, line)
			}
		}
	}
	start := r.book("start")
	if len(start) != 1 || start[0].Epoch != hex.EncodeToString(s.welcome.GetEpoch()) {
		t.Errorf("start lines %+v, epoch %x", start, s.welcome.GetEpoch())
	}
}

func TestRejectsWorthlessSharesAndBooksWhy(t *testing.T) {
	r := newRig(t, t.TempDir())
	s := dial(t, r.settings.socket)
	c := s.open(extended, payoutAddress(t))
	good, _ := c.share()
	s.judge(good)
	spoiled := func(spoil func(*sv2pb.Submit)) *sv2pb.Submit {
		submit, _ := c.share()
		spoil(submit)
		return submit
	}
	again := &sv2pb.Submit{ChannelId: good.ChannelId, JobId: good.JobId, Nonce: good.Nonce,
		Ntime: good.Ntime, Version: good.Version, Extranonce: good.Extranonce}
	for want, submit := range map[sv2.RejectReason]*sv2pb.Submit{
		sv2.RejectDuplicate:     again,
		sv2.RejectLowDifficulty: c.worthless(),
		sv2.RejectInvalidJobID:  spoiled(func(s *sv2pb.Submit) { s.JobId += 999 }),
		sv2.RejectVersionBit:    spoiled(func(s *sv2pb.Submit) { s.Version ^= 1 }),
		sv2.RejectNTimeTooOld:   spoiled(func(s *sv2pb.Submit) { s.Ntime-- }),
		sv2.RejectNTimeTooNew:   spoiled(func(s *sv2pb.Submit) { s.Ntime += 8000 }),
	} {
		got := s.judge(submit)[0]
		if got.GetAccepted() || sv2.RejectReason(got.GetReason()) != want {
			t.Errorf("want %s, got %v", want, got)
		}
		lines := r.book("verdict")
		line := lines[len(lines)-1]
		if line.SubmitID != submit.GetId() || line.Accepted || line.Reason != want.String() ||
			!line.Credit.IsZero() || (line.Hash == "") != (want == sv2.RejectInvalidJobID) {
			t.Errorf("%s is %+v in the journal", want, line)
		}
	}
}

func TestCreditsNothingThatTheJournalDoesNotTake(t *testing.T) {
	r := newRig(t, t.TempDir())
	s := dial(t, r.settings.socket)
	c := s.open(extended, payoutAddress(t))
	first, _ := c.share()
	if got := s.judge(first)[0]; !got.GetAccepted() {
		t.Fatalf("before: %v", got)
	}
	// The journal's descriptor becomes /dev/full for a while, where each write(2) is ENOSPC.
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	descriptor := int(r.journal.file.Fd())
	kept, err := unix.Dup(descriptor)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(kept)
	if err := unix.Dup3(int(full.Fd()), descriptor, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	lost, _ := c.share()
	got := s.judge(lost)[0]
	if got.GetAccepted() || sv2.RejectReason(got.GetReason()) != sv2.RejectUnavailable ||
		got.GetCreditFraction() != 0 || got.GetCreditWhole() != 0 {
		t.Errorf("with a full disk: %v", got)
	}
	if err := unix.Dup3(kept, descriptor, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	// The same share again must not be credited later, either; a new one is.
	lost.Id = 0
	if got := s.judge(lost)[0]; sv2.RejectReason(got.GetReason()) != sv2.RejectDuplicate {
		t.Errorf("the lost share again: %v", got)
	}
	next, _ := c.share()
	if got := s.judge(next)[0]; !got.GetAccepted() {
		t.Errorf("after: %v", got)
	}
	accepted := 0
	for _, line := range r.book("verdict") {
		if line.Accepted {
			accepted++
		}
	}
	if accepted != 2 {
		t.Errorf("%d accepted shares in the journal, want 2", accepted)
	}
	if !strings.Contains(r.logs.String(), "no space left on device") {
		t.Error("the log doesn't say why")
	}
}
