package supervise

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/internal/testlog"
)

// logs is what was logged.
type logs struct{ testlog.Buffer }

func (l *logs) await(t *testing.T, text string, count int) {
	t.Helper()
	for range 1200 {
		if strings.Count(l.String(), text) >= count {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("%q not %d times within 30 s in:\n%s", text, count, l)
}

// start runs the test binary as a child that acts; ended gives what Run returned.
func start(t *testing.T, act string, o Options) (l *logs, stop func(), ended chan error) {
	t.Helper()
	t.Setenv(actAs, act)
	l = &logs{}
	o.Program, o.Config = os.Args[0], "sidecar.toml"
	o.Logger = slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ctx, cancel := context.WithCancel(t.Context())
	ended = make(chan error, 1)
	go func() { ended <- Run(ctx, o) }()
	t.Cleanup(cancel)
	return l, cancel, ended
}

func TestCarriesTheLogAndStopsWithItsContext(t *testing.T) {
	l, stop, ended := start(t, "serves", Options{})
	l.await(t, "xxxx", 1)
	for _, want := range []string{`level=WARN msg="sv2 sidecar: hello"`, "target=t", "plain ? words"} {
		if !strings.Contains(l.String(), want) {
			t.Errorf("no %q in\n%s", want, l)
		}
	}
	if text := l.String(); !strings.Contains(text, "connection=7 peer=p") ||
		strings.Contains(text, "span") || strings.Contains(text, "target=x") {
		t.Errorf("the connection that a line is about:\n%.300s", text)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if !strings.Contains(l.String(), "last words") || strings.Contains(l.String(), "cleanly") {
		t.Errorf("it was not let stop by itself:\n%s", l)
	}
}

func TestStartsAgainWhatEnds(t *testing.T) {
	l, stop, ended := start(t, "ends", Options{MinPause: time.Millisecond, MaxPause: 4 * time.Millisecond})
	l.await(t, "it is started again", 4)
	for _, pause := range []string{"pause=1ms", "pause=2ms", "pause=4ms"} {
		if !strings.Contains(l.String(), pause) {
			t.Errorf("no %s in\n%s", pause, l)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestKillsWhatDoesNotStop(t *testing.T) {
	l, stop, ended := start(t, "is deaf", Options{StopGrace: 50 * time.Millisecond})
	l.await(t, "xxxx", 1)
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	l.await(t, "did not stop cleanly", 1)
}

func TestRejectsARefusedConfigurationInTheSidecarsWords(t *testing.T) {
	_, _, ended := start(t, "refuses", Options{})
	err := <-ended
	if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "sidecar.toml:3:1: no such key") {
		t.Errorf("Run: %v", err)
	}
}

func TestRejectsWhatCanNotRun(t *testing.T) {
	for name, o := range map[string]Options{
		"no config":     {Program: os.Args[0]},
		"no program":    {Program: filepath.Join(t.TempDir(), "none"), Config: "c"},
		"bad duration":  {Program: os.Args[0], Config: "c", StopGrace: -1},
		"key not there": {Program: os.Args[0], Config: "c", KeyFile: "/proc/none/key"},
	} {
		if err := Run(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
