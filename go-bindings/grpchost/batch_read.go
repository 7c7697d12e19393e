// SubmitBatch, read.

package grpchost

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/session"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

const (
	// maxKept is the longest extranonce or worker of the contract, in bytes.
	maxKept = 32
	// roomSize is how many bytes of submits share one piece of memory.
	roomSize = 4096
)

// Tags: the number of a field and how it is written, one byte each. See proto/gopool/sv2/v1.
const (
	tagVarint  = byte(protowire.VarintType)
	tagFixed32 = byte(protowire.Fixed32Type)
	tagBytes   = byte(protowire.BytesType)

	tagSubmitBatch = 5<<3 | tagBytes // of SessionRequest
	tagSubmits     = 1<<3 | tagBytes // of SubmitBatch

	// Of Submit.
	tagSubmitID   = 1<<3 | tagVarint
	tagChannelID  = 2<<3 | tagVarint
	tagJobID      = 3<<3 | tagVarint
	tagNonce      = 4<<3 | tagFixed32
	tagNTime      = 5<<3 | tagFixed32
	tagVersion    = 6<<3 | tagFixed32
	tagExtranonce = 7<<3 | tagBytes
	tagWorker     = 8<<3 | tagBytes
	tagRefuse     = 9<<3 | tagVarint
)

// readBatch reads a SessionRequest that is one SubmitBatch of 1 to [session.MaxBatch] submits with nothing
// in it but what this release knows. It reports false for all others, good or not: those are for the
// generated code to read, or to refuse.
func (r *received) readBatch(request []byte) bool {
	r.submits = r.submits[:0]
	if len(request) == 0 || request[0] != tagSubmitBatch {
		return false
	}
	batch, n := protowire.ConsumeBytes(request[1:])
	if n != len(request)-1 {
		return false
	}
	if r.submits == nil {
		r.submits = make([]session.Submit, 0, session.MaxBatch)
	}
	for len(batch) > 0 {
		if batch[0] != tagSubmits || len(r.submits) == session.MaxBatch {
			return false
		}
		submit, n := protowire.ConsumeBytes(batch[1:])
		if n < 0 {
			return false
		}
		r.submits = append(r.submits, session.Submit{})
		if !r.readSubmit(submit, &r.submits[len(r.submits)-1]) {
			return false
		}
		batch = batch[1+n:]
	}
	return len(r.submits) > 0
}

// readSubmit reads a Submit into one that is zero. Of a field that comes again the last counts.
func (r *received) readSubmit(data []byte, to *session.Submit) bool {
	var extranonce, worker []byte
	for len(data) > 0 {
		tag := data[0]
		data = data[1:]
		n := 0
		switch tag {
		case tagSubmitID:
			to.ID, n = protowire.ConsumeVarint(data)
		case tagChannelID:
			to.ChannelID, n = protowire.ConsumeVarint(data)
		case tagJobID:
			to.JobID, n = protowire.ConsumeVarint(data)
		case tagNonce:
			to.Nonce, n = protowire.ConsumeFixed32(data)
		case tagNTime:
			to.NTime, n = protowire.ConsumeFixed32(data)
		case tagVersion:
			to.Version, n = protowire.ConsumeFixed32(data)
		case tagExtranonce:
			extranonce, n = protowire.ConsumeBytes(data)
		case tagWorker:
			worker, n = protowire.ConsumeBytes(data)
		case tagRefuse:
			var reason uint64
			reason, n = protowire.ConsumeVarint(data)
			to.WouldRefuse = rejectReason(int32(reason)) // an enum is the low half of what is written
		default:
			return false
		}
		if n < 0 {
			return false
		}
		data = data[n:]
	}
	if len(extranonce) > maxKept || len(worker) > maxKept {
		return false
	}
	to.Extranonce, to.Worker = r.keep(extranonce), r.keep(worker)
	return true
}

// rejectReason is the reason of that number, [sv2.RejectInvalidShare] if there is none.
func rejectReason(number int32) sv2.RejectReason {
	if number < 0 || number > int32(sv2.RejectUnauthorized) {
		return sv2.RejectInvalidShare
	}
	return sv2.RejectReason(number)
}

// keep copies at most maxKept bytes to where they stay for who asks. Who appends to them gets others.
func (r *received) keep(bytes []byte) []byte {
	if len(bytes) == 0 {
		return nil
	}
	if cap(r.room)-len(r.room) < len(bytes) {
		r.room = make([]byte, 0, roomSize)
	}
	from := len(r.room)
	r.room = append(r.room, bytes...)
	return r.room[from:len(r.room):len(r.room)]
}
