// Who may connect: socket options and the check of listeners, on every system.

package grpchost

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
)

// DefaultSocketMode lets the pool's user and group connect. Who really may is decided by the peer's
// credentials.
const DefaultSocketMode fs.FileMode = 0o660

// LockSuffix behind a socket's path names the lock file that [ListenUnix] leaves there.
const LockSuffix = ".lock"

// maxSocketPath is sizeof(sun_path) less the closing NUL (unix(7)).
const maxSocketPath = 107

// UnixOptions of [ListenUnix]. The zero value lets the pool's own user and root connect.
type UnixOptions struct {
	// Mode of the socket file, permission bits only. 0: DefaultSocketMode.
	Mode fs.FileMode
	// AllowUIDs may connect, besides the process's effective user and root.
	AllowUIDs []uint32
	// AllowGIDs may connect: the peer's effective group counts, supplementary ones don't.
	AllowGIDs []uint32
	// OnlyListed drops the process's own user and root from those who may connect.
	OnlyListed bool
	// Logger is told of refused peers. nil: slog.Default().
	Logger *slog.Logger
}

// peer is who is at the other end of a Unix socket when it connected (SO_PEERCRED).
type peer struct {
	pid      int32
	uid, gid uint32
}

// allows reports whether a peer may talk to the pool.
func (o UnixOptions) allows(p peer) bool {
	if !o.OnlyListed && (p.uid == 0 || int64(p.uid) == int64(os.Geteuid())) {
		return true
	}
	for _, uid := range o.AllowUIDs {
		if p.uid == uid {
			return true
		}
	}
	for _, gid := range o.AllowGIDs {
		if p.gid == gid {
			return true
		}
	}
	return false
}

// checked is o with defaults, or what is wrong with it or with path.
func (o UnixOptions) checked(path string) (UnixOptions, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Mode == 0 {
		o.Mode = DefaultSocketMode
	}
	switch {
	case path == "":
		return o, errors.New("socket path is empty: give a file name")
	case path[0] == '@' || path[0] == 0:
		return o, fmt.Errorf("socket path %q is abstract, which has no permissions: give a file name",
			path)
	case len(path) > maxSocketPath:
		return o, fmt.Errorf("socket path %q has %d bytes and the system takes %d: choose a shorter one",
			path, len(path), maxSocketPath)
	case o.Mode&^fs.ModePerm != 0:
		return o, fmt.Errorf("socket mode %v has more than permission bits: give e.g. 0660", o.Mode)
	}
	return o, nil
}

// checkListener refuses a listener that would carry work in the clear to who knows whom.
func (o Options) checkListener(listener net.Listener) error {
	if _, secured := listener.(*tlsListener); secured {
		if o.Credentials != nil {
			return errors.New("listener has TLS of its own: leave Credentials nil")
		}
		return nil
	}
	address, isTCP := listener.Addr().(*net.TCPAddr)
	if !isTCP || o.Credentials != nil {
		return nil
	}
	if o.PlainLoopback && address.IP.IsLoopback() {
		return nil
	}
	return fmt.Errorf("listener %v has no TLS: use a Unix socket or ListenTLS, set Credentials, or set "+
		"PlainLoopback with a loopback address", address)
}
