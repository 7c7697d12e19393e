// The part of the command line that is about Stratum V1, and what it starts.

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"

	"github.com/gopool-sv2/gopool-sv2/examples/minipool/sv1"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv1host"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// sv1Settings are those of the Stratum V1 port.
type sv1Settings struct {
	sv1    string // address; empty for none
	viaSV1 bool
}

func (s *sv1Settings) define(set *flag.FlagSet) {
	set.StringVar(&s.sv1, "sv1", "",
		"`address` of a Stratum V1 port besides, such as 127.0.0.1:3333; empty: none. Shares of both are\n"+
			"judged and booked alike. Stratum V1 is neither encrypted nor authenticated")
	set.BoolVar(&s.viaSV1, "via-sv1", false,
		"let what the sidecar brings come in as Stratum V1, too, over package sv1host: what a pool does\n"+
			"that knows nothing else")
}

func (s *sv1Settings) check() error {
	if s.sv1 == "" {
		return nil
	}
	if _, port, err := net.SplitHostPort(s.sv1); err != nil || port == "" {
		return fmt.Errorf("-sv1 %q is no address with a port: give one such as 127.0.0.1:3333", s.sv1)
	}
	return nil
}

// sv1Door is what of Stratum V1 a pool has: nothing, a port, and the host that turns sidecars' channels
// into miners of it.
type sv1Door struct {
	port     *sv1.Port
	listener net.Listener // nil without -sv1
	host     *sv1host.Host
}

// openSV1 opens what the flags ask for, and returns the host for sidecars: the pool itself, or Stratum V1
// before it.
func (m *minipool) openSV1() (host sv2.Host, err error) {
	s := m.settings
	if s.sv1 == "" && !s.viaSV1 {
		return m.pool, nil
	}
	m.sv1.port, err = sv1.New(sv1.Options{
		Host: watchedHost{m.pool, m.log.With("door", "sv1")}, Prefixes: m.pool,
		ExtranonceSize:  s.extranonceSize,
		SharesPerMinute: 60 / s.shareSeconds, RequestOf: sv1host.RequestOf, Logger: m.log})
	if err != nil {
		return nil, err
	}
	if s.sv1 != "" {
		if m.sv1.listener, err = net.Listen("tcp", s.sv1); err != nil {
			return nil, fmt.Errorf("-sv1: %w", err)
		}
		m.log.Info("Stratum V1 port is open", "sv1", m.sv1.listener.Addr().String())
	}
	if !s.viaSV1 {
		return m.pool, nil
	}
	m.sv1.host, err = sv1host.New(m.viaSV1Options())
	return m.sv1.host, err
}

// viaSV1Options is all that a pool with a Stratum V1 port gives to package sv1host.
func (m *minipool) viaSV1Options() sv1host.Options {
	s := m.settings
	return sv1host.Options{
		Serve:           m.sv1.port.ServeConn,
		Software:        software,
		MinDifficulty:   s.minDifficulty,
		MaxDifficulty:   s.maxDifficulty,
		SharesPerMinute: 60 / s.shareSeconds,
		StaleRule:       sv2.StaleStrict,
		AllowPayoutKeys: true,
		Logger:          m.log,
	}
}

// serveSV1 takes miners, once everything else is there.
func (m *minipool) serveSV1() {
	if m.sv1.listener != nil {
		m.running.Go(func() {
			if err := m.sv1.port.Serve(m.sv1.listener); err != nil {
				m.log.Error("Stratum V1 port ended", "err", err)
			}
		})
	}
}

// close ends all of it: sidecars have left, or been told.
func (d sv1Door) close(ctx context.Context) error {
	var faults []error
	if d.listener != nil {
		faults = append(faults, d.listener.Close())
	}
	if d.host != nil {
		faults = append(faults, d.host.Close(ctx))
	}
	if d.port != nil {
		faults = append(faults, d.port.Stop(ctx))
	}
	return errors.Join(faults...)
}
