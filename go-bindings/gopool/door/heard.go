// What the listener, a supervised sidecar or within the pool, says in its log of what the pool can't know by
// itself.

package door

import (
	"context"
	"log/slog"
	"regexp"
	"sync/atomic"
)

// typed is in a line by which a listener says what miners type.
var typed = regexp.MustCompile(`miners type: stratum2\+tcp://\S+/([1-9A-HJ-NP-Za-km-z]{40,60})\b`)

// handshakeFailed is the line for a connection that got no further, a debug line: a sidecar's ends so, behind
// that of a listener within the pool is the cause.
var handshakeFailed = regexp.MustCompile(`^(sv2 sidecar: handshake failed$|listener: (\S+\{.*\}: )?handshake failed error=)`)

// listenerState is what is known of the listener; nothing of a sidecar on its own.
type listenerState struct {
	key        atomic.Pointer[string] // public, of the authority
	fault      atomic.Pointer[string] // why none runs
	handshakes atomic.Uint64          // that failed
}

func (s *listenerState) fail(err error) {
	text := err.Error()
	s.fault.Store(&text)
}

// up is for a listener that runs, with this public key.
func (s *listenerState) up(key string) {
	s.key.Store(&key)
	s.fault.Store(nil)
}

// heard is the pool's log, for a listener: it hears what passes.
func (d *Door) heard() *slog.Logger {
	return slog.New(&hearing{d.pool.Log.Handler(), &d.listener})
}

// hearing is a log that hears what passes.
type hearing struct {
	slog.Handler
	state *listenerState
}

// Enabled lets all pass; what isn't wanted further on ends here.
func (*hearing) Enabled(context.Context, slog.Level) bool { return true }

// Handle hears one line and writes it, if its level is wanted.
func (l *hearing) Handle(ctx context.Context, record slog.Record) error {
	if match := typed.FindStringSubmatch(record.Message); match != nil {
		l.state.key.Store(&match[1])
	}
	if handshakeFailed.MatchString(record.Message) {
		l.state.handshakes.Add(1)
	}
	if !l.Handler.Enabled(ctx, record.Level) {
		return nil
	}
	return l.Handler.Handle(ctx, record)
}

// WithAttrs is the same log with more attributes.
func (l *hearing) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &hearing{l.Handler.WithAttrs(attrs), l.state}
}

// WithGroup is the same log with a prefix to the names that follow.
func (l *hearing) WithGroup(name string) slog.Handler {
	return &hearing{l.Handler.WithGroup(name), l.state}
}
