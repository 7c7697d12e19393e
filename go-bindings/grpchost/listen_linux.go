// Unix sockets with checked peers (unix(7), socket(7): SO_PEERCRED).

package grpchost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// probeTimeout: a listener that doesn't take a connection that long is alive and overloaded.
	probeTimeout = time.Second
	// lockPatience is how long to wait for another process that sets up the same socket.
	lockPatience = 3 * time.Second
	lockPause    = 20 * time.Millisecond
)

// ListenUnix listens on a Unix socket at path and closes connections of peers that options don't
// allow. It creates the socket with the wanted mode, never wider. A socket file nobody listens on is
// removed; anything else at path is an error. Closing the listener removes the file.
//
// Meanwhile it holds a lock on a file beside the socket, path + [LockSuffix], which only the pool's user
// may open (0600); it waits some seconds for another process that does the same. The empty file stays:
// were it removed, two processes could hold locks on two files of that name.
//
// The directory should be writable by the pool only: who can write there can replace the socket.
func ListenUnix(path string, options UnixOptions) (net.Listener, error) {
	options, err := options.checked(path)
	if err != nil {
		return nil, err
	}
	// Two processes that both find a stale file must not remove each other's fresh one.
	unlock, err := lock(path + LockSuffix)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		// The file takes the descriptor's mode at bind, less the umask: no moment with more rights.
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = unix.Fchmod(int(fd), uint32(options.Mode))
		})
		return errors.Join(err, failed)
	}}
	listener, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on socket %s: %w", path, err)
	}
	if err := os.Chmod(path, options.Mode); err != nil {
		return nil, errors.Join(fmt.Errorf("set mode of socket %s: %w", path, err), listener.Close())
	}
	return &unixListener{Listener: listener, options: options}, nil
}

// lock holds an advisory lock on a file that nobody else may open, and makes the file if need be.
func lock(path string) (unlock func(), err error) {
	flags := unix.O_RDWR | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := unix.Open(path, flags, 0o600)
	switch {
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR):
		return nil, fmt.Errorf("no directory for the socket (create it for the pool's user first): %w",
			&fs.PathError{Op: "open", Path: path, Err: err})
	case err != nil:
		return nil, fmt.Errorf("lock file of the socket (remove it if it isn't the pool's): %w",
			&fs.PathError{Op: "open", Path: path, Err: err})
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unix.Close(fd))
		}
	}()
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil {
		return nil, fmt.Errorf("look at lock file %s: %w", path, err)
	}
	if info.Mode&unix.S_IFMT != unix.S_IFREG || info.Mode&0o077 != 0 ||
		int64(info.Uid) != int64(os.Geteuid()) {
		return nil, fmt.Errorf("lock file %s is not a file of the pool's user alone, so others could "+
			"hold it: remove it, and let nobody else write to the directory", path)
	}
	for deadline := time.Now().Add(lockPatience); ; time.Sleep(lockPause) {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = unix.Close(fd) }, nil
		}
		retry := errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR)
		if !retry || time.Now().After(deadline) {
			return nil, fmt.Errorf("lock %s (another process of the pool's user holds it: stop it "+
				"or try again): %w", path, err)
		}
	}
}

// removeStale makes room at path, or says who or what is in the way.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at socket path: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s exists and is not a socket: remove it or choose another path", path)
	}
	probe, err := net.DialTimeout("unix", path, probeTimeout)
	if err == nil {
		_ = probe.Close()
		return fmt.Errorf("another process listens on %s: stop it or choose another path", path)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("can't tell whether anybody listens on %s: remove it if nobody does: %w",
			path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove stale socket: %w", err)
	}
	return nil
}

// unixListener hands out connections of allowed peers only.
type unixListener struct {
	net.Listener
	options UnixOptions
}

// Accept waits for the next connection of an allowed peer.
func (l *unixListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		who, err := peerOf(conn)
		if err == nil && l.options.allows(who) {
			return conn, nil
		}
		_ = conn.Close()
		if err != nil {
			l.options.Logger.Warn("closed a connection whose peer is unknown", "error", err)
			continue
		}
		l.options.Logger.Warn("closed a connection of a user who is not allowed: "+
			"run the sidecar as the pool's user or allow its uid or gid",
			"pid", who.pid, "uid", who.uid, "gid", who.gid)
	}
}

// peerOf asks the kernel who connected.
func peerOf(conn net.Conn) (peer, error) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return peer{}, fmt.Errorf("connection of type %T has no descriptor", conn)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return peer{}, fmt.Errorf("descriptor of the connection: %w", err)
	}
	var credentials *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		credentials, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, failed); err != nil {
		return peer{}, fmt.Errorf("read peer credentials: %w", err)
	}
	return peer{pid: credentials.Pid, uid: credentials.Uid, gid: credentials.Gid}, nil
}
