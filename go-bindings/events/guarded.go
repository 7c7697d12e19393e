// A sink whose panics are errors.

package events

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// guarded is the pool's sink. What comes out of it is a gRPC status, and never a panic: that would end the
// process, with all its miners, for what may wait.
type guarded struct {
	sink Sink
	log  *slog.Logger

	mu sync.Mutex
	// known are the panics that were logged: a sink may panic at each try, for hours.
	known map[place]struct{}
}

// place is where something panicked: the innermost calls.
type place [16]uintptr

// Begin is the sink's.
func (g *guarded) Begin(ctx context.Context, source Source) (have uint64, err error) {
	defer g.recovered(&err)
	have, err = g.sink.Begin(ctx, source)
	return have, refused(err)
}

// Keep is the sink's.
func (g *guarded) Keep(ctx context.Context, source Source, events []*sv2pb.Event) (err error) {
	defer g.recovered(&err)
	return refused(g.sink.Keep(ctx, source, events)) // the error is of the sink's making, too
}

// recovered is deferred.
func (g *guarded) recovered(err *error) {
	value := recover()
	if value == nil {
		return
	}
	var at place
	runtime.Callers(3, at[:]) // less itself and the runtime's panic
	if g.isNew(at) {
		g.log.Error("the sink of events panicked: its events wait and come again; said once of such a panic",
			"panic", fmt.Sprint(value), "stack", string(debug.Stack()))
	}
	*err = refused(fmt.Errorf("the sink panicked: %v", value))
}

func (g *guarded) isNew(at place) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, known := g.known[at]
	if !known {
		g.known[at] = struct{}{}
	}
	return !known
}
