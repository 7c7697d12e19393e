// How Stratum V2 miners reach the pool: through a sidecar that dials it, or through the listener in this
// process.

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/events"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/ffihost"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/grpchost"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// Carriers.
const (
	carrierGRPC = "grpc"
	carrierFFI  = "ffi"
)

// carrierServer is what grpchost and ffihost have in common.
type carrierServer interface {
	Shutdown(ctx context.Context) error
}

// carrierSettings are the flags of this file.
type carrierSettings struct {
	carrier        string
	listenerConfig string
	events         string
}

func (s *carrierSettings) define(set *flag.FlagSet) {
	set.StringVar(&s.carrier, "carrier", carrierGRPC,
		"`way` to the miners: grpc, a sidecar that dials -socket or -listen; or ffi, the listener in this\n"+
			"process (minipool must be built for that: docs/ffi.md)")
	set.StringVar(&s.listenerConfig, "listener-config", "",
		"`file` that configures the listener with -carrier=ffi, as `gopool-sv2 serve --config` takes it")
	set.StringVar(&s.events, "events", "",
		"`directory` that keeps what sidecars tell of what happened, such as the credits of a mint bridge:\n"+
			"a file of JSON lines for each source; empty: nobody listens")
}

// check names everything that is wrong; given are the flags on the command line.
func (s *carrierSettings) check(given map[string]bool) error {
	var faults []error
	fault := func(wrong bool, format string, values ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, values...))
		}
	}
	ffi := s.carrier == carrierFFI
	fault(!ffi && s.carrier != carrierGRPC, "-carrier %q: give grpc or ffi", s.carrier)
	fault(ffi && s.listenerConfig == "",
		"-carrier=ffi needs -listener-config, such as examples/config/minimal.toml")
	fault(!ffi && s.listenerConfig != "", "-listener-config is for -carrier=ffi: a sidecar has its own")
	for _, name := range []string{"socket", "socket-mode", "listen"} {
		fault(ffi && given[name], "-%s is for sidecars: remove it, or use -carrier=grpc", name)
	}
	return errors.Join(faults...)
}

// way is an open way to the miners.
type way struct {
	where string
	// serve lets them in and returns after a shutdown. shut is for a way that is not served after all.
	serve, shut func() error
}

// openCarrier opens the way to the miners; the server of it is m's.
func (m *minipool) openCarrier(host sv2.Host, epoch []byte) (*way, error) {
	var sink events.Sink // nil: nobody listens
	if m.settings.events != "" {
		folder, err := events.OpenFolder(m.settings.events)
		if err != nil {
			return nil, err
		}
		m.events, sink = folder, folder
	}
	if m.settings.carrier == carrierFFI {
		server, err := ffihost.New(host, ffihost.Options{Software: software, Logger: m.log, Events: sink,
			Epoch: bytes.NewReader(epoch), ConfigFile: m.settings.listenerConfig})
		if err != nil {
			return nil, err
		}
		m.server = server
		if err := server.Start(); err != nil {
			return nil, err
		}
		return &way{
			where: server.URL(),
			serve: func() error { return server.Serve(context.Background()) },
			shut:  func() error { return nil }, // the server's Shutdown does
		}, nil
	}
	server, err := grpchost.New(host, grpchost.Options{Software: software, Logger: m.log, Events: sink,
		Epoch: bytes.NewReader(epoch), PlainLoopback: m.settings.allowPlainTCP})
	if err != nil {
		return nil, err
	}
	m.server = server
	listener, err := m.openListener()
	if err != nil {
		return nil, err
	}
	return &way{
		where: listener.Addr().String(),
		serve: func() error { return server.Serve(context.Background(), listener) },
		shut:  listener.Close,
	}, nil
}
