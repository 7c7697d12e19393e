// The way to miners through a sidecar: the link that it dials, and the sidecar itself, if it is the pool's
// child.

package door

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/user"
	"strconv"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/gopool/config"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/grpchost"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/session"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/supervise"
)

// link is a [carrier].
type link struct {
	door   *Door
	server *grpchost.Server
	socket net.Listener
}

func newLink(ctx context.Context, d *Door) (*link, error) {
	server, err := grpchost.New(&host{d.host, d.counts}, grpchost.Options{Software: d.pool.Software,
		Logger: d.pool.Log, MaxChannels: max(d.pool.Settings.MaxConnections, grpchost.DefaultMaxChannels)})
	if err != nil {
		return nil, err
	}
	l := &link{door: d, server: server}
	if l.socket, err = l.listen(); err != nil {
		return nil, errors.Join(fmt.Errorf("%w; another path can be set in sv2.toml, [link].socket", err),
			server.Shutdown(ctx))
	}
	return l, nil
}

func (l *link) sessions() []*session.Session { return l.server.Sessions() }

// listen opens the socket of the link.
func (l *link) listen() (net.Listener, error) {
	options := grpchost.UnixOptions{Logger: l.door.pool.Log}
	var faults []error
	for _, name := range l.door.config.AllowUsers {
		id, err := idOf(name, func() (string, error) {
			found, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return found.Uid, nil
		})
		faults = append(faults, err)
		options.AllowUIDs = append(options.AllowUIDs, id)
	}
	for _, name := range l.door.config.AllowGroups {
		id, err := idOf(name, func() (string, error) {
			found, err := user.LookupGroup(name)
			if err != nil {
				return "", err
			}
			return found.Gid, nil
		})
		faults = append(faults, err)
		options.AllowGIDs = append(options.AllowGIDs, id)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("who may connect to %s: %w", l.door.config.Socket, err)
	}
	if len(options.AllowUIDs)+len(options.AllowGIDs) > 0 {
		options.Mode = 0o666 // whoever isn't allowed is turned away by what the system says of him
	}
	return grpchost.ListenUnix(l.door.config.Socket, options)
}

// idOf is the number of a user or group that is given by name or number.
func idOf(name string, lookUp func() (string, error)) (uint32, error) {
	text := name
	if _, err := strconv.ParseUint(name, 10, 32); err != nil {
		if text, err = lookUp(); err != nil {
			return 0, err
		}
	}
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q has no number on this system", name)
	}
	return uint32(id), nil
}

func (l *link) run(ctx context.Context) {
	log := l.door.pool.Log
	served := make(chan error, 1)
	go func() { served <- l.server.Serve(context.Background(), l.socket) }()
	supervised := make(chan struct{})
	go func() {
		defer close(supervised)
		if l.door.config.Sidecar == config.Supervised {
			l.supervise(ctx)
		}
	}()
	log.Info("stratum v2 door open", "kind", "listen", "socket", l.door.config.Socket,
		"sidecar", string(l.door.config.Sidecar))
	select {
	case <-ctx.Done():
	case err := <-served:
		log.Error("no sidecar can connect any more; restart the pool", "error", err)
		<-ctx.Done()
	}
	<-supervised
	if err := within(linkGrace, l.server.Shutdown); err != nil {
		// A sidecar on its own stays, and comes back to the pool's next start.
		log.Debug("the link was cut", "error", err)
	}
}

// supervise runs the sidecar as a child until ctx ends.
func (l *link) supervise(ctx context.Context) {
	d := l.door
	path, err := d.config.WriteListener(d.pool.State)
	if err == nil {
		options := supervise.Options{Program: d.config.Program, Config: path,
			Logger: d.heard(), StopGrace: listenerGrace}
		if d.config.SidecarConfig == "" {
			options.KeyFile = d.config.KeyFile
		}
		err = supervise.Run(ctx, options)
	}
	if err != nil {
		d.listener.fail(err)
		d.pool.Log.Error("no stratum v2 miner can connect: the sidecar does not run; "+
			"stratum v1 is not affected", "kind", "sidecar", "error", err)
	}
}
