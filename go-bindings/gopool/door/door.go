// Package door is the Stratum V2 door of a pool that serves Stratum V1, without what is goPool's own:
// the host of package sv1host behind one of two carriers. That of package grpchost is on a Unix socket in the
// pool's state folder, and the listener is a sidecar, as the pool's child or on its own. With that of package
// ffihost the listener is in the pool's own process.
//
//	door, err := door.Start(ctx, door.Pool{...})
//
// It ends with ctx, in order: the listener first, unless it is a sidecar on its own, which tells its miners to
// reconnect; then the link; then the miners that the pool still serves.
package door

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/gopool/config"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/session"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv1host"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

const (
	// A pool waits some 10 seconds for all that has to end; these together are below.
	listenerGrace = 6 * time.Second // a sidecar gives itself 5, and the link one
	linkGrace     = time.Second
	hostGrace     = time.Second
	// leastDifficulty is the minimum of a pool that says it has none: a share takes 4 hashes.
	leastDifficulty = 1e-9
)

// Door is a door that is open.
type Door struct {
	pool     Pool
	config   config.Config
	host     *sv1host.Host
	carrier  carrier
	counts   *counts
	prefixes *prefixes // nil when the pool has its own
	listener listenerState
}

// carrier is how Stratum V2 miners reach the host.
type carrier interface {
	// run lets miners in until ctx ends, and ends in order then, sooner than the pool stops waiting.
	run(ctx context.Context)
	// sessions are the listeners that talk to the host now.
	sessions() []*session.Session
}

// Start opens the door and returns at once. It ends with ctx, and is counted in pool.Ended until it has
// ended. An error names what is in the way, with its remedy; nothing runs then. A supervised sidecar that
// can't run, or a listener whose port is taken, is logged, and leaves the pool as it is.
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
	if d.inside() {
		d.carrier, err = newInside(d)
	} else {
		d.carrier, err = newLink(ctx, d)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("stratum v2: %w", err), within(hostGrace, d.host.Close))
	}
	d.serveHTTP()
	pool.Ended.Add(1)
	go d.run(ctx)
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

// run serves miners until ctx ends, and ends what there is.
func (d *Door) run(ctx context.Context) {
	defer d.pool.Ended.Done()
	log := d.pool.Log
	d.carrier.run(ctx)
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
