// What jobs look like to the miners that get them.

package main

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// jobRequest is what package sv2 asks for a channel with a payout of this script.
func jobRequest(id uint64, script []byte) sv2.JobRequest {
	return sv2.JobRequest{
		ID: id, Account: &account{script: script}, Kind: sv2.Extended,
		Prefix: make([]byte, sv2.DefaultPrefixSize), ExtranonceSize: sv2.DefaultExtranonceSize,
	}
}

func TestAJobStartsAtThePresentHoweverOldItsTemplateIs(t *testing.T) {
	r := newRig(t, t.TempDir(), "-template-seconds", "86400")
	first, err := r.work.newest()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		clock, want uint32
	}{
		{first.CurTime + 1800, first.CurTime + 1800},
		{first.CurTime, first.CurTime},
		{first.CurTime - 50, first.CurTime}, // blocks came so fast that chain time is ahead
	} {
		w := &work{source: r.source, payouts: r.work.payouts, present: first,
			now: func() time.Time { return time.Unix(int64(test.clock), 0) }}
		job, err := w.buildJob(context.Background(), jobRequest(1, []byte{0x51}))
		if err != nil {
			t.Fatal(err)
		}
		if job.MinNTime != test.want || job.MaxNTime != 0 {
			t.Errorf("clock %d: ntime from %d to %d, want from %d", test.clock, job.MinNTime,
				job.MaxNTime, test.want)
		}
	}
}

// devicePayload is the longest message that Bitaxe and its like take, in bytes.
const devicePayload = 4096

func TestJobsFitIntoWhatSmallDevicesTake(t *testing.T) {
	r := newRig(t, t.TempDir())
	script := bytes.Repeat([]byte{0x51}, 34) // as long as a payout gets: P2TR, P2WSH
	job, err := r.work.buildJob(context.Background(), jobRequest(1<<63, script))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(job.CoinbaseSuffix, r.work.present.WitnessCommitment) {
		t.Fatal("the coinbase lacks an output that each block of a network has")
	}
	// 23 bytes of fields (SV2 spec 5.3.16); the path of a block of 16,000 transactions.
	size := 23 + 14*32 + len(job.CoinbasePrefix) + len(job.CoinbaseSuffix)
	if size > devicePayload/4 { // far from it: nothing in a coinbase of this pool grows
		t.Errorf("NewExtendedMiningJob has %d bytes", size)
	}
}
