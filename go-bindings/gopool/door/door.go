// Package door is the Stratum V2 door of a pool that serves Stratum V1, without what is goPool's own:
// the host of package sv1host behind the carrier of package grpchost, on a Unix socket in the pool's state
// folder, and the sidecar as the pool's child or on its own.
//
//	door, err := door.Start(ctx, door.Pool{...})
//
// It ends with ctx, in order: the sidecar first, if it is a child, which tells its miners to reconnect;
// then the link; then the miners that the pool still serves.
package door

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os/user"
	"strconv"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/gopool/config"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/grpchost"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/supervise"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv1host"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

const (
	// A pool waits some 10 seconds for all that has to end; these together are below.
	sidecarGrace = 6 * time.Second // it gives itself 5, and the link one
	linkGrace    = time.Second
	hostGrace    = time.Second
	// leastDifficulty is the minimum of a pool that says it has none: a share takes 4 hashes.
	leastDifficulty = 1e-9
)

// Door is a door that is open.
type Door struct {
	pool     Pool
	config   config.Config
	host     *sv1host.Host
	server   *grpchost.Server
	counts   *counts
	prefixes *prefixes // nil when the pool has its own
	sidecar  sidecarState
}

// Start opens the door and returns at once. It ends with ctx, and is counted in pool.Ended until it has
// ended. An error names what is in the way, with its remedy; nothing runs then. A supervised sidecar that
// can't run is logged, and leaves the pool as it is.
func Start(ctx context.Context, pool Pool) (*Door, error) {
	settings, err := pool.Config.In(pool.State)
	if err != nil {
		return nil, fmt.Errorf("stratum v2: %w", err)
	}
	d := &Door{pool: pool, config: settings,
		counts: &counts{connections: make(map[connection]int)}}
	if !pool.OwnPrefixes {
		if d.prefixes, err = newPrefixes(pool.State); err != nil {
			return nil, fmt.Errorf("stratum v2: %w", err)
		}
	}
	if d.host, err = sv1host.New(d.options()); err != nil {
		return nil, fmt.Errorf("stratum v2: %w", err)
	}
	d.server, err = grpchost.New(&host{d.host, d.counts}, grpchost.Options{Software: pool.Software,
		Logger: pool.Log, MaxChannels: max(pool.Settings.MaxConnections, grpchost.DefaultMaxChannels)})
	if err != nil {
		return nil, fmt.Errorf("stratum v2: %w", err)
	}
	listener, err := d.listen()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("stratum v2: %w; another path can be set in sv2.toml, "+
			"[link].socket", err), d.server.Shutdown(ctx))
	}
	d.serveHTTP()
	pool.Ended.Add(1)
	go d.run(ctx, listener)
	return d, nil
}

// options of the host, which gives no channel an easier target than the pool's minimum.
func (d *Door) options() sv1host.Options {
	settings := &d.pool.Settings
	options := sv1host.Options{
		Serve:              d.serve,
		Software:           d.pool.Software,
		MinDifficulty:      settings.MinDifficulty,
		MaxDifficulty:      settings.MaxDifficulty,
		SharesPerMinute:    settings.SharesPerMinute,
		Admit:              newAdmission(d.pool).admit,
		VersionMask:        d.config.VersionMask,
		Version:            sv1host.VersionDelta,
		MaxNTimeAhead:      settings.MaxNTimeAhead,
		MaxChannels:        max(settings.MaxConnections, sv1host.DefaultMaxChannels),
		AssignedDifficulty: d.pool.AssignedDifficulty,
		IsTip:              d.pool.IsTip,
		Logger:             d.pool.Log,
	}
	if options.MinDifficulty == 0 {
		options.MinDifficulty = leastDifficulty
	}
	if settings.BIP310Version {
		options.Version = sv1host.VersionBits
	}
	if d.config.Stale == config.StaleStrict {
		options.StaleRule = sv2.StaleStrict
	}
	if settings.PasswordNeeded && d.config.Password == config.PasswordTrust {
		options.Password = func(sv2.OpenRequest) string { return settings.Password }
	}
	return options
}

// serve gives a miner his extranonce prefix for as long as he is there.
func (d *Door) serve(ctx context.Context, conn net.Conn) {
	if d.prefixes == nil {
		d.pool.Serve(ctx, conn, nil)
		return
	}
	request, _ := sv1host.RequestOf(conn)
	prefix, err := d.prefixes.take(request.WantedPrefix)
	if err != nil {
		d.pool.Log.Error("a channel can't be opened", "error", err)
		return
	}
	defer d.prefixes.release(prefix)
	d.pool.Serve(ctx, conn, prefix)
}

func (d *Door) listen() (net.Listener, error) {
	options := grpchost.UnixOptions{Logger: d.pool.Log}
	var faults []error
	for _, name := range d.config.AllowUsers {
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
	for _, name := range d.config.AllowGroups {
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
		return nil, fmt.Errorf("who may connect to %s: %w", d.config.Socket, err)
	}
	if len(options.AllowUIDs)+len(options.AllowGIDs) > 0 {
		options.Mode = 0o666 // whoever isn't allowed is turned away by what the system says of him
	}
	return grpchost.ListenUnix(d.config.Socket, options)
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

// run serves the link until ctx ends, and ends what there is.
func (d *Door) run(ctx context.Context, listener net.Listener) {
	defer d.pool.Ended.Done()
	log := d.pool.Log
	served := make(chan error, 1)
	go func() { served <- d.server.Serve(context.Background(), listener) }()
	supervised := make(chan struct{})
	go func() {
		defer close(supervised)
		if d.config.Sidecar == config.Supervised {
			d.supervise(ctx)
		}
	}()
	log.Info("stratum v2 door open", "kind", "listen", "socket", d.config.Socket,
		"sidecar", string(d.config.Sidecar))
	select {
	case <-ctx.Done():
	case err := <-served:
		log.Error("no sidecar can connect any more; restart the pool", "error", err)
		<-ctx.Done()
	}
	<-supervised
	if err := within(linkGrace, d.server.Shutdown); err != nil {
		// A sidecar on its own stays, and comes back to the pool's next start.
		log.Debug("the link was cut", "error", err)
	}
	if err := within(hostGrace, d.host.Close); err != nil {
		log.Warn("stratum v2 miners did not end in time", "kind", "shutdown", "error", err)
	}
	log.Info("stratum v2 door closed", "kind", "shutdown")
}

// within waits for something to end, and half a second more than it may take: a connection that has said
// nothing yet holds up the link's end, but not the pool's.
func within(grace time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- do(ctx)
	}()
	select {
	case err := <-ended:
		return err
	case <-time.After(grace + 500*time.Millisecond):
		return fmt.Errorf("not ended after %v", grace)
	}
}

// supervise runs the sidecar as a child until ctx ends.
func (d *Door) supervise(ctx context.Context) {
	path, err := d.config.WriteSidecar(d.pool.State)
	if err == nil {
		options := supervise.Options{Program: d.config.Program, Config: path,
			Logger: slog.New(&listener{d.pool.Log.Handler(), &d.sidecar}), StopGrace: sidecarGrace}
		if d.config.SidecarConfig == "" {
			options.KeyFile = d.config.KeyFile
		}
		err = supervise.Run(ctx, options)
	}
	if err != nil {
		d.sidecar.fail(err)
		d.pool.Log.Error("no stratum v2 miner can connect: the sidecar does not run; "+
			"stratum v1 is not affected", "kind", "sidecar", "error", err)
	}
}
