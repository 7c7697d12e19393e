// The child's log lines become the pool's.

package supervise

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
)

// maxLine is the longest log line that is read as one; the rest of a longer one is dropped.
const maxLine = 64 * 1024

// relay logs each line of the sidecar until there is none.
func (o Options) relay(lines io.Reader) {
	reader := bufio.NewReaderSize(lines, maxLine)
	for {
		line, prefix, err := reader.ReadLine()
		if err != nil {
			return
		}
		o.log(line)
		for prefix && err == nil {
			_, prefix, err = reader.ReadLine()
		}
	}
}

// levels of the sidecar's JSON log.
var levels = map[string]slog.Level{
	"TRACE": slog.LevelDebug, "DEBUG": slog.LevelDebug, "INFO": slog.LevelInfo,
	"WARN": slog.LevelWarn, "ERROR": slog.LevelError,
}

// log logs one line: a JSON object with its level and fields, anything else as it is.
func (o Options) log(line []byte) {
	if len(line) == 0 {
		return
	}
	var fields map[string]any
	if err := json.Unmarshal(line, &fields); err != nil || fields == nil {
		o.Logger.Info("sv2 sidecar: " + strings.ToValidUTF8(string(line), "?"))
		return
	}
	name, _ := fields["level"].(string)
	level, known := levels[name]
	if !known {
		level = slog.LevelInfo
	}
	message, _ := fields["message"].(string)
	for _, ours := range []string{"level", "message", "timestamp"} {
		delete(fields, ours)
	}
	inline(fields)
	attrs := make([]slog.Attr, 0, len(fields))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		attrs = append(attrs, slog.Any(name, fields[name]))
	}
	o.Logger.LogAttrs(context.Background(), level, "sv2 sidecar: "+message, attrs...)
}

// inline makes what a line says of the connection it is about fields of the line itself: a pool's log has
// names and values.
func inline(fields map[string]any) {
	span, _ := fields["span"].(map[string]any)
	delete(fields, "span")
	delete(fields, "spans") // the same again, with those around it
	delete(span, "name")
	for name, value := range span {
		if name == "id" {
			name = "connection"
		}
		if _, taken := fields[name]; !taken {
			fields[name] = value
		}
	}
}
