// What is read and written by hand, beside what the generated code reads and writes.

package grpchost

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/session"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// encoded is a message as the generated code writes it.
func encoded(t testing.TB, message proto.Message) []byte {
	t.Helper()
	out, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// submitRequest is a SessionRequest with a batch.
func submitRequest(submits ...*sv2pb.Submit) *sv2pb.SessionRequest {
	return &sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_SubmitBatch{
		SubmitBatch: &sv2pb.SubmitBatch{Submits: submits}}}
}

// fullSubmit has every field.
func fullSubmit() *sv2pb.Submit {
	return &sv2pb.Submit{Id: 1 << 63, ChannelId: 300, JobId: 7, Nonce: 0xffffffff, Ntime: 1_700_000_000,
		Version: 0x20000000, Extranonce: bytes.Repeat([]byte{0xab}, 32), Worker: []byte("rig 1"),
		WouldRefuse: sv2pb.RejectReason_REJECT_REASON_STALE_SHARE}
}

// field is a field of a message, as bytes.
func field(tag byte, value ...byte) []byte { return append([]byte{tag}, value...) }

// within is bytes as a field of the message around.
func within(tag byte, message ...byte) []byte {
	return protowire.AppendBytes([]byte{tag}, message)
}

// oddities are bytes that a sidecar of this release doesn't send.
func oddities() map[string][]byte {
	submit := within(tagSubmits, field(tagSubmitID, 1)...)
	batch := func(submits ...[]byte) []byte {
		return within(tagSubmitBatch, slices.Concat(submits...)...)
	}
	of := func(fields ...[]byte) []byte {
		return batch(within(tagSubmits, slices.Concat(fields...)...))
	}
	ping := within(8<<3|tagBytes, field(tagVarint|1<<3, 5)...)
	return map[string][]byte{
		"nothing": {}, "an empty batch": batch(), "an empty submit": of(),
		"two batches, which are one":          slices.Concat(batch(submit), batch(submit)),
		"a batch and another message":         slices.Concat(batch(submit), ping),
		"a batch behind another message":      slices.Concat(ping, batch(submit)),
		"batch, other message, batch":         slices.Concat(batch(submit), ping, batch(submit)),
		"an unknown field of the request":     slices.Concat(batch(submit), field(99<<3&0x7f|tagVarint, 1)),
		"an unknown field of the batch":       batch(submit, field(15<<3|tagVarint, 1), submit),
		"an unknown field of a submit":        of(field(tagSubmitID, 1), field(15<<3|tagVarint, 1)),
		"an unknown group in a submit":        of(field(15<<3|3), field(tagSubmitID, 1), field(15<<3|4)),
		"a group that never ends":             of(field(15<<3 | 3)),
		"the end of a group that never began": of(field(15<<3 | 4)),
		"field 0":                             of(field(0<<3|tagVarint, 1)),
		"a wrong type of a number":            of(within(1<<3|tagBytes, 5)),
		"a wrong type of bytes":               of(field(7<<3|tagVarint, 5)),
		"a wrong type of a fixed number":      of(field(4<<3|tagVarint, 5)),
		"a wrong type of a submit":            batch(field(1<<3|tagVarint, 5)),
		"a wrong type of the batch":           field(5<<3|tagVarint, 5),
		"fields that come again": of(field(tagSubmitID, 1), within(tagExtranonce, 1, 2, 3),
			field(tagSubmitID, 2), within(tagExtranonce, 4), within(tagWorker, 'a'), within(tagWorker)),
		"a number in more bytes than it needs": of(field(tagSubmitID, 0x81, 0x80, 0x00)),
		"a tag in more bytes than it needs":    of(field(tagSubmitID|0x80, 0x00, 0x05)),
		"a number of 11 bytes":                 of(field(tagSubmitID, bytes.Repeat([]byte{0x80}, 11)...)),
		"a number above 64 bits": of(field(tagSubmitID,
			append(bytes.Repeat([]byte{0xff}, 9), 0x02)...)),
		"a reason that nobody knows": of(field(tagRefuse, 99)),
		"a reason below zero": of(field(tagRefuse,
			protowire.AppendVarint(nil, uint64(1<<64-1))...)),
		"a reason above 32 bits":        of(field(tagRefuse, protowire.AppendVarint(nil, 1<<32+3)...)),
		"an extranonce that is too big": of(within(tagExtranonce, make([]byte, 33)...)),
		"a worker that is too big":      of(within(tagWorker, make([]byte, 33)...)),
		"a short fixed number":          of(field(tagNonce, 1, 2, 3)),
		"a length beyond the submit":    of(field(tagExtranonce, 5, 1, 2)),
		"a length beyond the batch":     batch(field(tagSubmits, 9, 1)),
		"a length beyond the message":   field(tagSubmitBatch, 9, 1),
		"a length beyond all":           of(field(tagExtranonce, protowire.AppendVarint(nil, 1<<63)...)),
		"a tag alone":                   of(field(tagSubmitID)),
		"as many submits as there may be": batch(slices.Repeat([][]byte{submit},
			session.MaxBatch)...),
		"a submit too many": batch(slices.Repeat([][]byte{submit}, session.MaxBatch+1)...),
	}
}

