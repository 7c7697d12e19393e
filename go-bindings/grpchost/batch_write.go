// VerdictBatch, written.

package grpchost

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// leastFrame is the smallest buffer that a VerdictBatch is written to: gRPC throws those away that have 1 KiB
// or less.
const leastFrame = 2 << 10

const (
	tagVerdictBatch = 7<<3 | tagBytes // of SessionResponse
	tagVerdicts     = 1<<3 | tagBytes // of VerdictBatch

	// Of Verdict.
	tagVerdictID = 1<<3 | tagVarint
	tagAccepted  = 2<<3 | tagVarint
	tagReason    = 3<<3 | tagVarint
	tagHash      = 4<<3 | tagBytes
	tagWhole     = 5<<3 | tagVarint
	tagFraction  = 6<<3 | tagFixed32
	tagBlock     = 7<<3 | tagVarint
	tagDetail    = 8<<3 | tagBytes
)

// batchSize is how many bytes the VerdictBatch of these takes.
func batchSize(verdicts []sv2.Verdict) int {
	size := 0
	for i := range verdicts {
		size += 1 + protowire.SizeBytes(verdictSize(&verdicts[i]))
	}
	return size
}

// responseSize is how many bytes the SessionResponse with a VerdictBatch of that size takes.
func responseSize(batch int) int { return 1 + protowire.SizeBytes(batch) }

// verdictSize is how many bytes the Verdict takes.
func verdictSize(v *sv2.Verdict) int {
	size := 0
	if v.SubmitID != 0 {
		size += 1 + protowire.SizeVarint(v.SubmitID)
	}
	size += 2 // accepted, or the reason why not
	if hasHash(v) {
		size += 1 + protowire.SizeBytes(len(v.Hash))
	}
	if v.Credit.Whole != 0 {
		size += 1 + protowire.SizeVarint(v.Credit.Whole)
	}
	if v.Credit.Fraction != 0 {
		size += 1 + protowire.SizeFixed32()
	}
	if v.BlockCandidate {
		size += 2
	}
	if v.Detail != "" {
		size += 1 + protowire.SizeBytes(len(v.Detail))
	}
	return size
}

// hasHash reports whether the verdict names the hash of its share.
func hasHash(v *sv2.Verdict) bool { return v.Accepted() || v.Hash != (sv2.Hash{}) }

// appendBatch writes a SessionResponse with the VerdictBatch of these, which takes size bytes.
func appendBatch(to []byte, verdicts []sv2.Verdict, size int) []byte {
	to = protowire.AppendVarint(append(to, tagVerdictBatch), uint64(size))
	for i := range verdicts {
		to = appendVerdict(to, &verdicts[i])
	}
	return to
}

// appendVerdict writes a verdict as a field of VerdictBatch. What is zero is left out, as in all of proto3.
func appendVerdict(to []byte, v *sv2.Verdict) []byte {
	to = protowire.AppendVarint(append(to, tagVerdicts), uint64(verdictSize(v)))
	if v.SubmitID != 0 {
		to = protowire.AppendVarint(append(to, tagVerdictID), v.SubmitID)
	}
	if v.Accepted() {
		to = append(to, tagAccepted, 1)
	} else {
		to = append(to, tagReason, byte(v.Reason)) // one of the contract's: below 128
	}
	if hasHash(v) {
		to = append(append(to, tagHash, byte(len(v.Hash))), v.Hash[:]...)
	}
	if v.Credit.Whole != 0 {
		to = protowire.AppendVarint(append(to, tagWhole), v.Credit.Whole)
	}
	if v.Credit.Fraction != 0 {
		to = protowire.AppendFixed32(append(to, tagFraction), v.Credit.Fraction)
	}
	if v.BlockCandidate {
		to = append(to, tagBlock, 1)
	}
	if v.Detail != "" {
		to = protowire.AppendString(append(to, tagDetail), v.Detail)
	}
	return to
}
