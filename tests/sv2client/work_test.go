// From a job to a hash, by a share that an implementation in another language computed.

package sv2client

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strings"
	"testing"
)

func TestComputesTheShareOfTheVector(t *testing.T) {
	want, work, share := vectorWork(t)
	pathless := *work.job.extended
	pathless.MerklePath = nil
	txid := merkleRoot(&pathless, work.job.prefix, share.Extranonce)
	same(t, "coinbase txid", txid[:], want.TxID)
	root, err := work.MerkleRoot(share.Extranonce)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "merkle root", root[:], want.Root)
	header := work.Header(share, root)
	same(t, "header", header[:], want.Header)
	hash, err := work.Hash(share)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "hash", hash[:], want.Hash)
	for _, at := range want.Verdicts {
		if got := Target(at.Target).MetBy(hash); got != (at.Reason == "accepted") {
			t.Errorf("target %x met: %v", at.Target, got)
		}
	}
}

func TestWritesTheSubmitsOfTheVector(t *testing.T) {
	want, _, share := vectorWork(t)
	standard := SubmitSharesStandard{ChannelID: want.Submit.ChannelID, JobID: share.JobID,
		SequenceNumber: want.Submit.Sequence, Nonce: share.Nonce, NTime: share.NTime,
		Version: share.Version}
	for i, m := range []Message{&SubmitSharesExtended{standard, share.Extranonce, nil}, &standard} {
		f, err := toFrame(m)
		if err != nil {
			t.Fatal(err)
		}
		same(t, Name(m), f.payload, want.Channels[i].Payload)
		if f.extension != channelBit || f.kind != []uint8{0x1b, 0x1a}[i] {
			t.Errorf("header %04x %02x", f.extension, f.kind)
		}
	}
}

func TestRejectsExtranoncesOfAnotherSize(t *testing.T) {
	_, work, share := vectorWork(t)
	for _, size := range []int{0, 15, 17, 32} {
		share.Extranonce = make([]byte, size)
		if _, err := work.Hash(share); err == nil {
			t.Errorf("%d bytes were taken", size)
		}
	}
}

func TestRejectsWorkOfNoChannel(t *testing.T) {
	if _, err := (Work{}).Hash(Share{}); err == nil {
		t.Error("it has a hash")
	}
}

func TestKnowsTheDifficultyOfTargets(t *testing.T) {
	var v targetVectors
	readVectors(t, "targets.json", &v)
	if len(v.Difficulties) < 10 {
		t.Fatal("vectors are missing")
	}
	for _, c := range v.Difficulties {
		got := Target(c.Target).Difficulty()
		// The target is rounded down to a whole number.
		if math.Abs(got/c.Difficulty-1) > 1e-8 {
			t.Errorf("%x: %v, want %v", c.Target, got, c.Difficulty)
		}
	}
	if got := (Target{}).Difficulty(); !math.IsInf(got, 1) {
		t.Errorf("the target 0 has difficulty %v", got)
	}
	if got := MaxTarget().Difficulty(); got <= 0 || got >= 1.0/(1<<31) {
		t.Errorf("the easiest target has difficulty %v", got)
	}
}

func TestComparesTargetsAsNumbers(t *testing.T) {
	low, high := Target{0: 0xff}, Target{31: 1}
	if !high.MetBy(Hash(low)) || low.MetBy(Hash(high)) || !low.MetBy(Hash(low)) {
		t.Error("the last byte is the most significant one")
	}
	if high.Harder(low) != low || low.Harder(high) != low {
		t.Error("the harder target is the smaller one")
	}
	if got := high.String(); got != "01"+strings.Repeat("00", 31) {
		t.Errorf("printed as %s", got)
	}
}

func TestReadsTheTargetsOfTheVectors(t *testing.T) {
	var v targetVectors
	readVectors(t, "targets.json", &v)
	if len(v.NBits) < 10 || len(v.Meets) < 5 {
		t.Fatal("vectors are missing")
	}
	for _, c := range v.NBits {
		target, err := TargetFromNBits(binary.BigEndian.Uint32(c.NBits))
		usable := err == nil && target != Target{}
		if usable != (c.Target != nil) || usable && target != Target(*c.Target) {
			t.Errorf("%x: %v, %v", c.NBits, target, err)
		}
	}
	for _, c := range v.Meets {
		if got := Target(c.Target).MetBy(Hash(c.Hash)); got != c.Meets {
			t.Errorf("%s: %v", c.Name, got)
		}
	}
}

func TestPrintsHashesAsExplorersDo(t *testing.T) {
	vector, _, _ := vectorWork(t)
	hash := Hash(unhex(t, vector.Hash))
	if got := hash.String(); !strings.HasPrefix(got, "0000a1e9") {
		t.Errorf("printed as %s", got)
	}
	if got := hex.EncodeToString(hash[:]); got != vector.Hash {
		t.Errorf("printing changed it to %s", got)
	}
}