// plain is a batch as package session makes it of messages.
func plain(batch []*sv2pb.Submit) []session.Submit {
	var out []session.Submit
	for _, m := range batch {
		refuse := sv2.RejectInvalidShare
		if r := m.GetWouldRefuse(); r >= 0 && r <= sv2pb.RejectReason_REJECT_REASON_UNAUTHORIZED {
			refuse = sv2.RejectReason(r)
		}
		out = append(out, session.Submit{ChannelID: m.GetChannelId(), Submit: sv2.Submit{
			ID: m.GetId(), JobID: m.GetJobId(), Nonce: m.GetNonce(), NTime: m.GetNtime(),
			Version: m.GetVersion(), Extranonce: m.GetExtranonce(), Worker: m.GetWorker(),
			WouldRefuse: refuse}})
	}
	return out
}

func sameSubmit(a, b session.Submit) bool {
	return a.ChannelID == b.ChannelID && a.ID == b.ID && a.JobID == b.JobID && a.Nonce == b.Nonce &&
		a.NTime == b.NTime && a.Version == b.Version && a.WouldRefuse == b.WouldRefuse &&
		bytes.Equal(a.Extranonce, b.Extranonce) && bytes.Equal(a.Worker, b.Worker)
}

type failer interface {
	Helper()
	Fatalf(format string, values ...any)
}

// readsAlike reads request, as one piece and in pieces of so many bytes, and compares with what the
// generated code says of it. It reports whether it was read by hand.
func readsAlike(t failer, into *received, request []byte, piece int) bool {
	t.Helper()
	var want sv2pb.SessionRequest
	wrong := proto.Unmarshal(request, &want)
	var pieces mem.BufferSlice
	for part := range slices.Chunk(bytes.Clone(request), piece) {
		pieces = append(pieces, mem.SliceBuffer(part))
	}
	err := newCodec().Unmarshal(pieces, into)
	for _, part := range pieces { // gRPC's again
		clear(part.ReadOnlyData())
	}
	switch {
	case (err != nil) != (wrong != nil):
		t.Fatalf("%x: %v, the generated code says %v", request, err, wrong)
	case err != nil:
	case into.message != nil:
		if !proto.Equal(into.message, &want) {
			t.Fatalf("%x: %v, the generated code says %v", request, into.message, &want)
		}
	default:
		if !slices.EqualFunc(into.submits, plain(want.GetSubmitBatch().GetSubmits()), sameSubmit) {
			t.Fatalf("%x: %v, the generated code says %v", request, into.submits, &want)
		}
		if n := len(into.submits); n == 0 || n > session.MaxBatch ||
			len(want.ProtoReflect().GetUnknown()) != 0 {
			t.Fatalf("%x: read by hand", request)
		}
	}
	return err == nil && into.message == nil
}

func FuzzReadSubmits(f *testing.F) {
	f.Add(encoded(f, submitRequest(fullSubmit(), &sv2pb.Submit{Id: 2}, fullSubmit())), 7)
	f.Add(encoded(f, &sv2pb.SessionRequest{Message: &sv2pb.SessionRequest_Hello{Hello: goodHello(1)}}), 100)
	for _, request := range oddities() {
		f.Add(request, 5)
	}
	f.Fuzz(func(t *testing.T, request []byte, piece int) {
		readsAlike(t, &received{}, request, max(piece, 1))
	})
}

func TestReadsOddSubmitsAsTheGeneratedCodeDoes(t *testing.T) {
	byHand := []string{"an empty submit", "fields that come again", "a number in more bytes than it needs",
		"a reason that nobody knows", "a reason below zero", "a reason above 32 bits",
		"as many submits as there may be"}
	var in received
	for name, request := range oddities() {
		if got := readsAlike(t, &in, request, 1000); got != slices.Contains(byHand, name) {
			t.Errorf("%s: read by hand is %v", name, got)
		}
	}
	if !readsAlike(t, &in, encoded(t, submitRequest(fullSubmit(), fullSubmit())), 10) {
		t.Error("ordinary submits were not read by hand")
	}
}

