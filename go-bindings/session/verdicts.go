// Verdicts on their way to the sidecar.

package session

import (
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// fit makes what a host said in a verdict what the contract has room for.
func fit(v *sv2.Verdict) {
	v.Detail = printable(v.Detail, maxText)
	if v.Accepted() {
		return
	}
	v.Credit = sv2.Difficulty{}
	if v.Reason > maxKnownReject {
		v.Reason = sv2.RejectInvalidShare
	}
}

// verdictsMessage converts at most MaxBatch verdicts that fit, in three allocations however many they are.
func verdictsMessage(verdicts []sv2.Verdict) *sv2pb.SessionResponse {
	slab := make([]sv2pb.Verdict, len(verdicts))
	hashes := make([]byte, len(verdicts)*hashSize)
	out := make([]*sv2pb.Verdict, len(verdicts))
	for i := range verdicts {
		v, m := &verdicts[i], &slab[i]
		out[i] = m
		m.SubmitId, m.Accepted, m.Reason = v.SubmitID, v.Accepted(), sv2pb.RejectReason(v.Reason)
		m.CreditWhole, m.CreditFraction = v.Credit.Whole, v.Credit.Fraction
		m.BlockCandidate, m.Detail = v.BlockCandidate, v.Detail
		if v.Accepted() || v.Hash != (sv2.Hash{}) {
			m.ShareHash = hashes[i*hashSize : (i+1)*hashSize : (i+1)*hashSize]
			copy(m.ShareHash, v.Hash[:])
		}
	}
	return &sv2pb.SessionResponse{Message: &sv2pb.SessionResponse_VerdictBatch{
		VerdictBatch: &sv2pb.VerdictBatch{Verdicts: out}}}
}
