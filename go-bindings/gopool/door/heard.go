// What a supervised sidecar says in its log of what the pool can't know by itself.

package door

import (
	"context"
	"log/slog"
	"regexp"
	"strings"
	"sync/atomic"
)

// typed is the line by which a sidecar says what miners type.
var typed = regexp.MustCompile(`miners type: stratum2\+tcp://\S+/([1-9A-HJ-NP-Za-km-z]{40,60})\b`)

// handshakeFailed ends the line for a connection that got no further; it is a debug line.
const handshakeFailed = "handshake failed"

// sidecarState is what is known of a supervised sidecar.
type sidecarState struct {
	key        atomic.Pointer[string] // public, of the authority
	fault      atomic.Pointer[string] // why none runs
	handshakes atomic.Uint64          // that failed
}

func (s *sidecarState) fail(err error) {
	text := err.Error()
	s.fault.Store(&text)
}

// listener is a log that hears what passes.
type listener struct {
	slog.Handler
	state *sidecarState
}

// Enabled lets all pass; what isn't wanted further on ends here.
func (*listener) Enabled(context.Context, slog.Level) bool { return true }

// Handle hears one line and writes it, if its level is wanted.
func (l *listener) Handle(ctx context.Context, record slog.Record) error {
	if match := typed.FindStringSubmatch(record.Message); match != nil {
		l.state.key.Store(&match[1])
	}
	if strings.HasSuffix(record.Message, handshakeFailed) {
		l.state.handshakes.Add(1)
	}
	if !l.Handler.Enabled(ctx, record.Level) {
		return nil
	}
	return l.Handler.Handle(ctx, record)
}

// WithAttrs is the same log with more attributes.
func (l *listener) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &listener{l.Handler.WithAttrs(attrs), l.state}
}

// WithGroup is the same log with a prefix to the names that follow.
func (l *listener) WithGroup(name string) slog.Handler {
	return &listener{l.Handler.WithGroup(name), l.state}
}
