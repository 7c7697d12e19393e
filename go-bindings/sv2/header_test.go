// The share vector: coinbase to header hash, byte for byte, and what it is answered.
package sv2

import (
	"bytes"
	"testing"
	"time"
)

func repeated(b byte) (h Hash) {
	for i := range h {
		h[i] = b
	}
	return h
}

// vector is the job, prefix and submit of the share vector, on its extended channel.
func vector(t testing.TB) (job *Job, prefix []byte, submit Submit) {
	t.Helper()
	v := readVectors[shareVector](t, "share.json")
	job = &Job{
		ID: 1, PrevHash: Hash(v.Job.PrevHash.array(t)), NBits: v.Job.NBits.word(t),
		Version: v.Job.Version, VersionMask: v.Job.VersionMask, MinNTime: v.Job.MinNTime,
		CoinbasePrefix: v.Job.CoinbasePrefix, CoinbaseSuffix: v.Job.CoinbaseSuffix,
		StaleRule: StaleHost,
	}
	for _, node := range v.Job.MerklePath {
		job.MerklePath = append(job.MerklePath, Hash(node.array(t)))
	}
	extended := v.Channels[0]
	if extended.Kind != Extended.String() {
		t.Fatalf("the first channel of the vector is %s", extended.Kind)
	}
	return job, extended.ExtranoncePrefix, Submit{
		ID: 7, JobID: v.Submit.JobID, Nonce: v.Submit.Nonce, NTime: v.Submit.NTime,
		Version: v.Submit.Version, Extranonce: extended.Extranonce,
	}
}

func vectorTime(t testing.TB) time.Time {
	return time.Unix(int64(readVectors[shareVector](t, "share.json").Submit.NTime), 0)
}

func TestHeaderOfTheVectorByteForByte(t *testing.T) {
	want := readVectors[shareVector](t, "share.json")
	for _, channel := range want.Channels {
		t.Run(channel.Kind, func(t *testing.T) {
			job, _, submit := vector(t)
			prefix := channel.ExtranoncePrefix
			submit.Extranonce = channel.Extranonce
			if got := Coinbase(job, prefix, submit.Extranonce); !bytes.Equal(got, want.Coinbase) {
				t.Errorf("coinbase %x", got)
			}
			bare := *job
			bare.MerklePath = nil
			txid := MerkleRoot(&bare, prefix, submit.Extranonce)
			if !bytes.Equal(txid[:], want.CoinbaseTxID) {
				t.Errorf("coinbase txid %x", txid[:])
			}
			root := MerkleRoot(job, prefix, submit.Extranonce)
			if !bytes.Equal(root[:], want.MerkleRoot) {
				t.Errorf("merkle root %x", root[:])
			}
			header := Header(job, root, submit)
			if !bytes.Equal(header[:], want.Header) {
				t.Errorf("header %x", header)
			}
			if hash := HashHeader(header); !bytes.Equal(hash[:], want.Hash) {
				t.Errorf("hash %x", hash[:])
			}
		})
	}
}

func TestJudgesTheVectorAtItsTargets(t *testing.T) {
	v := readVectors[shareVector](t, "share.json")
	for _, channel := range v.Channels {
		for _, at := range v.Verdicts {
			t.Run(channel.Kind+" "+at.Target.String(), func(t *testing.T) {
				job, _, submit := vector(t)
				submit.Extranonce = channel.Extranonce
				target := Target(at.Target.array(t))
				check := NewCheck(channel.ExtranoncePrefix, len(channel.Extranonce), target, NewSeen(0, 0))
				if err := check.AddJob(job); err != nil {
					t.Fatal(err)
				}
				got := check.Judge(submit, vectorTime(t))
				want := Verdict{SubmitID: 7, Reason: got.Reason, Hash: Hash(v.Hash.array(t))}
				if at.Reason == RejectNone.String() {
					want.Credit = target.Difficulty()
				}
				if got != want || got.Reason.String() != at.Reason {
					t.Errorf("got  %+v\nwant %+v, %s", got, want, at.Reason)
				}
			})
		}
	}
}

func TestJudgesTheVectorByPolicyAsTheSidecarDoes(t *testing.T) {
	cases := readVectors[shareVector](t, "share.json").Policy
	if len(cases) < 20 {
		t.Fatalf("only %d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			job, prefix, submit := vector(t)
			size := len(submit.Extranonce)
			change := c.Change
			set(&submit.JobID, change.JobID)
			set(&submit.NTime, change.NTime)
			set(&submit.Version, change.Version)
			set(&job.VersionMask, change.VersionMask)
			set(&job.MaxNTime, change.MaxNTime)
			set((*vectorBytes)(&submit.Extranonce), change.Extranonce)
			check := NewCheck(prefix, size, MaxTarget, NewSeen(0, 0))
			if err := check.AddJob(job); err != nil {
				t.Fatal(err)
			}
			if got := check.Judge(submit, time.Unix(c.Now, 0)); got.Reason.String() != c.Reason {
				t.Errorf("got %s, want %s", got.Reason, c.Reason)
			}
		})
	}
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

func TestRejectsTheVectorUnderTheNarrowMask(t *testing.T) {
	job, prefix, submit := vector(t)
	job.VersionMask = 0x1fffe000 // BIP320: bit 5 is not in it
	check := NewCheck(prefix, 16, MaxTarget, NewSeen(0, 0))
	if err := check.AddJob(job); err != nil {
		t.Fatal(err)
	}
	if got := check.Judge(submit, vectorTime(t)); got.Reason != RejectVersionBit {
		t.Errorf("verdict %+v", got)
	}
}
