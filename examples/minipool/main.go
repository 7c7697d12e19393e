// Minipool is a small, real mining pool: it builds coinbases, judges shares, assembles blocks and gives
// them to a chain of its own (package chain) that checks them like Bitcoin does, or to a Bitcoin node
// (package node). Miners reach it over Stratum V2 through a sidecar that dials its Unix socket or its
// TLS port.
//
// It is here to be read. The parts, in the order in which a pool of your own needs them:
//
//	pool.go      what a pool hands to package sv2, and how it starts and stops
//	account.go   who may mine, and who is paid
//	source.go    where templates come from and blocks go
//	work.go      templates to jobs: the coinbase of each channel, new tips
//	blocks.go    a share that is a block: assembled, submitted, reported
//	kept.go      blocks that no node has decided on, in files
//	journal.go   the books: every verdict is written before it is told
//	rejects.go   the books of junk: counted, when it comes in masses
//	counters.go  a look at the process: goroutines, memory
//	channels.go  a look at channels that come and go
//	carrier.go   a sidecar that dials the pool, or the listener in this process
//	listen.go    where the sidecar dials
//	flags_sv1.go miners on Stratum V1 (package sv1), and sidecars as such (package sv1host)
//	flags.go     the command line, with flags_node.go
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	exitForced  = 130 // a second signal came while the pool was stopping
)

// stopGrace is how long a stop waits for sidecars to hang up, and then as long for shares under way.
const stopGrace = 5 * time.Second

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is main with its surroundings as arguments. Logs go to stderr; stdout has what was asked for.
func run(args []string, stdout, stderr io.Writer) int {
	settings, err := parseFlags(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "minipool: %v\nminipool -help explains every flag\n", err)
		return exitUsage
	case settings.testAddress:
		return printTestAddress(settings, stdout, stderr)
	}
	log := newLogger(settings, stderr)

	// Before the start, so that a signal during it is not lost.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)

	pool, err := start(settings, log)
	if err != nil {
		log.Error("minipool can't start", "err", err)
		return exitFailure
	}
	code := exitOK
	if err := waitForEnd(pool, signals); err != nil {
		log.Error("minipool ends", "err", err)
		code = exitFailure
	}
	log.Info("stopping: a second signal ends it at once")
	stopped := make(chan error, 1)
	go func() { stopped <- pool.stop(stopGrace) }()
	return waitForStop(log, stopped, signals, code)
}

// waitForEnd returns nil on a signal to stop, and an error when the pool can't serve any more.
func waitForEnd(pool *minipool, signals <-chan os.Signal) error {
	for {
		select {
		case err := <-pool.served:
			return fmt.Errorf("no sidecar can connect any more: %w", err)
		case sig := <-signals:
			switch sig {
			case syscall.SIGUSR1:
				pool.wantBlock()
			case syscall.SIGUSR2:
				pool.wantWork()
			default:
				return nil
			}
		}
	}
}

// waitForStop is the exit code of a stop under way: code, if all goes well.
func waitForStop(log *slog.Logger, stopped <-chan error, signals <-chan os.Signal, code int) int {
	for {
		select {
		case err := <-stopped:
			if err != nil {
				log.Error("minipool did not stop cleanly", "err", err)
				return exitFailure
			}
			log.Info("stopped")
			return code
		case sig := <-signals:
			if sig != syscall.SIGUSR1 && sig != syscall.SIGUSR2 {
				log.Warn("second signal: ended at once, shares under way are lost")
				return exitForced
			}
		}
	}
}

// newLogger writes logs as the flags want them.
func newLogger(s settings, out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: s.logLevel}
	if s.logFormat == logJSON {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}
