// Command gopool-sv2-install gives goPool its Stratum V2 door: it finds the place in goPool's own
// code where the door goes, and makes the files for a build that has it. `gopool-sv2-install help`
// explains the rest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	bindings "github.com/gopool-sv2/gopool-sv2/go-bindings"
)

// Exit codes; help lists them.
const (
	exitDone    = 0
	exitRefused = 1
	exitUsage   = 2
	exitFailed  = 3
)

const help = `gopool-sv2-install gives goPool a Stratum V2 door.

  gopool-sv2-install [COMMAND] [FLAGS]

Run it in goPool's folder (a git checkout), or name that with -C DIR. Commands:

  overlay   The default. Makes the changed files in a folder beside goPool's, leaves goPool's own
            folder as it is, and prints the go build line that uses them. Run it again after each
            git pull.
  apply     Edits goPool's folder instead; then goPool is built as always. Done twice it changes
            nothing; done with a newer installer it brings the older one's work up to date.
  check     Says whether the door fits this goPool, shows the lines that would go into it, and
            whether what was applied, or the overlay, is up to date. Changes nothing.
  revert    Takes out what apply put in: all files have the bytes they had, go.mod and go.sum too.
  help      This text.

What it changes: one call, between two marked comments, in the function that accepts Stratum V1
connections, right before it starts to; new files sv2bridge_*.go and a folder sv2bridge/; lines in
go.mod and go.sum for the modules these import. The place is found in goPool's code by what the code
does, and the call is made of goPool's own variables. Where that is not clear, or a name is taken,
nothing is changed, and all reasons are printed. It asks the go command to load goPool's packages
(modules may be downloaded) and never builds or runs goPool: that is yours to do.

Flags:
  -C DIR           goPool's folder (default: the current one)
  -out DIR         overlay: folder for its files (default: goPool's folder with ".sv2bridge" added)
  -ffi PREFIX      overlay, apply: print the go build line for a goPool with the listener inside
                   (mode = "ffi"); PREFIX is what "make install-lib PREFIX=..." was given
  -tests           overlay, apply: add our own tests of the door, for go test -run SV2Bridge
  -discard-edits   revert: delete our files even if they were edited since
  -keep-go-mod     revert: leave go.mod and go.sum, if they were changed since

Exit codes:
  0  done, or nothing to do; check: the door fits
  1  refused, with all reasons; nothing was changed
  2  the command line makes no sense
  3  something failed (a file, the go command, the network); nothing was changed, or it was undone
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	i := &installer{
		source: bindings.Sources, version: version(), getenv: os.Getenv, stdout: os.Stdout,
	}
	code := i.run(ctx, os.Args[1:], os.Stderr)
	stop()
	os.Exit(code)
}

// run does what the arguments say and gives the exit code.
func (i *installer) run(ctx context.Context, args []string, stderr io.Writer) int {
	command := "overlay"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		command, args = args[0], args[1:]
	}
	commands := map[string]func(context.Context) error{
		"overlay": i.overlay, "apply": i.apply, "check": i.check, "revert": i.revert,
	}
	act, known := commands[command]
	if command == "help" {
		_, _ = io.WriteString(i.stdout, help)
		return exitDone
	}
	complain := func(format string, args ...any) {
		_, _ = fmt.Fprintf(stderr, "gopool-sv2-install: "+format+"\n", args...)
	}
	if !known {
		complain("there is no command %q; `gopool-sv2-install help` lists them", command)
		return exitUsage
	}
	err := i.parse(command, args)
	if errors.Is(err, flag.ErrHelp) {
		_, _ = io.WriteString(i.stdout, help)
		return exitDone
	}
	if err != nil {
		complain("%v; see `gopool-sv2-install help`", err)
		return exitUsage
	}
	err = act(ctx)
	var refused problems
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &refused):
		complain("refused; nothing was changed. %s:\n", plural(len(refused), "reason"))
		_, _ = io.WriteString(stderr, refused.Error())
		return exitRefused
	}
	complain("%v", err)
	return exitFailed
}

func plural(count int, what string) string {
	if count == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", count, what)
}

// parse reads the flags; each command takes only those that mean something to it.
func (i *installer) parse(command string, args []string) error {
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&i.dir, "C", ".", "")
	if command == "overlay" || command == "check" {
		flags.StringVar(&i.out, "out", "", "")
	}
	if command == "overlay" || command == "apply" {
		flags.StringVar(&i.prefix, "ffi", "", "")
	}
	if command != "revert" {
		flags.BoolVar(&i.tests, "tests", false, "")
	} else {
		flags.BoolVar(&i.discard, "discard-edits", false, "")
		flags.BoolVar(&i.keepMod, "keep-go-mod", false, "")
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%s takes no argument %q", command, flags.Arg(0))
	}
	return nil
}

// version is this program's, as the go command knows it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
