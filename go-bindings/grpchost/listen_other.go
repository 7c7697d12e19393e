//go:build !linux

// Unix sockets where peers can't be checked: an error.

package grpchost

import (
	"errors"
	"fmt"
	"net"
)

// ListenUnix checks peers by SO_PEERCRED, which only Linux has; here it is an error that wraps
// errors.ErrUnsupported. Use TCP with Credentials, or PlainLoopback for a trial.
func ListenUnix(path string, options UnixOptions) (net.Listener, error) {
	if _, err := options.checked(path); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("socket %s: peers can't be checked on this system: %w", path,
		errors.ErrUnsupported)
}
