// Whatever comes from the wire gets a verdict that is true.
package sv2

import (
	"testing"
	"time"
)

func FuzzJudge(f *testing.F) {
	f.Add(uint64(1), uint32(0), uint32(1500), uint32(0x20000000), []byte{0, 0}, uint8(0), int64(0))
	f.Add(uint64(2), uint32(1), uint32(0), uint32(0), []byte{}, uint8(3), int64(1)<<40)
	f.Add(uint64(9), ^uint32(0), ^uint32(0), ^uint32(0), make([]byte, 300), uint8(255), int64(-1))
	f.Fuzz(func(t *testing.T, job uint64, nonce, ntime, version uint32, extranonce []byte,
		refuse uint8, now int64,
	) {
		check := newTestCheck(t, bitsTarget(255),
			testJob(1, 'a', easyBits), testJob(2, 'b', easyBits), testJob(3, 'b', hardBits))
		submit := Submit{
			ID: 77, JobID: job, Nonce: nonce, NTime: ntime, Version: version,
			Extranonce: extranonce, WouldRefuse: RejectReason(refuse),
		}
		got := check.Judge(submit, time.Unix(now, 0))
		if got.SubmitID != 77 || got.Accepted() == got.Credit.IsZero() {
			t.Fatalf("%+v", got)
		}
		header, known := check.Header(submit)
		if known == nil {
			if got.Reason != RejectInvalidJobID && got.Reason != RejectExtranonceSize {
				t.Fatalf("nothing to hash: %+v", got)
			}
			return
		}
		network, err := TargetFromNBits(known.NBits)
		if err != nil {
			t.Fatal(err)
		}
		if got.Hash != HashHeader(header) || got.BlockCandidate != got.Hash.Meets(network) {
			t.Fatalf("%+v", got)
		}
		if got.Accepted() && (known.PrevHash != repeated('b') || !got.Hash.Meets(check.Target())) {
			t.Fatalf("accepted: %+v", got)
		}
		again := check.Judge(submit, time.Unix(now, 0))
		if again.Accepted() || again.BlockCandidate {
			t.Fatalf("the second time: %+v", again)
		}
	})
}
