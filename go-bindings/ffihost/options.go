// What a server is made with.

package ffihost

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/events"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/session"
)

// ErrNoLibrary says that the program was built without the library.
var ErrNoLibrary = errors.New("this program has no Stratum V2 listener linked in: run `make lib` in a " +
	"checkout of gopool-sv2 and build with cgo and -tags sv2_static, or with -tags sv2_system or " +
	"sv2_pkgconfig if the library is installed; docs/ffi.md explains")

// Linked says whether the program was built with the library.
func Linked() bool { return linked }

// Options of a [Server]. One of ConfigFile and Config is needed.
type Options struct {
	// ConfigFile is the listener's configuration, as `gopool-sv2 serve` takes it. What it says of the
	// pool's address, keepalive and TLS is not used.
	ConfigFile string
	// Config is its content, if it is not to be read from ConfigFile, which then only names it in errors
	// and is where relative paths start.
	Config []byte
	// Threads that serve miners; 0: one for each processor.
	Threads int
	// Logger for what operators should know, the listener's own log included. nil: slog.Default().
	Logger *slog.Logger

	// Events keeps what the listener tells of what happened: the durable events of its mint bridge, when
	// it is built with one and configured for it. nil: it is told that nobody wants to hear, and keeps
	// them.
	Events events.Sink

	// Software, Epoch, ResumeWindow, VerdictRing, MaxInFlight, OutboxLimit and MaxChannels are those of
	// [session.Options].
	Software     string
	Epoch        io.Reader
	ResumeWindow time.Duration
	VerdictRing  int
	MaxInFlight  int
	OutboxLimit  int
	MaxChannels  int
}

// check is the error of options that no server can be made with.
func (o *Options) check() error {
	switch {
	case o.ConfigFile == "" && o.Config == nil:
		return errors.New("neither Options.ConfigFile nor Options.Config is given: the listener needs a " +
			"configuration, such as examples/config/minimal.toml")
	case o.Threads < 0:
		return fmt.Errorf("Options.Threads is %d: give 0 for as many as there are processors", o.Threads)
	}
	return nil
}

func (o *Options) session() session.Options {
	return session.Options{
		Software: o.Software, Logger: o.Logger, Epoch: o.Epoch, ResumeWindow: o.ResumeWindow, VerdictRing: o.VerdictRing,
		MaxInFlight: o.MaxInFlight, OutboxLimit: o.OutboxLimit, MaxChannels: o.MaxChannels,
	}
}
