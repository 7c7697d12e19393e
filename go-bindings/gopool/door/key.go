// The public key of the authority, as a supervised sidecar says it in its log.

package door

import (
	"context"
	"log/slog"
	"regexp"
)

// typed is the line by which a sidecar says what miners type.
var typed = regexp.MustCompile(`miners type: stratum2\+tcp://\S+/([1-9A-HJ-NP-Za-km-z]{40,60})\b`)

// keyFinder is a log that notes the key when it passes.
type keyFinder struct {
	slog.Handler
	found *sidecarState
}

// Handle writes one line.
func (k *keyFinder) Handle(ctx context.Context, record slog.Record) error {
	if match := typed.FindStringSubmatch(record.Message); match != nil {
		k.found.key.Store(&match[1])
	}
	return k.Handler.Handle(ctx, record)
}

// WithAttrs is the same log with more attributes.
func (k *keyFinder) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &keyFinder{k.Handler.WithAttrs(attrs), k.found}
}

// WithGroup is the same log with a prefix to the names that follow.
func (k *keyFinder) WithGroup(name string) slog.Handler {
	return &keyFinder{k.Handler.WithGroup(name), k.found}
}
