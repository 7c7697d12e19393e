package logs

import (
	"fmt"
	"log/slog"
	"testing"
)

func TestCarriesMessageLevelAndAttributes(t *testing.T) {
	var lines []string
	log := New(func(level slog.Level) bool { return level >= slog.LevelInfo },
		func(level slog.Level, message string, attrs []any) {
			lines = append(lines, fmt.Sprint(level, " ", message, attrs))
		}, "component", "sv2")
	log.Debug("not written")
	log.Info("plain")
	with := log.With("sidecar", "edge-1")
	with.WithGroup("link").Warn("grouped", "port", 1, slog.Group("peer", "uid", 2), slog.Attr{})
	with.WithGroup("").Error("again", "err", fmt.Errorf("broken"))
	log.Info("plain still", "component", "sv2", "component", "other")
	want := []string{
		"INFO plain[component sv2]",
		"WARN grouped[component sv2 sidecar edge-1 link.port 1 link.peer.uid 2]",
		"ERROR again[component sv2 sidecar edge-1 err broken]",
		"INFO plain still[component sv2 component other]",
	}
	if fmt.Sprint(lines) != fmt.Sprint(want) {
		t.Errorf("got\n%q\nwant\n%q", lines, want)
	}
}
