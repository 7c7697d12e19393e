// The host: its channels, its start and its end.

package sv1host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// drainLook is how often Drain looks whether shares still wait.
const drainLook = 5 * time.Millisecond

// Host is a Stratum V1 pool as a Stratum V2 host. Its methods are safe from any goroutine.
//
// Each channel has two goroutines: the pool's, which runs [Options].Serve, and one that reads what the pool
// writes and hashes the shares that came in masses.
type Host struct {
	options Options
	limits  sv2.Limits
	seen    *sv2.Seen

	serving context.Context // of Serve
	cancel  context.CancelFunc
	running sync.WaitGroup // goroutines of channels; grows under mu, before closing only

	mu       sync.Mutex
	channels map[*channel]struct{}
	opening  int // admitted, not in channels yet
	closing  bool
}

var _ sv2.Host = (*Host)(nil)

// New makes a host; end it with [Host.Close]. An error says what is wrong with options.
func New(options Options) (*Host, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("sv1host: %w", err)
	}
	h := &Host{
		options:  options,
		limits:   options.limits(),
		seen:     sv2.SeenFor(options.MaxChannels, options.SharesPerMinute),
		channels: make(map[*channel]struct{}),
	}
	h.serving, h.cancel = context.WithCancel(context.Background())
	return h, nil
}

// Limits is what the options say.
func (h *Host) Limits() sv2.Limits { return h.limits }

// OpenChannel connects one more miner to the pool and waits for its first job. A miner whom the pool
// refuses is told "unknown-user", or "unauthorized" if he is banned or the password is wrong.
func (h *Host) OpenChannel(
	ctx context.Context, request sv2.OpenRequest, sink sv2.Sink,
) (sv2.Channel, sv2.Opened, error) {
	if err := h.checkOpen(request); err != nil {
		return nil, sv2.Opened{}, err
	}
	if err := h.admit(request.Reopen); err != nil {
		return nil, sv2.Opened{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, h.options.OpenTimeout)
	defer cancel()
	if h.options.Admit != nil {
		if err := h.options.Admit(ctx, request); err != nil {
			h.dismiss()
			return nil, sv2.Opened{}, fmt.Errorf("admit: %w", err)
		}
	}
	name := string(request.UserIdentity)
	if h.options.Identity != nil {
		name = h.options.Identity(request)
		if err := checkIdentity([]byte(name)); err != nil {
			h.dismiss()
			return nil, sv2.Opened{}, err
		}
	}
	c := newChannel(h, request, name, sink)
	if err := h.start(c); err != nil {
		return nil, sv2.Opened{}, err
	}
	opened, err := c.open(ctx)
	if err != nil {
		c.Close("it could not be opened")
		return nil, sv2.Opened{}, refusal(err)
	}
	return c, opened, nil
}

// checkOpen refuses what no miner may ask for.
func (h *Host) checkOpen(request sv2.OpenRequest) error {
	if request.Kind != sv2.Standard && request.Kind != sv2.Extended {
		return &sv2.Refusal{Reason: sv2.RefuseInternal, Detail: "channel kind " + request.Kind.String()}
	}
	if len(request.PayoutKey) != 0 && !h.options.AllowPayoutKeys {
		return &sv2.Refusal{Reason: sv2.RefusePayoutKey}
	}
	if err := h.checkRate(request.NominalHashRate, request.MaxTarget); err != nil {
		return err
	}
	return checkIdentity(request.UserIdentity)
}

// checkRate refuses a hash rate that is none and a maximum target that the pool can't give.
func (h *Host) checkRate(hashRate float64, maxTarget sv2.Target) error {
	if !(hashRate >= 0) || math.IsInf(hashRate, 1) {
		return &sv2.Refusal{Reason: sv2.RefuseHashRate, Detail: fmt.Sprintf("%v H/s", hashRate)}
	}
	if maxTarget.IsZero() || maxTarget.Cmp(h.limits.Hardest) < 0 {
		return &sv2.Refusal{
			Reason: sv2.RefuseMaxTarget, Detail: "harder than the pool's hardest target"}
	}
	return nil
}

// admit takes one of MaxChannels places; start or dismiss gives it on. Channels that come back find a
// place though new ones were quicker.
func (h *Host) admit(reopen bool) error {
	limit := h.options.MaxChannels
	if reopen && limit <= math.MaxInt/2 {
		limit *= 2
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closing:
		return errClosing
	case len(h.channels)+h.opening >= limit:
		return &sv2.Refusal{Reason: sv2.RefuseCapacity,
			Detail: fmt.Sprintf("%d channels are open", limit)}
	}
	h.opening++
	return nil
}

var errClosing = &sv2.Refusal{Reason: sv2.RefuseNoWork, Detail: "the pool is closing"}

func (h *Host) dismiss() {
	h.mu.Lock()
	h.opening--
	h.mu.Unlock()
}

// start makes a channel known and runs its goroutines.
func (h *Host) start(c *channel) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.opening--
	if h.closing {
		return errClosing
	}
	h.channels[c] = struct{}{}
	h.running.Go(c.run)
	h.running.Go(func() {
		defer c.conn.Close()
		h.options.Serve(h.serving, c.conn)
	})
	return nil
}

// forget takes a channel that has ended out of the table.
func (h *Host) forget(c *channel) {
	h.mu.Lock()
	delete(h.channels, c)
	h.mu.Unlock()
}

func (h *Host) snapshot() []*channel {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.channels))
}

// Drain waits until the pool has answered every share, and said what became of every block, or until ctx
// ends.
func (h *Host) Drain(ctx context.Context) error {
	ticker := time.NewTicker(drainLook)
	defer ticker.Stop()
	for {
		waiting := 0
		for _, c := range h.snapshot() {
			waiting += c.waiting()
		}
		if waiting == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the pool has not answered %d shares: %w", waiting, ctx.Err())
		case <-ticker.C:
		}
	}
}

// Close refuses new channels, also those that are just being opened, hangs up on the pool for those that
// are open, without a word to their sinks, and waits until the pool has read what was sent and Serve has returned for all of them. When
// ctx ends first, the context of Serve ends, too, and Close returns an error at once. Later calls wait
// again.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closing = true
	h.mu.Unlock()
	for _, c := range h.snapshot() {
		c.Close("the host is closing")
	}
	done := make(chan struct{})
	go func() {
		h.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		h.cancel()
		return nil
	case <-ctx.Done():
		h.cancel()
		return errors.Join(errors.New("sv1host: the pool still serves connections that have ended: "+
			"Serve must return when Read gives io.EOF"), ctx.Err())
	}
}

// Channels is how many channels there are, those that are being opened or are suspended included.
func (h *Host) Channels() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.channels) + h.opening
}
