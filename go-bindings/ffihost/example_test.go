package ffihost_test

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/ffihost"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// A pool with its listener, until Ctrl-C. docs/ffi.md shows the same.
func Example() {
	var pool *sv2.Pool // of sv2.NewPool; or any other sv2.Host
	_ = serve(pool)
}

func serve(pool *sv2.Pool) error {
	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	server, err := ffihost.New(pool, ffihost.Options{ConfigFile: "listener.toml", Software: "mypool 1.0"})
	if err != nil {
		return err // all that is wrong in the file
	}
	served := make(chan error, 1)
	if err = server.Start(); err == nil { // else the port is taken, or there is no key
		go func() { served <- server.Serve(context.Background()) }()
		select {
		case <-stop.Done():
		case err = <-served: // the listener failed
		}
	}
	grace, done := context.WithTimeout(context.Background(), 30*time.Second)
	defer done()
	return errors.Join(err, server.Shutdown(grace), pool.Close(grace)) // the host last: it may be asked until here
}
