// Where the sidecar dials: a Unix socket, or a TCP port behind certificates.

package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/grpchost"
)

// Kinds of listenAddress.
const (
	carrierTLS = "tls:"
	carrierTCP = "tcp:"
)

// listenAddress is a TCP listener as a flag: tls:HOST:PORT, or tcp:127.0.0.1:PORT; empty for none.
type listenAddress string

// String is the flag's value as it is written.
func (a *listenAddress) String() string { return string(*a) }

// Set takes addresses that can be listened on.
func (a *listenAddress) Set(text string) error {
	kind, address := carrierTLS, strings.TrimPrefix(text, carrierTLS)
	if address == text {
		kind, address = carrierTCP, strings.TrimPrefix(text, carrierTCP)
	}
	if address == text {
		return errors.New("give tls:HOST:PORT, such as tls:0.0.0.0:3337; -socket is for a Unix socket")
	}
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return fmt.Errorf("%q is no address with a port, such as tls:0.0.0.0:3337", text)
	}
	if kind == carrierTCP {
		at, err := netip.ParseAddrPort(address)
		if err != nil || !at.Addr().IsLoopback() {
			return errors.New("without TLS only a loopback address may be listened on, such as " +
				"tcp:127.0.0.1:3337: give tls:HOST:PORT and certificates")
		}
	}
	*a = listenAddress(text)
	return nil
}

// cut is the address without its kind, and whether it is one of that kind.
func (a *listenAddress) cut(kind string) (string, bool) {
	return strings.CutPrefix(string(*a), kind)
}

// defineListen declares the flags of this file.
func (s *settings) defineListen(set *flag.FlagSet) {
	set.Var(&s.listen, "listen",
		"`address` that the sidecar dials instead of the socket: tls:HOST:PORT with certificates\n"+
			"(-tls-ca, -tls-cert, -tls-key), or tcp:127.0.0.1:PORT with -allow-plain-tcp")
	set.StringVar(&s.tls.CAFile, "tls-ca", "",
		"PEM `file` of the authority that signs sidecars; this and the next two are read again when\n"+
			"they change")
	set.StringVar(&s.tls.CertificateFile, "tls-cert", "", "PEM `file` of the pool's certificate")
	set.StringVar(&s.tls.KeyFile, "tls-key", "", "PEM `file` of that certificate's key, mode 0600")
	set.Func("tls-name", "only sidecars whose certificate has this `name`; may be given several times",
		func(name string) error {
			if name == "" {
				return errors.New("give a name")
			}
			s.tls.AllowNames = append(s.tls.AllowNames, name)
			return nil
		})
	set.BoolVar(&s.allowPlainTCP, "allow-plain-tcp", false,
		"let -listen be tcp:, for trials: every user of this machine can then be a sidecar")
}

// checkListen names everything that is wrong with the flags of this file.
func (s *settings) checkListen(set *flag.FlagSet) error {
	given := map[string]bool{}
	set.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var faults []error
	fault := func(wrong bool, format string, values ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, values...))
		}
	}
	_, secured := s.listen.cut(carrierTLS)
	_, plain := s.listen.cut(carrierTCP)
	fault(s.listen != "" && given["socket"], "-socket and -listen: give one of them")
	fault(plain && !s.allowPlainTCP,
		"-listen %s has no encryption and everybody on this machine can connect: use -socket, or add "+
			"-allow-plain-tcp", s.listen)
	for _, name := range []string{"tls-ca", "tls-cert", "tls-key"} {
		missing := set.Lookup(name).Value.String() == ""
		fault(secured && missing, "-listen %s needs -%s: docs/link.md says how to make it", s.listen, name)
	}
	for _, name := range []string{"tls-ca", "tls-cert", "tls-key", "tls-name"} {
		fault(!secured && given[name], "-%s is for -listen tls:HOST:PORT: remove it, or listen there", name)
	}
	return errors.Join(faults...)
}

// openListener opens what the sidecar dials. Who may connect to a socket is decided twice: by the
// permissions of the file, and by who the kernel says is at the other end; to a port, by certificates.
func (m *minipool) openListener() (net.Listener, error) {
	if address, ok := m.settings.listen.cut(carrierTLS); ok {
		options := m.settings.tls
		options.Logger = m.log
		return grpchost.ListenTLS(address, options)
	}
	if address, ok := m.settings.listen.cut(carrierTCP); ok {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", address, err)
		}
		return listener, nil
	}
	options := grpchost.UnixOptions{Logger: m.log}
	options.Mode = os.FileMode(m.settings.socketMode)
	if options.Mode&0o020 != 0 {
		options.AllowGIDs = []uint32{uint32(os.Getegid())}
	}
	return grpchost.ListenUnix(m.settings.socket, options)
}
