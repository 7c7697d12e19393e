// Shares, blocks, tips.

package e2e

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/tests/sv2client"
	"github.com/gopool-sv2/gopool-sv2/tests/sv2client/cpuminer"
)

// rig is a miner on one channel.
type rig struct {
	client  *sv2client.Client
	worker  string
	kind    sv2client.ChannelKind
	channel *sv2client.Channel
	notes   *notebook
}

// connect opens channels of the given kinds on one connection, with notebooks that hear it.
func (l *line) connect(
	name string, flags sv2client.SetupFlags, kinds ...sv2client.ChannelKind,
) []*rig {
	l.t.Helper()
	var rigs []*rig
	opened := make(chan struct{})
	hear := func(channel, sequence uint32, code string) {
		<-opened // nobody submits before
		for _, r := range rigs {
			if r.channel.ID() == channel {
				r.notes.hear(sequence, code)
			}
		}
	}
	client := l.dial(sv2client.Config{Flags: flags, Vendor: name, Observe: func(m sv2client.Message) {
		switch m := m.(type) {
		case *sv2client.SubmitSharesSuccess:
			hear(m.ChannelID, m.LastSequenceNumber, "")
		case *sv2client.SubmitSharesError:
			hear(m.ChannelID, m.SequenceNumber, m.ErrorCode)
		}
	}})
	for i, kind := range kinds {
		worker := fmt.Sprintf("%s%d", name, i)
		channel := l.open(client, kind, worker)
		rigs = append(rigs, &rig{client, worker, kind, channel, newNotebook()})
	}
	close(opened)
	return rigs
}

// TestMinesOnBothKindsOfChannelAndTheBooksAgreeToTheShare has a device with a standard channel, and a
// connection with both kinds.
func TestMinesOnBothKindsOfChannelAndTheBooksAgreeToTheShare(t *testing.T) {
	const shares = 40
	l := start(t, easyBits)
	rigs := l.connect("device", sv2client.RequiresStandardJobs, sv2client.Standard)
	rigs = append(rigs, l.connect("proxy", sv2client.RequiresVersionRolling, sv2client.Extended,
		sv2client.Standard)...)
	ended := make(chan error)
	for _, r := range rigs {
		go func() {
			ended <- cpuminer.Mine(l.context(), r.channel,
				cpuminer.Options{Accepted: shares, Found: r.notes.found})
		}()
	}
	for range rigs {
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range rigs {
		if got := r.channel.Tally(); got.Accepted < shares || got.Outstanding() != 0 {
			t.Errorf("%s: %+v", r.worker, got)
		}
		if err := r.channel.Close(l.context(), "the test is over"); err != nil {
			t.Error(err)
		}
	}
	l.stop()
	var blocks int
	for _, r := range rigs {
		l.compare(r)
		for _, v := range l.verdicts(r.worker) {
			if v.Block {
				blocks++
			}
		}
	}
	if blocks == 0 {
		t.Error("no block was found, so that no tip was followed")
	}
}

// find searches a header on work whose hash meets its target, starting with share; with meets false, one
// whose hash doesn't.
func find(t *testing.T, work sv2client.Work, share sv2client.Share, meets bool) sv2client.Share {
	t.Helper()
	root, err := work.MerkleRoot(share.Extranonce)
	if err != nil {
		t.Fatal(err)
	}
	for {
		header := work.Header(share, root)
		if work.Target.MetBy(sv2client.HashHeader(&header)) == meets {
			return share
		}
		share.Nonce++
	}
}

// first is the share to begin a search with.
func first(work sv2client.Work) sv2client.Share {
	return sv2client.Share{JobID: work.JobID, NTime: work.MinNTime, Version: work.Version,
		Extranonce: make([]byte, work.ExtranonceSize)}
}

// submit sends a share, waits for the answer and returns the code of a rejection.
func (l *line) submit(r *rig, share sv2client.Share) string {
	l.t.Helper()
	sequence, err := r.channel.Submit(l.context(), share)
	if err != nil {
		l.t.Fatal(err)
	}
	for {
		if code, heard := r.notes.answer(sequence); heard {
			return code
		}
		select {
		case <-r.notes.changed:
		case <-r.client.Done():
			l.t.Fatalf("share %d has no answer: %v", sequence, r.client.Err())
		}
	}
}

func TestFollowsANewTip(t *testing.T) {
	l := start(t, easyBits)
	rigs := l.connect("proxy", 0, sv2client.Standard, sv2client.Extended)
	old := make([]sv2client.Work, len(rigs))
	for i, r := range rigs {
		var err error
		if old[i], err = r.channel.WaitWork(l.context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	l.pool.signal(syscall.SIGUSR1)
	for i, r := range rigs {
		work := old[i]
		for work.PrevHash == old[i].PrevHash {
			var err error
			if work, err = r.channel.WaitWork(l.context(), work.Revision); err != nil {
				t.Fatal(err)
			}
		}
		stale := find(t, old[i], first(old[i]), true)
		if code := l.submit(r, stale); code != "stale-share" {
			t.Errorf("%s: a share for the old tip: %q", r.worker, code)
		}
	}
	for _, r := range rigs {
		options := cpuminer.Options{Accepted: 3, Found: r.notes.found}
		if err := cpuminer.Mine(l.context(), r.channel, options); err != nil {
			t.Errorf("%s: %v", r.worker, err)
		}
	}
	l.stop()
}

func TestWorksOnWhileAnotherChannelCloses(t *testing.T) {
	l := start(t, hardBits)
	rigs := l.connect("proxy", 0, sv2client.Extended, sv2client.Extended)
	closing, staying := rigs[0], rigs[1]
	if err := closing.channel.Close(l.context(), "enough"); err != nil {
		t.Fatal(err)
	}
	options := cpuminer.Options{Accepted: 3, Found: staying.notes.found}
	if err := cpuminer.Mine(l.context(), staying.channel, options); err != nil {
		t.Fatal(err)
	}
	l.stop()
	l.compare(staying)
	if got := l.verdicts(closing.worker); len(got) != 0 {
		t.Errorf("the closed channel has %+v", got)
	}
}
