// What goes over the wire: shares and verdicts by hand, everything else by the generated code.

package grpchost

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/session"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// codec is gRPC's own for messages of protobuf, with a short way for the two that come by the share. It
// reads and writes the same bytes.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

// Unmarshal reads data, into received where the stream of shares asks.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	r, ok := v.(*received)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	r.message = nil
	whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer whole.Free()
	if r.readBatch(whole.ReadOnlyData()) {
		return nil
	}
	r.message = new(sv2pb.SessionRequest)
	return c.CodecV2.Unmarshal(mem.BufferSlice{whole}, r.message)
}

// Marshal writes v, verdicts into a buffer that is used again when they are sent.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	verdicts, ok := v.(*outgoing)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	size := batchSize(verdicts.verdicts)
	pool := mem.DefaultBufferPool()
	buffer := pool.Get(max(responseSize(size), leastFrame))
	*buffer = appendBatch((*buffer)[:0], verdicts.verdicts, size)
	return mem.BufferSlice{mem.NewBuffer(buffer, pool)}, nil
}

// shareStream is the server's side of a gRPC stream, with memory of its own for submits and verdicts.
type shareStream struct {
	grpc.BidiStreamingServer[sv2pb.SessionRequest, sv2pb.SessionResponse]
	in  received
	out outgoing
}

var _ session.BatchStream = (*shareStream)(nil)

// received is what came last: a message, or else submits.
type received struct {
	message *sv2pb.SessionRequest
	submits []session.Submit
	// room is where the bytes of submits are kept: its rest is free, what was given is not written again.
	room []byte
}

// outgoing is the verdicts that are being sent.
type outgoing struct{ verdicts []sv2.Verdict }

// Recv gives what came.
func (s *shareStream) Recv() (session.Request, error) {
	if err := s.RecvMsg(&s.in); err != nil {
		return session.Request{}, err
	}
	if s.in.message != nil {
		return session.Request{Message: s.in.message}, nil
	}
	return session.Request{Submits: s.in.submits}, nil
}

// SendVerdicts sends a VerdictBatch.
func (s *shareStream) SendVerdicts(verdicts []sv2.Verdict) error {
	s.out.verdicts = verdicts
	return s.SendMsg(&s.out)
}
