// Package logs carries what is logged with log/slog into a log that takes a message with names and
// values, as goPool's does.
package logs

import (
	"context"
	"log/slog"
	"slices"
)

// Write takes one line: attrs are names and values in turn. It is called from any goroutine, and attrs
// is its own.
type Write func(level slog.Level, message string, attrs []any)

// New is a logger whose lines begin with these attributes. enabled says which levels are written now.
func New(enabled func(slog.Level) bool, write Write, attrs ...any) *slog.Logger {
	return slog.New(&handler{enabled: enabled, write: write, attrs: attrs})
}

// handler is an slog.Handler. Groups become prefixes: "group.name".
type handler struct {
	enabled func(slog.Level) bool
	write   Write
	attrs   []any
	group   string
}

var _ slog.Handler = (*handler)(nil)

// Enabled asks the log.
func (h *handler) Enabled(_ context.Context, level slog.Level) bool { return h.enabled(level) }

// Handle writes one line.
func (h *handler) Handle(_ context.Context, record slog.Record) error {
	attrs := slices.Grow(slices.Clone(h.attrs), 2*record.NumAttrs())
	record.Attrs(func(attr slog.Attr) bool {
		if !h.has(attr) {
			attrs = appendAttr(attrs, h.group, attr)
		}
		return true
	})
	h.write(record.Level, record.Message, attrs)
	return nil
}

// has says whether all lines have this text anyway.
func (h *handler) has(attr slog.Attr) bool {
	value := attr.Value.Resolve()
	text, is := value.Any().(string)
	for i := 0; is && h.group == "" && i+1 < len(h.attrs); i += 2 {
		if h.attrs[i] == attr.Key && h.attrs[i+1] == text {
			return true
		}
	}
	return false
}

// WithAttrs is the same log with more attributes.
func (h *handler) WithAttrs(more []slog.Attr) slog.Handler {
	next := *h
	next.attrs = slices.Clone(h.attrs)
	for _, attr := range more {
		next.attrs = appendAttr(next.attrs, h.group, attr)
	}
	return &next
}

// WithGroup is the same log with a prefix to the names that follow.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	next := *h
	next.group = h.group + name + "."
	return &next
}

func appendAttr(attrs []any, group string, attr slog.Attr) []any {
	value := attr.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if attr.Key != "" {
			group += attr.Key + "."
		}
		for _, member := range value.Group() {
			attrs = appendAttr(attrs, group, member)
		}
		return attrs
	}
	if attr.Key == "" {
		return attrs
	}
	return append(attrs, group+attr.Key, value.Any())
}
