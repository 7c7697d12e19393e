// Package supervise runs the sidecar as a child of the pool: it makes the authority key on the first
// start, checks the configuration, starts `gopool-sv2 serve`, carries its log into the pool's, starts it
// again when it ends, and stops it with the pool.
//
//	err := supervise.Run(ctx, supervise.Options{Config: "sv2-sidecar.toml", KeyFile: "state/sv2.key"})
//
// It is a convenience: a child stops with the pool, and its miners are told to reconnect. For restarts of
// the pool that miners don't notice, let the sidecar run on its own (a systemd unit).
package supervise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	// programName is looked for beside the pool's own program, and then in PATH.
	programName = "gopool-sv2"
	// exitUsage is what the sidecar ends with when its command or configuration is wrong.
	exitUsage = 64
	// helperPatience bounds keygen and check-config, which take milliseconds.
	helperPatience = 30 * time.Second
)

// ErrConfig is wrapped by the error for a configuration that the sidecar refuses: to start it again would
// change nothing.
var ErrConfig = errors.New("the sidecar refuses its configuration")

// Options say what to run. Zero values stand for the defaults.
type Options struct {
	// Program is the path of gopool-sv2. Empty: beside the running program, else in PATH.
	Program string
	// Config is the sidecar's configuration file. Required.
	Config string
	// KeyFile is the authority's secret key; it is made when it isn't there. Empty: whoever wrote the
	// configuration sees to it.
	KeyFile string
	// Logger gets the sidecar's log and our own. Nil: slog.Default.
	Logger *slog.Logger
	// MinPause and MaxPause bound the wait before the sidecar is started again: doubled each time, and
	// back to MinPause when it ran for longer than Healthy. 1 s, 1 min and 1 min.
	MinPause, MaxPause, Healthy time.Duration
	// StopGrace is how long a sidecar may take to stop before it is killed. 15 s: its own drain takes
	// 10 at most, unless configured.
	StopGrace time.Duration
}

func (o Options) withDefaults() (Options, error) {
	if o.Config == "" {
		return o, errors.New("supervise: Options.Config is empty: name the sidecar's configuration file")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&o.MinPause, time.Second}, {&o.MaxPause, time.Minute}, {&o.Healthy, time.Minute},
		{&o.StopGrace, 15 * time.Second},
	} {
		if *d.value < 0 {
			return o, fmt.Errorf("supervise: a duration of %v: 0 stands for the default", *d.value)
		}
		if *d.value == 0 {
			*d.value = d.fallback
		}
	}
	o.MaxPause = max(o.MaxPause, o.MinPause)
	program, err := find(o.Program)
	o.Program = program
	return o, err
}

// find gives the path of the program.
func find(program string) (string, error) {
	if program == "" {
		if self, err := os.Executable(); err == nil {
			beside := filepath.Join(filepath.Dir(self), programName)
			if found, err := exec.LookPath(beside); err == nil {
				return found, nil
			}
		}
		program = programName
	}
	found, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("supervise: %w: put %s beside the pool's program or into PATH, or name it",
			err, programName)
	}
	return found, nil
}

// Run runs the sidecar until ctx ends; then it stops it and returns nil. It returns earlier, with an error,
// when the program isn't there, the key can't be made, or the configuration is refused ([ErrConfig], with
// the sidecar's own words). A sidecar that ends is started again, whatever it ended by.
func Run(ctx context.Context, options Options) error {
	o, err := options.withDefaults()
	if err != nil {
		return err
	}
	if err := o.makeKey(ctx); err != nil {
		return err
	}
	if err := o.check(ctx); err != nil {
		return err
	}
	pause := o.MinPause
	for ctx.Err() == nil {
		begun := time.Now()
		err := o.live(ctx)
		if ctx.Err() != nil {
			if err != nil {
				o.Logger.Warn("the SV2 sidecar did not stop cleanly", "err", err)
			}
			return nil
		}
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == exitUsage {
			// It was good when it was checked: a port that is taken, say. Its log has the words.
			o.Logger.Error("the SV2 sidecar can't run as configured", "config", o.Config)
		}
		ran := time.Since(begun)
		if ran >= o.Healthy {
			pause = o.MinPause
		}
		o.Logger.Error("the SV2 sidecar ended; it is started again", "err", err,
			"ran", ran.Round(time.Millisecond), "pause", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, o.MaxPause)
	}
	return nil
}

// makeKey makes the authority key when there is none.
func (o Options) makeKey(ctx context.Context) error {
	if o.KeyFile == "" {
		return nil
	}
	if _, err := os.Stat(o.KeyFile); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return fmt.Errorf("supervise: look for the authority key: %w", err)
		}
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(o.KeyFile), 0o700); err != nil {
		return fmt.Errorf("supervise: a place for the authority key: %w", err)
	}
	public, said, err := o.ask(ctx, "keygen", "--out", o.KeyFile)
	if err != nil {
		return fmt.Errorf("supervise: make the authority key: %w: %s", err, said)
	}
	o.Logger.Info("made the SV2 authority key: keep a copy of it", "file", o.KeyFile, "public", public)
	return nil
}

// check lets the sidecar look at its configuration.
func (o Options) check(ctx context.Context) error {
	_, said, err := o.ask(ctx, "check-config", "--config", o.Config)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return nil // Run ends
	}
	return fmt.Errorf("supervise: %w (%s): %w\n%s", ErrConfig, o.Config, err, said)
}

// ask runs a command of the sidecar that ends by itself, and gives its words.
func (o Options) ask(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(ctx, helperPatience)
	defer cancel()
	var out, words bytes.Buffer
	command := exec.CommandContext(ctx, o.Program, args...)
	command.Stdout, command.Stderr = &out, &words
	err = command.Run()
	return string(bytes.TrimSpace(out.Bytes())), string(bytes.TrimSpace(words.Bytes())), err
}
