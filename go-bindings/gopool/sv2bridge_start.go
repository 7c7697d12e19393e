//go:build sv2bridge

package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/gopool/config"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/gopool/door"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/gopool/logs"
)

// This file reads flags and sv2.toml, and opens the door. Where sv2.toml and the flags say nothing of
// Stratum V2, it writes the example of sv2.toml beside goPool's own examples, and that is all.

//sv2bridge:needs var logger
//sv2bridge:needs func fatal(string, error, ...any)
//sv2bridge:needs func debugEnabled() bool
//sv2bridge:needs func defaultConfigPath() string
//sv2bridge:needs func (*MinerRegistry).Count() int
//sv2bridge:needs func (*JobManager).Ready() bool
//sv2bridge:needs func (*reconnectTracker).allow(string, time.Time) bool
//sv2bridge:needs field Config.DataDir string
//sv2bridge:needs field Config.MaxConns int

// The settings of sv2.toml that a command line may override.
var (
	_ = flag.Bool("sv2", false, "serve Stratum V2 (more settings: data/config/sv2.toml)")
	_ = flag.String("sv2-mode", "",
		"override where the Stratum V2 listener runs: grpc, in a sidecar; ffi, in goPool itself")
	_ = flag.String("sv2-listen", "", "override Stratum V2 listen address (e.g. :3336)")
	_ = flag.String("sv2-sidecar", "",
		"override who starts the Stratum V2 sidecar: supervised or independent")
	_ = flag.String("sv2-program", "", "override path of the Stratum V2 sidecar, gopool-sv2")
)

// sv2bridgeStart is called by goPool's start function; see sv2bridgePool.
func sv2bridgeStart(ctx context.Context, pool sv2bridgePool) {
	path := filepath.Join(filepath.Dir(defaultConfigPath()), "sv2.toml")
	if err := config.WriteExample(path); err != nil {
		logger.Warn("write example config failed", "component", "sv2", "path", path, "error", err)
	}
	settings, err := config.Read(path, sv2bridgeGiven())
	if err != nil {
		fatal("stratum v2 config", err, "path", path)
	}
	if !settings.Enabled {
		return
	}
	for _, setting := range settings.Unused {
		logger.Warn(setting, "component", "sv2", "protocol", "stratum_v2")
	}
	cfg := pool.config()
	state := filepath.Join(cfg.DataDir, "state")
	if err := os.MkdirAll(state, 0o755); err != nil {
		fatal("stratum v2", err)
	}
	miners := newSV2bridgeMiners(pool, settings)
	json := flag.Lookup("no-json")
	_, err = door.Start(ctx, door.Pool{
		Software: "goPool",
		State:    state,
		Config:   settings,
		Settings: door.SettingsOf(cfg),
		Log: logs.New(sv2bridgeLogs, sv2bridgeLog,
			"component", "sv2", "protocol", "stratum_v2"),
		Serve:              miners.serve,
		OwnPrefixes:        miners.jobs == nil,
		Health:             func() error { return sv2bridgeHealth(pool.jobMgr) },
		Room:               pool.sv2bridgeRoom,
		AllowAddress:       pool.sv2bridgeAllow,
		AssignedDifficulty: miners.assignedDifficulty,
		IsTip:              sv2bridgeTipOf(pool.jobMgr),
		Mux:                pool.mux,
		JSON:               json == nil || json.Value.String() != "true",
		Ended:              pool.connWg,
	})
	if err != nil {
		fatal("stratum v2", err)
	}
}

// sv2bridgeGiven are the flags that were given, with what they say.
func sv2bridgeGiven() map[string]string {
	given := make(map[string]string)
	flag.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "sv2", "sv2-mode", "sv2-listen", "sv2-sidecar", "sv2-program":
			given[f.Name] = f.Value.String()
		}
	})
	return given
}

// sv2bridgeRoom is why there is no place for one more miner.
func (p sv2bridgePool) sv2bridgeRoom() error {
	if limit := p.config().MaxConns; limit > 0 && p.registry.Count() >= limit {
		return fmt.Errorf("the pool has its limit of %d miners (max_conns)", limit)
	}
	return nil
}

// sv2bridgeAllow reports whether an address may connect now, by goPool's limit of reconnects.
func (p sv2bridgePool) sv2bridgeAllow(host string, now time.Time) bool {
	return p.reconnectLimiter == nil || p.reconnectLimiter.allow(host, now)
}

func sv2bridgeLogs(level slog.Level) bool { return level >= slog.LevelInfo || debugEnabled() }

func sv2bridgeLog(level slog.Level, message string, attrs []any) {
	switch {
	case level < slog.LevelInfo:
		logger.Debug(message, attrs...)
	case level < slog.LevelWarn:
		logger.Info(message, attrs...)
	case level < slog.LevelError:
		logger.Warn(message, attrs...)
	default:
		logger.Error(message, attrs...)
	}
}