// A batch of valid submits is cut, and bytes of it are changed, put in or left out.
func TestReadsSpoiltSubmitsAsTheGeneratedCodeDoes(t *testing.T) {
	var in received
	rapid.Check(t, func(t *rapid.T) {
		var submits []*sv2pb.Submit
		for range rapid.IntRange(1, 5).Draw(t, "submits") {
			submits = append(submits, &sv2pb.Submit{
				Id: rapid.Uint64().Draw(t, "id"), ChannelId: rapid.Uint64().Draw(t, "channel"),
				JobId: rapid.Uint64().Draw(t, "job"), Nonce: rapid.Uint32().Draw(t, "nonce"),
				Ntime: rapid.Uint32().Draw(t, "ntime"), Version: rapid.Uint32().Draw(t, "version"),
				Extranonce:  rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "extranonce"),
				Worker:      rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "worker"),
				WouldRefuse: sv2pb.RejectReason(rapid.Int32().Draw(t, "refuse")),
			})
		}
		request, err := proto.Marshal(submitRequest(submits...))
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(0, 3).Draw(t, "faults") {
			at := rapid.IntRange(0, len(request)).Draw(t, "at")
			switch rapid.IntRange(0, 3).Draw(t, "fault") {
			case 0:
				request = request[:at]
			case 1:
				request = slices.Insert(request, at, rapid.SliceOfN(rapid.Byte(), 1, 4).Draw(t, "more")...)
			case 2:
				request = slices.Delete(request, at, min(at+rapid.IntRange(1, 9).Draw(t, "less"), len(request)))
			case 3:
				if at < len(request) {
					request[at] = rapid.Byte().Draw(t, "other")
				}
			}
		}
		readsAlike(t, &in, request, rapid.IntRange(1, 300).Draw(t, "piece"))
	})
}

// The host has the bytes of a submit for good: neither gRPC's memory nor a later batch changes them, and
// who appends to them changes nobody else's.
func TestBytesOfSubmitsStayTheHosts(t *testing.T) {
	var in received
	type kept struct{ is, was []byte }
	var all []kept
	for i := range 2000 {
		submit := fullSubmit()
		submit.Extranonce = bytes.Repeat([]byte{byte(i)}, i%33)
		submit.Worker = bytes.Repeat([]byte{byte(i >> 3)}, i%31)
		if !readsAlike(t, &in, encoded(t, submitRequest(submit)), 1000) {
			t.Fatal("not read by hand")
		}
		for _, is := range [][]byte{in.submits[0].Extranonce, in.submits[0].Worker} {
			all = append(all, kept{is, bytes.Clone(is)})
			_ = append(is, "another's"...)
		}
	}
	for i, k := range all {
		if !bytes.Equal(k.is, k.was) {
			t.Fatalf("bytes %d were %x and are %x", i, k.was, k.is)
		}
	}
}

// verdictMessage is a verdict as package session has it in messages.
func verdictMessage(v *sv2.Verdict) *sv2pb.Verdict {
	m := &sv2pb.Verdict{SubmitId: v.SubmitID, Accepted: v.Accepted(),
		Reason: sv2pb.RejectReason(v.Reason), CreditWhole: v.Credit.Whole,
		CreditFraction: v.Credit.Fraction, BlockCandidate: v.BlockCandidate, Detail: v.Detail}
	if v.Accepted() || v.Hash != (sv2.Hash{}) {
		m.ShareHash = v.Hash[:]
	}
	return m
}

func TestWritesVerdictsAsTheGeneratedCodeDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		verdicts := make([]sv2.Verdict, rapid.IntRange(1, 40).Draw(t, "verdicts"))
		batch := &sv2pb.VerdictBatch{}
		for i := range verdicts {
			v := &verdicts[i]
			v.SubmitID = rapid.Uint64().Draw(t, "id")
			v.Reason = sv2.RejectReason(rapid.ByteMax(byte(sv2.RejectUnauthorized)).Draw(t, "reason"))
			if rapid.Bool().Draw(t, "hash") {
				copy(v.Hash[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "hash"))
			}
			if v.Accepted() {
				v.Credit.Whole = rapid.Uint64().Draw(t, "whole")
				v.Credit.Fraction = rapid.Uint32().Draw(t, "fraction")
			}
			v.BlockCandidate = rapid.Bool().Draw(t, "block")
			v.Detail = rapid.StringMatching(`[ -~]{0,255}`).Draw(t, "detail")
			batch.Verdicts = append(batch.Verdicts, verdictMessage(v))
		}
		out, err := newCodec().Marshal(&outgoing{verdicts})
		if err != nil {
			t.Fatal(err)
		}
		defer out.Free()
		var got sv2pb.SessionResponse
		if err := proto.Unmarshal(out.Materialize(), &got); err != nil {
			t.Fatal(err)
		}
		want := &sv2pb.SessionResponse{
			Message: &sv2pb.SessionResponse_VerdictBatch{VerdictBatch: batch}}
		if !proto.Equal(&got, want) {
			t.Fatalf("wrote %v, want %v", &got, want)
		}
		if n := proto.Size(want); out.Len() != n {
			t.Fatalf("wrote %d bytes, the generated code %d", out.Len(), n)
		}
	})
}

// Whatever is not by the share goes through the generated code.
func TestLeavesOtherMessagesToTheGeneratedCode(t *testing.T) {
	c := newCodec()
	want := &sv2pb.SessionResponse{Message: &sv2pb.SessionResponse_Pong{Pong: &sv2pb.Pong{Id: 3}}}
	out, err := c.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got sv2pb.SessionResponse
	if err := c.Unmarshal(out, &got); err != nil || !proto.Equal(&got, want) {
		t.Errorf("%v, %v", &got, err)
	}
	if _, err := c.Marshal("no message"); err == nil {
		t.Error("a text was written")
	}
	if c.Name() != "proto" {
		t.Errorf("the codec says it is %q", c.Name())
	}
}
