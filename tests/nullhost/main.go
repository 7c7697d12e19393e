// Nullhost is NOT A POOL. It accepts every submit at once without looking at it, so that a benchmark sees
// what the Stratum V2 listener costs and nothing else. Nothing is mined, checked, booked or paid.
//
//	nullhost -socket ./null.sock                                  a sidecar dials it
//	nullhost -carrier ffi -listener-config listener.toml          the listener is inside (-tags sv2_static)
//
// SIGUSR1 gives all channels work on a new tip, SIGUSR2 other work on the same one; SIGINT and SIGTERM
// stop it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/ffihost"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/grpchost"
)

// warning is the first line of the log.
const warning = "nullhost is NOT A POOL: it accepts every submit unchecked, and mines, books and pays nothing; " +
	"it is for benchmarks of the listener"

// software is what the sidecar's log calls it.
const software = "nullhost, not a pool"

// stopGrace is how long sidecars may take to hang up.
const stopGrace = 5 * time.Second

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	log.Warn(warning)
	if err := run(os.Args[1:], log); err != nil {
		log.Error("nullhost ends", "err", err)
		os.Exit(1)
	}
}

// way is how the listener is reached: another process that dials us, or one inside.
type way struct {
	where    string
	serve    func() error
	shutdown func(context.Context) error
}

// run is main with its surroundings as arguments.
func run(args []string, log *slog.Logger) error {
	flags := flag.NewFlagSet("nullhost", flag.ContinueOnError)
	socket := flags.String("socket", "./nullhost.sock", "`path` of the Unix socket that the sidecar dials")
	carrier := flags.String("carrier", "grpc", "`way` to the miners: grpc, or ffi for the listener inside")
	config := flags.String("listener-config", "", "`file` that configures the listener with -carrier=ffi")
	if err := flags.Parse(args); err != nil {
		return err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)

	host, err := newHost()
	if err != nil {
		return err
	}
	way, err := open(host, *carrier, *socket, *config, log)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- way.serve() }()
	log.Info("nullhost is ready", "listens", way.where, "pid", os.Getpid())
	err = obey(host, signals, served)
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	return errors.Join(err, way.shutdown(ctx))
}

// obey does what signals say until one says stop, or nobody is served any more.
func obey(host *host, signals <-chan os.Signal, served <-chan error) error {
	for {
		select {
		case err := <-served:
			return err
		case signal := <-signals:
			switch signal {
			case syscall.SIGUSR1:
				host.tell(true)
			case syscall.SIGUSR2:
				host.tell(false)
			default:
				return nil
			}
		}
	}
}

func open(host *host, carrier, socket, config string, log *slog.Logger) (way, error) {
	switch carrier {
	case "grpc":
		server, err := grpchost.New(host, grpchost.Options{Software: software, Logger: log})
		if err != nil {
			return way{}, err
		}
		listener, err := grpchost.ListenUnix(socket, grpchost.UnixOptions{Mode: 0o600, Logger: log})
		if err != nil {
			return way{}, errors.Join(err, server.Shutdown(context.Background()))
		}
		serve := func() error { return server.Serve(context.Background(), listener) }
		return way{where: socket, serve: serve, shutdown: server.Shutdown}, nil
	case "ffi":
		server, err := ffihost.New(host, ffihost.Options{Software: software, Logger: log, ConfigFile: config})
		if err != nil {
			return way{}, err
		}
		if err := server.Start(); err != nil {
			return way{}, errors.Join(err, server.Shutdown(context.Background()))
		}
		serve := func() error { return server.Serve(context.Background()) }
		return way{where: server.URL(), serve: serve, shutdown: server.Shutdown}, nil
	default:
		return way{}, fmt.Errorf("-carrier %q: give grpc or ffi", carrier)
	}
}
