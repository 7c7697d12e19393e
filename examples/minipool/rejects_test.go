// What the journal promises when shares are rejected in masses: it stays small, and adds up.

package main

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// rejectedIn adds up lines and sums, by reason.
func rejectedIn(t testing.TB, path string) map[string]uint64 {
	t.Helper()
	reasons := map[string]uint64{}
	for _, line := range readJournal(t, path, "") {
		switch {
		case line.Event == "verdict" && !line.Accepted:
			reasons[line.Reason]++
		case line.Event == "rejects":
			sum := uint64(0)
			for reason, count := range line.Reasons {
				reasons[reason] += count
				sum += count
			}
			if sum != line.Count || line.Channel == 0 {
				t.Errorf("sum %+v", line)
			}
		}
	}
	return reasons
}

// stoppedJournal is a journal whose seconds pass when the test says so.
func stoppedJournal(t testing.TB) (j *journal, path string, second *int64) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "journal")
	j, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	second = new(int64)
	j.rejects.clock = func() time.Time { return time.Unix(*second, 0) }
	return j, path, second
}

func book(t testing.TB, j *journal, channel uint64, verdict sv2.Verdict) {
	t.Helper()
	info := sv2.ChannelInfo{ID: channel, UserIdentity: []byte("junk\n")}
	if err := j.verdict(info, sv2.Submit{}, verdict); err != nil {
		t.Error(err)
	}
}

func TestJunkIsCountedAndWhatCountsIsWritten(t *testing.T) {
	j, path, second := stoppedJournal(t)
	for *second = range int64(3) {
		for n := range 1000 {
			book(t, j, uint64(n%3+1), sv2.Verdict{Reason: sv2.RejectLowDifficulty})
			book(t, j, 1, sv2.Verdict{Reason: sv2.RejectDuplicate})
			if n%100 == 0 {
				book(t, j, 1, sv2.Verdict{Credit: sv2.Difficulty{Whole: 1}})
				book(t, j, 1, sv2.Verdict{Reason: sv2.RejectStale, BlockCandidate: true})
			}
		}
		if err := j.writeSums(rejectSums); err != nil {
			t.Error(err)
		}
	}
	accepted, blocks, junk := 0, 0, map[uint64]int{}
	for _, line := range readJournal(t, path, "verdict") {
		switch {
		case line.Accepted:
			accepted++
		case line.Block:
			blocks++
		default:
			junk[line.Channel]++
		}
	}
	if accepted != 30 || blocks != 30 {
		t.Errorf("%d accepted and %d blocks have lines, want 30 each", accepted, blocks)
	}
	each := 3 * rejectLines
	if want := map[uint64]int{1: each, 2: each, 3: each}; !maps.Equal(junk, want) {
		t.Errorf("lines of junk %v, want %v", junk, want)
	}
	if sums := readJournal(t, path, "rejects"); len(sums) != 9 || sums[0].User != `junk\n` {
		t.Errorf("sums %+v, want one for each channel and second", sums)
	}
	if err := j.close(); err != nil {
		t.Error(err)
	}
	want := map[string]uint64{"difficulty-too-low": 3000, "duplicate-share": 3000, "stale-share": 30}
	if got := rejectedIn(t, path); !maps.Equal(got, want) {
		t.Errorf("the books have %v, want %v", got, want)
	}
}

func TestManyChannelsFillTheDiskNoFasterThanFew(t *testing.T) {
	j, path, _ := stoppedJournal(t)
	const channels, each = 500, 20
	for n := range channels * each {
		book(t, j, uint64(n%channels+1), sv2.Verdict{Reason: sv2.RejectLowDifficulty})
	}
	if err := j.writeSums(rejectSums); err != nil {
		t.Error(err)
	}
	if lines := len(readJournal(t, path, "")); lines != allRejectLines+rejectSums {
		t.Errorf("%d lines in a second, want %d", lines, allRejectLines+rejectSums)
	}
	if err := j.close(); err != nil {
		t.Error(err)
	}
	if got := rejectedIn(t, path)["difficulty-too-low"]; got != channels*each {
		t.Errorf("%d in the books, want %d", got, channels*each)
	}
	if len(j.rejects.waiting) != 0 {
		t.Errorf("%d sums are left", len(j.rejects.waiting))
	}
}

func TestASumThatCannotBeWrittenIsNotLost(t *testing.T) {
	j, path, _ := stoppedJournal(t)
	for range 100 {
		book(t, j, 1, sv2.Verdict{Reason: sv2.RejectLowDifficulty})
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	kept := j.file
	j.file = full
	if err := j.writeSums(rejectSums); err == nil {
		t.Error("wrote to a full disk")
	}
	j.file = kept
	if err := j.close(); err != nil {
		t.Error(err)
	}
	if got := rejectedIn(t, path)["difficulty-too-low"]; got != 100 {
		t.Errorf("%d in the books, want 100", got)
	}
}

func TestTheBooksOfAFloodAddUpToWhatWasTold(t *testing.T) {
	r := newRig(t, t.TempDir())
	s := dial(t, r.settings.socket)
	c, honest := s.open(extended, payoutAddress(t)), s.open(extended, payoutAddress(t))
	for range 20 {
		batch := make([]*sv2pb.Submit, 100)
		for i := range batch {
			batch[i] = &sv2pb.Submit{ChannelId: c.id, JobId: c.job.ID, Nonce: uint32(s.lastSubmit) +
				uint32(i), Ntime: c.job.MinNTime - 1, Version: c.job.Version, Extranonce: make([]byte, c.size)}
		}
		s.judge(batch...)
		good, _ := honest.share()
		if got := s.judge(good)[0]; !got.GetAccepted() {
			t.Errorf("an honest share: %v", got)
		}
	}
	told := map[string]uint64{}
	for _, verdict := range s.verdicts {
		if !verdict.GetAccepted() {
			told[sv2.RejectReason(verdict.GetReason()).String()]++
		}
	}
	s.hangUp()
	r.end()
	if got := rejectedIn(t, r.settings.journal); !maps.Equal(got, told) {
		t.Errorf("the books have %v, the miner was told %v", got, told)
	}
	if told[sv2.RejectNTimeTooOld.String()] < 1900 {
		t.Errorf("told %v: that's no flood", told)
	}
	info, err := os.Stat(r.settings.journal)
	if err != nil || info.Size() > 100_000 { // line by line it is half a megabyte
		t.Errorf("the journal has %d bytes, %v", info.Size(), err)
	}
}
