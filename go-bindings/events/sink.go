// What a pool implements to hear.

package events

import (
	"context"
	"encoding/hex"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// SourceID names one sequence of events.
type SourceID [16]byte

// String is the id in hexadecimal.
func (id SourceID) String() string { return hex.EncodeToString(id[:]) }

// Source is where events come from.
type Source struct {
	// ID names the sequence: events are numbered from 1, without a gap, for as long as it lives.
	ID SourceID
	// SidecarID is the operator's name of the sidecar, 1 to 64 bytes of printable ASCII.
	SidecarID string
	// Durable: the mint bridge's sequence, which lives as long as its ledger. Otherwise statistics, with
	// another ID after each start of the sidecar.
	Durable bool
	// First is the lowest number that can still be had; those before were acknowledged once and are gone.
	First uint64
}

// Sink keeps events. Begin and Keep of one source are called one at a time, those of several beside each
// other, and on goroutines that no share waits for: a sink may take its time. One that does not return holds
// up the events of its source, and a shutdown until its context ends and some seconds more; then it is left
// alone.
//
// A panic is an error of that call: its text and stack are logged, once for each place in the sink that
// panics, and the same is offered again. What a panic leaves locked or half done is the sink's, so that its
// next Begin must say what was really kept.
type Sink interface {
	// Begin says the highest number of that source that is kept; 0: none. It is called at the start of
	// each stream. An error ends the stream; the sidecar tries again.
	Begin(ctx context.Context, source Source) (have uint64, err error)

	// Keep keeps events, 1 to 1024, whose numbers follow each other and what was kept before. What it
	// returned for without an error is never sent again: keep it as durably as it matters. An error ends
	// the stream; the sidecar sends the same again. ctx ends with the stream. The events are the sink's.
	Keep(ctx context.Context, source Source, events []*sv2pb.Event) error
}
