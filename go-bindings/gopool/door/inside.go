// The way to miners with the listener in the pool's own process.

package door

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/ffihost"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/session"
)

// errNotBuilt is what an operator has to do about a pool that was built without the listener.
var errNotBuilt = errors.New("sv2.toml, [server].mode (or -sv2-mode) is \"ffi\", and this program was built without " +
	"the Stratum V2 listener: run `make install-lib PREFIX=DIR` in a checkout of gopool-sv2, run " +
	"`gopool-sv2-install` with `-ffi DIR`, and build with the line that it prints, which has -tags sv2_pkgconfig; " +
	"or set mode = \"grpc\" and let a sidecar listen")

// A listener that ended is made anew after a pause: doubled each time, and back to the least when it ran for
// longer than healthy.
const (
	leastPause   = time.Second
	longestPause = time.Minute
	healthy      = time.Minute
)

// inside is a [carrier].
type inside struct {
	door *Door
	path string // of the listener's configuration
	// first is the listener that New made.
	first *ffihost.Server
	// serving is the one that runs, nil while none does.
	serving atomic.Pointer[ffihost.Server]
}

// newInside makes the first listener, and the authority key when there is none. The error names all that is
// wrong with the listener's configuration.
func newInside(d *Door) (*inside, error) {
	if !ffihost.Linked() {
		return nil, errNotBuilt
	}
	if d.config.SidecarConfig == "" {
		made, err := makeKey(d.config.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("make the authority key: %w; another place can be set in sv2.toml, "+
				"[sidecar].key_file", err)
		}
		if made {
			d.pool.Log.Info("made the SV2 authority key: keep a copy of it", "file", d.config.KeyFile)
		}
	}
	path, err := d.config.WriteListener(d.pool.State)
	if err != nil {
		return nil, err
	}
	i := &inside{door: d, path: path}
	i.first, err = i.make()
	return i, err
}

// make makes a listener that does not run yet.
func (i *inside) make() (*ffihost.Server, error) {
	pool := &i.door.pool
	server, err := ffihost.New(&host{i.door.host, i.door.counts}, ffihost.Options{ConfigFile: i.path,
		Software: pool.Software, Logger: i.door.heard(),
		MaxChannels: max(pool.Settings.MaxConnections, session.DefaultMaxChannels)})
	if err != nil {
		return nil, fmt.Errorf("the SV2 listener can't be made of %s: %w", i.path, err)
	}
	return server, nil
}

func (i *inside) sessions() []*session.Session {
	if server := i.serving.Load(); server != nil {
		return server.Sessions()
	}
	return nil
}

// run serves with one listener after the other, should one end, until ctx ends.
func (i *inside) run(ctx context.Context) {
	server, pause := i.first, leastPause
	for {
		begun := time.Now()
		err := i.live(ctx, server)
		if ctx.Err() != nil {
			if err != nil {
				i.door.pool.Log.Warn("the SV2 listener did not stop cleanly", "kind", "shutdown", "error", err)
			}
			return
		}
		ran := time.Since(begun)
		if ran >= healthy {
			pause = leastPause
		}
		i.door.listener.fail(err)
		i.door.pool.Log.Error("no stratum v2 miner can connect: the SV2 listener ended; it is started again, "+
			"stratum v1 is not affected", "kind", "listener", "error", err, "ran", ran.Round(time.Millisecond),
			"pause", pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
		// An error is for live to tell: what was good at the start may have been edited since.
		if server, err = i.make(); err != nil {
			i.door.pool.Log.Error("the SV2 listener can't be started again", "kind", "listener", "error", err)
		}
	}
}

// live serves with a listener until it ends, which is the error, or ctx does. nil is no listener.
func (i *inside) live(ctx context.Context, server *ffihost.Server) error {
	if server == nil {
		return errors.New("it could not be made")
	}
	if err := server.Start(); err != nil {
		return errors.Join(err, within(linkGrace, server.Shutdown))
	}
	url := server.URL()
	key := url[strings.LastIndexByte(url, '/')+1:]
	i.door.listener.up(key)
	i.serving.Store(server)
	defer i.serving.Store(nil)
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background()) }()
	i.door.pool.Log.Info("stratum v2 door open", "kind", "listen", "listener", "inside", "url", url)
	select {
	case err := <-served:
		if err == nil {
			err = errors.New("it ended without being told to")
		}
		return errors.Join(err, within(linkGrace, server.Shutdown))
	case <-ctx.Done():
		return within(listenerGrace, server.Shutdown)
	}
}
