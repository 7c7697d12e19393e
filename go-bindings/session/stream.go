// What a carrier gives a session: a stream of messages, or of messages and plain batches.

package session

import (
	"context"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// Stream is one stream of a sidecar that carries messages only, such as the server's side of a gRPC
// stream. One goroutine calls Recv and one calls Send, beside each other. What Recv gives is the
// session's; what Send is given may share memory with the host and with messages to other channels, so
// it is only read, and not after Send returned.
//
// A stream has two ends. The session's comes first: [Server.Serve] returns, when Recv failed, ctx ended
// or the session wants it so. The carrier follows, and then it makes Send return at once, and Recv an
// error as soon as it has given what came whole before: of that the session still takes shares, for each
// may be a block. Until Recv has failed the session is not over, nor can another stream go on with it.
type Stream interface {
	// Context ends with the stream. Its cause is the stream's, if Recv and Send give none before.
	Context() context.Context
	// Recv waits for the next message of the sidecar. io.EOF when the sidecar has closed its side in
	// order, else the error says why the stream is broken. A stream that was cut by the sidecar is told
	// from one that failed by context.Canceled or the gRPC status CANCELLED.
	Recv() (*sv2pb.SessionRequest, error)
	// Send hands a message over, and waits while the sidecar has no room for it.
	Send(*sv2pb.SessionResponse) error
}

// BatchStream is a [Stream] that has memory of its own layout for submits and verdicts, so that neither
// costs an object a share. See [Server.ServeBatches].
type BatchStream interface {
	// Context is that of Stream.
	Context() context.Context
	// Recv is that of Stream, and gives batches of submits as such.
	Recv() (Request, error)
	// Send is that of Stream. It is given no VerdictBatch.
	Send(*sv2pb.SessionResponse) error
	// SendVerdicts is Send of a VerdictBatch, and comes on the same goroutine: 1 to [MaxBatch] verdicts
	// that fit the contract. Detail is at most 255 bytes of printable ASCII, Reason is one of the
	// contract's, and Credit is zero where the share is not accepted. Hash is the zero hash where the
	// host gave none. The slice is the session's again when SendVerdicts returns.
	SendVerdicts([]sv2.Verdict) error
}

// Request is what a [BatchStream] received: one message, or one batch of submits.
type Request struct {
	// Message of the sidecar; it may be a SubmitBatch. nil: what came are Submits.
	Message *sv2pb.SessionRequest
	// Submits in the order in which the sidecar took them, 1 to [MaxBatch]. The slice is the stream's
	// again when Recv is called the next time.
	Submits []Submit
}

// Submit is one share and the channel that it is for: gopool.sv2.v1.Submit in plain memory. Nothing in
// it needs to be checked by the carrier. A WouldRefuse that the contract doesn't know counts as
// [sv2.RejectInvalidShare]. Extranonce and Worker are the host's from now on: their memory is not written
// to again. All of a batch may be in one piece.
type Submit struct {
	// ChannelID is OpenChannel.channel_id.
	ChannelID uint64
	sv2.Submit
}

// messages is a BatchStream over a stream that carries messages only.
type messages struct{ Stream }

// Recv gives a message, whatever it is.
func (m messages) Recv() (Request, error) {
	message, err := m.Stream.Recv()
	return Request{Message: message}, err
}

// SendVerdicts makes one message of verdicts.
func (m messages) SendVerdicts(verdicts []sv2.Verdict) error {
	return m.Send(verdictsMessage(verdicts))
}
